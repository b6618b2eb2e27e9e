// An index that runs one past a local array.
#include "prelude.cuh"

KERNEL off_by_one_local(const u32* x, u32* y, int count) {
  u32 local[8];
  for (int i = 0; i < 8; ++i) local[(i * 3) % count] = x[i];
#ifdef FAULT
  y[threadIdx.x] = local[count + threadIdx.x / 31];  // FAULT
#else
  y[threadIdx.x] = local[count - 1 - threadIdx.x / 31];
#endif
}
