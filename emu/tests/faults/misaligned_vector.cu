// Sixteen bytes at once from an address that is a multiple of four only.
#include "prelude.cuh"

KERNEL misaligned_vector(const float* x, float* y) {
#ifdef FAULT
  float4 v = *(const float4*)(x + threadIdx.x * 4 + 1);  // FAULT
#else
  float4 v = *(const float4*)(x + threadIdx.x * 4);
#endif
  y[threadIdx.x] = v.x + v.y + v.z + v.w;
}
