// A live barrier is initialised once more instead of being used for its next phase.
#include "prelude.cuh"

KERNEL double_init(float* y) {
  __shared__ u64 bar;
  if (threadIdx.x == 0) mbarrier_init(smem(&bar), 64);
  __syncthreads();
  mbarrier_arrive(smem(&bar));
  mbarrier_wait(smem(&bar), 0);
  __syncthreads();
#ifdef FAULT
  if (threadIdx.x == 0) mbarrier_init(smem(&bar), 64);  // FAULT
  __syncthreads();
  u32 parity = 0;
#else
  u32 parity = 1;
#endif
  mbarrier_arrive(smem(&bar));
  mbarrier_wait(smem(&bar), parity);
  y[threadIdx.x] = 1.0f;
}
