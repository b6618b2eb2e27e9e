// An accumulator is read after the commit and before the wait.
#include "wgmma.cuh"

// Writes a 64 x 64 tile of bf16 from global memory in the swizzled order that the descriptor says.
DEVICE void fill(u8* tile, const u16* from) {
  for (int i = threadIdx.x; i < 64 * 32; i += 128) {
    int row = i / 32, pair = i % 32;
    *(u32*)(tile + swizzle128(row, pair * 4)) = ((const u32*)from)[row * 32 + pair];
  }
}

DEVICE void put(float* c, const float (&d)[32]) {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int i = 0; i < 32; ++i) c[(warp * 16 + i / 2 % 2 * 8 + lane / 4) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
}

KERNEL accumulator_before_wait(const u16* a, const u16* b, float* c) {
  __shared__ alignas(1024) u8 tile_a[8192], tile_b[8192];
  fill(tile_a, a);
  fill(tile_b, b);
  fence_proxy_async();
  __syncthreads();
  float d[32] = {};
  hold(d);
  u64 da = tile_descriptor(smem(tile_a)), db = tile_descriptor(smem(tile_b));
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < 4; ++k) wgmma_64x64(d, da + k * 2, db + k * 2, 1);
  wgmma_commit();
  float doubled;
#ifdef FAULT
  asm volatile("add.f32 %0, %1, %1;" : "=f"(doubled) : "f"(d[0]));  // FAULT
  wgmma_wait<0>();
  hold(d);
#else
  wgmma_wait<0>();
  hold(d);
  asm volatile("add.f32 %0, %1, %1;" : "=f"(doubled) : "f"(d[0]));
#endif
  d[0] = doubled * 0.5f;
  put(c, d);
}
