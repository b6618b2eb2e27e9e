// Lanes execute a shuffle whose mask does not name them.
#include "prelude.cuh"

KERNEL shuffle_outside_mask(const float* x, float* y) {
  float mine = x[threadIdx.x];
#ifdef FAULT
  float other = __shfl_xor_sync(0x0000FFFFu, mine, 1);  // FAULT
#else
  float other = __shfl_xor_sync(0xFFFFFFFFu, mine, 1);
#endif
  y[threadIdx.x] = mine + other;
}
