// A barrier of the whole CTA inside a branch that a part of one warp takes; the others wait at the barrier after it.
#include "prelude.cuh"

KERNEL divergent_barrier(const float* x, float* y) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
#ifdef FAULT
  if (threadIdx.x < 48) __syncthreads();  // FAULT
#endif
  __syncthreads();  // FAULT
  y[threadIdx.x] = tile[63 - threadIdx.x];
}
