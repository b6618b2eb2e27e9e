// Warps arrive on a barrier that another warp initialises, with nothing between.
#include "prelude.cuh"

KERNEL mbarrier_before_init(float* y) {
  __shared__ u64 bar;
  if (threadIdx.x == 0) {
    mbarrier_init(smem(&bar), 128);  // FAULT
    fence_mbarrier_init();
  }
#ifndef FAULT
  __syncthreads();
#endif
  mbarrier_arrive(smem(&bar));  // FAULT
  mbarrier_wait(smem(&bar), 0);  // FAULT
  y[threadIdx.x] = 1.0f;
}
