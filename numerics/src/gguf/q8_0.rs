//! Q8_0: f16 scale `d`, then 32 signed bytes; `v = d·q`.

use super::{BlockFormat, extreme, half_at, inverse, put_half};
use crate::DType;

/// The format [`DType::Q8_0`].
#[derive(Clone, Copy, Debug)]
pub struct Q8_0;

impl BlockFormat for Q8_0 {
    const DTYPE: DType = DType::Q8_0;
    const HALVES: &'static [usize] = &[0];

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = half_at(block, 0);
        for (o, &q) in out[..32].iter_mut().zip(&block[2..34]) {
            *o = d * f32::from(q.cast_signed());
        }
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        let d = put_half(block, 0, extreme(&values[..32]).abs() / 127.0);
        let inv = inverse(d);
        for (q, v) in block[2..34].iter_mut().zip(&values[..32]) {
            *q = ((v * inv).round_ties_even().clamp(-127.0, 127.0) as i8).cast_unsigned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_by_the_bits() {
        let mut block = [0u8; 34];
        block[..2].copy_from_slice(&half::f16::from_f32(0.125).to_le_bytes());
        (block[2], block[33]) = (0x80, 0x7F);
        let mut out = [0.0; 32];
        Q8_0::decode(&block, &mut out);
        assert_eq!((out[0], out[31], out[1]), (-16.0, 15.875, 0.0));
    }

    #[test]
    fn encodes_soundly() {
        super::super::tests::holds_constants::<Q8_0>(1e-3);
        super::super::tests::saturates::<Q8_0>();
    }
}
