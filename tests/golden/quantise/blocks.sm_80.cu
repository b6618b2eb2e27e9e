// quantise[align=16 block=128 width=8960] bf16 out=e4m3 | registers | sm_80 | codegen 1
// again: jet emit 'quantise[align=16 block=128 width=8960] bf16 out=e4m3' --arch sm_80 --schedule 'team=16 threads=128 vec=8'
constexpr int kTeam = 16;
constexpr int kThreads = 128;
constexpr int kVec = 8;
constexpr int kWidth = 8960;
constexpr int kBlock = 128;

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

struct f16 { unsigned short bits; };
__device__ inline float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
template <>
__device__ inline f16 from_float<f16>(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

// Values beyond 448 saturate.
struct e4m3 { unsigned char bits; };
__device__ inline float to_float(e4m3 x) {
    // Seven bits moved under the exponent of f16 are the value over 2^8, subnormals included.
    const unsigned short half = static_cast<unsigned short>((x.bits & 0x80) << 8 | (x.bits & 0x7f) << 7);
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(half));
    return y * 256.0f;
}
template <>
__device__ inline e4m3 from_float<e4m3>(float x) {
#if __CUDA_ARCH__ >= 890
    unsigned short pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    return e4m3{static_cast<unsigned char>(pair)};
#else
    const unsigned sign = __float_as_uint(x) >> 24 & 0x80;
    const float magnitude = fminf(fabsf(x), 448.0f);
    // Steps are 2^(e-3), at least 2^-9; adding 1.5 * 2^23 steps rounds to a whole number of them.
    const int exponent = max(static_cast<int>(__float_as_uint(magnitude) >> 23) - 127, -6);
    const float magic = __uint_as_float(static_cast<unsigned>(exponent - 3 + 23 + 127) << 23 | 1u << 22);
    const float rounded = (magnitude + magic) - magic;
    const unsigned normal = (__float_as_uint(rounded) >> 20) - (120u << 3);
    const unsigned subnormal = static_cast<unsigned>(rounded * 512.0f);
    const unsigned code = x != x ? 0x7f : rounded >= 0.015625f ? normal : subnormal;
    return e4m3{static_cast<unsigned char>(sign | code)};
#endif
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


// ---- reduce ----
template <int kLanes>
__device__ inline float lanes_max(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}


// ---- quantise ----
using XType = bf16;

constexpr int kTeams = kThreads / kTeam;
constexpr int kGroup = kBlock > 0 ? kBlock : kWidth, kGroups = ceil_div(kWidth, kGroup);  // columns of one scale
constexpr int kPieces = ceil_div(kGroup, kTeam * kVec);
static_assert(kThreads % kTeam == 0, "a CTA is whole teams");

// The largest over a team: a part of a warp or the whole CTA.
__device__ inline float team_max(float x) {
    if constexpr (kTeam <= 32) {
        return lanes_max<kTeam>(x);
    } else {
        __shared__ float partial[kThreads / 32];
        x = lanes_max<32>(x);
        if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
        __syncthreads();
#pragma unroll
        for (int w = 0; w < kThreads / 32; ++w) x = fmaxf(x, partial[w]);
        return x;
    }
}

// Groups are counted along a row first. A row's scales lie with those of the other rows, group after group.
extern "C" __global__ void __launch_bounds__(kThreads)
quantise_rows(const XType* x, int x_stride, e4m3* out, int out_stride, float* scale, int rows) {
    const int team = threadIdx.x / kTeam, member = threadIdx.x % kTeam;
    const int group = blockIdx.y * kTeams + team, first = group * kGroup;
    const long long row = blockIdx.x;
    float value[kPieces][kVec], top = 0.0f;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
        const int own = (i * kTeam + member) * kVec;
#pragma unroll
        for (int j = 0; j < kVec; ++j) value[i][j] = 0.0f;
        if (own < kGroup && first + own < kWidth) load_floats(value[i], x + row * x_stride + first + own);
#pragma unroll
        for (int j = 0; j < kVec; ++j) top = fmaxf(top, fabsf(value[i][j]));
    }
    top = team_max(top);
    if (group >= kGroups) return;
    // A group of zeros has the scale of ones.
    const float factor = top > 0.0f ? 448.0f / top : 1.0f;
    if (member == 0) scale[static_cast<long long>(group) * rows + row] = top > 0.0f ? top / 448.0f : 1.0f;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
        const int own = (i * kTeam + member) * kVec;
        if (own >= kGroup || first + own >= kWidth) continue;
#pragma unroll
        for (int j = 0; j < kVec; ++j) value[i][j] *= factor;
        store_floats(out + row * out_stride + first + own, value[i]);
    }
}
