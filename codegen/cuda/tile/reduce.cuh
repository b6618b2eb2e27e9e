Sums and maxima over lanes, warps, a CTA.

//@ lanes_sum
// The sum over each group of kLanes neighbouring lanes, in all of them.
template <int kLanes>
__device__ inline float lanes_sum(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

//@ lanes_max
template <int kLanes>
__device__ inline float lanes_max(float x) {
    static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0, "a group of lanes is a power of two");
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

//@ cta_sum
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

//@ team_sum
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
