//! Activations: silu, relu², gelu, sigmoid, softplus, and the gated pairs SwiGLU and GeGLU.
//!
//! The vector forms ([`silu_lanes`] and its kin) are for other kernels to fuse; the matrix forms work on a share
//! of the rows or columns. Not-a-number stays not-a-number everywhere.

use super::mat::{Mat, MatMut};
use super::simd::{Isa, Kernel, Simd, dispatch};
use jet_codegen::op::Unary;
use jet_dsl::block::Act;
use std::marker::PhantomData;

/// `1 / (1 + e^-x)` on lanes.
#[inline(always)]
pub fn sigmoid_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, s.exp(s.sub(s.splat(0.0), x))))
}

/// `x · sigmoid(x)` on lanes.
#[inline(always)]
pub fn silu_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), s.exp(s.sub(s.splat(0.0), x))))
}

/// `max(x, 0)²` on lanes.
#[inline(always)]
pub fn relu2_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    // The second operand of the maximum is the one that passes not-a-number on.
    let x = s.max(s.splat(0.0), x);
    s.mul(x, x)
}

/// GELU in its tanh form on lanes: `x/2 · (1 + tanh(√(2/π)·(x + 0.044715 x³)))` (Hendrycks and Gimpel,
/// arXiv:1606.08415), written with `(1 + tanh u)/2 = sigmoid(2u)`.
#[inline(always)]
pub fn gelu_lanes<S: Simd>(s: S, x: S::V) -> S::V {
    let cube = s.mul(s.mul(x, x), s.splat(0.044_715));
    let inner = s.mul(s.fma(cube, x, x), s.splat(-1.595_769)); // -2·√(2/π)
    s.div(x, s.add(s.splat(1.0), s.exp(inner)))
}

/// `x · sigmoid(x)`.
pub fn silu(x: f32) -> f32 {
    x / (1.0 + (-x).exp())
}

/// `1 / (1 + e^-x)`.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + e^x)` without overflow, and without losing the digits of a small result: `softplus(-17)` is 4.14e-8,
/// not zero (`ln(1 + y)` rounds `1 + y` first, `ln_1p` does not).
pub fn softplus(x: f32) -> f32 {
    // Above zero, ln(1 + e^x) = x + ln(1 + e^-x): the exponential cannot overflow.
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// `x = f(x)` for every element.
pub fn unary_in_place(isa: Isa, f: Unary, x: MatMut<'_>) {
    match f {
        Unary::Silu => dispatch(isa, InPlace::<Silu>(x, PhantomData)),
        Unary::Relu2 => dispatch(isa, InPlace::<Relu2>(x, PhantomData)),
    }
}

/// `out = f(x)` for every element; the two have the same shape.
pub fn unary(isa: Isa, f: Unary, x: Mat<'_>, mut out: MatMut<'_>) {
    copy(x, out.reborrow());
    unary_in_place(isa, f, out);
}

/// `x = sigmoid(x)` for every element.
pub fn sigmoid_in_place(isa: Isa, x: MatMut<'_>) {
    dispatch(isa, InPlace::<Sigmoid>(x, PhantomData));
}

/// `gate = act(gate) · up`; both `[rows, width]`. An `act` without a gate applies to `gate` alone.
pub fn glu_in_place(isa: Isa, act: Act, gate: MatMut<'_>, up: Mat<'_>) {
    match act {
        Act::Swiglu => dispatch(isa, Gated::<Silu>(gate, up, PhantomData)),
        Act::Geglu => dispatch(isa, Gated::<Gelu>(gate, up, PhantomData)),
        Act::Relu2 => dispatch(isa, InPlace::<Relu2>(gate, PhantomData)),
    }
}

/// `out = act(gate) · up`; all `[rows, width]`, `out` apart from the others.
pub fn glu(isa: Isa, act: Act, gate: Mat<'_>, up: Mat<'_>, mut out: MatMut<'_>) {
    copy(gate, out.reborrow());
    glu_in_place(isa, act, out, up);
}

/// `out = out + x`; both `[rows, width]`.
pub fn add(isa: Isa, x: Mat<'_>, out: MatMut<'_>) {
    dispatch(isa, Add(out, x));
}

/// `out = x`.
pub fn copy(x: Mat<'_>, mut out: MatMut<'_>) {
    for r in 0..out.rows() {
        out.row_mut(r).copy_from_slice(x.row(r));
    }
}

/// An elementwise function, so that a loop can be written once for all of them.
trait Map {
    fn map<S: Simd>(s: S, x: S::V) -> S::V;
}

macro_rules! maps {
    ($($name:ident = $f:ident),+) => {$(
        struct $name;
        impl Map for $name {
            #[inline(always)]
            fn map<S: Simd>(s: S, x: S::V) -> S::V {
                $f(s, x)
            }
        }
    )+};
}
maps!(Silu = silu_lanes, Relu2 = relu2_lanes, Gelu = gelu_lanes, Sigmoid = sigmoid_lanes);

struct InPlace<'a, F>(MatMut<'a>, PhantomData<F>);

impl<F: Map> Kernel for InPlace<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for r in 0..self.0.rows() {
            let (whole, rest) = self.0.row_mut(r).as_chunks_mut::<16>();
            for x in whole {
                s.store(F::map(s, s.load(x)), x);
            }
            if !rest.is_empty() {
                s.store_part(F::map(s, s.load_part(rest)), rest);
            }
        }
    }
}

struct Gated<'a, F>(MatMut<'a>, Mat<'a>, PhantomData<F>);

impl<F: Map> Kernel for Gated<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for r in 0..self.0.rows() {
            let (gate, gate_rest) = self.0.row_mut(r).as_chunks_mut::<16>();
            let (up, up_rest) = self.1.row(r).as_chunks::<16>();
            for (g, u) in gate.iter_mut().zip(up) {
                s.store(s.mul(F::map(s, s.load(g)), s.load(u)), g);
            }
            if !gate_rest.is_empty() {
                let v = s.mul(F::map(s, s.load_part(gate_rest)), s.load_part(up_rest));
                s.store_part(v, gate_rest);
            }
        }
    }
}

struct Add<'a>(MatMut<'a>, Mat<'a>);

impl Kernel for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for r in 0..self.0.rows() {
            let (out, out_rest) = self.0.row_mut(r).as_chunks_mut::<16>();
            let (x, x_rest) = self.1.row(r).as_chunks::<16>();
            for (o, x) in out.iter_mut().zip(x) {
                s.store(s.add(s.load(o), s.load(x)), o);
            }
            for (o, x) in out_rest.iter_mut().zip(x_rest) {
                *o += x;
            }
        }
    }
}

/// The activations in plain float64.
pub mod reference {
    /// `x / (1 + e^-x)`.
    pub fn silu(x: f64) -> f64 {
        x / (1.0 + (-x).exp())
    }

    /// `1 / (1 + e^-x)`.
    pub fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// `max(x, 0)²`.
    pub fn relu2(x: f64) -> f64 {
        x.max(0.0).powi(2)
    }

    /// GELU, tanh form.
    pub fn gelu(x: f64) -> f64 {
        0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
    }

    /// `ln(1 + e^x)`.
    pub fn softplus(x: f64) -> f64 {
        if x > 30.0 { x } else { x.exp().ln_1p() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Close relative to the value, or to the rounding of the lanes where it is next to zero.
    fn close(got: f32, want: f64, what: &str) {
        let error = (f64::from(got) - want).abs();
        assert!(error <= 2e-6 * want.abs() + 1e-30, "{what}: {got} is not {want}");
    }

    #[test]
    fn matrix_forms_agree_with_the_reference_for_every_width() {
        for isa in Isa::all_available() {
            for cols in [1, 7, 16, 17, 40] {
                let x: Vec<f32> = (0..3 * cols).map(|i| (i as f32 - cols as f32) * 0.37).collect();
                let up: Vec<f32> = (0..3 * cols).map(|i| 1.5 - i as f32 * 0.11).collect();
                let mut out = vec![0.0; x.len()];
                let run = |f: &dyn Fn(Mat<'_>, MatMut<'_>),
                           want: &dyn Fn(f64, f64) -> f64,
                           out: &mut Vec<f32>| {
                    f(Mat::new(&x, 3, cols), MatMut::new(out, 3, cols));
                    for (i, got) in out.iter().enumerate() {
                        close(*got, want(f64::from(x[i]), f64::from(up[i])), &format!("{isa:?} at {}", x[i]));
                    }
                };
                let up = || Mat::new(&up, 3, cols);
                run(&|x, o| unary(isa, Unary::Silu, x, o), &|x, _| reference::silu(x), &mut out);
                run(&|x, o| unary(isa, Unary::Relu2, x, o), &|x, _| reference::relu2(x), &mut out);
                run(&|x, o| glu(isa, Act::Swiglu, x, up(), o), &|x, u| reference::silu(x) * u, &mut out);
                let gelu = |x: Mat<'_>, mut o: MatMut<'_>| {
                    glu(isa, Act::Geglu, x, up(), o.reborrow());
                };
                gelu(Mat::new(&x, 3, cols), MatMut::new(&mut out, 3, cols));
                for (i, got) in out.iter().enumerate() {
                    // Far below zero the tanh form is a difference of nearly equal numbers in the reference too.
                    let want = reference::gelu(f64::from(x[i])) * f64::from(up().row(i / cols)[i % cols]);
                    assert!(
                        (f64::from(*got) - want).abs() <= 2e-6 * want.abs() + 1e-6,
                        "{isa:?} gelu({})",
                        x[i]
                    );
                }
                let mut sums = x.clone();
                add(isa, up(), MatMut::new(&mut sums, 3, cols));
                assert!((0..x.len()).all(|i| sums[i] == x[i] + up().row(i / cols)[i % cols]));
                let mut gates = x.clone();
                sigmoid_in_place(isa, MatMut::new(&mut gates, 3, cols));
                for (got, x) in gates.iter().zip(&x) {
                    close(*got, reference::sigmoid(f64::from(*x)), "sigmoid");
                }
            }
        }
    }

    #[test]
    fn extreme_operands_neither_overflow_nor_hide_not_a_number() {
        for isa in Isa::all_available() {
            let mut x = [f32::NAN, 3e38, -3e38, -100.0, 100.0, 0.0, -0.0];
            unary_in_place(isa, Unary::Silu, MatMut::new(&mut x, 1, 7));
            assert!(
                x[0].is_nan() && x[1] == 3e38 && x[2].abs() <= 2.0 && x[3].abs() < 1e-30 && x[4] == 100.0
            );
            assert_eq!(x[5], 0.0);
            let mut x = [f32::NAN; 20];
            unary_in_place(isa, Unary::Relu2, MatMut::new(&mut x, 1, 20));
            assert!(x.iter().all(|x| x.is_nan()), "{isa:?}");
            let mut x = [f32::NAN; 20];
            sigmoid_in_place(isa, MatMut::new(&mut x, 1, 20));
            assert!(x.iter().all(|x| x.is_nan()), "{isa:?}");
            let mut x = [f32::NAN; 20];
            glu_in_place(isa, Act::Geglu, MatMut::new(&mut x, 1, 20), Mat::new(&[1.0; 20], 1, 20));
            assert!(x.iter().all(|x| x.is_nan()), "{isa:?}");
        }
        assert!(softplus(f32::NAN).is_nan() && silu(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
        assert_eq!(softplus(1000.0), 1000.0);
        assert_eq!(softplus(-1000.0), 0.0);
    }

    #[test]
    fn softplus_keeps_the_digits_of_small_results() {
        close(softplus(-17.0), reference::softplus(-17.0), "softplus(-17)");
        assert!((softplus(-17.0) - 4.14e-8).abs() < 1e-10);
    }

    proptest! {
        #[test]
        fn scalar_forms_agree_with_the_reference(x in -80.0f32..80.0) {
            close(softplus(x), reference::softplus(f64::from(x)), "softplus");
            close(silu(x), reference::silu(f64::from(x)), "silu");
            close(sigmoid(x), reference::sigmoid(f64::from(x)), "sigmoid");
        }
    }
}
