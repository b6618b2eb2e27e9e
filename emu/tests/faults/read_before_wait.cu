// The destination of a bulk copy is read after a barrier of the CTA, but before its mbarrier's phase is over.
#include "prelude.cuh"

KERNEL read_before_wait(const float* x, float* y) {
  __shared__ alignas(128) float tile[128];
  __shared__ u64 full;
  if (threadIdx.x == 0) {
    mbarrier_init(smem(&full), 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_expect(smem(&full), sizeof(tile));
    bulk_load(smem(tile), x, sizeof(tile), smem(&full));  // FAULT
  }
#ifdef FAULT
  __syncthreads();
#else
  mbarrier_wait(smem(&full), 0);
#endif
  y[threadIdx.x] = tile[threadIdx.x];  // FAULT
}
