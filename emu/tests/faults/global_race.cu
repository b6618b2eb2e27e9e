// CTAs add to one number in global memory without atomics.
#include "prelude.cuh"

KERNEL global_race(const u32* x, u32* total) {
  if (threadIdx.x != 0) return;
#ifdef FAULT
  *total += x[blockIdx.x];  // FAULT
#else
  atomicAdd(total, x[blockIdx.x]);
#endif
}
