// Data of cp.async is read after a barrier, but no thread waited for its own copies.
#include "prelude.cuh"

KERNEL missing_wait_group(const float* x, float* y) {
  __shared__ alignas(16) float tile[128];
  cp_async16(smem(&tile[threadIdx.x * 4]), x + threadIdx.x * 4);  // FAULT
  cp_commit();
#ifndef FAULT
  cp_wait<0>();
#endif
  __syncthreads();
  for (int i = 0; i < 4; ++i) y[i * 32 + threadIdx.x] = tile[i * 32 + threadIdx.x];  // FAULT
}
