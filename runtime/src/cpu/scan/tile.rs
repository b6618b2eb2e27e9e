//! Register tiles: small products whose accumulators never leave the registers.
//!
//! Everything here is `#[inline(always)]` and free of closures over vectors, so that it is compiled for the
//! instruction set of the kernel it is used in.

use super::{LANES, load};
use crate::cpu::mat::Mat;
use crate::cpu::simd::Simd;

/// Whether one machine register holds the 16 lanes (there are 32 of those); else tiles must be smaller to stay in
/// registers. A vector that is one register is aligned to its 64 bytes.
#[inline(always)]
pub(in crate::cpu) const fn wide<S: Simd>() -> bool {
    align_of::<S::V>() == 64
}

/// `acc[i][j] += Σ_k a[i][k] · b[j][k]`: rows of `a` are broadcast one value at a time, `b[j][k]` is a vector. The sum
/// runs over the length of the rows of `a`, which all have it; the strips of `b` have at least that many vectors.
#[inline(always)]
pub(in crate::cpu) fn mac_rows<S: Simd, const M: usize, const N: usize>(
    s: S,
    mut acc: [[S::V; N]; M],
    mut a: [&[f32]; M],
    mut b: [&[[f32; LANES]]; N],
) -> [[S::V; N]; M] {
    let len = a[0].len();
    for row in &mut a {
        *row = &row[..len];
    }
    for strip in &mut b {
        *strip = &strip[..len];
    }
    for k in 0..len {
        let mut v = [s.splat(0.0); N];
        for j in 0..N {
            v[j] = s.load(&b[j][k]);
        }
        for i in 0..M {
            let x = s.splat(a[i][k]);
            for j in 0..N {
                acc[i][j] = s.fma(x, v[j], acc[i][j]);
            }
        }
    }
    acc
}

/// Some columns of a matrix, read row by row as the broadcast side of [`mac_cols`].
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Cols<'a> {
    /// The matrix; its rows are summed over.
    pub(in crate::cpu) mat: Mat<'a>,
    /// The first column.
    pub(in crate::cpu) first: usize,
}

/// `acc[i][j] += Σ_k a[k][first + i] · b[j][k]`: the transposed form of [`mac_rows`]. The sum runs over the rows of `a`.
#[inline(always)]
pub(in crate::cpu) fn mac_cols<S: Simd, const M: usize, const N: usize>(
    s: S,
    mut acc: [[S::V; N]; M],
    a: Cols<'_>,
    mut b: [&[[f32; LANES]]; N],
) -> [[S::V; N]; M] {
    let len = a.mat.rows();
    for strip in &mut b {
        *strip = &strip[..len];
    }
    for k in 0..len {
        let row = &a.mat.row(k)[a.first..a.first + M];
        let mut v = [s.splat(0.0); N];
        for j in 0..N {
            v[j] = s.load(&b[j][k]);
        }
        for i in 0..M {
            let x = s.splat(row[i]);
            for j in 0..N {
                acc[i][j] = s.fma(x, v[j], acc[i][j]);
            }
        }
    }
    acc
}

/// The `M × N` scalar products of rows `a` with rows `b`, all of the same length.
#[inline(always)]
pub(in crate::cpu) fn dots<S: Simd, const M: usize, const N: usize>(
    s: S,
    mut a: [&[f32]; M],
    mut b: [&[f32]; N],
) -> [[f32; N]; M] {
    let len = a[0].len();
    for row in &mut a {
        *row = &row[..len];
    }
    for row in &mut b {
        *row = &row[..len];
    }
    let mut acc = [[s.splat(0.0); N]; M];
    for at in (0..len).step_by(LANES) {
        let end = (at + LANES).min(len);
        let mut v = [s.splat(0.0); N];
        for j in 0..N {
            v[j] = load(s, &b[j][at..end]);
        }
        for i in 0..M {
            let x = load(s, &a[i][at..end]);
            for j in 0..N {
                acc[i][j] = s.fma(x, v[j], acc[i][j]);
            }
        }
    }
    let mut out = [[0.0; N]; M];
    for i in 0..M {
        for j in 0..N {
            out[i][j] = s.sum(acc[i][j]);
        }
    }
    out
}
