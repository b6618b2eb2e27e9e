//! Q4_K: 256 values in 144 bytes: f16 `d`, f16 `dmin`, twelve bytes of 6-bit scales and minima, 128 bytes of
//! nibbles. Sub-block `j` (32 values) has nibbles in bytes `32·(j/2) ..`, low for even `j`, high for odd;
//! `v = (d·scale)·q − (dmin·min)`.

use super::{BlockFormat, code, half_at, inverse, put_half, range};
use crate::DType;

/// The format [`DType::Q4K`].
#[derive(Clone, Copy, Debug)]
pub struct Q4K;

impl BlockFormat for Q4K {
    const DTYPE: DType = DType::Q4K;
    const HALVES: &'static [usize] = &[0, 2];

    fn decode(block: &[u8], out: &mut [f32]) {
        let (d, dmin) = (half_at(block, 0), half_at(block, 2));
        for (j, out) in out[..256].as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = scale_min(&block[4..16], j);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            let bytes = &block[16 + 32 * (j / 2)..][..32];
            for (o, byte) in out.iter_mut().zip(bytes) {
                *o = scale * f32::from(byte >> (4 * (j % 2)) & 15) - min;
            }
        }
    }

    // Each sub-block spans from its minimum, or 0 if that is lower, to its maximum; the two-level scales are
    // rounded up front, so that the codes are chosen for the scales that are stored.
    fn encode(values: &[f32], block: &mut [u8]) {
        let mut spans = [(0.0f32, 0.0f32); 8];
        for (span, values) in spans.iter_mut().zip(values[..256].as_chunks::<32>().0) {
            let (lo, hi) = range(values);
            let lo = lo.min(0.0);
            *span = ((hi.max(0.0) / 15.0) - (lo / 15.0), -lo);
        }
        let largest = spans.iter().fold((0.0f32, 0.0f32), |m, s| (m.0.max(s.0), m.1.max(s.1)));
        block[..144].fill(0);
        let d = put_half(block, 0, largest.0 / 63.0);
        let dmin = put_half(block, 2, largest.1 / 63.0);
        for (j, &(scale, min)) in spans.iter().enumerate() {
            // Scales are rounded up, so that the range of a sub-block is never cut.
            let scale = code((scale * inverse(d) - 1e-3).ceil(), 63);
            put_scale_min(&mut block[4..16], j, scale, code(min * inverse(dmin), 63));
        }
        for (j, values) in values[..256].as_chunks::<32>().0.iter().enumerate() {
            let (scale, min) = scale_min(&block[4..16], j);
            let (inv, min) = (inverse(d * f32::from(scale)), dmin * f32::from(min));
            let bytes = &mut block[16 + 32 * (j / 2)..][..32];
            for (byte, v) in bytes.iter_mut().zip(values) {
                *byte |= code((v + min) * inv, 15) << (4 * (j % 2));
            }
        }
    }
}

/// The 6-bit scale and minimum of sub-block `j` in the twelve packed bytes.
fn scale_min(s: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        (s[j + 4] & 15 | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4)
    }
}

/// The inverse of [`scale_min`] on zeroed bytes.
fn put_scale_min(s: &mut [u8], j: usize, scale: u8, min: u8) {
    if j < 4 {
        s[j] |= scale;
        s[j + 4] |= min;
    } else {
        s[j + 4] |= scale & 15 | (min & 15) << 4;
        s[j - 4] |= (scale >> 4) << 6;
        s[j] |= (min >> 4) << 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_scales_survive() {
        let mut s = [0; 12];
        let pair = |j: usize| ((j * 37 + 11) as u8 % 64, (j * 53 + 62) as u8 % 64);
        (0..8).for_each(|j| put_scale_min(&mut s, j, pair(j).0, pair(j).1));
        (0..8).for_each(|j| assert_eq!(scale_min(&s, j), pair(j)));
    }

    #[test]
    fn decodes_by_the_bits() {
        let mut block = [0u8; 144];
        block[..2].copy_from_slice(&half::f16::from_f32(0.5).to_le_bytes());
        block[2..4].copy_from_slice(&half::f16::from_f32(0.25).to_le_bytes());
        put_scale_min(&mut block[4..16], 0, 2, 4);
        put_scale_min(&mut block[4..16], 7, 63, 63);
        block[16] = 0x05;
        block[16 + 127] = 0xF0;
        let mut out = [0.0; 256];
        Q4K::decode(&block, &mut out);
        assert_eq!((out[0], out[1], out[32], out[255]), (4.0, -1.0, 0.0, 0.5 * 63.0 * 15.0 - 0.25 * 63.0));
    }

    #[test]
    fn encodes_soundly() {
        super::super::tests::holds_constants::<Q4K>(2e-3);
        super::super::tests::saturates::<Q4K>();
    }
}
