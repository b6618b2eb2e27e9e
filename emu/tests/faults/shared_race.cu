// A histogram in shared memory whose counts are added without atomics.
#include "prelude.cuh"

KERNEL shared_race(const u32* x, u32* counts) {
  __shared__ u32 local[8];
  if (threadIdx.x < 8) local[threadIdx.x] = 0;
  __syncthreads();
#ifdef FAULT
  local[x[threadIdx.x] & 7] += 1;  // FAULT
#else
  atomicAdd(&local[x[threadIdx.x] & 7], 1u);
#endif
  __syncthreads();
  if (threadIdx.x < 8) counts[threadIdx.x] = local[threadIdx.x];
}
