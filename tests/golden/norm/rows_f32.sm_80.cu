// norm[align=8 group=4480 shared=0 width=4480] f32 | registers | sm_80 | codegen 1
// again: jet emit 'norm[align=8 group=4480 shared=0 width=4480] f32' --arch sm_80 --schedule 'team=128 threads=128 vec=8'
constexpr int kTeam = 128;
constexpr int kThreads = 128;
constexpr int kVec = 8;
constexpr int kGroup = 4480;
constexpr bool kSharedWeight = false;

// ---- types ----
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

// N values that one access moves.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
    static_assert(sizeof(T) * N <= 16, "one access moves at most 16 bytes");
    T at[N];
};

__device__ inline float to_float(float x) { return x; }

// Rounds to nearest even.
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) { return x; }


// ---- memory ----
// The registers of a vector access.
template <int kBytes>
struct Words;
template <>
struct Words<16> { uint4 w; };
template <>
struct Words<8> { uint2 w; };
template <>
struct Words<4> { unsigned w; };
template <>
struct Words<2> { unsigned short w; };
template <>
struct Words<1> { unsigned char w; };

// N values in one access; the address is a multiple of its size.
template <int N, class T>
__device__ inline Vec<T, N> load_vec(const T* from) {
    using W = Words<sizeof(T) * N>;
    const W words = *reinterpret_cast<const W*>(from);
    Vec<T, N> values;
    memcpy(&values, &words, sizeof(words));
    return values;
}

template <int N, class T>
__device__ inline void store_vec(T* to, Vec<T, N> values) {
    using W = Words<sizeof(T) * N>;
    W words;
    memcpy(&words, &values, sizeof(words));
    *reinterpret_cast<W*>(to) = words;
}

// N values, widened. Where a vector of T is wider than 16 bytes it takes several accesses.
template <int N, class T>
__device__ inline void load_floats(float (&to)[N], const T* from) {
    constexpr int kStep = sizeof(T) * N > 16 ? 16 / sizeof(T) : N;
#pragma unroll
    for (int i = 0; i < N; i += kStep) {
        const Vec<T, kStep> part = load_vec<kStep>(from + i);
#pragma unroll
        for (int j = 0; j < kStep; ++j) to[i + j] = to_float(part.at[j]);
    }
}

template <int N, class T>
__device__ inline void store_floats(T* to, const float (&from)[N]) {
    constexpr int kStep = sizeof(T) * N > 16 ? 16 / sizeof(T) : N;
#pragma unroll
    for (int i = 0; i < N; i += kStep) {
        Vec<T, kStep> part;
#pragma unroll
        for (int j = 0; j < kStep; ++j) part.at[j] = from_float<T>(from[i + j]);
        store_vec<kStep>(to + i, part);
    }
}


// ---- reduce ----
// The sum over each group of kLanes neighbouring lanes, in all of them.
template <int kLanes>
__device__ inline float lanes_sum(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

// The sum over the kThreads threads of a CTA, in all of them. All threads call it.
template <int kThreads>
__device__ inline float cta_sum(float x) {
    static_assert(kThreads % 32 == 0 && kThreads <= 1024, "a CTA is whole warps");
    __shared__ float partial[kThreads / 32];
    x = lanes_sum<32>(x);
    __syncthreads();  // whoever still reads the partial sums of the call before
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    float total = 0.0f;
#pragma unroll
    for (int w = 0; w < kThreads / 32; ++w) total += partial[w];
    return total;
}

// The sum over a team: kTeam neighbouring threads, a part of a warp or the whole CTA of kThreads.
template <int kTeam, int kThreads>
__device__ inline float team_sum(float x) {
    static_assert(kTeam <= 32 || kTeam == kThreads, "a team is a part of a warp or the whole CTA");
    if constexpr (kTeam <= 32) {
        return lanes_sum<kTeam>(x);
    } else {
        return cta_sum<kThreads>(x);
    }
}


// ---- norm ----
using XType = float;
using OutType = float;

// What one thread holds: kHeld / kVec vectors of its team's group.
constexpr int kVectors = ceil_div(kGroup, kTeam * kVec);
struct Group { float at[kVectors][kVec]; };

// First column, in the group, of vector `v` of this thread.
__device__ inline int column(int v) { return (v * kTeam + static_cast<int>(threadIdx.x) % kTeam) * kVec; }

// Columns beyond the group, and all of a row that is not there, read as zero.
template <class T>
__device__ inline void team_load(Group& x, const T* from, bool there = true) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
        if (there && column(v) < kGroup) {
            load_floats(x.at[v], from + column(v));
        } else {
#pragma unroll
            for (int i = 0; i < kVec; ++i) x.at[v][i] = 0.0f;
        }
    }
}

template <class T>
__device__ inline void team_store(T* to, const Group& x) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
        if (column(v) < kGroup) store_floats(to + column(v), x.at[v]);
    }
}

// Norms the group in place. All threads of the CTA call it.
__device__ inline void team_norm(Group& x, const float* weight, float eps) {
    float squares = 0.0f;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
        for (int i = 0; i < kVec; ++i) squares = fmaf(x.at[v][i], x.at[v][i], squares);
    }
    squares = team_sum<kTeam, kThreads>(squares);
    const float factor = 1.0f / sqrtf(squares / kGroup + eps);
    Group scale;
    team_load(scale, weight);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
        for (int i = 0; i < kVec; ++i) x.at[v][i] = x.at[v][i] * factor * scale.at[v][i];
    }
}

// The row and the first column of this thread's team. A team beyond the last row works on zeros and stores nothing: it
// is needed at the barriers.
struct Place {
    long long row;
    int col, weight_col;
    bool there;
    __device__ explicit Place(int rows) {
        row = blockIdx.x * (kThreads / kTeam) + threadIdx.x / kTeam;
        there = row < rows;
        col = blockIdx.y * kGroup;
        weight_col = kSharedWeight ? 0 : col;
    }
};

// Rows, or heads of rows in place.
extern "C" __global__ void __launch_bounds__(kThreads)
norm_rows(const XType* x, int x_stride, const float* weight, OutType* out, int out_stride, int rows, float eps) {
    const Place place(rows);
    Group values;
    team_load(values, x + place.row * x_stride + place.col, place.there);
    team_norm(values, weight + place.weight_col, eps);
    if (place.there) team_store(out + place.row * out_stride + place.col, values);
}
