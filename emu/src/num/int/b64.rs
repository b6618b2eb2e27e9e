//! 64-bit integers.

super::width::integers!(u64, i64, u128, i128);
super::width::bit_fields!(u64, i64);
