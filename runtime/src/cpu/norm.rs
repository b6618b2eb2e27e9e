//! RMSNorm over rows, over heads, and with a gate.
//!
//! `y = w · x / sqrt(mean(x²) + eps)` (Zhang and Sennrich, arXiv:1910.07467), statistics in float32 over the
//! lanes, one square root per group.

use super::act::silu_lanes;
use super::mat::{Mat, MatMut};
use super::simd::{Isa, Kernel, Simd, dispatch};
use jet_codegen::op::GateOrder;

/// RMSNorm of each row of `x` `[rows, width]` into `out`, with `weight` `[width]`.
pub fn rms_norm(isa: Isa, x: Mat<'_>, weight: &[f32], eps: f32, out: MatMut<'_>) {
    dispatch(isa, Rows { x, weight, eps, out });
}

/// RMSNorm in place over each group of `weight.len()` columns of each row: of whole rows where the weight is a
/// row long, of each head where it is a head long (q/k norm).
pub fn rms_norm_in_place(isa: Isa, x: MatMut<'_>, weight: &[f32], eps: f32) {
    dispatch(isa, Groups { x, weight, eps });
}

/// `residual = residual + x`, then RMSNorm of each row of it into `out`; all `[rows, width]`.
pub fn add_rms_norm(
    isa: Isa,
    x: Mat<'_>,
    mut residual: MatMut<'_>,
    weight: &[f32],
    eps: f32,
    out: MatMut<'_>,
) {
    super::act::add(isa, x, residual.reborrow());
    rms_norm(isa, residual.as_mat(), weight, eps, out);
}

/// A norm with a gate, in place: `x`, `z` `[rows, width]`; groups of `group` columns, which divides the width.
///
/// `GateFirst` (Mamba-2): `norm(x · silu(z))`; `NormFirst` (JetBlock): `norm(x) · silu(z)`. `weight` has one
/// value per column, or `group` values that all groups share.
pub fn gated_rms_norm(
    isa: Isa,
    order: GateOrder,
    x: MatMut<'_>,
    z: Mat<'_>,
    group: usize,
    weight: &[f32],
    eps: f32,
) {
    debug_assert!(group > 0 && x.cols().is_multiple_of(group), "groups of {group} in {} columns", x.cols());
    debug_assert!(
        weight.len() == x.cols() || weight.len() == group,
        "a weight per column or per group's column"
    );
    dispatch(isa, GatedGroups { order, x, z, group, weight, eps });
}

/// Sum of squares, in four vectors so that the additions overlap.
#[inline(always)]
fn sum_of_squares<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut acc = [s.splat(0.0); 4];
    let (whole, rest) = x.as_chunks::<64>();
    for x in whole {
        let (x, _) = x.as_chunks::<16>();
        for i in 0..4 {
            let v = s.load(&x[i]);
            acc[i] = s.fma(v, v, acc[i]);
        }
    }
    let (whole, rest) = rest.as_chunks::<16>();
    for x in whole {
        let v = s.load(x);
        acc[0] = s.fma(v, v, acc[0]);
    }
    if !rest.is_empty() {
        let v = s.load_part(rest);
        acc[1] = s.fma(v, v, acc[1]);
    }
    s.sum(s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3])))
}

/// `1 / sqrt(mean(x²) + eps)`.
#[inline(always)]
fn inverse_rms<S: Simd>(s: S, x: &[f32], eps: f32) -> f32 {
    1.0 / (sum_of_squares(s, x) / x.len() as f32 + eps).sqrt()
}

/// `x = x · factor · w`.
#[inline(always)]
fn scale_in_place<S: Simd>(s: S, x: &mut [f32], factor: f32, weight: &[f32]) {
    let f = s.splat(factor);
    let (x, x_rest) = x.as_chunks_mut::<16>();
    let (w, w_rest) = weight.as_chunks::<16>();
    for (x, w) in x.iter_mut().zip(w) {
        s.store(s.mul(s.mul(s.load(x), f), s.load(w)), x);
    }
    for (x, w) in x_rest.iter_mut().zip(w_rest) {
        *x = *x * factor * w;
    }
}

/// `x = x · silu(z)`.
#[inline(always)]
fn gate_in_place<S: Simd>(s: S, x: &mut [f32], z: &[f32]) {
    let (x, x_rest) = x.as_chunks_mut::<16>();
    let (z, z_rest) = z.as_chunks::<16>();
    for (x, z) in x.iter_mut().zip(z) {
        s.store(s.mul(s.load(x), silu_lanes(s, s.load(z))), x);
    }
    if !x_rest.is_empty() {
        s.store_part(s.mul(s.load_part(x_rest), silu_lanes(s, s.load_part(z_rest))), x_rest);
    }
}

struct Rows<'a> {
    x: Mat<'a>,
    weight: &'a [f32],
    eps: f32,
    out: MatMut<'a>,
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for r in 0..self.out.rows() {
            let (x, out) = (self.x.row(r), self.out.row_mut(r));
            let factor = inverse_rms(s, x, self.eps);
            let f = s.splat(factor);
            let (whole, rest) = out.as_chunks_mut::<16>();
            let (xs, x_rest) = x.as_chunks::<16>();
            let (ws, w_rest) = self.weight.as_chunks::<16>();
            for ((o, x), w) in whole.iter_mut().zip(xs).zip(ws) {
                s.store(s.mul(s.mul(s.load(x), f), s.load(w)), o);
            }
            for ((o, x), w) in rest.iter_mut().zip(x_rest).zip(w_rest) {
                *o = x * factor * w;
            }
        }
    }
}

struct Groups<'a> {
    x: MatMut<'a>,
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for Groups<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for r in 0..self.x.rows() {
            for group in self.x.row_mut(r).chunks_exact_mut(self.weight.len().max(1)) {
                let factor = inverse_rms(s, group, self.eps);
                scale_in_place(s, group, factor, self.weight);
            }
        }
    }
}

struct GatedGroups<'a> {
    order: GateOrder,
    x: MatMut<'a>,
    z: Mat<'a>,
    group: usize,
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for GatedGroups<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let shared = self.weight.len() == self.group;
        for r in 0..self.x.rows() {
            let z = self.z.row(r).chunks_exact(self.group);
            for (g, (x, z)) in self.x.row_mut(r).chunks_exact_mut(self.group).zip(z).enumerate() {
                let first = if shared { 0 } else { g * self.group };
                let weight = &self.weight[first..first + self.group];
                if self.order == GateOrder::GateFirst {
                    gate_in_place(s, x, z);
                }
                let factor = inverse_rms(s, x, self.eps);
                scale_in_place(s, x, factor, weight);
                if self.order == GateOrder::NormFirst {
                    gate_in_place(s, x, z);
                }
            }
        }
    }
}

/// The norms in plain float64, one row at a time.
pub mod reference {
    use jet_codegen::op::GateOrder;

    /// RMSNorm over groups of `group` columns; `weight` as long as the row or as a group.
    pub fn rms_norm(x: &[f64], group: usize, weight: &[f32], eps: f64) -> Vec<f64> {
        let mut out = Vec::with_capacity(x.len());
        for (i, value) in x.iter().enumerate() {
            let start = i / group * group;
            let mean = x[start..start + group].iter().map(|v| v * v).sum::<f64>() / group as f64;
            out.push(value / (mean + eps).sqrt() * f64::from(weight[i % weight.len()]));
        }
        out
    }

    /// The gated norm in either order.
    pub fn gated(order: GateOrder, x: &[f64], z: &[f64], group: usize, weight: &[f32], eps: f64) -> Vec<f64> {
        let gate =
            |x: &[f64]| -> Vec<f64> { x.iter().zip(z).map(|(x, z)| x * z / (1.0 + (-z).exp())).collect() };
        match order {
            GateOrder::GateFirst => rms_norm(&gate(x), group, weight, eps),
            GateOrder::NormFirst => gate(&rms_norm(x, group, weight, eps)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::golden::{self, wide};
    use proptest::prelude::*;

    fn assert_close(got: &[f32], want: &[f64], tol: f64, what: &str) {
        assert_eq!(got.len(), want.len());
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((f64::from(*g) - w).abs() <= tol * (1.0 + w.abs()), "{what}[{i}]: {g} is not {w}");
        }
    }

    proptest! {
        #[test]
        fn rows_heads_and_gates_agree_with_the_reference(
            rows in 1usize..4, groups in 1usize..5, group in 1usize..150, shared: bool, seed in 0u64..1000,
        ) {
            let cols = groups * group;
            let x = golden::noise(seed, rows * cols);
            let z = golden::noise(seed + 1, rows * cols);
            let row_weight = golden::noise(seed + 2, cols);
            let group_weight = &row_weight[..group];
            let eps = 1e-5f32;
            for isa in Isa::all_available() {
                let mut out = vec![0.0; x.len()];
                rms_norm(isa, Mat::new(&x, rows, cols), &row_weight, eps, MatMut::new(&mut out, rows, cols));
                let mut heads = x.clone();
                rms_norm_in_place(isa, MatMut::new(&mut heads, rows, cols), group_weight, eps);
                let weight = if shared { group_weight } else { &row_weight[..] };
                for order in [GateOrder::GateFirst, GateOrder::NormFirst] {
                    let mut gated = x.clone();
                    let view = MatMut::new(&mut gated, rows, cols);
                    gated_rms_norm(isa, order, view, Mat::new(&z, rows, cols), group, weight, eps);
                    for r in 0..rows {
                        let at = r * cols..(r + 1) * cols;
                        let (x, z) = (wide(&x[at.clone()]), wide(&z[at.clone()]));
                        let want = reference::gated(order, &x, &z, group, weight, f64::from(eps));
                        assert_close(&gated[at], &want, 3e-6, &format!("{isa:?} {order:?}"));
                    }
                }
                for r in 0..rows {
                    let at = r * cols..(r + 1) * cols;
                    let row = wide(&x[at.clone()]);
                    let want = reference::rms_norm(&row, cols, &row_weight, f64::from(eps));
                    assert_close(&out[at.clone()], &want, 3e-6, &format!("{isa:?} rows"));
                    let want = reference::rms_norm(&row, group, group_weight, f64::from(eps));
                    assert_close(&heads[at], &want, 3e-6, &format!("{isa:?} heads"));
                }
            }
        }
    }

    #[test]
    fn the_residual_is_added_before_the_norm() {
        let (x, r) = (golden::noise(1, 40), golden::noise(2, 40));
        let weight = golden::noise(3, 20);
        let mut residual = r.clone();
        let mut out = vec![0.0; 40];
        let isa = Isa::detect();
        let view = MatMut::new(&mut residual, 2, 20);
        add_rms_norm(isa, Mat::new(&x, 2, 20), view, &weight, 1e-6, MatMut::new(&mut out, 2, 20));
        assert!((0..40).all(|i| residual[i] == r[i] + x[i]));
        let want = reference::rms_norm(&wide(&residual[20..]), 20, &weight, 1e-6);
        assert_close(&out[20..], &want, 3e-6, "second row");
    }

    #[test]
    fn a_row_of_zeros_is_zero_and_not_a_number_stays() {
        for isa in Isa::all_available() {
            let mut x = vec![0.0; 48];
            x[40] = f32::NAN;
            rms_norm_in_place(isa, MatMut::new(&mut x, 2, 24), &[1.0; 24], 1e-6);
            assert!(x[..24].iter().all(|v| *v == 0.0), "{isa:?}");
            assert!(x[24..].iter().all(|v| v.is_nan()), "{isa:?}");
        }
    }

    #[test]
    fn gated_norm_meets_the_golden_files() {
        let files = golden::folder("mamba2", "norm_");
        assert!(!files.is_empty());
        for file in files {
            let (rows, cols) = (file.shape("y")[0], file.shape("y")[1]);
            let group = cols / file.number("groups") as usize;
            let tol = file.number("tol_abs");
            for isa in Isa::all_available() {
                let mut y = file.f32("y");
                let view = MatMut::new(&mut y, rows, cols);
                let z = file.f32("z");
                let eps = file.number("eps") as f32;
                let weight = file.f32("weight");
                gated_rms_norm(
                    isa,
                    GateOrder::GateFirst,
                    view,
                    Mat::new(&z, rows, cols),
                    group,
                    &weight,
                    eps,
                );
                for (got, want) in y.iter().zip(file.f64("out")) {
                    assert!((f64::from(*got) - want).abs() <= tol, "{} on {isa:?}: {got} {want}", file.name);
                }
            }
        }
    }
}
