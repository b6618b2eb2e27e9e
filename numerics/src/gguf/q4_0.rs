//! Q4_0: f16 scale `d`, then 16 bytes of which byte `j` holds element `j` in its low nibble and element `j + 16`
//! in its high one; `v = d·(q − 8)`.

use super::{BlockFormat, code, extreme, half_at, inverse, put_half};
use crate::DType;

/// The format [`DType::Q4_0`].
#[derive(Clone, Copy, Debug)]
pub struct Q4_0;

impl BlockFormat for Q4_0 {
    const DTYPE: DType = DType::Q4_0;
    const HALVES: &'static [usize] = &[0];

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = half_at(block, 0);
        let (low, high) = out[..32].split_at_mut(16);
        for (j, &byte) in block[2..18].iter().enumerate() {
            low[j] = d * f32::from(i16::from(byte & 15) - 8);
            high[j] = d * f32::from(i16::from(byte >> 4) - 8);
        }
    }

    // The value of largest magnitude gets the code 0, that is −8: the side with one more step.
    fn encode(values: &[f32], block: &mut [u8]) {
        let d = put_half(block, 0, extreme(&values[..32]) / -8.0);
        let inv = inverse(d);
        for j in 0..16 {
            let q = |v: f32| code(v * inv + 8.0, 15);
            block[2 + j] = q(values[j]) | q(values[j + 16]) << 4;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_by_the_bits() {
        let mut block = [0u8; 18];
        block[..2].copy_from_slice(&half::f16::from_f32(0.5).to_le_bytes());
        block[2] = 0xF0;
        block[17] = 0x19;
        let mut out = [0.0; 32];
        Q4_0::decode(&block, &mut out);
        assert_eq!((out[0], out[16], out[15], out[31], out[1]), (-4.0, 3.5, 0.5, -3.5, -4.0));
    }

    #[test]
    fn encodes_soundly() {
        super::super::tests::holds_constants::<Q4_0>(1e-3);
        super::super::tests::saturates::<Q4_0>();
    }
}
