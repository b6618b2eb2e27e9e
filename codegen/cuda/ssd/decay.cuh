Step sizes and decays of one head, as all forms need them.

//@ delta_of
// The step: softplus of the raw value and its bias, held between the limits. Not-a-number stays not-a-number.
__device__ inline float delta_of(float raw, float bias, float dt_min, float dt_max) {
    const float delta = softplus(raw + bias);
    return delta < dt_min ? dt_min : delta > dt_max ? dt_max : delta;
}

//@ decay_rate
// What a step of 1 adds to the base-2 logarithm of the state.
__device__ inline float decay_rate(float a_log) { return -1.4426950408889634f * expf(a_log); }

//@ Twofold
// A number as the sum of two floats. Sums of logarithms grow to hundreds, and what is needed are their differences:
// in one float those would have lost the digits behind the point.
struct alignas(8) Twofold { float hi, lo; };

//@ twofold_add
__device__ inline Twofold twofold_add(Twofold a, Twofold b) {
    const float sum = a.hi + b.hi;
    const float from_b = sum - a.hi;
    const float lost = (a.hi - (sum - from_b)) + (b.hi - from_b) + (a.lo + b.lo);
    const float hi = sum + lost;
    return Twofold{hi, lost - (hi - sum)};
}

//@ twofold_difference
__device__ inline float twofold_difference(Twofold a, Twofold b) { return (a.hi - b.hi) + (a.lo - b.lo); }

//@ Decays
// Per token of a chunk, in shared memory. Behind the end of the sequence the step is zero and nothing decays.
struct Decays {
    Twofold sum[kChunk];      // base-2 logarithm of the decay from the chunk's start on, this token's included
    float delta[kChunk];      // the step
    float from_start[kChunk];  // the decay from the chunk's start on
    float to_end[kChunk];     // the step times the decay from here to the chunk's end
};

//@ store_shared_pair
// In one access, which the compiler makes two of.
__device__ inline void store_shared_pair(Twofold* to, Twofold pair) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(smem_address(to)), "f"(pair.hi), "f"(pair.lo) : "memory");
}

//@ warp_decays
// Fills `to` from the raw steps of `rows` tokens of one head. All lanes of one warp call it.
__device__ inline void warp_decays(Decays& to, const DtType* raw, long long stride, int rows, float bias, float rate,
                                   float dt_min, float dt_max) {
    constexpr int kRounds = ceil_div(kChunk, 32);
    const int lane = threadIdx.x % 32;
    float delta[kRounds];
    Twofold sum[kRounds];
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        const int t = 32 * i + lane;
        delta[i] = t < rows ? delta_of(to_float(raw[t * stride]), bias, dt_min, dt_max) : 0.0f;
    }
    Twofold total = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        Twofold own = {rate * delta[i], 0.0f};
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
            const Twofold before = {__shfl_up_sync(0xffffffffu, own.hi, step), __shfl_up_sync(0xffffffffu, own.lo, step)};
            if (lane >= step) own = twofold_add(before, own);
        }
        sum[i] = twofold_add(total, own);
        total = Twofold{__shfl_sync(0xffffffffu, sum[i].hi, 31), __shfl_sync(0xffffffffu, sum[i].lo, 31)};
    }
#pragma unroll
    for (int i = 0; i < kRounds; ++i) {
        const int t = 32 * i + lane;
        if (t < kChunk) {
            store_shared_pair(&to.sum[t], sum[i]);
            to.delta[t] = delta[i];
            to.from_start[t] = exp2f(sum[i].hi + sum[i].lo);
            to.to_end[t] = delta[i] * exp2f(twofold_difference(total, sum[i]));
        }
    }
}
