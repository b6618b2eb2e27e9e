// Shared memory is written again while a bulk store may still read it.
#include "prelude.cuh"

KERNEL overwrite_store_source(const float* x, float* y) {
  __shared__ alignas(128) float tile[32];
  for (int turn = 0; turn < 3; ++turn) {
    tile[threadIdx.x] = x[turn * 32 + threadIdx.x];  // FAULT
    fence_proxy_async();
    __syncthreads();
    if (threadIdx.x == 0) {
      bulk_store(y + turn * 32, smem(tile), sizeof(tile));  // FAULT
      bulk_commit();
#ifndef FAULT
      bulk_wait_read<0>();
#endif
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) bulk_wait<0>();
}
