//! The token loop: one fused pass over the state per token.
//!
//! The rule needs `Sᵀ k` before it can write, so a naive token makes two passes. Here the pass that writes
//! token `t` already takes the products with the key and the query of token `t + 1`: with `u = Sᵀ k` and `w =
//! Sᵀ q` of the state before decay, `e = β (v - a u)` and `o = a w + (k·q) e`, where `a = exp(g)`.

use super::HeadPiece;
use super::rows::Rows;
use crate::cpu::scan::{LANES, block_of, load, most_strips, registers, split_mut, store, widths};
use crate::cpu::simd::Simd;

/// All tokens of a piece for one head. `columns` value columns at a time keep their states near while the
/// tokens go by.
#[inline(always)]
pub(super) fn tokens<S: Simd>(s: S, columns: usize, rows: &mut Rows<'_>, mut piece: HeadPiece<'_>) {
    let strips = piece.v.cols().div_ceil(LANES);
    rows.products(s);
    // Three vectors a strip stay in registers, so pairs of registers leave room for one strip.
    let most = (columns / LANES).min(const { if registers::<S>() == 1 { most_strips(1) } else { 1 } });
    for (first, count) in widths(strips, most) {
        if const { registers::<S>() == 1 } {
            match count {
                1 => block::<S, 1>(s, first, rows, &mut piece),
                2 => block::<S, 2>(s, first, rows, &mut piece),
                3 => block::<S, 3>(s, first, rows, &mut piece),
                _ => block::<S, 4>(s, first, rows, &mut piece),
            }
        } else {
            block::<S, 1>(s, first, rows, &mut piece);
        }
    }
}

/// `N` strips, all tokens.
#[inline(always)]
fn block<S: Simd, const N: usize>(s: S, first: usize, rows: &Rows<'_>, piece: &mut HeadPiece<'_>) {
    let (d_key, width) = (rows.d_key, piece.v.cols());
    let mut strips = split_mut::<N>(block_of(piece.state, d_key, first, N), d_key);
    let (mut u, mut w) = products(s, &strips, rows.k(0), rows.q(0));
    for t in 0..rows.tokens {
        let (decay, beta) = (s.splat(rows.decay[t]), s.splat(rows.beta[t]));
        let qk = s.splat(rows.qk[t]);
        let mut e = [s.splat(0.0); N];
        for j in 0..N {
            let at = (first + j) * LANES;
            let part = at..(at + LANES).min(width);
            let v = load(s, &piece.v.row(t)[part.clone()]);
            e[j] = s.mul(beta, s.sub(v, s.mul(decay, u[j])));
            store(s, s.fma(qk, e[j], s.mul(decay, w[j])), &mut piece.o.row_mut(t)[part]);
        }
        if t + 1 < rows.tokens {
            (u, w) = write_and_read(s, &mut strips, decay, rows.k(t), e, rows.k(t + 1), rows.q(t + 1));
        } else {
            write(s, &mut strips, decay, rows.k(t), e);
        }
    }
}

/// `Sᵀ k` and `Sᵀ q`.
#[inline(always)]
fn products<S: Simd, const N: usize>(
    s: S,
    strips: &[&mut [[f32; LANES]]; N],
    k: &[f32],
    q: &[f32],
) -> ([S::V; N], [S::V; N]) {
    let (mut u, mut w) = ([s.splat(0.0); N], [s.splat(0.0); N]);
    let q = &q[..k.len()];
    let mut state: [&[[f32; LANES]]; N] = [&[]; N];
    for j in 0..N {
        state[j] = &strips[j][..k.len()];
    }
    for r in 0..k.len() {
        let (kv, qv) = (s.splat(k[r]), s.splat(q[r]));
        for j in 0..N {
            let v = s.load(&state[j][r]);
            u[j] = s.fma(kv, v, u[j]);
            w[j] = s.fma(qv, v, w[j]);
        }
    }
    (u, w)
}

/// `S ← a S + k eᵀ`.
#[inline(always)]
fn write<S: Simd, const N: usize>(
    s: S,
    strips: &mut [&mut [[f32; LANES]]; N],
    decay: S::V,
    k: &[f32],
    e: [S::V; N],
) {
    for j in 0..N {
        for (row, k) in strips[j].iter_mut().zip(k) {
            let v = s.fma(s.splat(*k), e[j], s.mul(decay, s.load(row)));
            s.store(v, row);
        }
    }
}

/// [`write`], and the [`products`] of what was written with the next key and query.
#[inline(always)]
fn write_and_read<S: Simd, const N: usize>(
    s: S,
    strips: &mut [&mut [[f32; LANES]]; N],
    decay: S::V,
    k: &[f32],
    e: [S::V; N],
    next_k: &[f32],
    next_q: &[f32],
) -> ([S::V; N], [S::V; N]) {
    let (mut u, mut w) = ([s.splat(0.0); N], [s.splat(0.0); N]);
    let (next_k, next_q) = (&next_k[..k.len()], &next_q[..k.len()]);
    for strip in strips.iter_mut() {
        *strip = &mut std::mem::take(strip)[..k.len()];
    }
    for r in 0..k.len() {
        let (kv, next_kv, next_qv) = (s.splat(k[r]), s.splat(next_k[r]), s.splat(next_q[r]));
        // All loads, then all stores: strips may lie a multiple of 4 KB apart, and a load right behind a
        // store to an address with the same low bits waits for it.
        let mut v = [s.splat(0.0); N];
        for j in 0..N {
            v[j] = s.mul(decay, s.load(&strips[j][r]));
        }
        for j in 0..N {
            v[j] = s.fma(kv, e[j], v[j]);
            u[j] = s.fma(next_kv, v[j], u[j]);
            w[j] = s.fma(next_qv, v[j], w[j]);
        }
        for j in 0..N {
            s.store(v[j], &mut strips[j][r]);
        }
    }
    (u, w)
}
