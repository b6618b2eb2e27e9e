// Two groups of copies are in flight; waiting for all but one leaves the second one open.
#include "prelude.cuh"

KERNEL wait_group_off_by_one(const float* x, float* y) {
  __shared__ alignas(16) float tile[2][128];
  for (int stage = 0; stage < 2; ++stage) {
    cp_async16(smem(&tile[stage][threadIdx.x * 4]), x + stage * 128 + threadIdx.x * 4);  // FAULT
    cp_commit();
  }
#ifdef FAULT
  cp_wait<1>();
#else
  cp_wait<0>();
#endif
  __syncthreads();
  float sum = 0.0f;
  for (int i = threadIdx.x; i < 128; i += 32) sum += tile[0][i] + tile[1][i];  // FAULT
  y[threadIdx.x] = sum;
}
