// argmax[align=8 width=131072] bf16 | parts | sm_90a | codegen 1
// again: jet emit 'argmax[align=8 width=131072] bf16' --arch sm_90a --schedule 'parts=1 threads=256 vec=8'
constexpr int kParts = 1;
constexpr int kThreads = 256;
constexpr int kVec = 8;
constexpr int kWidth = 131072;

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

struct bf16 { unsigned short bits; };
__device__ inline float to_float(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
template <>
__device__ inline bf16 from_float<bf16>(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}


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


// ---- candidate ----
using XType = bf16;

// The index of no candidate at all.
constexpr int kNone = 0x7fffffff;

// A value and where it stands; what is not a number is no candidate.
struct Candidate {
    float value = 0.0f;
    int index = kNone;
    __device__ void meet(float other, int other_index) {
        const bool better = index == kNone || other > value || (other == value && other_index < index);
        if (other_index != kNone && other == other && better) {
            value = other;
            index = other_index;
        }
    }
};

// The best of all lanes' candidates, in all lanes.
__device__ inline Candidate warp_best(Candidate own) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const float value = __shfl_xor_sync(0xffffffffu, own.value, step);
        const int index = __shfl_xor_sync(0xffffffffu, own.index, step);
        own.meet(value, index);
    }
    return own;
}

// The best of all threads' candidates, in the first warp. All threads call it, once.
__device__ inline Candidate cta_best(Candidate own) {
    __shared__ float values[kThreads / 32];
    __shared__ int indices[kThreads / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    own = warp_best(own);
    if (lane == 0) {
        values[warp] = own.value;
        indices[warp] = own.index;
    }
    __syncthreads();
    Candidate best;
    if (lane < kThreads / 32) best.meet(values[lane], indices[lane]);
    return warp_best(best);
}

extern "C" __global__ void __launch_bounds__(kThreads)
argmax_parts(const XType* x, int x_stride, float* best_values, int* best_indices, int rows) {
    constexpr int kPart = ceil_div(ceil_div(kWidth, kParts), kVec) * kVec;  // columns of a part
    const long long row = blockIdx.x;
    if (row >= rows) return;
    const int first = blockIdx.y * kPart, end = min(first + kPart, kWidth);
    Candidate own;
    // Rows end in whole accesses where they are aligned to them, so only the width itself can cut one short.
    for (int col = first + static_cast<int>(threadIdx.x) * kVec; col < end; col += kThreads * kVec) {
        if (kWidth % kVec == 0 || col + kVec <= kWidth) {
            float values[kVec];
            load_floats(values, x + row * x_stride + col);
#pragma unroll
            for (int i = 0; i < kVec; ++i) own.meet(values[i], col + i);
        } else {
            for (int i = col; i < end; ++i) own.meet(to_float(x[row * x_stride + i]), i);
        }
    }
    own = cta_best(own);
    if (threadIdx.x == 0) {
        best_values[row * kParts + blockIdx.y] = own.value;
        best_indices[row * kParts + blockIdx.y] = own.index;
    }
}

// A warp has a row's parts. The index is written as a float, exact below 2^24; -1 where nothing is a number.
extern "C" __global__ void __launch_bounds__(32)
argmax_rows(const float* best_values, const int* best_indices, float* ids, int ids_stride, int rows) {
    const long long row = blockIdx.x;
    const int lane = threadIdx.x;
    if (row >= rows) return;
    Candidate own;
    if (lane < kParts) own.meet(best_values[row * kParts + lane], best_indices[row * kParts + lane]);
    own = warp_best(own);
    if (lane == 0) ids[row * ids_stride] = own.index == kNone ? -1.0f : static_cast<float>(own.index);
}
