//! Shadow memory: which bytes are defined, and who touched them last (data races).
