//! The plain form, which judges the fast ones: rows decoded one by one, dot products in float64.
//!
//! It shares nothing with the kernels but the decoders of the formats, which are tested on their own.

use super::WeightRows;
use jet_numerics::dequantize_row;

/// `x · Wᵀ` for `x` of `[tokens, k]`: `[tokens, n]` in float64, the parts' rows stacked.
///
/// Panics where the parts do not have the bytes of their rows.
pub fn reference(parts: &[WeightRows<'_>], k: usize, x: &[f32]) -> Vec<f64> {
    let n: usize = parts.iter().map(|p| p.rows).sum();
    let tokens = x.len() / k;
    let mut out = vec![0.0; tokens * n];
    let mut weights = vec![0.0; k];
    let mut column = 0;
    for p in parts {
        let stored = p.dtype.row_bytes(k).expect("rows of whole blocks");
        for r in 0..p.rows {
            let at = p.row_map.map_or(r, |map| map[r] as usize) * stored;
            dequantize_row(p.dtype, &p.bytes[at..at + stored], &mut weights).expect("the bytes of a row");
            for t in 0..tokens {
                let row = &x[t * k..(t + 1) * k];
                out[t * n + column] =
                    row.iter().zip(&weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            }
            column += 1;
        }
    }
    out
}
