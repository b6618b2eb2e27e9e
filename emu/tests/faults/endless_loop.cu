// A thread polls a flag that nobody ever sets.
#include "prelude.cuh"

KERNEL endless_loop(u32* flag, u32* y) {
#ifndef FAULT
  if (threadIdx.x == 1) asm volatile("st.relaxed.gpu.global.u32 [%0], 1;" ::"l"(flag) : "memory");
#endif
  if (threadIdx.x == 0) {
    u32 set = 0, turns = 0;
    while (!set) {  // FAULT
      asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(set) : "l"(flag) : "memory");  // FAULT
      ++turns;  // FAULT
    }
    *y = turns > 0;
  }
}
