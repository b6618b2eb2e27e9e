// A matrix instruction for the whole warp inside a branch that half of its lanes take.
#include "prelude.cuh"

KERNEL mma_in_branch(const u32* a, const u32* b, float* c) {
  int lane = threadIdx.x;
  u32 fragment[4];
  for (int i = 0; i < 4; ++i) fragment[i] = a[lane * 4 + i];
  u32 b0 = b[lane * 2], b1 = b[lane * 2 + 1];
  float d[4] = {};
#ifdef FAULT
  if (lane < 16) mma_bf16(d, fragment, b0, b1);  // FAULT
#else
  mma_bf16(d, fragment, b0, b1);
#endif
  for (int i = 0; i < 4; ++i) c[lane * 4 + i] = d[i];
}
