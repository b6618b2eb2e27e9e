// Rank 0 reads the shared memory of rank 1, which may have exited: the last cluster barrier is missing.
#include "prelude.cuh"

KERNEL peer_left(const float* x, float* y) {
  __shared__ float tile[32];
  u32 rank = cluster_rank();
  tile[threadIdx.x] = x[rank * 32 + threadIdx.x];
  cluster_arrive();
  cluster_wait();
  if (rank == 0) y[threadIdx.x] = load_cluster(map_rank(smem(&tile[threadIdx.x]), 1));  // FAULT
#ifndef FAULT
  cluster_arrive();
  cluster_wait();
#endif
}
