// Each thread waits for its own copies and then reads what another thread copied.
#include "prelude.cuh"

KERNEL wait_without_sync(const float* x, float* y) {
  __shared__ alignas(16) float tile[256];
  cp_async16(smem(&tile[threadIdx.x * 4]), x + threadIdx.x * 4);  // FAULT
  cp_commit();
  cp_wait<0>();
#ifndef FAULT
  __syncthreads();
#endif
  y[threadIdx.x] = tile[255 - threadIdx.x * 4];  // FAULT
}
