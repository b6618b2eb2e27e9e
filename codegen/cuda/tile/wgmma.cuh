Matrix products of a warpgroup (sm_90a). The products themselves are written per width by the emitter,
`warpgroup_product(sum, a, b, keep)`.

//@ warpgroup_fence
// Before the first product that touches these accumulators or registers.
__device__ inline void warpgroup_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

//@ warpgroup_commit
__device__ inline void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

//@ warpgroup_wait
// Until at most kLeft groups are under way.
template <int kLeft>
__device__ inline void warpgroup_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

//@ warpgroup_hold
// Sums change up to here: keeps the compiler from reading them before the wait that stands in front.
template <int kSums>
__device__ inline void warpgroup_hold(float (&sum)[kSums]) {
#pragma unroll
    for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(sum[i])::"memory");
}

//@ matrix_descriptor
// A K-major operand in shared memory of rows of 128 bytes under the 128-byte swizzle, its base a multiple of 1024: the
// next 16 values of k are 2 further in the low word.
__device__ inline unsigned long long matrix_descriptor(const void* tile) {
    const unsigned long long start = (smem_address(tile) & 0x3ffff) >> 4;
    return start | 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;
}

//@ registers_release
template <int kRegisters>
__device__ inline void registers_release() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

//@ registers_take
template <int kRegisters>
__device__ inline void registers_take() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
