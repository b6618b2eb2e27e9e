// Rank 0 stores into rank 1 before anything says that rank 1 has started.
#include "prelude.cuh"

KERNEL peer_not_started(const float* x, float* y) {
  __shared__ float tile[32];
  u32 rank = cluster_rank();
#ifndef FAULT
  cluster_arrive();
  cluster_wait();
#endif
  if (rank == 0) store_cluster(map_rank(smem(&tile[threadIdx.x]), 1), x[threadIdx.x]);  // FAULT
  cluster_arrive();
  cluster_wait();
  if (rank == 1) y[threadIdx.x] = tile[threadIdx.x];
}
