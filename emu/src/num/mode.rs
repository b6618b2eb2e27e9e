//! The modifiers that change what an arithmetic instruction computes.

/// How a result that does not fit is rounded to a neighbour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// `.rn`: to the nearest, ties to even.
    #[default]
    Nearest,
    /// `.rna`: to the nearest, ties away from zero.
    NearestAway,
    /// `.rz`: towards zero.
    Zero,
    /// `.rm`: towards minus infinity.
    Down,
    /// `.rp`: towards plus infinity.
    Up,
}

/// How a float is rounded to an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntRounding {
    /// `.rni`: to the nearest, ties to even.
    Nearest,
    /// `.rzi`: towards zero.
    Zero,
    /// `.rmi`: towards minus infinity.
    Down,
    /// `.rpi`: towards plus infinity.
    Up,
}

impl IntRounding {
    /// The same direction as a rounding of significands.
    #[must_use]
    pub const fn rounding(self) -> Rounding {
        match self {
            IntRounding::Nearest => Rounding::Nearest,
            IntRounding::Zero => Rounding::Zero,
            IntRounding::Down => Rounding::Down,
            IntRounding::Up => Rounding::Up,
        }
    }
}

/// Rounding and the modifiers of an arithmetic instruction on floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mode {
    /// The direction of rounding; only f32 and f64 instructions offer others than the nearest.
    pub rounding: Rounding,
    /// `.ftz`: subnormal operands and results become zeros of the same sign.
    pub ftz: bool,
    /// `.sat`: the rounded result is clamped to [0, 1], NaN becomes +0.
    pub sat: bool,
    /// `.relu`: a negative result becomes +0, NaN the canonical one.
    pub relu: bool,
}

/// The modifiers of `min` and `max` on floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MinMax {
    /// `.ftz`: subnormal operands become zeros of the same sign.
    pub ftz: bool,
    /// `.NaN`: any NaN gives NaN; otherwise the operand that is a number wins.
    pub nan: bool,
    /// `.abs`: magnitudes are compared and returned.
    pub abs: bool,
    /// `.xorsign`: the result takes the exclusive or of the operands' signs. Comes with `abs`.
    pub xorsign: bool,
}

/// The relations of `setp` and `set`, on floats and, as far as they exist there, on integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// Equal; false on NaN.
    Eq,
    /// Unequal; false on NaN.
    Ne,
    /// Less; false on NaN.
    Lt,
    /// Less or equal; false on NaN.
    Le,
    /// Greater; false on NaN.
    Gt,
    /// Greater or equal; false on NaN.
    Ge,
    /// Equal, or a NaN.
    Equ,
    /// Unequal, or a NaN.
    Neu,
    /// Less, or a NaN.
    Ltu,
    /// Less or equal, or a NaN.
    Leu,
    /// Greater, or a NaN.
    Gtu,
    /// Greater or equal, or a NaN.
    Geu,
    /// No operand is NaN.
    Num,
    /// An operand is NaN.
    Nan,
}

impl Compare {
    /// Bit of [`Compare::mask`] for a < b.
    pub const LESS: u32 = 1;
    /// Bit of [`Compare::mask`] for a = b.
    pub const EQUAL: u32 = 2;
    /// Bit of [`Compare::mask`] for a > b.
    pub const GREATER: u32 = 4;
    /// Bit of [`Compare::mask`] for operands without an order.
    pub const UNORDERED: u32 = 8;

    /// The set of outcomes for which the relation holds, as bits.
    #[inline]
    #[must_use]
    pub const fn mask(self) -> u32 {
        match self {
            Compare::Eq => Self::EQUAL,
            Compare::Ne => Self::LESS | Self::GREATER,
            Compare::Lt => Self::LESS,
            Compare::Le => Self::LESS | Self::EQUAL,
            Compare::Gt => Self::GREATER,
            Compare::Ge => Self::GREATER | Self::EQUAL,
            Compare::Equ => Self::EQUAL | Self::UNORDERED,
            Compare::Neu => Self::LESS | Self::GREATER | Self::UNORDERED,
            Compare::Ltu => Self::LESS | Self::UNORDERED,
            Compare::Leu => Self::LESS | Self::EQUAL | Self::UNORDERED,
            Compare::Gtu => Self::GREATER | Self::UNORDERED,
            Compare::Geu => Self::GREATER | Self::EQUAL | Self::UNORDERED,
            Compare::Num => Self::LESS | Self::EQUAL | Self::GREATER,
            Compare::Nan => Self::UNORDERED,
        }
    }
}

/// The classes that `testp` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Neither infinite nor NaN.
    Finite,
    /// Plus or minus infinity.
    Infinite,
    /// Not NaN.
    Number,
    /// NaN.
    NotANumber,
    /// Normal; both zeros count as normal.
    Normal,
    /// Subnormal, zero excluded.
    Subnormal,
}
