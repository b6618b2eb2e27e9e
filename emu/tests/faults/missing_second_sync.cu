// A tile is refilled in a loop; the barrier after its last use is missing, so it is overwritten while it is read.
#include "prelude.cuh"

KERNEL missing_second_sync(const float* x, float* y) {
  __shared__ float tile[128];
  float sum = 0.0f;
  for (int turn = 0; turn < 3; ++turn) {
    tile[threadIdx.x] = x[turn * 128 + threadIdx.x];  // FAULT
    __syncthreads();
    sum += tile[127 - threadIdx.x];  // FAULT
#ifndef FAULT
    __syncthreads();
#endif
  }
  y[threadIdx.x] = sum;
}
