Bulk and tensor copies by the copy engine (sm_90 and later). One thread issues them.

//@ TensorMap
// A tensor map as the driver encodes it.
struct alignas(64) TensorMap { unsigned char bytes[128]; };

//@ map_prefetch
__device__ inline void map_prefetch(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

//@ tensor_load
// The box at column `col`, row `row`; its bytes arrive at `barrier`. What lies outside the tensor becomes zero.
__device__ inline void tensor_load(void* to, const TensorMap* map, int col, int row, unsigned long long* barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::
            "r"(smem_address(to)),
        "l"(map), "r"(col), "r"(row), "r"(smem_address(barrier))
        : "memory");
}

//@ tensor_store
// The box at column `col`, row `row` from shared memory; what lies outside the tensor is not written.
__device__ inline void tensor_store(const TensorMap* map, const void* from, int col, int row) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map), "r"(col),
                 "r"(row), "r"(smem_address(from))
                 : "memory");
}

//@ bulk_load
// `bytes` (a multiple of 16) from global to shared memory; they arrive at `barrier`.
__device__ inline void bulk_load(void* to, const void* from, int bytes, unsigned long long* barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     smem_address(to)),
                 "l"(from), "r"(bytes), "r"(smem_address(barrier))
                 : "memory");
}

//@ bulk_store
__device__ inline void bulk_store(void* to, const void* from, int bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(smem_address(from)),
                 "r"(bytes)
                 : "memory");
}

//@ bulk_commit
__device__ inline void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

//@ bulk_wait_read
// Until at most kLeft of this thread's store groups still read shared memory.
template <int kLeft>
__device__ inline void bulk_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kLeft) : "memory");
}

//@ fence_async
// Makes this thread's ordinary writes to shared memory visible to the copy engine and to warpgroup instructions.
__device__ inline void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
