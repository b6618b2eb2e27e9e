//! Tensors of the host, and how a test fills them.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes with a type and a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
    /// Whether the kernel finds these bytes there; else the buffer is as fresh memory is.
    pub defined: bool,
}

/// Element types by the names of safetensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Dtype {
    F64,
    F32,
    F16,
    #[serde(rename = "BF16")]
    Bf16,
    I64,
    U64,
    I32,
    U32,
    I8,
    U8,
}

impl Dtype {
    pub fn size(self) -> usize {
        match self {
            Dtype::F64 | Dtype::I64 | Dtype::U64 => 8,
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::I8 | Dtype::U8 => 1,
        }
    }

    fn encode(self, x: f64) -> Vec<u8> {
        match self {
            Dtype::F64 => x.to_le_bytes().to_vec(),
            Dtype::F32 => (x as f32).to_le_bytes().to_vec(),
            Dtype::F16 => half_bits(x, 10, -14, 31).to_le_bytes().to_vec(),
            Dtype::Bf16 => half_bits(x, 7, -126, 255).to_le_bytes().to_vec(),
            Dtype::I64 => (x as i64).to_le_bytes().to_vec(),
            Dtype::U64 => (x as u64).to_le_bytes().to_vec(),
            Dtype::I32 => (x as i32).to_le_bytes().to_vec(),
            Dtype::U32 => (x as u32).to_le_bytes().to_vec(),
            Dtype::I8 => (x as i8).to_le_bytes().to_vec(),
            Dtype::U8 => vec![x as u8],
        }
    }

    fn decode(self, b: &[u8]) -> f64 {
        let word = |n: usize| b[..n].iter().rev().fold(0u64, |w, &x| w << 8 | u64::from(x));
        match self {
            Dtype::F64 => f64::from_bits(word(8)),
            Dtype::F32 => f32::from_bits(word(4) as u32).into(),
            Dtype::F16 => half_value(word(2) as u16, 10, 15),
            Dtype::Bf16 => half_value(word(2) as u16, 7, 127),
            Dtype::I64 => word(8) as i64 as f64,
            Dtype::U64 => word(8) as f64,
            Dtype::I32 => (word(4) as u32 as i32).into(),
            Dtype::U32 => (word(4) as u32).into(),
            Dtype::I8 => (b[0] as i8).into(),
            Dtype::U8 => b[0].into(),
        }
    }
}

/// A 16-bit float with this many fraction bits: nearest, ties to even; `least` is the smallest normal exponent.
fn half_bits(x: f64, fraction: i32, least: i32, top: u16) -> u16 {
    let sign = u16::from(x.is_sign_negative()) << 15;
    if x.is_nan() {
        return 0x7FFF;
    }
    // The step between neighbours at this size; dividing by a power of two is exact.
    let exponent = (x.abs().log2().floor().max(f64::from(least)) as i32).max(least);
    let steps = (x.abs() / 2f64.powi(exponent - fraction)).round_ties_even() as u64;
    let code = ((exponent - least) as u64) << fraction;
    // A normal number's leading bit counts one exponent up, which is what the sum does.
    let code = if exponent == least { steps } else { code + steps };
    sign | code.min(u64::from(top) << fraction) as u16
}

fn half_value(bits: u16, fraction: i32, bias: i32) -> f64 {
    let exponent = i32::from((bits & 0x7FFF) >> fraction);
    let digits = f64::from(bits & ((1 << fraction) - 1));
    let one = f64::from(1 << fraction);
    let top = (1 << (15 - fraction)) - 1;
    let size = match exponent {
        0 => digits / one * 2f64.powi(1 - bias),
        e if e == top && digits == 0.0 => f64::INFINITY,
        e if e == top => f64::NAN,
        e => (1.0 + digits / one) * 2f64.powi(e - bias),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// How the elements of an input come about. `Uniform`, `Integers` and `Bits` draw from splitmix64 of the seed, one
/// number an element: `Uniform` takes its upper 53 bits as a fraction, `Integers` its remainder, `Bits` its low byte.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    Uniform { seed: u64, low: f64, high: f64 },
    Integers { seed: u64, low: i64, high: i64 },
    Bits { seed: u64, mask: u8 },
    Range { start: f64, step: f64 },
    Value(f64),
    Undefined,
}

/// An input of a description.
#[derive(Clone, Debug, Deserialize)]
pub struct Input {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub fill: Fill,
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Input {
    pub fn tensor(&self) -> Tensor {
        let mut state = match self.fill {
            Fill::Uniform { seed, .. } | Fill::Integers { seed, .. } | Fill::Bits { seed, .. } => seed,
            _ => 0,
        };
        let element = |i: usize| match self.fill {
            Fill::Uniform { low, high, .. } => {
                low + (high - low) * ((splitmix64(&mut state) >> 11) as f64 / (1u64 << 53) as f64)
            }
            Fill::Integers { low, high, .. } => {
                (low + (splitmix64(&mut state) % (high - low + 1) as u64) as i64) as f64
            }
            Fill::Bits { mask, .. } => (splitmix64(&mut state) as u8 & mask).into(),
            Fill::Range { start, step } => start + step * i as f64,
            Fill::Value(x) => x,
            Fill::Undefined => 0.0,
        };
        let bytes =
            (0..self.shape.iter().product()).map(element).flat_map(|x| self.dtype.encode(x)).collect();
        Tensor {
            dtype: self.dtype,
            shape: self.shape.clone(),
            bytes,
            defined: !matches!(self.fill, Fill::Undefined),
        }
    }
}

impl Tensor {
    pub fn zeros(dtype: Dtype, shape: &[usize]) -> Self {
        let bytes = vec![0; shape.iter().product::<usize>() * dtype.size()];
        Self { dtype, shape: shape.to_vec(), bytes, defined: true }
    }

    pub fn values(&self) -> Vec<f64> {
        self.bytes.chunks_exact(self.dtype.size()).map(|b| self.dtype.decode(b)).collect()
    }

    pub fn words(&self) -> Vec<u32> {
        self.bytes.as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)).collect()
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

#[test]
fn sixteen_bit_floats_round_to_nearest_even() {
    for (x, bf16, f16) in [
        (1.0, 0x3F80, 0x3C00),
        (-2.5, 0xC020, 0xC100),
        (0.0, 0, 0),
        (1.0 + 1.0 / 256.0, 0x3F80, 0x3C04),
        (1.0 + 3.0 / 256.0, 0x3F82, 0x3C0C),
        (2f64.powi(-24), 0x3380, 1),
        (1e9, 0x4E6E, 0x7C00),
        (65504.0, 0x4780, 0x7BFF),
        (1.9999, 0x4000, 0x4000),
    ] {
        assert_eq!(Dtype::Bf16.encode(x), u16::to_le_bytes(bf16), "bf16 of {x}");
        assert_eq!(Dtype::F16.encode(x), u16::to_le_bytes(f16), "f16 of {x}");
    }
    assert_eq!(Dtype::F16.decode(&[0x01, 0x00]), 2f64.powi(-24));
    assert_eq!(Dtype::Bf16.decode(&[0x20, 0xC0]), -2.5);
    assert_eq!(Dtype::F16.decode(&[0x00, 0xFC]), f64::NEG_INFINITY);
}
