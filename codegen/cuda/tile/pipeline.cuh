Barriers in shared memory that count arrivals and bytes (sm_90 and later), and rings of stages over them.

//@ barrier_init
// By one thread, before barrier_init_done.
__device__ inline void barrier_init(unsigned long long* barrier, int arrivals) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(smem_address(barrier)), "r"(arrivals) : "memory");
}

//@ barrier_init_done
// By the same thread; the others may use the barriers after the next synchronisation of the CTA (or cluster).
__device__ inline void barrier_init_done() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

//@ barrier_expect
// Arrives, and announces `bytes` that copies will bring in this phase.
__device__ inline void barrier_expect(unsigned long long* barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem_address(barrier)), "r"(bytes)
                 : "memory");
}

//@ barrier_arrive
__device__ inline void barrier_arrive(unsigned long long* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem_address(barrier)) : "memory");
}

//@ barrier_wait
// Until the phase of this parity is over. A fresh barrier is in phase 0, and phase 1 counts as over.
__device__ inline void barrier_wait(unsigned long long* barrier, unsigned parity) {
    unsigned done = 0;
    while (!done) {
        asm volatile(
            "{\n\t.reg .pred p;\n\t"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
            "selp.u32 %0, 1, 0, p;\n\t}"
            : "=r"(done)
            : "r"(smem_address(barrier)), "r"(parity)
            : "memory");
    }
}

//@ Ring
// Where a walker stands in a ring of kStages stages. Consumers start with parity 0, producers with parity 1.
template <int kStages>
struct Ring {
    int stage = 0;
    unsigned parity;
    __device__ explicit Ring(unsigned first_parity) : parity(first_parity) {}
    __device__ void advance() {
        if (++stage == kStages) {
            stage = 0;
            parity ^= 1;
        }
    }
};
