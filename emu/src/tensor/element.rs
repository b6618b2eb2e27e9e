//! The element types of tensor-core operands, and how they lie in 32-bit registers.

/// Element type of the operands A and B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Element {
    /// IEEE binary16.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// An f32 whose low 13 bits are not read.
    Tf32,
    /// IEEE binary64.
    F64,
    /// fp8 with 4 exponent bits, without infinities.
    E4m3,
    /// fp8 with 5 exponent bits: the upper half of an f16.
    E5m2,
    /// fp4.
    E2m1,
    /// fp6 with 2 exponent bits.
    E2m3,
    /// fp6 with 3 exponent bits.
    E3m2,
    /// Signed byte.
    S8,
    /// Unsigned byte.
    U8,
    /// Signed nibble.
    S4,
    /// Unsigned nibble.
    U4,
    /// One bit.
    B1,
}

impl Element {
    /// The type of a PTX modifier (without the dot), as in `.e4m3`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "f16" => Self::F16,
            "bf16" => Self::Bf16,
            "tf32" => Self::Tf32,
            "f64" => Self::F64,
            "e4m3" => Self::E4m3,
            "e5m2" => Self::E5m2,
            "e2m1" => Self::E2m1,
            "e2m3" => Self::E2m3,
            "e3m2" => Self::E3m2,
            "s8" => Self::S8,
            "u8" => Self::U8,
            "s4" => Self::S4,
            "u4" => Self::U4,
            "b1" => Self::B1,
            _ => return None,
        })
    }

    /// Bits of one element in a register where it is packed without padding.
    pub const fn bits(self) -> usize {
        match self {
            Self::F64 => 64,
            Self::Tf32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::E4m3 | Self::E5m2 | Self::S8 | Self::U8 => 8,
            Self::E2m3 | Self::E3m2 => 6,
            Self::E2m1 | Self::S4 | Self::U4 => 4,
            Self::B1 => 1,
        }
    }

    /// Whether products of this type are summed as integers.
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::S8 | Self::U8 | Self::S4 | Self::U4 | Self::B1)
    }

    /// Whether this is one of the two fp8 types.
    pub const fn is_fp8(self) -> bool {
        matches!(self, Self::E4m3 | Self::E5m2)
    }

    /// Whether this is an fp8, fp6 or fp4 type.
    pub const fn is_narrow_float(self) -> bool {
        matches!(self, Self::E4m3 | Self::E5m2 | Self::E2m1 | Self::E2m3 | Self::E3m2)
    }

    /// Exponent of the smallest normal number; subnormal numbers have this exponent too.
    pub(super) const fn min_exponent(self) -> i32 {
        match self {
            Self::F16 | Self::E5m2 => -14,
            Self::E4m3 => -6,
            Self::E3m2 => -2,
            Self::E2m1 | Self::E2m3 => 0,
            Self::F64 => -1022,
            _ => -126,
        }
    }
}

/// Element type of the operands C and D.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accumulator {
    /// Two to a register.
    F16,
    /// One to a register.
    F32,
    /// One to a register.
    S32,
    /// One to a 64-bit register.
    F64,
}

impl Accumulator {
    /// The type of a PTX modifier (without the dot).
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "f16" => Self::F16,
            "f32" => Self::F32,
            "s32" => Self::S32,
            "f64" => Self::F64,
            _ => return None,
        })
    }

    /// Elements in one register.
    pub const fn parts(self) -> usize {
        if matches!(self, Self::F16) { 2 } else { 1 }
    }

    pub(super) const fn min_exponent(self) -> i32 {
        if matches!(self, Self::F16) { -14 } else { -126 }
    }
}

/// Type of the block scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleType {
    /// A power of two: 2^(code - 127), code 255 is NaN.
    Ue8m0,
    /// e4m3 without its sign.
    Ue4m3,
}

/// Elements in the containers that an instruction reads: the type, and where a narrow float sits in a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// The type fills its container (nibbles: eight to a register).
    Plain(Element),
    /// `kind::f8f6f4`: one element a byte; e2m1 in bits 5..2, the 6-bit types in bits 5..0.
    Byte(Element),
}

impl Packing {
    pub(super) const fn element(self) -> Element {
        match self {
            Self::Plain(element) | Self::Byte(element) => element,
        }
    }

    /// Elements in a 32-bit register.
    pub(super) const fn parts(self) -> usize {
        match self {
            Self::Byte(_) => 4,
            Self::Plain(element) => 32 / element.bits(),
        }
    }
}
