//! 32-bit integers.

super::width::integers!(u32, i32, u64, i64);
super::width::bit_fields!(u32, i32);
