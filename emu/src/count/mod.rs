//! Counters: what a profiler would say of a launch.
