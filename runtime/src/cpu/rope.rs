//! Rotary position embedding, half-split (Su et al., arXiv:2104.09864): element `i` of a head pairs with
//! `i + d/2`, and the pair turns by `position · theta^(-2i/d)`.
//!
//! Angles are float64 products, their sine and cosine are rounded once to float32: float32 angles are off by a
//! hundredth of a turn at position 100,000. [`RopeTable`] keeps the frequencies only and computes the sines of a
//! segment's positions as they come: 32 or 64 pairs a token cost one or two microseconds once for all layers of
//! a model, thousands of times less than the token, where a table over a context of 128K tokens would be 64 MiB
//! that the cache hierarchy does not hold. So there is nothing to grow and nothing to allocate while decoding.

use super::mat::MatMut;
use super::simd::{Isa, Kernel, Simd, dispatch};
use jet_dsl::block::RopeScaling;
use std::f64::consts::TAU;

/// The frequencies of one kind of rotation.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    inv_freq: Vec<f64>,
}

impl RopeTable {
    /// Frequencies for heads of width `d_head` (even) with base `theta`, rescaled by `scaling`.
    pub fn new(theta: f64, d_head: usize, scaling: &RopeScaling) -> Self {
        let pairs = d_head / 2;
        let freq = |i: usize| theta.powf(-2.0 * i as f64 / d_head as f64);
        Self { inv_freq: (0..pairs).map(|i| rescale(freq(i), scaling)).collect() }
    }

    /// One frequency per pair, radians per token.
    pub fn inv_freq(&self) -> &[f64] {
        &self.inv_freq
    }

    /// Width of a head.
    pub fn d_head(&self) -> usize {
        2 * self.inv_freq.len()
    }

    /// Length of the angles of `tokens` tokens.
    pub fn angles_len(&self, tokens: usize) -> usize {
        tokens * self.d_head()
    }

    /// The angles of consecutive positions from `first` on: for each token `d/2` cosines, then `d/2` sines.
    /// `out` has [`Self::angles_len`] values of as many tokens as are wanted.
    pub fn angles(&self, first: usize, out: &mut [f32]) {
        let pairs = self.inv_freq.len();
        for (t, row) in out.chunks_exact_mut(2 * pairs.max(1)).enumerate() {
            let position = (first + t) as f64;
            let (cos, sin) = row.split_at_mut(pairs);
            for ((c, s), f) in cos.iter_mut().zip(sin).zip(&self.inv_freq) {
                let (sin, cos) = (position * f).sin_cos();
                (*c, *s) = (cos as f32, sin as f32);
            }
        }
    }
}

/// A frequency after `scaling`. Llama 3: by its wavelength, long ones are divided, short ones kept, and those
/// between are blended.
fn rescale(freq: f64, scaling: &RopeScaling) -> f64 {
    match *scaling {
        RopeScaling::None => freq,
        RopeScaling::Llama3 { factor, low_freq, high_freq, original_context } => {
            let context = f64::from(original_context);
            let wavelength = TAU / freq;
            if wavelength > context / low_freq {
                freq / factor
            } else if wavelength < context / high_freq {
                freq
            } else {
                let keep = (context / wavelength - low_freq) / (high_freq - low_freq);
                (1.0 - keep) * freq / factor + keep * freq
            }
        }
    }
}

/// Turns every head of every row of `x` `[tokens, heads · d_head]` in place. `angles` holds the rows' angles as
/// [`RopeTable::angles`] writes them; a share of the heads is a range of the columns.
pub fn rotate(isa: Isa, x: MatMut<'_>, d_head: usize, angles: &[f32]) {
    debug_assert!(d_head > 0 && d_head.is_multiple_of(2) && x.cols().is_multiple_of(d_head));
    debug_assert_eq!(angles.len(), x.rows() * d_head, "one row of angles per token");
    dispatch(isa, Rotate { x, d_head, angles });
}

struct Rotate<'a> {
    x: MatMut<'a>,
    d_head: usize,
    angles: &'a [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let pairs = self.d_head / 2;
        for (r, angles) in self.angles.chunks_exact(self.d_head).enumerate() {
            let (cos, sin) = angles.split_at(pairs);
            for head in self.x.row_mut(r).chunks_exact_mut(self.d_head) {
                let (a, b) = head.split_at_mut(pairs);
                turn(s, a, b, cos, sin);
            }
        }
    }
}

/// `(a, b) = (a·cos - b·sin, b·cos + a·sin)`; all of one length.
#[inline(always)]
fn turn<S: Simd>(s: S, a: &mut [f32], b: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (a, a_rest) = a.as_chunks_mut::<16>();
    let (b, b_rest) = b.as_chunks_mut::<16>();
    let (cos, cos_rest) = cos.as_chunks::<16>();
    let (sin, sin_rest) = sin.as_chunks::<16>();
    for (((a, b), c), n) in a.iter_mut().zip(b).zip(cos).zip(sin) {
        let (x, y, c, n) = (s.load(a), s.load(b), s.load(c), s.load(n));
        s.store(s.sub(s.mul(x, c), s.mul(y, n)), a);
        s.store(s.fma(x, n, s.mul(y, c)), b);
    }
    for (((a, b), c), n) in a_rest.iter_mut().zip(b_rest).zip(cos_rest).zip(sin_rest) {
        let (x, y) = (*a, *b);
        *a = x * c - y * n;
        *b = y * c + x * n;
    }
}

/// The rotation in plain float64.
pub mod reference {
    /// One head, `x` `[d]`, turned by `position`; `inv_freq` `[d/2]`.
    pub fn rotate(x: &[f64], position: f64, inv_freq: &[f64]) -> Vec<f64> {
        let half = x.len() / 2;
        (0..x.len())
            .map(|i| {
                let angle = position * inv_freq[i % half];
                let (first, second) = (x[i % half], x[i % half + half]);
                if i < half {
                    first * angle.cos() - second * angle.sin()
                } else {
                    second * angle.cos() + first * angle.sin()
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::golden::{self, Golden, wide};

    fn scaling(file: &Golden) -> RopeScaling {
        if file.meta("factor").is_none() {
            return RopeScaling::None;
        }
        RopeScaling::Llama3 {
            factor: file.number("factor"),
            low_freq: file.number("low_freq_factor"),
            high_freq: file.number("high_freq_factor"),
            original_context: file.number("original_max_position_embeddings") as u32,
        }
    }

    #[test]
    fn tables_meet_the_golden_files() {
        let files = golden::folder("attention", "rope_");
        assert!(files.iter().any(|f| f.meta("factor").is_some()));
        for file in &files {
            let d = file.number("dim") as usize;
            let table = RopeTable::new(file.number("theta"), d, &scaling(file));
            let tol = file.number("tol_abs");
            for (got, want) in table.inv_freq().iter().zip(file.f64("inv_freq")) {
                assert!(((got - want) / want).abs() < 1e-12, "{}: {got} {want}", file.name);
            }
            let (cos, sin) = (file.f64("cos"), file.f64("sin"));
            for (t, position) in file.i64("positions").iter().enumerate() {
                let mut row = vec![0.0; d];
                table.angles(*position as usize, &mut row);
                for i in 0..d / 2 {
                    let at = t * d / 2 + i;
                    assert!((f64::from(row[i]) - cos[at]).abs() <= tol, "{}: cos at {position}", file.name);
                    assert!(
                        (f64::from(row[d / 2 + i]) - sin[at]).abs() <= tol,
                        "{}: sin at {position}",
                        file.name
                    );
                }
            }
        }
    }

    #[test]
    fn rotated_queries_and_keys_meet_the_golden_files() {
        let files: Vec<Golden> =
            golden::folder("attention", "attn_").into_iter().filter(|f| f.meta("theta").is_some()).collect();
        assert!(files.len() >= 5);
        for file in &files {
            for (name, positions) in [("q", "q_positions"), ("k", "k_positions")] {
                let shape = file.shape(name);
                let (batch, tokens, heads, d) = (shape[0], shape[1], shape[2], shape[3]);
                let table = RopeTable::new(file.number("theta"), d, &RopeScaling::None);
                let positions = file.i64(positions);
                let mut angles = vec![0.0; table.angles_len(tokens)];
                for (row, position) in angles.chunks_mut(d).zip(&positions) {
                    table.angles(*position as usize, row);
                }
                let (given, want) = (file.f32(name), file.f64(&format!("{name}_rot")));
                for isa in Isa::all_available() {
                    let mut x = given.clone();
                    for sequence in x.chunks_mut(tokens * heads * d).take(batch) {
                        rotate(isa, MatMut::new(sequence, tokens, heads * d), d, &angles);
                    }
                    for (got, want) in x.iter().zip(&want) {
                        assert!((f64::from(*got) - want).abs() <= 1e-5, "{} {name} on {isa:?}", file.name);
                    }
                }
            }
        }
    }

    #[test]
    fn every_width_and_share_agrees_with_the_reference() {
        for isa in Isa::all_available() {
            for d in [2, 8, 20, 24, 32, 64, 80, 96, 128] {
                let (tokens, heads, first) = (3, 4, 70_000);
                let table = RopeTable::new(1e4, d, &RopeScaling::None);
                let x = golden::noise(d as u64, tokens * heads * d);
                let mut got = x.clone();
                let mut angles = vec![0.0; table.angles_len(tokens)];
                table.angles(first, &mut angles);
                // Only the second half of the heads is this share's.
                let mut view = MatMut::new(&mut got, tokens, heads * d);
                rotate(isa, view.cols_range(2 * d..4 * d), d, &angles);
                for t in 0..tokens {
                    for h in 0..heads {
                        let at = (t * heads + h) * d..(t * heads + h + 1) * d;
                        let mut want = wide(&x[at.clone()]);
                        if h >= 2 {
                            want = reference::rotate(&want, (first + t) as f64, table.inv_freq());
                        }
                        for (g, w) in got[at].iter().zip(want) {
                            assert!((f64::from(*g) - w).abs() < 1e-6, "{isa:?} width {d}: {g} is not {w}");
                        }
                    }
                }
            }
        }
    }
}
