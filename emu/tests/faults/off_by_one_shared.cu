// Every thread reads its right neighbour in shared memory; the last one reads past the end.
#include "prelude.cuh"

KERNEL off_by_one_shared(const float* x, float* y) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
#ifdef FAULT
  int next = threadIdx.x + 1;
#else
  int next = (threadIdx.x + 1) % 64;
#endif
  y[threadIdx.x] = tile[next];  // FAULT
}
