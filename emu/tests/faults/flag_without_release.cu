// CTA 0 writes a value and then a flag, CTA 1 polls the flag and reads the value; nothing orders the two.
#include "prelude.cuh"

KERNEL flag_without_release(float* value, u32* flag, float* y) {
  if (blockIdx.x == 0) {
    *value = 3.0f;  // FAULT
#ifdef FAULT
    asm volatile("st.relaxed.gpu.global.u32 [%0], 1;" ::"l"(flag) : "memory");
#else
    asm volatile("st.release.gpu.global.u32 [%0], 1;" ::"l"(flag) : "memory");
#endif
  } else {
    u32 set = 0;
    while (!set) {
#ifdef FAULT
      asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(set) : "l"(flag) : "memory");
#else
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(set) : "l"(flag) : "memory");
#endif
    }
    *y = *value;  // FAULT
  }
}
