// A pointer is kept in memory from one launch to the next; the host frees the buffer between.
#include "prelude.cuh"

KERNEL remember(const float** slot, const float* x) {
  if (threadIdx.x == 0) *slot = x;
}

KERNEL use(const float** slot, const float* copy, float* y) {
#ifdef FAULT
  const float* from = *slot;
#else
  const float* from = copy;
#endif
  y[threadIdx.x] = from[threadIdx.x];  // FAULT
}
