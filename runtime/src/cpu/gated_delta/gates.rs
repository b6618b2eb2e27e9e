//! JetBlock's two gates (jet_nemotron section 2.3).

use crate::cpu::act::sigmoid_lanes;
use crate::cpu::mat::MatMut;
use crate::cpu::scan::{LANES, SizeError, check_len, load, softplus, store};
use crate::cpu::simd::{Isa, Kernel, Simd, dispatch};

/// The parameters of the decay gate.
#[derive(Clone, Debug)]
pub struct GateWeights {
    /// `-exp(A_log)`.
    a: Vec<f32>,
    dt_bias: Vec<f32>,
}

impl GateWeights {
    /// From a checkpoint's `A_log` and `dt_bias`, each `[heads]`.
    ///
    /// # Errors
    /// A tensor that does not have one value a head.
    pub fn new(heads: usize, a_log: &[f32], dt_bias: &[f32]) -> Result<Self, SizeError> {
        check_len("A_log", a_log.len(), heads)?;
        check_len("dt_bias", dt_bias.len(), heads)?;
        let a = a_log.iter().map(|a| -f64::from(*a).exp() as f32).collect();
        Ok(Self { a, dt_bias: dt_bias.to_vec() })
    }
}

/// In place, `[T, heads]` each: `a` becomes the log decay `g = -exp(A_log) · softplus(a + dt_bias)`, `b` the
/// write strength `beta = sigmoid(b)`.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn jet_gates(isa: Isa, weights: &GateWeights, a: MatMut<'_>, b: MatMut<'_>) {
    assert_eq!((a.rows(), a.cols()), (b.rows(), weights.a.len()), "a is [T, heads]");
    assert_eq!(b.cols(), weights.a.len(), "b is [T, heads]");
    dispatch(isa, Gates { weights, a, b });
}

struct Gates<'a> {
    weights: &'a GateWeights,
    a: MatMut<'a>,
    b: MatMut<'a>,
}

impl Kernel for Gates<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let heads = self.weights.a.len();
        for t in 0..self.a.rows() {
            for at in (0..heads).step_by(LANES) {
                let part = at..(at + LANES).min(heads);
                let a = &mut self.a.row_mut(t)[part.clone()];
                let x = s.add(load(s, a), load(s, &self.weights.dt_bias[part.clone()]));
                store(s, s.mul(load(s, &self.weights.a[part.clone()]), softplus(s, x)), a);
                let b = &mut self.b.row_mut(t)[part];
                store(s, sigmoid_lanes(s, load(s, b)), b);
            }
        }
    }
}
