//! Whole rows to and from float32, whatever the type.

use crate::{DType, Error, gguf};
use half::{bf16, f16};

/// The values of one stored row as float32, `out.len()` of them. Integers and f64 are rounded to nearest.
///
/// Block formats are decoded exactly as [`gguf`] says. Fails where `out.len()` is no whole number of blocks or
/// `bytes` is not exactly the row.
pub fn dequantize_row(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    check(dtype, bytes.len(), out.len())?;
    match dtype {
        DType::F32 => each(bytes, out, f32::from_le_bytes),
        DType::F16 => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        DType::Bf16 => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        DType::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        DType::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
        DType::I32 => each(bytes, out, |b| i32::from_le_bytes(b) as f32),
        DType::I16 => each(bytes, out, |b| f32::from(i16::from_le_bytes(b))),
        DType::I8 => each(bytes, out, |b| f32::from(i8::from_le_bytes(b))),
        DType::U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f32),
        DType::U32 => each(bytes, out, |b| u32::from_le_bytes(b) as f32),
        DType::U16 => each(bytes, out, |b| f32::from(u16::from_le_bytes(b))),
        DType::U8 => each(bytes, out, |[b]| f32::from(b)),
        DType::Bool => each(bytes, out, |[b]| f32::from(b != 0)),
        DType::Q4_0 => blocks::<gguf::Q4_0>(bytes, out),
        DType::Q4_1 => blocks::<gguf::Q4_1>(bytes, out),
        DType::Q5_0 => blocks::<gguf::Q5_0>(bytes, out),
        DType::Q5_1 => blocks::<gguf::Q5_1>(bytes, out),
        DType::Q8_0 => blocks::<gguf::Q8_0>(bytes, out),
        DType::Q4K => blocks::<gguf::Q4K>(bytes, out),
        DType::Q6K => blocks::<gguf::Q6K>(bytes, out),
    }
    Ok(())
}

/// Stores a row of float32 values. f16 and bf16 round to nearest even; integers round to nearest and saturate;
/// block formats choose scales per block ([`gguf`]) and refuse values that are not finite.
///
/// Fails where `values.len()` is no whole number of blocks or `out` is not exactly the row.
pub fn quantize_row(dtype: DType, values: &[f32], out: &mut [u8]) -> Result<(), Error> {
    check(dtype, out.len(), values.len())?;
    if dtype.is_quantized()
        && let Some(index) = values.iter().position(|v| !v.is_finite())
    {
        return Err(Error::NotFinite { dtype, index, value: values[index].to_string() });
    }
    match dtype {
        DType::F32 => store(values, out, f32::to_le_bytes),
        DType::F16 => store(values, out, |v| f16::from_f32(v).to_le_bytes()),
        DType::Bf16 => store(values, out, |v| bf16::from_f32(v).to_le_bytes()),
        DType::F64 => store(values, out, |v| f64::from(v).to_le_bytes()),
        DType::I64 => store(values, out, |v| (v.round_ties_even() as i64).to_le_bytes()),
        DType::I32 => store(values, out, |v| (v.round_ties_even() as i32).to_le_bytes()),
        DType::I16 => store(values, out, |v| (v.round_ties_even() as i16).to_le_bytes()),
        DType::I8 => store(values, out, |v| (v.round_ties_even() as i8).to_le_bytes()),
        DType::U64 => store(values, out, |v| (v.round_ties_even() as u64).to_le_bytes()),
        DType::U32 => store(values, out, |v| (v.round_ties_even() as u32).to_le_bytes()),
        DType::U16 => store(values, out, |v| (v.round_ties_even() as u16).to_le_bytes()),
        DType::U8 => store(values, out, |v| [v.round_ties_even() as u8]),
        DType::Bool => store(values, out, |v| [u8::from(v != 0.0)]),
        DType::Q4_0 => pack::<gguf::Q4_0>(values, out),
        DType::Q4_1 => pack::<gguf::Q4_1>(values, out),
        DType::Q5_0 => pack::<gguf::Q5_0>(values, out),
        DType::Q5_1 => pack::<gguf::Q5_1>(values, out),
        DType::Q8_0 => pack::<gguf::Q8_0>(values, out),
        DType::Q4K => pack::<gguf::Q4K>(values, out),
        DType::Q6K => pack::<gguf::Q6K>(values, out),
    }
    Ok(())
}

fn check(dtype: DType, found: usize, values: usize) -> Result<(), Error> {
    match dtype.row_bytes(values) {
        None => Err(Error::RaggedRow { dtype, values }),
        Some(expected) if expected != found => Err(Error::RowBytes { dtype, values, expected, found }),
        Some(_) => Ok(()),
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    for (o, &b) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *o = value(b);
    }
}

fn store<const N: usize>(values: &[f32], out: &mut [u8], bytes: impl Fn(f32) -> [u8; N]) {
    for (&v, o) in values.iter().zip(out.as_chunks_mut::<N>().0) {
        *o = bytes(v);
    }
}

fn blocks<F: gguf::BlockFormat>(bytes: &[u8], out: &mut [f32]) {
    for (b, o) in bytes.chunks_exact(F::BYTES).zip(out.chunks_exact_mut(F::LEN)) {
        F::decode(b, o);
    }
}

fn pack<F: gguf::BlockFormat>(values: &[f32], out: &mut [u8]) {
    for (v, b) in values.chunks_exact(F::LEN).zip(out.chunks_exact_mut(F::BYTES)) {
        F::encode(v, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(dtype: DType, values: &[f32]) -> Vec<f32> {
        let mut bytes = vec![0; dtype.row_bytes(values.len()).unwrap()];
        quantize_row(dtype, values, &mut bytes).unwrap();
        let mut back = vec![0.0; values.len()];
        dequantize_row(dtype, &bytes, &mut back).unwrap();
        back
    }

    #[test]
    fn small_whole_numbers_survive_every_plain_type() {
        let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
        for dtype in DType::ALL.into_iter().filter(|d| !d.is_quantized() && *d != DType::Bool) {
            assert_eq!(round_trip(dtype, &values), values, "{dtype}");
        }
        assert_eq!(round_trip(DType::Bool, &[0.0, 2.0, -1.0]), [0.0, 1.0, 1.0]);
    }

    #[test]
    fn rounds_to_nearest_even_in_bf16() {
        // Two values half way between neighbours: the even one wins.
        assert_eq!(
            round_trip(DType::Bf16, &[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0]),
            [1.0, 1.0 + 4.0 / 256.0]
        );
    }

    #[test]
    fn says_what_is_wrong_with_a_row() {
        let mut out = [0.0; 33];
        assert_eq!(
            dequantize_row(DType::Q4_0, &[0; 18], &mut out).unwrap_err().to_string(),
            "a q4_0 row holds a multiple of 32 values, not 33; pad the row or store it in another format"
        );
        assert_eq!(
            dequantize_row(DType::Q4_0, &[0; 17], &mut out[..32]).unwrap_err().to_string(),
            "a q4_0 row of 32 values is 18 bytes, not 17"
        );
        let mut values = [0.5; 32];
        values[7] = f32::NAN;
        assert!(matches!(
            quantize_row(DType::Q5_1, &values, &mut [0; 24]),
            Err(Error::NotFinite { index: 7, .. })
        ));
    }

    proptest! {
        // Half a quantisation step of the coarsest block, plus what rounding the scale to f16 costs.
        #[test]
        fn block_formats_stay_within_a_step(seed in 0u64..1000, scale in 1e-3f32..1e3) {
            let values = crate::philox::Stream::new(seed, crate::philox::Tag::Data, 0, 0)
                .uniforms(512).into_iter().map(|u| (u - 0.5) * scale).collect::<Vec<_>>();
            for (dtype, steps) in [
                (DType::Q4_0, 16.0), (DType::Q4_1, 15.0), (DType::Q5_0, 32.0), (DType::Q5_1, 31.0),
                (DType::Q8_0, 254.0), (DType::Q4K, 15.0), (DType::Q6K, 64.0),
            ] {
                let back = round_trip(dtype, &values);
                // The signed formats put the extreme value on a code; the one on the other side may saturate by
                // half a step more. Two-level scales cost a 63rd or a 127th of the range on top.
                let bound = scale * (1.0 / steps + 0.03);
                let worst = values.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                prop_assert!(worst <= bound, "{dtype}: {worst} > {bound}");
            }
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..1024)) {
            for dtype in DType::ALL {
                let n = bytes.len() / dtype.block_bytes();
                let mut out = vec![0.0; n * dtype.block_len()];
                dequantize_row(dtype, &bytes[..n * dtype.block_bytes()], &mut out).unwrap();
            }
        }
    }
}
