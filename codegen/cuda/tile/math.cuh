Activations, in full float precision. Not-a-number stays not-a-number.

//@ infinity
__device__ inline float infinity() { return __int_as_float(0x7f800000); }

//@ sigmoid
__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

//@ silu
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

//@ relu2
__device__ inline float relu2(float x) {
    const float y = x < 0.0f ? 0.0f : x;
    return y * y;
}

//@ gelu
// The tanh form, written with (1 + tanh u) / 2 = sigmoid(2u).
__device__ inline float gelu(float x) {
    return x / (1.0f + expf(-1.5957691216f * fmaf(0.044715f * x * x, x, x)));
}

//@ softplus
// ln(1 + e^x): the exponential cannot overflow, and small results keep their digits.
__device__ inline float softplus(float x) { return x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x)); }

//@ exp2_fast
// One instruction, two units in the last place; the argument is a base-2 logarithm.
__device__ inline float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
