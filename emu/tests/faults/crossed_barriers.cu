// Two warps meet at two barriers in opposite order: each waits for the other.
#include "prelude.cuh"

KERNEL crossed_barriers(float* y) {
#ifdef FAULT
  if (threadIdx.x < 32) {
    asm volatile("bar.sync 1, 64;" ::: "memory");  // FAULT
    asm volatile("bar.sync 2, 64;" ::: "memory");
  } else {
    asm volatile("bar.sync 2, 64;" ::: "memory");  // FAULT
    asm volatile("bar.sync 1, 64;" ::: "memory");
  }
#else
  asm volatile("bar.sync 1, 64;" ::: "memory");
  asm volatile("bar.sync 2, 64;" ::: "memory");
#endif
  y[threadIdx.x] = 1.0f;
}
