Number formats and small shapes. A format's item brings its conversions to and from float.

//@ ceil_div
__host__ __device__ constexpr int ceil_div(int n, int per) { return (n + per - 1) / per; }

//@ Constant
// A number that the compiler knows, as a value.
template <int kValue>
struct Constant {
    static constexpr int value = kValue;
    __device__ constexpr operator int() const { return kValue; }
};

//@ for_constants
// Calls f with the constants from kFrom to kCount - 1: a loop whose index may stand where only a constant may.
template <int kCount, int kFrom = 0, class F>
__device__ inline void for_constants(F&& f) {
    if constexpr (kFrom < kCount) {
        f(Constant<kFrom>{});
        for_constants<kCount, kFrom + 1>(f);
    }
}

//@ kSame
// Whether two types are one.
template <class A, class B>
constexpr bool kSame = false;
template <class A>
constexpr bool kSame<A, A> = true;

//@ Vec
// N values that one access moves.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
    static_assert(sizeof(T) * N <= 16, "one access moves at most 16 bytes");
    T at[N];
};

//@ to_float
__device__ inline float to_float(float x) { return x; }

//@ from_float
// Rounds to nearest even.
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) { return x; }

//@ bf16
struct bf16 { unsigned short bits; };
__device__ inline float to_float(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
template <>
__device__ inline bf16 from_float<bf16>(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

//@ f16
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

//@ e4m3
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

//@ pack2
// Two floats rounded into one register, the first in the lower half.
template <class T>
__device__ unsigned pack2(float low, float high);
template <>
__device__ inline unsigned pack2<bf16>(float low, float high) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
template <>
__device__ inline unsigned pack2<f16>(float low, float high) {
    unsigned both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

//@ split_tf32
// x = high + low, both exact in tf32 but for the last bits of `low`: three products of such parts are nearly f32.
__device__ inline void split_tf32(float x, unsigned& high, unsigned& low) {
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(high) : "f"(x));
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(low) : "f"(x - __uint_as_float(high)));
}
