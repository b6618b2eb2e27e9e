//! States between their layout on the device and the declared one.

use jet_codegen::program::StateShape;

/// From `[columns, channels]` to `[channels, columns]`, or back with the two exchanged.
pub(super) fn transposed(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|i| values[i % rows * cols + i / rows]).collect()
}

/// Keys (or values) of the `tokens` last tokens, oldest first, `[tokens, kv_heads, d_head]`, from a slot
/// `[kv_heads, ring, d_head]` in which the token that is `t` after the first lies at place `t mod ring`.
pub(super) fn unrolled(values: &[f32], shape: [usize; 3], len: usize, tokens: usize) -> Vec<f32> {
    let [kv_heads, ring, d] = shape;
    let mut out = Vec::with_capacity(tokens * kv_heads * d);
    for t in len - tokens..len {
        for h in 0..kv_heads {
            let at = (h * ring + t % ring) * d;
            out.extend_from_slice(&values[at..at + d]);
        }
    }
    out
}

/// Where the heads of the last tokens of `len` lie in a slot, the inverse of [`unrolled`]: first element and values.
pub(super) fn rolled(
    values: &[f32],
    [kv_heads, ring, d]: [usize; 3],
    len: usize,
) -> impl Iterator<Item = (usize, &[f32])> {
    let first = len - values.len() / (kv_heads * d).max(1);
    values.chunks(d.max(1)).enumerate().map(move |(i, head)| {
        let (t, h) = (first + i / kv_heads, i % kv_heads);
        ((h * ring + t % ring) * d, head)
    })
}

/// Tokens that a KV cache still holds of `len`.
pub(super) fn held(shape: StateShape, len: usize) -> usize {
    match shape {
        StateShape::Kv { window: Some(w), .. } => len.min(w),
        _ => len,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposition_and_its_inverse_are_nothing() {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let t = transposed(&values, 3, 4);
        assert_eq!(t[..3], [0.0, 4.0, 8.0]);
        assert_eq!(transposed(&t, 4, 3), values);
    }

    #[test]
    fn a_ring_is_unrolled_oldest_first() {
        // Two heads, a ring of three, one value a head: token t of head h is 10 h + t, five tokens have come.
        let ring = |h: f32| [10.0 * h + 3.0, 10.0 * h + 4.0, 10.0 * h + 2.0];
        let slot: Vec<f32> = [ring(0.0), ring(1.0)].concat();
        let line = [2.0, 12.0, 3.0, 13.0, 4.0, 14.0];
        assert_eq!(unrolled(&slot, [2, 3, 1], 5, 3), line);
        let mut again = vec![0.0; 6];
        rolled(&line, [2, 3, 1], 5).for_each(|(at, head)| again[at] = head[0]);
        assert_eq!(again, slot, "and back");
    }
}
