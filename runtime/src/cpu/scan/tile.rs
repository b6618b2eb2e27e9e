//! Register tiles: small products whose accumulators never leave the registers.
//!
//! Everything here is `#[inline(always)]` and free of closures over vectors, so that it is compiled for the
//! instruction set of the kernel it is used in.

use super::{LANES, load};
use crate::cpu::mat::Mat;
use crate::cpu::simd::Simd;

/// Machine registers that a vector of 16 lanes takes, by its alignment: one of 64 bytes (there are 32), two
/// of 32 bytes (there are 16), or an array. Tiles are sized by it, so that accumulators stay in registers.
pub(in crate::cpu) const fn registers<S: Simd>() -> usize {
    match align_of::<S::V>() {
        64 => 1,
        32 => 2,
        _ => LANES,
    }
}

/// Strips of a tile for vectors of so many registers.
pub(in crate::cpu) const fn most_strips(registers: usize) -> usize {
    match registers {
        1 => 4,
        2 => 2,
        _ => 1,
    }
}

/// `acc[i][j] += Σ_k a[i][k] · b[j][k]`: rows of `a` are broadcast one value at a time, `b[j][k]` is a
/// vector. The sum runs over the length of the rows of `a`, which all have it; the strips of `b` have at
/// least that many vectors.
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

/// [`mac_rows`] with `b` row by row: `b[k]` holds the `N` vectors of row `k` side by side.
#[inline(always)]
pub(in crate::cpu) fn mac_packed<S: Simd, const M: usize, const N: usize>(
    s: S,
    mut acc: [[S::V; N]; M],
    mut a: [&[f32]; M],
    b: &[[[f32; LANES]; N]],
) -> [[S::V; N]; M] {
    let len = a[0].len();
    for row in &mut a {
        *row = &row[..len];
    }
    for (k, vectors) in b[..len].iter().enumerate() {
        let mut v = [s.splat(0.0); N];
        for j in 0..N {
            v[j] = s.load(&vectors[j]);
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

/// `acc[i][j] += Σ_k a[k][first + i] · b[k][j]`: columns `first..first + M` of `a` are the broadcast side.
/// The sum runs over the rows of `a`.
#[inline(always)]
pub(in crate::cpu) fn mac_columns<S: Simd, const M: usize, const N: usize>(
    s: S,
    mut acc: [[S::V; N]; M],
    a: Mat<'_>,
    first: usize,
    b: &[[[f32; LANES]; N]],
) -> [[S::V; N]; M] {
    for (k, vectors) in b[..a.rows()].iter().enumerate() {
        let row = &a.row(k)[first..first + M];
        let mut v = [s.splat(0.0); N];
        for j in 0..N {
            v[j] = s.load(&vectors[j]);
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
