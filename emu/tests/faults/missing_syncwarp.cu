// Lanes of one warp hand values to each other through shared memory; a shuffle between orders nothing.
#include "prelude.cuh"

KERNEL missing_syncwarp(const float* x, float* y) {
  __shared__ float tile[32];
  tile[threadIdx.x] = x[threadIdx.x];  // FAULT
#ifdef FAULT
  float other = __shfl_xor_sync(0xFFFFFFFFu, x[threadIdx.x], 1);
#else
  float other = x[threadIdx.x ^ 1];
  __syncwarp();
#endif
  y[threadIdx.x] = other + tile[threadIdx.x ^ 1];  // FAULT
}
