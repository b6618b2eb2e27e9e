// gated_delta[align=8 d_key=128 d_value=256 heads=16 out_align=8 step=1] f32 | walk | sm_90a | codegen 1
// again: jet emit 'gated_delta[align=8 d_key=128 d_value=256 heads=16 out_align=8 step=1] f32' --arch sm_90a --schedule 'chunk=32 form=0 stages=2 tile_v=32 vec=4 warps=4'
constexpr int kChunk = 32;
constexpr int kStages = 2;
constexpr int kTileV = 32;
constexpr int kVec = 4;
constexpr int kWarps = 4;
constexpr int kHeads = 16;
constexpr int kDKey = 128;
constexpr int kDValue = 256;

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


// ---- batch ----
// One sequence of the batch: rows start .. start + len of every activation are its new tokens.
struct alignas(16) Segment {
    int slot;   // its place in the states
    int start;  // first row
    int len;    // new tokens
    int past;   // tokens before them
    int first;  // position of the sequence's first token
    int unused[3];
};


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

// Floats to global memory, four of them in one access. Written out, because the compiler takes a vector apart that has
// lived through a loop.
template <int N>
__device__ inline void store_global(float* to, const float (&from)[N]) {
    if constexpr (N == 4) {
        asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(from[0]),
                     "f"(from[1]), "f"(from[2]), "f"(from[3])
                     : "memory");
    } else {
        store_floats(to, from);
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


// ---- gated_delta walk ----
using QType = float;
using KType = float;
using VType = float;
using OutType = float;

constexpr int kThreads = kWarps * 32;
constexpr int kAcross = kTileV / kVec;        // threads along the columns
constexpr int kGroups = kThreads / kAcross;   // groups of rows: the i-th has rows i, i + kGroups, ...
constexpr int kWarpGroups = kAcross < 32 ? 32 / kAcross : 1;
constexpr int kPartials = kGroups / kWarpGroups;
constexpr int kHeldRows = ceil_div(kDKey, kGroups);
static_assert(kThreads % kAcross == 0 && kGroups % kWarpGroups == 0, "groups of rows are whole");

// One token's key and query as they come, with what normalises them.
struct Keys {
    float q[kGroups * kHeldRows], k[kGroups * kHeldRows];
    float q_factor, k_factor, dot;
};
struct Shared {
    Keys keys[2];  // while a token is still written into the state, the next one arrives
    alignas(16) float partial[2][kPartials][kTileV];
    float write[kTileV];
};

__device__ inline void warp_load_keys(Keys& keys, const QType* q, const KType* k, float scale, float l2_eps) {
    const int lane = threadIdx.x % 32;
    float qq = 0.0f, kk = 0.0f, qk = 0.0f;
#pragma unroll
    for (int i = lane; i < kGroups * kHeldRows; i += 32) {
        const float a = i < kDKey ? to_float(q[i]) : 0.0f, b = i < kDKey ? to_float(k[i]) : 0.0f;
        keys.q[i] = a;
        keys.k[i] = b;
        qq = fmaf(a, a, qq);
        kk = fmaf(b, b, kk);
        qk = fmaf(a, b, qk);
    }
    qq = lanes_sum<32>(qq);
    kk = lanes_sum<32>(kk);
    qk = lanes_sum<32>(qk);
    if (lane == 0) {
        keys.q_factor = scale / sqrtf(qq + l2_eps);
        keys.k_factor = 1.0f / sqrtf(kk + l2_eps);
        keys.dot = qk * keys.q_factor * keys.k_factor;
    }
}

// The sum over the groups of rows that a warp has, in the lanes of the first of them.
__device__ inline float warp_groups_sum(float x) {
#pragma unroll
    for (int step = kAcross; step < 32; step *= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

extern "C" __global__ void __launch_bounds__(kThreads)
gated_delta_walk(const QType* q, int q_stride, const KType* k, int k_stride, const VType* v, int v_stride,
                 const float* g, int g_stride, const float* beta, int beta_stride, OutType* out, int out_stride,
                 float* state, long long state_slot, const Segment* segments, float scale, float l2_eps) {
    __shared__ Shared shared;
    const Segment segment = segments[blockIdx.y];
    const int head = blockIdx.z, first_col = blockIdx.x * kTileV;
    const int across = threadIdx.x % kAcross, group = threadIdx.x / kAcross;
    const int col = first_col + across * kVec;
    float* own = state + segment.slot * state_slot + static_cast<long long>(head * kDKey + group) * kDValue + col;

    float held[kHeldRows][kVec];
#pragma unroll
    for (int i = 0; i < kHeldRows; ++i) {
        if (group + i * kGroups < kDKey && col < kDValue) {
            load_floats(held[i], own + i * kGroups * kDValue);
        } else {
#pragma unroll
            for (int c = 0; c < kVec; ++c) held[i][c] = 0.0f;
        }
    }

    for (int t = 0; t < segment.len; ++t) {
        const long long row = segment.start + t;
        Keys& keys = shared.keys[t % 2];
        if (threadIdx.x < 32) {
            warp_load_keys(keys, q + row * q_stride + head * kDKey, k + row * k_stride + head * kDKey, scale, l2_eps);
        }
        const float decay = expf(g[row * g_stride + head]);
        __syncthreads();

        // Both products of the state before the token, in one pass.
        float by_k[kVec] = {}, by_q[kVec] = {};
#pragma unroll
        for (int i = 0; i < kHeldRows; ++i) {
            const float a = keys.k[group + i * kGroups], b = keys.q[group + i * kGroups];
#pragma unroll
            for (int c = 0; c < kVec; ++c) {
                by_k[c] = fmaf(a, held[i][c], by_k[c]);
                by_q[c] = fmaf(b, held[i][c], by_q[c]);
            }
        }
#pragma unroll
        for (int c = 0; c < kVec; ++c) {
            by_k[c] = warp_groups_sum(by_k[c]);
            by_q[c] = warp_groups_sum(by_q[c]);
        }
        if (group % kWarpGroups == 0) {
            store_floats(&shared.partial[0][group / kWarpGroups][across * kVec], by_k);
            store_floats(&shared.partial[1][group / kWarpGroups][across * kVec], by_q);
        }
        __syncthreads();

        for (int c = threadIdx.x; c < kTileV; c += kThreads) {
            float read_k = 0.0f, read_q = 0.0f;
#pragma unroll
            for (int i = 0; i < kPartials; ++i) {
                read_k += shared.partial[0][i][c];
                read_q += shared.partial[1][i][c];
            }
            const bool there = first_col + c < kDValue;
            const int at = head * kDValue + first_col + c;
            const float value = there ? to_float(v[row * v_stride + at]) : 0.0f;
            const float error = beta[row * beta_stride + head] * (value - decay * keys.k_factor * read_k);
            shared.write[c] = error * keys.k_factor;
            if (there) {
                const float y = fmaf(keys.dot, error, decay * keys.q_factor * read_q);
                out[row * out_stride + at] = from_float<OutType>(y);
            }
        }
        __syncthreads();

        float write[kVec];
#pragma unroll
        for (int c = 0; c < kVec; ++c) write[c] = shared.write[across * kVec + c];
#pragma unroll
        for (int i = 0; i < kHeldRows; ++i) {
            const float a = keys.k[group + i * kGroups];
#pragma unroll
            for (int c = 0; c < kVec; ++c) held[i][c] = fmaf(a, write[c], decay * held[i][c]);
        }
    }

#pragma unroll
    for (int i = 0; i < kHeldRows; ++i) {
        if (group + i * kGroups < kDKey && col < kDValue) store_global(own + i * kGroups * kDValue, held[i]);
    }
}
