// The last arrival comes before the bytes are expected, so the phase is over before the copy.
#include "prelude.cuh"

KERNEL arrive_before_expect(const float* x, float* y) {
  __shared__ alignas(128) float tile[2][128];
  __shared__ u64 full;
  if (threadIdx.x == 0) {
    mbarrier_init(smem(&full), 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
#ifdef FAULT
    mbarrier_arrive(smem(&full));
    asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(smem(&full)), "r"((u32)sizeof(tile)) : "memory");  // FAULT
#else
    asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(smem(&full)), "r"((u32)sizeof(tile)) : "memory");
    mbarrier_arrive(smem(&full));
#endif
    bulk_load(smem(tile[0]), x, sizeof(tile) / 2, smem(&full));  // FAULT
    bulk_load(smem(tile[1]), x + 128, sizeof(tile) / 2, smem(&full));  // FAULT
  }
  mbarrier_wait(smem(&full), 0);
  y[threadIdx.x] = tile[0][threadIdx.x] + tile[1][threadIdx.x];  // FAULT
}
