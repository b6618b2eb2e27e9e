// The CTA ends while its bulk store may still read shared memory.
#include "prelude.cuh"

KERNEL exit_with_pending_reads(const float* x, float* y) {
  __shared__ alignas(128) float tile[32];
  tile[threadIdx.x] = x[threadIdx.x];
  fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    bulk_store(y, smem(tile), sizeof(tile));  // FAULT
    bulk_commit();
#ifndef FAULT
    bulk_wait_read<0>();
#endif
  }
}  // FAULT
