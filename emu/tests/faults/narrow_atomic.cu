// CTAs count together with an atomic that promises atomicity inside one CTA only.
#include "prelude.cuh"

KERNEL narrow_atomic(u32* total) {
#ifdef FAULT
  asm volatile("red.relaxed.cta.global.add.u32 [%0], 1;" ::"l"(total) : "memory");  // FAULT
#else
  asm volatile("red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(total) : "memory");
#endif
}
