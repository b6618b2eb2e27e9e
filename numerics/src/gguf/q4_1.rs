//! Q4_1: f16 scale `d`, f16 minimum `m`, then 16 bytes of nibbles in the order of Q4_0; `v = d·q + m`.

use super::{BlockFormat, code, half_at, inverse, put_half, range};
use crate::DType;

/// The format [`DType::Q4_1`].
#[derive(Clone, Copy, Debug)]
pub struct Q4_1;

impl BlockFormat for Q4_1 {
    const DTYPE: DType = DType::Q4_1;
    const HALVES: &'static [usize] = &[0, 2];

    fn decode(block: &[u8], out: &mut [f32]) {
        let (d, m) = (half_at(block, 0), half_at(block, 2));
        let (low, high) = out[..32].split_at_mut(16);
        for (j, &byte) in block[4..20].iter().enumerate() {
            low[j] = d * f32::from(byte & 15) + m;
            high[j] = d * f32::from(byte >> 4) + m;
        }
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        let (lo, hi) = range(&values[..32]);
        // Halves first: the difference of two float32 extremes may overflow.
        let d = put_half(block, 0, (hi / 15.0) - (lo / 15.0));
        let m = put_half(block, 2, lo);
        let inv = inverse(d);
        for j in 0..16 {
            let q = |v: f32| code((v - m) * inv, 15);
            block[4 + j] = q(values[j]) | q(values[j + 16]) << 4;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_by_the_bits() {
        let mut block = [0u8; 20];
        block[..2].copy_from_slice(&half::f16::from_f32(0.25).to_le_bytes());
        block[2..4].copy_from_slice(&half::f16::from_f32(-1.0).to_le_bytes());
        block[4] = 0xF1;
        block[19] = 0x82;
        let mut out = [0.0; 32];
        Q4_1::decode(&block, &mut out);
        assert_eq!((out[0], out[16], out[15], out[31], out[1]), (-0.75, 2.75, -0.5, 1.0, -1.0));
    }

    #[test]
    fn encodes_soundly() {
        super::super::tests::holds_constants::<Q4_1>(1e-3);
        super::super::tests::saturates::<Q4_1>();
    }
}
