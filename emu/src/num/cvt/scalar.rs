//! One element to another type.

use super::{Options, Type, fast};
use crate::num::format::{Format, Value};
use crate::num::mode::{IntRounding, Rounding};
use crate::num::round::{Exact, round, round_stochastic, round_to_integer};
use crate::num::{f32, f64};

/// A scalar conversion, chosen once.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    from: Type,
    to: Type,
    options: Options,
    run: fn(&Conversion, u64) -> u64,
}

impl Conversion {
    /// Chooses the function. Every pair of types has one; which forms PTX offers is the decoder's business.
    #[must_use]
    pub fn new(from: Type, to: Type, options: Options) -> Conversion {
        let options = Options { satfinite: options.satfinite || to.is_narrow_float(), ..options };
        let run = frequent(from, to, options).unwrap_or(match (from.is_integer(), to.is_integer()) {
            (true, true) => integer_to_integer,
            (false, true) => float_to_integer,
            (true, false) | (false, false) => to_float,
        });
        Conversion { from, to, options, run }
    }

    /// The source type.
    #[must_use]
    pub const fn from(&self) -> Type {
        self.from
    }

    /// The target type.
    #[must_use]
    pub const fn to(&self) -> Type {
        self.to
    }

    /// Converts the low bits; bits above the source's width are ignored and above the target's are zero.
    #[inline]
    #[must_use]
    pub fn apply(&self, bits: u64) -> u64 {
        (self.run)(self, bits)
    }

    /// Converts a float times or over the ue8m0 `scale`, with one rounding. A scale of NaN gives NaN.
    pub(super) fn apply_scaled(&self, bits: u64, scale: u8, how: Scale) -> u64 {
        let value = match decode(self.from, bits, self.options.ftz) {
            _ if scale == 0xFF => Value::Nan,
            Value::Finite(exact) => {
                let power = i32::from(scale) - 127;
                let exponent = match how {
                    Scale::Multiply => exact.exponent + power,
                    Scale::Divide => exact.exponent - power,
                };
                Value::Finite(Exact { exponent, ..exact })
            }
            other => other,
        };
        store(self, value, bits)
    }
}

/// What a scale does to the value.
#[derive(Clone, Copy)]
pub(super) enum Scale {
    Multiply,
    Divide,
}

/// The forms that have a fast function and are not changed by their options.
fn frequent(from: Type, to: Type, options: Options) -> Option<fn(&Conversion, u64) -> u64> {
    let plain = Options { to_integer: options.to_integer, ..Options::default() } == options;
    let nearest = plain && options.to_integer.is_none();
    Some(match (from, to, options.to_integer) {
        (Type::F32, Type::F16, _) if nearest => |_, a| u64::from(fast::f16_from_f32(a as u32)),
        (Type::F32, Type::Bf16, _) if nearest => |_, a| u64::from(fast::bf16_from_f32(a as u32)),
        (Type::F16, Type::F32, _) if nearest => |_, a| u64::from(fast::f32_from_f16(a as u16)),
        (Type::Bf16, Type::F32, _) if nearest => |_, a| u64::from(fast::f32_from_bf16(a as u16)),
        (Type::S32, Type::F32, _) if nearest => |_, a| u64::from(fast::f32_from_s32(a as u32)),
        (Type::U32, Type::F32, _) if nearest => |_, a| u64::from(fast::f32_from_u32(a as u32)),
        (Type::F32, Type::U32, Some(IntRounding::Zero)) if plain => {
            |_, a| u64::from(fast::u32_from_f32_zero(a as u32))
        }
        (Type::F32, Type::S32, Some(rounding)) if plain => match rounding {
            IntRounding::Nearest => |_, a| u64::from(fast::s32_from_f32_nearest(a as u32)),
            IntRounding::Zero => |_, a| u64::from(fast::s32_from_f32_zero(a as u32)),
            IntRounding::Down => |_, a| u64::from(fast::s32_from_f32_down(a as u32)),
            IntRounding::Up => |_, a| u64::from(fast::s32_from_f32_up(a as u32)),
        },
        (Type::F32, Type::F32, Some(rounding)) if plain => match rounding {
            IntRounding::Nearest => |_, a| u64::from(fast::integral_nearest(a as u32)),
            IntRounding::Zero => |_, a| u64::from(fast::integral_zero(a as u32)),
            IntRounding::Down => |_, a| u64::from(fast::integral_down(a as u32)),
            IntRounding::Up => |_, a| u64::from(fast::integral_up(a as u32)),
        },
        _ => return None,
    })
}

fn integer_to_integer(conversion: &Conversion, bits: u64) -> u64 {
    if !conversion.options.sat {
        return conversion.from.extend(bits) & conversion.to.mask();
    }
    let value = conversion.from.extend(bits);
    let value = if conversion.from.is_signed() { i128::from(value as i64) } else { i128::from(value) };
    clamp(value, conversion.to)
}

/// An integer limited to the range of `to`, as its bits.
pub(super) fn clamp(value: i128, to: Type) -> u64 {
    let (low, high) = if to.is_signed() {
        (-(1i128 << (to.width() - 1)), (to.mask() >> 1).into())
    } else {
        (0, to.mask().into())
    };
    value.clamp(low, high) as u64 & to.mask()
}

/// A float is always clamped to the integer's range, whatever `.sat` says. NaN gives 0 unless a side has 64 bits,
/// and then the bit above all positive signed numbers.
fn float_to_integer(conversion: &Conversion, bits: u64) -> u64 {
    let Conversion { from, to, options, .. } = *conversion;
    match decode(from, bits, options.ftz) {
        Value::Nan if from.width() == 64 || to.width() == 64 => 1 << (to.width() - 1),
        Value::Nan => 0,
        Value::Infinity(negative) => clamp(if negative { i128::MIN } else { i128::MAX }, to),
        Value::Finite(exact) => {
            let magnitude = round_to_integer(exact, options.to_integer.unwrap_or(IntRounding::Zero));
            let magnitude = i128::try_from(magnitude).unwrap_or(i128::MAX);
            clamp(if exact.negative { -magnitude } else { magnitude }, to)
        }
    }
}

fn to_float(conversion: &Conversion, bits: u64) -> u64 {
    let Conversion { from, options, .. } = *conversion;
    let value = decode(from, bits, options.ftz);
    let value = match (value, options.to_integer) {
        // From exponent 0 upwards every number is integral.
        (Value::Finite(exact), Some(rounding)) if exact.exponent < 0 => {
            Value::Finite(Exact { significand: round_to_integer(exact, rounding), exponent: 0, ..exact })
        }
        (value, _) => value,
    };
    store(conversion, value, bits)
}

/// A value into the bits of a float type; `bits` is the source, for a NaN's payload.
fn store(conversion: &Conversion, value: Value, bits: u64) -> u64 {
    let Conversion { from, to, options, .. } = *conversion;
    match to {
        Type::Ue8m0 => encode_power(value, options),
        Type::S2f6 => encode_fixed(value, options),
        _ => finish(to, options, encode(from, to, options, value, bits)),
    }
}

/// What the low bits of a source register stand for; `.ftz` concerns f32 only.
pub(super) fn decode(from: Type, bits: u64, ftz: bool) -> Value {
    let low = from.extend(bits);
    match (from, from.format()) {
        (Type::F32, _) if ftz => Format::F32.decode(u64::from(f32::flush(low as u32))),
        (Type::Tf32, Some(format)) => format.decode(low >> 13),
        (_, Some(format)) => format.decode(low),
        (Type::Ue8m0, None) if low == 0xFF => Value::Nan,
        (Type::Ue8m0, None) => Value::Finite(Exact {
            negative: false,
            significand: 1,
            exponent: low as i32 - 127,
            sticky: false,
        }),
        (Type::S2f6, None) => {
            let value = low as u8 as i8;
            let significand = u128::from(value.unsigned_abs());
            Value::Finite(Exact { negative: value < 0, significand, exponent: -6, sticky: false })
        }
        (_, None) => {
            let negative = from.is_signed() && (low as i64) < 0;
            Value::Finite(Exact::integer(negative, if negative { low.wrapping_neg() } else { low }))
        }
    }
}

/// The code of a float type, before `.sat`, `.relu` and `.ftz`. Infinity saturates where the format or the options say.
fn encode(from: Type, to: Type, options: Options, value: Value, bits: u64) -> u64 {
    let Some(format) = to.format() else { return 0 };
    let code = match value {
        Value::Nan if to == Type::F64 => return widen_nan(from, bits),
        Value::Nan => return nan(to),
        Value::Infinity(negative) => {
            format.with_sign(negative, if options.satfinite { format.max_finite } else { format.infinity() })
        }
        Value::Finite(exact) => round(exact, &format, options.rounding, options.satfinite),
    };
    if to == Type::Tf32 { code << 13 } else { code }
}

/// The pattern that a conversion of NaN gives.
pub(super) fn nan(to: Type) -> u64 {
    match (to, to.format()) {
        (Type::Tf32, _) => Format::F32.nan,
        (_, Some(format)) => format.nan,
        (_, None) => 0xFF,
    }
}

/// f64 keeps the payload of an f64 or f32 operand, quieted; other operands give the plain NaN.
fn widen_nan(from: Type, bits: u64) -> u64 {
    const QUIET: u64 = 0x7FF8_0000_0000_0000;
    match from {
        Type::F64 => bits | QUIET,
        Type::F32 => (bits & 0x8000_0000) << 32 | QUIET | (bits & 0x7F_FFFF) << 29,
        _ => QUIET,
    }
}

/// `.ftz`, `.relu` and `.sat` on the code of a float type.
fn finish(to: Type, options: Options, code: u64) -> u64 {
    let Some(format) = to.format() else { return code };
    let (sign, one, is_nan) = match to {
        // The 32-bit pattern orders as f32 does.
        Type::Tf32 => (1 << 31, u64::from(f32::ONE), f32::is_nan(code as u32)),
        Type::F64 => (format.sign_bit(), f64::ONE, f64::is_nan(code)),
        _ => {
            let one = (format.bias as u64) << format.mantissa_bits;
            (format.sign_bit(), one, matches!(format.decode(code), Value::Nan))
        }
    };
    let code = if options.ftz && to == Type::F32 { u64::from(f32::flush(code as u32)) } else { code };
    let code = match (options.relu, is_nan) {
        (true, true) => nan(to),
        (true, false) if code & sign != 0 => 0,
        _ => code,
    };
    match (options.sat, is_nan || code & sign != 0) {
        (true, true) => 0,
        (true, false) => code.min(one),
        (false, _) => code,
    }
}

/// ue8m0: the power of two below or, rounding up, at or above the magnitude. The sign does not count, 0 gives code 0.
fn encode_power(value: Value, options: Options) -> u64 {
    const NAN: u64 = 0xFF;
    let largest = if options.satfinite { 0xFE } else { NAN };
    let exact = match value {
        Value::Nan => return NAN,
        Value::Infinity(_) => return largest,
        Value::Finite(exact) if exact.significand == 0 => return 0,
        Value::Finite(exact) => exact,
    };
    let top = 127 - exact.significand.leading_zeros() as i32;
    let more = u64::from(options.rounding == Rounding::Up && exact.significand.count_ones() > 1);
    // Numbers below 2^-127 all take the lowest code; one above it is rounded like the rest.
    let code = (exact.exponent + top + 127).max(-1);
    match u64::try_from(code) {
        Err(_) => 0,
        Ok(code) if code + more >= NAN => largest,
        Ok(code) => code + more,
    }
}

/// s2f6: to the nearest multiple of 2^-6 between -2 and 2 - 2^-6; NaN gives 0.
fn encode_fixed(value: Value, options: Options) -> u64 {
    let scaled = match value {
        Value::Nan => 0,
        Value::Infinity(negative) => {
            if negative {
                i128::MIN
            } else {
                i128::MAX
            }
        }
        Value::Finite(exact) => {
            let magnitude =
                round_to_integer(Exact { exponent: exact.exponent + 6, ..exact }, IntRounding::Nearest);
            let magnitude = i128::try_from(magnitude).unwrap_or(i128::MAX);
            if exact.negative { -magnitude } else { magnitude }
        }
    };
    clamp(if options.relu { scaled.max(0) } else { scaled }, Type::S8)
}

/// `.rs`: one float rounded by chance with `random_bits` random bits. `.satfinite` and `.relu` apply, `.rounding` not.
#[must_use]
pub fn stochastic(from: Type, to: Type, options: Options, bits: u64, random: u32, random_bits: u32) -> u64 {
    let options = Options { satfinite: options.satfinite || to.is_narrow_float(), ..options };
    match (decode(from, bits, options.ftz), to.format()) {
        (Value::Finite(exact), Some(format)) => {
            let code = round_stochastic(exact, &format, random, random_bits, options.satfinite);
            finish(to, options, if to == Type::Tf32 { code << 13 } else { code })
        }
        _ => Conversion::new(from, to, options).apply(bits),
    }
}
