// The second warp has 16 threads, but the mask and the offset speak of 32: lanes read lanes that are not there.
#include "prelude.cuh"

KERNEL shuffle_from_nobody(const float* x, float* y) {
  float mine = x[threadIdx.x];
#ifdef FAULT
  float other = __shfl_xor_sync(0xFFFFFFFFu, mine, 16);  // FAULT
#else
  float other = __shfl_xor_sync(0xFFFFFFFFu, mine, 8);
#endif
  y[threadIdx.x] = mine + other;  // FAULT
}
