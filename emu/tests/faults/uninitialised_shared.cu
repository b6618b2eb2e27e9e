// Half of a shared array is never written, and its values reach global memory.
#include "prelude.cuh"

KERNEL uninitialised_shared(const float* x, float* y) {
  __shared__ float tile[64];
#ifdef FAULT
  if (threadIdx.x < 32) tile[threadIdx.x] = x[threadIdx.x];
#else
  tile[threadIdx.x] = x[threadIdx.x];
#endif
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];  // FAULT
}
