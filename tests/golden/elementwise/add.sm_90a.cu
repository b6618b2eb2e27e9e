// elementwise[add=1 align=8 width=1536] bf16 out=f32 | vectors | sm_90a | codegen 1
// again: jet emit 'elementwise[add=1 align=8 width=1536] bf16 out=f32' --arch sm_90a --schedule 'rows=1 threads=256 vec=8'
constexpr int kRows = 1;
constexpr int kThreads = 256;
constexpr int kVec = 8;
constexpr int kWidth = 1536;

// ---- types ----
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


// ---- elementwise ----
using XType = bf16;
using OutType = float;

// The columns of this thread and the rows of its CTA.
struct Place {
    int col = (blockIdx.y * kThreads + threadIdx.x) * kVec;
    long long row = static_cast<long long>(blockIdx.x) * kRows;
    __device__ bool inside(int i, int rows) const { return row + i < rows && col < kWidth; }
};

// out = out + x.
extern "C" __global__ void __launch_bounds__(kThreads)
add_rows(const XType* x, int x_stride, OutType* out, int out_stride, int rows) {
    const Place place;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        float v[kVec], sum[kVec];
        OutType* to = out + (place.row + i) * out_stride + place.col;
        load_floats(v, x + (place.row + i) * x_stride + place.col);
        load_floats(sum, to);
#pragma unroll
        for (int j = 0; j < kVec; ++j) sum[j] += v[j];
        store_floats(to, sum);
    }
}
