// The guard lets one thread too many through, which reads and writes past the end.
#include "prelude.cuh"

KERNEL off_by_one_global(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
#ifdef FAULT
  if (i > n) return;
#else
  if (i >= n) return;
#endif
  y[i] = x[i] + 1.0f;  // FAULT
}
