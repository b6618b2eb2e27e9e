//! The types that `cvt` knows.

use crate::num::format::Format;

/// The type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    S8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    S16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    S32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    S64,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
    /// binary32 whose low 13 bits are zero.
    Tf32,
    /// 8 bits: 4 of exponent, 3 of mantissa.
    E4m3,
    /// 8 bits: 5 of exponent, 2 of mantissa.
    E5m2,
    /// 4 bits: 2 of exponent, 1 of mantissa.
    E2m1,
    /// 6 bits: 2 of exponent, 3 of mantissa.
    E2m3,
    /// 6 bits: 3 of exponent, 2 of mantissa.
    E3m2,
    /// An unsigned power of two, 2^(code - 127); 0xFF is NaN.
    Ue8m0,
    /// A signed 8-bit fixed-point number with 6 bits after the point.
    S2f6,
}

impl Type {
    /// Every type, for tables and tests.
    pub const ALL: [Type; 20] = [
        Type::U8,
        Type::S8,
        Type::U16,
        Type::S16,
        Type::U32,
        Type::S32,
        Type::U64,
        Type::S64,
        Type::F16,
        Type::Bf16,
        Type::F32,
        Type::F64,
        Type::Tf32,
        Type::E4m3,
        Type::E5m2,
        Type::E2m1,
        Type::E2m3,
        Type::E3m2,
        Type::Ue8m0,
        Type::S2f6,
    ];

    /// Bits that hold a value of the type.
    #[must_use]
    pub const fn width(self) -> u32 {
        match self {
            Type::E2m1 => 4,
            Type::E2m3 | Type::E3m2 => 6,
            Type::U8 | Type::S8 | Type::E4m3 | Type::E5m2 | Type::Ue8m0 | Type::S2f6 => 8,
            Type::U16 | Type::S16 | Type::F16 | Type::Bf16 => 16,
            Type::U32 | Type::S32 | Type::F32 | Type::Tf32 => 32,
            Type::U64 | Type::S64 | Type::F64 => 64,
        }
    }

    /// Bits that an element takes in a packed register: 6-bit types sit in the low bits of bytes.
    #[must_use]
    pub const fn lane_width(self) -> u32 {
        match self {
            Type::E2m3 | Type::E3m2 => 8,
            _ => self.width(),
        }
    }

    /// Whether it is one of the integers.
    #[must_use]
    pub const fn is_integer(self) -> bool {
        self.is_signed() || matches!(self, Type::U8 | Type::U16 | Type::U32 | Type::U64)
    }

    /// Whether it is a signed integer.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    /// The binary format of a float; tf32 as its 19-bit code. None for integers, ue8m0 and s2f6.
    #[must_use]
    pub const fn format(self) -> Option<Format> {
        Some(match self {
            Type::F16 => Format::F16,
            Type::Bf16 => Format::BF16,
            Type::F32 => Format::F32,
            Type::F64 => Format::F64,
            Type::Tf32 => Format::TF32,
            Type::E4m3 => Format::E4M3,
            Type::E5m2 => Format::E5M2,
            Type::E2m1 => Format::E2M1,
            Type::E2m3 => Format::E2M3,
            Type::E3m2 => Format::E3M2,
            _ => return None,
        })
    }

    /// Whether the type has 8 bits or fewer and so always saturates to its largest number.
    #[must_use]
    pub const fn is_narrow_float(self) -> bool {
        matches!(self, Type::E4m3 | Type::E5m2 | Type::E2m1 | Type::E2m3 | Type::E3m2)
    }

    /// The bits of a value of the type.
    #[must_use]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.width())
    }

    /// The low bits of `bits` as the type, extended to 64 bits: what a wider register receives.
    #[inline]
    #[must_use]
    pub const fn extend(self, bits: u64) -> u64 {
        let unused = 64 - self.width();
        if self.is_signed() { (((bits << unused) as i64) >> unused) as u64 } else { bits & self.mask() }
    }
}
