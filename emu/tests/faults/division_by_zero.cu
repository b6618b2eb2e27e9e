// An integer division whose divisor is zero for one thread.
#include "prelude.cuh"

KERNEL division_by_zero(const int* x, const int* by, int* y) {
  int d = by[threadIdx.x];
#ifdef FAULT
  y[threadIdx.x] = x[threadIdx.x] / d;  // FAULT
#else
  y[threadIdx.x] = d == 0 ? 0 : x[threadIdx.x] / d;
#endif
}
