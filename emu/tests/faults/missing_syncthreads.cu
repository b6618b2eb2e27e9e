// Threads read what others wrote to shared memory, without a barrier between.
#include "prelude.cuh"

KERNEL missing_syncthreads(const float* x, float* y) {
  __shared__ float tile[128];
  tile[threadIdx.x] = x[threadIdx.x];  // FAULT
#ifndef FAULT
  __syncthreads();
#endif
  y[threadIdx.x] = tile[127 - threadIdx.x];  // FAULT
}
