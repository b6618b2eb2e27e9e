Running sums.

//@ warp_scan
// The sum over this lane and those before it.
__device__ inline float warp_scan(float x) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const float before = __shfl_up_sync(0xffffffffu, x, step);
        if (lane >= step) x += before;
    }
    return x;
}
