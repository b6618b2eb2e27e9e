// One element of a local array is never written, and decides a branch.
#include "prelude.cuh"

KERNEL uninitialised_local(const u32* x, u32* y, int count) {
  u32 local[4];
#ifdef FAULT
  for (int i = 0; i < count - 1; ++i) local[x[i] & 3] = i;
#else
  for (int i = 0; i < count; ++i) local[x[i] & 3] = i;
#endif
  u32 found = local[x[threadIdx.x] & 3];  // FAULT
  y[threadIdx.x] = found;  // FAULT
}
