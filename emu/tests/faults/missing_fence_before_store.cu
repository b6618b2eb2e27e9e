// Shared memory written by threads goes out with a bulk store; the fence between the two proxies is missing.
#include "prelude.cuh"

KERNEL missing_fence_before_store(const float* x, float* y) {
  __shared__ alignas(128) float tile[128];
  tile[threadIdx.x] = x[threadIdx.x] * 2.0f;  // FAULT
#ifndef FAULT
  fence_proxy_async();
#endif
  __syncthreads();
  if (threadIdx.x == 0) {
    bulk_store(y, smem(tile), sizeof(tile));  // FAULT
    bulk_commit();
    bulk_wait<0>();
  }
}
