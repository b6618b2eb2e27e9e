//! Looking for infinities and NaN in stored rows without decoding them.

use crate::DType;
use crate::gguf::{BlockFormat, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q6K, Q8_0};

/// Index of the first value among `bytes` (whole blocks) that is infinite or NaN, `None` where all are finite.
///
/// Of a block format only the scales are read: finite scales make finite values, and the first value of a block
/// with a bad scale is named.
pub fn first_non_finite(dtype: DType, bytes: &[u8]) -> Option<usize> {
    match dtype {
        DType::F64 => plain::<8>(bytes, |b| f64::from_le_bytes(b).is_finite()),
        DType::F32 => plain::<4>(bytes, |b| f32::from_le_bytes(b).is_finite()),
        DType::F16 => plain::<2>(bytes, |b| u16::from_le_bytes(b) & 0x7C00 != 0x7C00),
        DType::Bf16 => plain::<2>(bytes, |b| u16::from_le_bytes(b) & 0x7F80 != 0x7F80),
        DType::Q4_0 => blocks::<Q4_0>(bytes),
        DType::Q4_1 => blocks::<Q4_1>(bytes),
        DType::Q5_0 => blocks::<Q5_0>(bytes),
        DType::Q5_1 => blocks::<Q5_1>(bytes),
        DType::Q8_0 => blocks::<Q8_0>(bytes),
        DType::Q4K => blocks::<Q4K>(bytes),
        DType::Q6K => blocks::<Q6K>(bytes),
        DType::I64 | DType::I32 | DType::I16 | DType::I8 => None,
        DType::U64 | DType::U32 | DType::U16 | DType::U8 | DType::Bool => None,
    }
}

fn plain<const N: usize>(bytes: &[u8], finite: impl Fn([u8; N]) -> bool) -> Option<usize> {
    bytes.as_chunks::<N>().0.iter().position(|&b| !finite(b))
}

fn blocks<F: BlockFormat>(bytes: &[u8]) -> Option<usize> {
    let finite =
        |b: &[u8]| F::HALVES.iter().all(|&at| u16::from_le_bytes([b[at], b[at + 1]]) & 0x7C00 != 0x7C00);
    bytes.chunks_exact(F::BYTES).position(|b| !finite(b)).map(|i| i * F::LEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dequantize_row;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_decoding(bytes in prop::collection::vec(any::<u8>(), 0..2100), exponents in any::<bool>()) {
            for dtype in DType::ALL {
                let n = bytes.len() / dtype.block_bytes();
                let mut bytes = bytes[..n * dtype.block_bytes()].to_vec();
                if exponents {
                    // Random bytes rarely hold a bad exponent in the wide types.
                    bytes.iter_mut().step_by(7).for_each(|b| *b = 0x7F);
                }
                let mut out = vec![0.0; n * dtype.block_len()];
                dequantize_row(dtype, &bytes, &mut out).unwrap();
                // A finite f64 may be infinite in float32; that is not the file's fault.
                if dtype != DType::F64 {
                    let bad = out.iter().position(|v| !v.is_finite()).map(|i| i / dtype.block_len() * dtype.block_len());
                    prop_assert_eq!(first_non_finite(dtype, &bytes), bad, "{}", dtype);
                }
            }
        }
    }
}
