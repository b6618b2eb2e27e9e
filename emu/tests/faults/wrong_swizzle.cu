// The descriptor says 128-byte swizzle, but the tile is written row after row: the product is wrong.
#include "wgmma.cuh"

// Writes a 64 x 64 tile of bf16 from global memory.
DEVICE void fill(u8* tile, const u16* from, bool swizzled) {
  for (int i = threadIdx.x; i < 64 * 32; i += 128) {
    int row = i / 32, pair = i % 32;
    u32 at = swizzled ? swizzle128(row, pair * 4) : row * 128 + pair * 4;  // FAULT
    *(u32*)(tile + at) = ((const u32*)from)[row * 32 + pair];
  }
}

KERNEL wrong_swizzle(const u16* a, const u16* b, float* c) {
  __shared__ alignas(1024) u8 tile_a[8192], tile_b[8192];
  fill(tile_a, a, true);
#ifdef FAULT
  fill(tile_b, b, false);
#else
  fill(tile_b, b, true);
#endif
  fence_proxy_async();
  __syncthreads();
  float d[32] = {};
  hold(d);
  u64 da = tile_descriptor(smem(tile_a)), db = tile_descriptor(smem(tile_b));
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < 4; ++k) wgmma_64x64(d, da + k * 2, db + k * 2, 1);
  wgmma_commit();
  wgmma_wait<0>();
  hold(d);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int i = 0; i < 32; ++i) c[(warp * 16 + i / 2 % 2 * 8 + lane / 4) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
}
