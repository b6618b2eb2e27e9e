// Producers and consumers of one named barrier disagree about how many threads take part.
#include "prelude.cuh"

KERNEL barrier_counts(const float* x, float* y) {
  __shared__ float tile[64];
  if (threadIdx.x < 64) {
    tile[threadIdx.x] = x[threadIdx.x];
#ifdef FAULT
    asm volatile("bar.arrive 1, 96;" ::: "memory");  // FAULT
#else
    asm volatile("bar.arrive 1, 128;" ::: "memory");
#endif
  } else {
    asm volatile("bar.sync 1, 128;" ::: "memory");  // FAULT
    y[threadIdx.x - 64] = tile[127 - threadIdx.x];
  }
}
