//! The machine: grids, clusters, CTAs, warps, memory, asynchronous operations.
