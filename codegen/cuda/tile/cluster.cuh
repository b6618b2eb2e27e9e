Clusters: CTAs that see each other's shared memory (sm_90 and later).

//@ cluster_sync
// All threads of the cluster; what they wrote to shared memory before is seen behind it.
__device__ inline void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

//@ cluster_load
// kVec floats, 1 or 4, from where `from` is in this CTA's shared memory, but of CTA `rank`.
template <int kVec>
__device__ inline void cluster_load(float (&to)[kVec], const float* from, int rank) {
    static_assert(kVec == 1 || kVec == 4, "one access moves one float or four");
    unsigned there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(smem_address(from)), "r"(rank));
    if constexpr (kVec == 4) {
        asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                     : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3])
                     : "r"(there)
                     : "memory");
    } else {
        asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(to[0]) : "r"(there) : "memory");
    }
}
