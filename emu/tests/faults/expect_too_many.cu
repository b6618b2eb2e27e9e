// The barrier expects more bytes than the copies bring: its phase never ends.
#include "prelude.cuh"

KERNEL expect_too_many(const float* x, float* y) {
  __shared__ alignas(128) float tile[2][128];
  __shared__ u64 full;
  if (threadIdx.x == 0) {
    mbarrier_init(smem(&full), 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
#ifdef FAULT
    mbarrier_expect(smem(&full), sizeof(tile) + 16);
#else
    mbarrier_expect(smem(&full), sizeof(tile));
#endif
    bulk_load(smem(tile[0]), x, sizeof(tile) / 2, smem(&full));
    bulk_load(smem(tile[1]), x + 128, sizeof(tile) / 2, smem(&full));
  }
  mbarrier_wait(smem(&full), 0);  // FAULT
  y[threadIdx.x] = tile[0][threadIdx.x] + tile[1][threadIdx.x];
}
