// A load through the read-only path of what the same grid has written.
#include "prelude.cuh"

KERNEL read_only_load(const float* x, float* y, float* z) {
  y[threadIdx.x] = x[threadIdx.x] * 2.0f;  // FAULT
  __syncthreads();
  float other;
#ifdef FAULT
  asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(other) : "l"(y + (threadIdx.x ^ 1)) : "memory");  // FAULT
#else
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(other) : "l"(y + (threadIdx.x ^ 1)) : "memory");
#endif
  z[threadIdx.x] = other;
}
