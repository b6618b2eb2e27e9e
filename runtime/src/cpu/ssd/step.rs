//! The token loop: one fused pass over the state per token.

use super::HeadPiece;
use super::delta::Deltas;
use crate::cpu::scan::{LANES, block_of, load, most_strips, registers, split_mut, store, widths};
use crate::cpu::simd::Simd;

/// All tokens of a piece for one head. `columns` channels at a time keep their states near while the tokens
/// go by.
#[inline(always)]
pub(super) fn tokens<S: Simd>(s: S, columns: usize, deltas: &Deltas<'_>, mut piece: HeadPiece<'_>) {
    let strips = piece.x.cols().div_ceil(LANES);
    let most = (columns / LANES).min(const { most_strips(registers::<S>()) });
    for (first, count) in widths(strips, most) {
        if const { registers::<S>() == 1 } {
            match count {
                1 => block::<S, 1>(s, first, deltas, &mut piece),
                2 => block::<S, 2>(s, first, deltas, &mut piece),
                3 => block::<S, 3>(s, first, deltas, &mut piece),
                _ => block::<S, 4>(s, first, deltas, &mut piece),
            }
        } else if const { registers::<S>() == 2 } {
            match count {
                1 => block::<S, 1>(s, first, deltas, &mut piece),
                _ => block::<S, 2>(s, first, deltas, &mut piece),
            }
        } else {
            block::<S, 1>(s, first, deltas, &mut piece);
        }
    }
}

/// `S ← a S + (Δ x) B`, `y = C S + D x` for `N` strips.
#[inline(always)]
fn block<S: Simd, const N: usize>(s: S, first: usize, deltas: &Deltas<'_>, piece: &mut HeadPiece<'_>) {
    let (p, rows) = (piece.x.cols(), piece.b.cols());
    let mut strips = split_mut::<N>(block_of(piece.state, rows, first, N), rows);
    for strip in &mut strips {
        *strip = &mut std::mem::take(strip)[..rows];
    }
    for t in 0..deltas.tokens {
        let (b, c) = (&piece.b.row(t)[..rows], &piece.c.row(t)[..rows]);
        let (decay, delta) = (s.splat(deltas.decay[t]), s.splat(deltas.delta[t]));
        let mut x = [s.splat(0.0); N];
        let mut y = [s.splat(0.0); N];
        for j in 0..N {
            let at = (first + j) * LANES;
            let v = load(s, &piece.x.row(t)[at..(at + LANES).min(p)]);
            x[j] = s.mul(delta, v);
            y[j] = s.mul(s.splat(piece.d), v);
        }
        for r in 0..rows {
            let (bv, cv) = (s.splat(b[r]), s.splat(c[r]));
            // All loads, then all stores: strips may lie a multiple of 4 KB apart, and a load right behind a
            // store to an address with the same low bits waits for it.
            let mut v = [s.splat(0.0); N];
            for j in 0..N {
                v[j] = s.mul(decay, s.load(&strips[j][r]));
            }
            for j in 0..N {
                v[j] = s.fma(bv, x[j], v[j]);
                y[j] = s.fma(cv, v[j], y[j]);
            }
            for j in 0..N {
                s.store(v[j], &mut strips[j][r]);
            }
        }
        for j in 0..N {
            let at = (first + j) * LANES;
            store(s, y[j], &mut piece.y.row_mut(t)[at..(at + LANES).min(p)]);
        }
    }
}
