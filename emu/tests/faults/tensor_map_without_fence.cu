// A kernel makes a tensor map of its own from a given one and loads through it without the fence that the copy
// engine's view of maps needs.
#include "prelude.cuh"

KERNEL tensor_map_without_fence(const __grid_constant__ TensorMap given, TensorMap* own, const float* x, float* y) {
  __shared__ alignas(128) float tile[32];
  __shared__ u64 full;
  if (threadIdx.x == 0) {
    for (int i = 0; i < 16; ++i) own->opaque[i] = given.opaque[i];  // FAULT
    asm volatile("tensormap.replace.tile.global_address.global.b1024.b64 [%0], %1;" ::"l"(own), "l"(x + 32) : "memory");  // FAULT
#ifndef FAULT
    asm volatile("fence.proxy.tensormap::generic.release.gpu;" ::: "memory");
    asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(own) : "memory");
#endif
    mbarrier_init(smem(&full), 1);
    fence_mbarrier_init();
    mbarrier_expect(smem(&full), sizeof(tile));
    tma_load_2d(smem(tile), own, 0, 0, smem(&full));  // FAULT
  }
  __syncthreads();
  mbarrier_wait(smem(&full), 0);
  y[threadIdx.x] = tile[threadIdx.x];
}
