//! Q5_0: f16 scale `d`, u32 `h` whose bit `j` is the fifth bit of element `j`, then 16 bytes of nibbles in the
//! order of Q4_0; `v = d·(q − 16)`.

use super::{BlockFormat, code, extreme, half_at, inverse, put_half};
use crate::DType;

/// The format [`DType::Q5_0`].
#[derive(Clone, Copy, Debug)]
pub struct Q5_0;

impl BlockFormat for Q5_0 {
    const DTYPE: DType = DType::Q5_0;
    const HALVES: &'static [usize] = &[0];

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = half_at(block, 0);
        let mut q = [0; 32];
        five_bits(&block[2..22], &mut q);
        for (o, q) in out[..32].iter_mut().zip(q) {
            *o = d * f32::from(i16::from(q) - 16);
        }
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        let d = put_half(block, 0, extreme(&values[..32]) / -16.0);
        let inv = inverse(d);
        put_five_bits(std::array::from_fn(|j| code(values[j] * inv + 16.0, 31)), &mut block[2..22]);
    }
}

/// The 32 five-bit codes in `bytes`: four of fifth bits, sixteen of nibbles.
pub(super) fn five_bits(bytes: &[u8], q: &mut [u8; 32]) {
    let h = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    for j in 0..16 {
        let byte = bytes[4 + j];
        q[j] = byte & 15 | ((h >> j & 1) as u8) << 4;
        q[j + 16] = byte >> 4 | ((h >> (j + 16) & 1) as u8) << 4;
    }
}

/// The inverse of [`five_bits`].
pub(super) fn put_five_bits(q: [u8; 32], bytes: &mut [u8]) {
    let h = q.iter().enumerate().fold(0u32, |h, (j, q)| h | u32::from(q >> 4) << j);
    bytes[..4].copy_from_slice(&h.to_le_bytes());
    for j in 0..16 {
        bytes[4 + j] = q[j] & 15 | (q[j + 16] & 15) << 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_by_the_bits() {
        let mut block = [0u8; 22];
        block[..2].copy_from_slice(&half::f16::from_f32(2.0).to_le_bytes());
        block[2..6].copy_from_slice(&(1u32 << 31 | 1).to_le_bytes());
        block[6] = 0x03;
        block[21] = 0x70;
        let mut out = [0.0; 32];
        Q5_0::decode(&block, &mut out);
        assert_eq!((out[0], out[16], out[15], out[31]), (6.0, -32.0, -32.0, 14.0));
    }

    #[test]
    fn encodes_soundly() {
        super::super::tests::holds_constants::<Q5_0>(1e-3);
        super::super::tests::saturates::<Q5_0>();
    }

    #[test]
    fn five_bit_codes_survive() {
        let q: [u8; 32] = std::array::from_fn(|j| (j * 7 % 32) as u8);
        let (mut bytes, mut back) = ([0; 20], [0; 32]);
        put_five_bits(q, &mut bytes);
        five_bits(&bytes, &mut back);
        assert_eq!(back, q);
    }
}
