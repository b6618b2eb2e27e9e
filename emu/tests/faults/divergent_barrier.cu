// A barrier of the whole CTA inside a branch that a part of one warp takes.
#include "prelude.cuh"

KERNEL divergent_barrier(const float* x, float* y) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
#ifdef FAULT
  if (threadIdx.x < 48) {
    __syncthreads();  // FAULT
    y[threadIdx.x] = tile[47 - threadIdx.x];
  } else {
    y[threadIdx.x] = 0.0f;
  }
#else
  __syncthreads();
  y[threadIdx.x] = threadIdx.x < 48 ? tile[47 - threadIdx.x] : 0.0f;
#endif
}
