//! The strip layout of recurrent states.
//!
//! A state is a matrix `[rows, columns]` whose columns are independent of each other, so vectors run over
//! columns. It is stored strip by strip: 16 columns, all rows, 64 bytes a row; the last strip is padded with
//! zeros. Any run of strips is one contiguous piece (a worker's share, or a block that is to stay in the
//! first cache), which rows of the dense matrix are not: at a power-of-two stride they would fight for the
//! same sets.

use super::{LANES, padded};

/// Floats of a state `[rows, cols]` in strips.
pub(in crate::cpu) const fn strips_len(rows: usize, cols: usize) -> usize {
    rows * padded(cols)
}

/// Where element `(r, c)` of a state with `rows` rows lies.
#[inline(always)]
fn at(rows: usize, r: usize, c: usize) -> usize {
    (c / LANES * rows + r) * LANES + c % LANES
}

/// Fills `strips` from a dense matrix read by `dense(row, column)`; padding becomes zero.
pub(in crate::cpu) fn to_strips(
    rows: usize,
    cols: usize,
    strips: &mut [f32],
    dense: impl Fn(usize, usize) -> f32,
) {
    assert_eq!(strips.len(), strips_len(rows, cols), "the state has the length its sizes give");
    strips.fill(0.0);
    for r in 0..rows {
        for c in 0..cols {
            strips[at(rows, r, c)] = dense(r, c);
        }
    }
}

/// Hands every element of `strips` to `dense(row, column, value)`.
pub(in crate::cpu) fn from_strips(
    rows: usize,
    cols: usize,
    strips: &[f32],
    mut dense: impl FnMut(usize, usize, f32),
) {
    assert_eq!(strips.len(), strips_len(rows, cols), "the state has the length its sizes give");
    for r in 0..rows {
        for c in 0..cols {
            dense(r, c, strips[at(rows, r, c)]);
        }
    }
}

/// Cuts `strips` strips into blocks of at most `most`, as even as can be: yields `(first strip, strips)`.
pub(in crate::cpu) fn widths(strips: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let blocks = strips.div_ceil(most.max(1));
    (0..blocks).map(move |i| {
        let (from, to) = (i * strips / blocks, (i + 1) * strips / blocks);
        (from, to - from)
    })
}

/// The strips `first..first + count` of a state with `rows` rows.
#[inline(always)]
pub(in crate::cpu) fn block_of(state: &mut [f32], rows: usize, first: usize, count: usize) -> &mut [f32] {
    &mut state[first * rows * LANES..(first + count) * rows * LANES]
}

/// `N` strips of `rows` rows each, side by side in `block`.
#[inline(always)]
pub(in crate::cpu) fn split<const N: usize>(block: &[f32], rows: usize) -> [&[[f32; LANES]]; N] {
    let all = block.as_chunks::<LANES>().0;
    let mut out: [&[[f32; LANES]]; N] = [&[]; N];
    for (j, strip) in out.iter_mut().enumerate() {
        *strip = &all[j * rows..(j + 1) * rows];
    }
    out
}

/// `N` strips of `rows` rows each, to write.
#[inline(always)]
pub(in crate::cpu) fn split_mut<const N: usize>(block: &mut [f32], rows: usize) -> [&mut [[f32; LANES]]; N] {
    let mut rest = block.as_chunks_mut::<LANES>().0;
    std::array::from_fn(|_| {
        let (strip, after) = std::mem::take(&mut rest).split_at_mut(rows);
        rest = after;
        strip
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_hold_every_element_and_zero_beyond() {
        for (rows, cols) in [(1, 1), (3, 16), (5, 24), (7, 64), (2, 33)] {
            let mut s = vec![f32::NAN; strips_len(rows, cols)];
            to_strips(rows, cols, &mut s, |r, c| (r * 100 + c + 1) as f32);
            let mut seen = 0;
            from_strips(rows, cols, &s, |r, c, v| {
                assert_eq!(v, (r * 100 + c + 1) as f32);
                seen += 1;
            });
            assert_eq!(seen, rows * cols);
            assert_eq!(s.iter().filter(|v| **v == 0.0).count(), s.len() - seen);
        }
    }

    #[test]
    fn widths_are_even_and_complete() {
        assert_eq!(widths(5, 4).collect::<Vec<_>>(), [(0, 2), (2, 3)]);
        for strips in 1..40 {
            for most in 1..5 {
                let all: Vec<_> = widths(strips, most).collect();
                assert_eq!(all.iter().map(|w| w.1).sum::<usize>(), strips);
                assert!(all.iter().all(|w| w.1 >= 1 && w.1 <= most));
                assert_eq!(all.len(), strips.div_ceil(most));
            }
        }
    }
}
