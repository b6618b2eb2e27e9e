//! Q6_K: 256 values in 210 bytes: 128 bytes of low nibbles, 64 bytes of upper bit pairs, sixteen signed scales,
//! f16 `d`. Element `e` with half `H = e/128`, group `g = (e mod 128)/32`, `l = e mod 32` has its low four bits
//! in byte `64H + l + 32(g mod 2)` (low nibble for g < 2, else high) and its upper two in `qh[32H + l] >> 2g`;
//! `v = (d·scale[e/16])·(q − 32)`.

use super::{BlockFormat, code, extreme, half_at, inverse, put_half};
use crate::DType;

/// The format [`DType::Q6K`].
#[derive(Clone, Copy, Debug)]
pub struct Q6K;

const HIGH: usize = 128;
const SCALES: usize = 192;
const D: usize = 208;

impl BlockFormat for Q6K {
    const DTYPE: DType = DType::Q6K;
    const HALVES: &'static [usize] = &[D];

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = half_at(block, D);
        for (e, o) in out[..256].iter_mut().enumerate() {
            let (low, shift, high, pair) = place(e);
            let q = block[low] >> shift & 15 | (block[high] >> pair & 3) << 4;
            let scale = d * f32::from(block[SCALES + e / 16].cast_signed());
            *o = scale * f32::from(i16::from(q) - 32);
        }
    }

    // As in Q4_0, the extreme value of each sixteen gets the code −32.
    fn encode(values: &[f32], block: &mut [u8]) {
        let mut scales = [0.0f32; 16];
        for (scale, values) in scales.iter_mut().zip(values[..256].as_chunks::<16>().0) {
            *scale = extreme(values) / -32.0;
        }
        block[..210].fill(0);
        let d = put_half(block, D, extreme(&scales).abs() / 127.0);
        for (i, scale) in scales.into_iter().enumerate() {
            // Away from zero, so that the range is never cut.
            let whole = scale * inverse(d);
            let whole = whole.signum() * (whole.abs() - 1e-3).ceil().clamp(0.0, 127.0);
            block[SCALES + i] = (whole as i8).cast_unsigned();
        }
        for (e, v) in values[..256].iter().enumerate() {
            let inv = inverse(d * f32::from(block[SCALES + e / 16].cast_signed()));
            let q = code(v * inv + 32.0, 63);
            let (low, shift, high, pair) = place(e);
            block[low] |= (q & 15) << shift;
            block[high] |= (q >> 4) << pair;
        }
    }
}

/// Where element `e` lies: byte and shift of its low four bits, byte and shift of its upper two.
fn place(e: usize) -> (usize, usize, usize, usize) {
    let (half, group, l) = (e / 128, e % 128 / 32, e % 32);
    (64 * half + l + 32 * (group % 2), 4 * (group / 2), HIGH + 32 * half + l, 2 * group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_overlap() {
        let mut seen = [0u8; 192];
        for e in 0..256 {
            let (low, shift, high, pair) = place(e);
            assert_eq!(seen[low] & 15 << shift, 0);
            seen[low] |= 15 << shift;
            assert_eq!(seen[high] & 3 << pair, 0);
            seen[high] |= 3 << pair;
        }
        assert!(seen.iter().all(|&s| s == 255));
    }

    #[test]
    fn decodes_by_the_bits() {
        let mut block = [0u8; 210];
        block[D..].copy_from_slice(&half::f16::from_f32(0.5).to_le_bytes());
        block[SCALES] = 2;
        block[SCALES + 15] = 0xFF;
        block[0] = 0x07;
        block[HIGH] = 0b10;
        block[127] = 0x10;
        let mut out = [0.0; 256];
        Q6K::decode(&block, &mut out);
        assert_eq!((out[0], out[1], out[255], out[254]), (7.0, -32.0, 15.5, 16.0));
    }

    #[test]
    fn encodes_soundly() {
        super::super::tests::holds_constants::<Q6K>(2e-3);
        super::super::tests::saturates::<Q6K>();
    }
}
