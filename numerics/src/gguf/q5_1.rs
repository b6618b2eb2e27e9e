//! Q5_1: f16 scale `d`, f16 minimum `m`, u32 of fifth bits and 16 bytes of nibbles as in Q5_0; `v = d·q + m`.

use super::q5_0::{five_bits, put_five_bits};
use super::{BlockFormat, code, half_at, inverse, put_half, range};
use crate::DType;

/// The format [`DType::Q5_1`].
#[derive(Clone, Copy, Debug)]
pub struct Q5_1;

impl BlockFormat for Q5_1 {
    const DTYPE: DType = DType::Q5_1;
    const HALVES: &'static [usize] = &[0, 2];

    fn decode(block: &[u8], out: &mut [f32]) {
        let (d, m) = (half_at(block, 0), half_at(block, 2));
        let mut q = [0; 32];
        five_bits(&block[4..24], &mut q);
        for (o, q) in out[..32].iter_mut().zip(q) {
            *o = d * f32::from(q) + m;
        }
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        let (lo, hi) = range(&values[..32]);
        let d = put_half(block, 0, (hi / 31.0) - (lo / 31.0));
        let m = put_half(block, 2, lo);
        let inv = inverse(d);
        put_five_bits(std::array::from_fn(|j| code((values[j] - m) * inv, 31)), &mut block[4..24]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_by_the_bits() {
        let mut block = [0u8; 24];
        block[..2].copy_from_slice(&half::f16::from_f32(0.5).to_le_bytes());
        block[2..4].copy_from_slice(&half::f16::from_f32(3.0).to_le_bytes());
        block[4..8].copy_from_slice(&(1u32 << 16).to_le_bytes());
        block[8] = 0x21;
        let mut out = [0.0; 32];
        Q5_1::decode(&block, &mut out);
        assert_eq!((out[0], out[16], out[1]), (3.5, 12.0, 3.0));
    }

    #[test]
    fn encodes_soundly() {
        super::super::tests::holds_constants::<Q5_1>(1e-3);
        super::super::tests::saturates::<Q5_1>();
    }
}
