//! 16-bit integers.

super::width::integers!(u16, i16, u32, i32);
