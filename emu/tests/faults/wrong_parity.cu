// Waiting for parity 1 on a fresh barrier returns at once: the phase before the first counts as over.
#include "prelude.cuh"

KERNEL wrong_parity(const float* x, float* y) {
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
  mbarrier_wait(smem(&full), 1);  // FAULT
#else
  mbarrier_wait(smem(&full), 0);
#endif
  y[threadIdx.x] = tile[threadIdx.x];  // FAULT
}
