//! Binary floating formats, described by numbers instead of code.

use super::round::Exact;

/// Which codes of a format are not finite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Specials {
    /// The top exponent field holds infinity and NaN, as in IEEE 754.
    Ieee,
    /// Only the code with all magnitude bits set is NaN; there is no infinity (e4m3).
    NanOnly,
    /// Every code is a finite number (e2m1, e2m3, e3m2).
    None,
}

/// A binary floating format: one sign bit, `exponent_bits`, `mantissa_bits` with an implicit leading one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// Width of the exponent field.
    pub exponent_bits: u32,
    /// Width of the stored mantissa.
    pub mantissa_bits: u32,
    /// What is subtracted from the exponent field.
    pub bias: i32,
    /// Which codes are not finite.
    pub specials: Specials,
    /// The pattern that PTX calls canonical NaN; the largest number where the format has none.
    pub nan: u64,
    /// The code of the largest finite magnitude.
    pub max_finite: u64,
}

/// What a bit pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Not a number, of either kind.
    Nan,
    /// Infinity; true if negative.
    Infinity(bool),
    /// A finite number, zeros included.
    Finite(Exact),
}

impl Format {
    /// IEEE binary64; PTX keeps NaN payloads here, see [`super::f64`].
    pub const F64: Format = Format::ieee(11, 52, 0xFFF8_0000_0000_0000);
    /// IEEE binary32.
    pub const F32: Format = Format::ieee(8, 23, 0x7FFF_FFFF);
    /// IEEE binary16.
    pub const F16: Format = Format::ieee(5, 10, 0x7FFF);
    /// The upper half of binary32.
    pub const BF16: Format = Format::ieee(8, 7, 0x7FFF);
    /// The upper 19 bits of binary32, here as a 19-bit code.
    pub const TF32: Format = Format::ieee(8, 10, 0x3_FFFF);
    /// 8 bits with infinities, NaN canonically 0x7F.
    pub const E5M2: Format = Format::ieee(5, 2, 0x7F);
    /// 8 bits, largest 448, one NaN per sign.
    pub const E4M3: Format = Format {
        exponent_bits: 4,
        mantissa_bits: 3,
        bias: 7,
        specials: Specials::NanOnly,
        nan: 0x7F,
        max_finite: 0x7E,
    };
    /// 4 bits, largest 6, all codes finite.
    pub const E2M1: Format = Format::finite_only(2, 1, 1);
    /// 6 bits, largest 7.5, all codes finite.
    pub const E2M3: Format = Format::finite_only(2, 3, 1);
    /// 6 bits, largest 28, all codes finite.
    pub const E3M2: Format = Format::finite_only(3, 2, 3);

    const fn ieee(exponent_bits: u32, mantissa_bits: u32, nan: u64) -> Format {
        let infinity = ((1 << exponent_bits) - 1) << mantissa_bits;
        let bias = (1 << (exponent_bits - 1)) - 1;
        Format { exponent_bits, mantissa_bits, bias, specials: Specials::Ieee, nan, max_finite: infinity - 1 }
    }

    const fn finite_only(exponent_bits: u32, mantissa_bits: u32, bias: i32) -> Format {
        let top = (1 << (exponent_bits + mantissa_bits)) - 1;
        Format { exponent_bits, mantissa_bits, bias, specials: Specials::None, nan: top, max_finite: top }
    }

    /// Bits of one code, the sign included.
    #[must_use]
    pub const fn width(&self) -> u32 {
        1 + self.exponent_bits + self.mantissa_bits
    }

    /// The bit that holds the sign.
    #[must_use]
    pub const fn sign_bit(&self) -> u64 {
        1 << (self.exponent_bits + self.mantissa_bits)
    }

    /// The magnitude code of infinity; the largest finite one where there is no infinity.
    #[must_use]
    pub const fn infinity(&self) -> u64 {
        match self.specials {
            Specials::Ieee => self.max_finite + 1,
            Specials::NanOnly | Specials::None => self.max_finite,
        }
    }

    /// `magnitude` with the given sign.
    #[must_use]
    pub const fn with_sign(&self, negative: bool, magnitude: u64) -> u64 {
        if negative { magnitude | self.sign_bit() } else { magnitude }
    }

    /// What `bits` stands for; bits above the format's width are ignored.
    #[must_use]
    pub const fn decode(&self, bits: u64) -> Value {
        let negative = bits & self.sign_bit() != 0;
        let magnitude = bits & (self.sign_bit() - 1);
        if magnitude > self.max_finite {
            return match self.specials {
                Specials::Ieee if magnitude == self.max_finite + 1 => Value::Infinity(negative),
                _ => Value::Nan,
            };
        }
        let field = (magnitude >> self.mantissa_bits) as i32;
        let mantissa = magnitude & ((1 << self.mantissa_bits) - 1);
        let (significand, exponent) =
            if field == 0 { (mantissa, 1) } else { (mantissa | (1 << self.mantissa_bits), field) };
        Value::Finite(Exact {
            negative,
            significand: significand as u128,
            exponent: exponent - self.bias - self.mantissa_bits as i32,
            sticky: false,
        })
    }
}
