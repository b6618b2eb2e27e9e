// Two copies, but the barrier expects the bytes of one: the phase is over when the first has landed.
#include "prelude.cuh"

KERNEL expect_too_few(const float* x, float* y) {
  __shared__ alignas(128) float tile[2][128];
  __shared__ u64 full;
  if (threadIdx.x == 0) {
    mbarrier_init(smem(&full), 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
#ifdef FAULT
    mbarrier_expect(smem(&full), sizeof(tile) / 2);
#else
    mbarrier_expect(smem(&full), sizeof(tile));
#endif
    bulk_load(smem(tile[0]), x, sizeof(tile) / 2, smem(&full));  // FAULT
    bulk_load(smem(tile[1]), x + 128, sizeof(tile) / 2, smem(&full));  // FAULT
  }
  mbarrier_wait(smem(&full), 0);
  y[threadIdx.x] = tile[0][threadIdx.x] + tile[1][threadIdx.x];  // FAULT
}
