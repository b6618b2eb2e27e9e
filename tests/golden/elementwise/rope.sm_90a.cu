// elementwise[align=8 head=128 rope=1 width=768] bf16 | vectors | sm_90a | codegen 1
// again: jet emit 'elementwise[align=8 head=128 rope=1 width=768] bf16' --arch sm_90a --schedule 'rows=1 threads=128 vec=8'
constexpr int kRows = 1;
constexpr int kThreads = 128;
constexpr int kVec = 8;
constexpr int kWidth = 768;
constexpr int kHead = 128;

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

// The columns of this thread and the rows of its CTA.
struct Place {
    int col = (blockIdx.y * kThreads + threadIdx.x) * kVec;
    long long row = static_cast<long long>(blockIdx.x) * kRows;
    __device__ bool inside(int i, int rows) const { return row + i < rows && col < kWidth; }
};

// Rotary embedding of every head, half-split, in place: element i of a head pairs with i + kHead / 2. kWidth counts
// pairs. A frequency is the part of a turn that one token adds, in units of 2^-64: the product with the position wraps
// round exactly, so no angle loses digits however far the sequence has come.
extern "C" __global__ void __launch_bounds__(kThreads)
rope_rows(XType* x, int x_stride, const int* positions, const unsigned long long* frequencies, int rows) {
    constexpr int kPairs = kHead / 2;
    const Place place;
    const int head = place.col / kPairs, pair = place.col % kPairs;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        if (!place.inside(i, rows)) continue;
        XType* low = x + (place.row + i) * x_stride + head * kHead + pair;
        float a[kVec], b[kVec];
        load_floats(a, low);
        load_floats(b, low + kPairs);
        const unsigned long long position = positions[place.row + i];
#pragma unroll
        for (int j = 0; j < kVec; ++j) {
            const long long turn = static_cast<long long>(position * frequencies[pair + j]);
            float sine, cosine;
            sincospif(static_cast<float>(turn) * 1.0842021724855044e-19f, &sine, &cosine);  // 2^-63 turns, in halves
            const float first = a[j], second = b[j];
            a[j] = first * cosine - second * sine;
            b[j] = second * cosine + first * sine;
        }
        store_floats(low, a);
        store_floats(low + kPairs, b);
    }
}
