//! Rows of an embedding table, whatever it is stored as.

use super::mat::MatMut;
use jet_numerics::{DType, Error, dequantize_row};

/// Row `ids[i]` of a table, widened, to row `i` of `out` `[ids.len(), width]`. `table` holds whole rows of
/// `width` values stored as `dtype`.
///
/// Fails where a row is no whole number of blocks of the format. Every id must be below the number of rows; the
/// caller checks token ids against the vocabulary.
pub fn embed(dtype: DType, table: &[u8], ids: &[u32], mut out: MatMut<'_>) -> Result<(), Error> {
    let width = out.cols();
    // A width of no whole blocks gives rows of no bytes, which `dequantize_row` refuses with the reason.
    let stride = dtype.row_bytes(width).unwrap_or(0);
    for (i, id) in ids.iter().enumerate() {
        let at = *id as usize * stride;
        dequantize_row(dtype, &table[at..at + stride], out.row_mut(i))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::golden::noise;
    use jet_numerics::quantize_row;

    #[test]
    fn rows_of_every_weight_format_come_out_as_they_were_stored() {
        let (rows, width) = (5, 256);
        let values = noise(1, rows * width);
        for dtype in DType::ALL.into_iter().filter(|d| d.is_weight()) {
            let stride = dtype.row_bytes(width).unwrap();
            let mut table = vec![0; rows * stride];
            for (row, bytes) in values.chunks(width).zip(table.chunks_mut(stride)) {
                quantize_row(dtype, row, bytes).unwrap();
            }
            let ids = [4, 0, 4, 2];
            let mut out = vec![0.0; ids.len() * width];
            embed(dtype, &table, &ids, MatMut::new(&mut out, ids.len(), width)).unwrap();
            for (id, got) in ids.iter().zip(out.chunks(width)) {
                let want = &values[*id as usize * width..][..width];
                let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
                let allowed = if dtype.is_quantized() { 0.3 } else { 0.01 };
                assert!(worst < allowed, "{dtype}: {worst}");
            }
            assert_eq!(out[..width], out[2 * width..3 * width]);
        }
    }

    #[test]
    fn a_width_of_no_whole_blocks_is_refused() {
        let mut out = [0.0; 20];
        assert!(embed(DType::Q4_0, &[0; 18], &[0], MatMut::new(&mut out, 1, 20)).is_err());
    }
}
