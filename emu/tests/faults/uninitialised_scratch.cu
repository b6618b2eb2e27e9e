// Partial sums in a global scratch buffer that nobody cleared.
#include "prelude.cuh"

KERNEL uninitialised_scratch(const float* x, float* scratch, float* y) {
  float* mine = scratch + threadIdx.x;
#ifndef FAULT
  *mine = 0.0f;
#endif
  for (int i = 0; i < 4; ++i) *mine += x[threadIdx.x * 4 + i];  // FAULT
  y[threadIdx.x] = *mine;  // FAULT
}
