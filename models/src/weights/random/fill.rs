//! How each kind of weight is drawn.

use super::normal;
use crate::weights::table::tensor_bytes;
use jet_dsl::block::Block;
use jet_dsl::weight::Role;
use jet_numerics::philox::Stream;
use jet_numerics::{DType, Error, quantize_row};

/// Standard deviation of matrices and embeddings: `initializer_range` of every model jet knows.
const RANGE: f32 = 0.02;
/// Step sizes Δ of Mamba-2 and JetBlock start log-uniformly in this range, and not below the floor.
const STEPS: (f64, f64) = (1e-3, 0.1);
const STEP_FLOOR: f64 = 1e-4;

/// A rule for the values of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fill {
    /// All the same.
    Constant(f32),
    /// Normal, mean 0.
    Normal(f32),
    /// Uniform in ±bound.
    Uniform(f32),
    /// Logarithm of a uniform value in the range: `A_log`.
    LogUniform(f64, f64),
    /// Inverse softplus of a step size: `dt_bias`.
    Step,
}

impl Fill {
    /// The rule for `role`, in `block` where it belongs to one.
    pub(super) fn of(role: Role, block: Option<&Block>) -> Self {
        match role {
            Role::FinalNorm | Role::Norm | Role::GatedNorm | Role::QNorm | Role::KNorm => Fill::Constant(1.0),
            Role::DSkip => Fill::Constant(1.0),
            Role::InProjBias | Role::OutProjBias => Fill::Constant(0.0),
            Role::QBias | Role::KBias | Role::VBias | Role::OBias => Fill::Constant(0.0),
            Role::GateBias | Role::UpBias | Role::DownBias | Role::RouterBias => Fill::Constant(0.0),
            // Jet-Nemotron: the kernel generator starts as a static convolution.
            Role::GeneratorW1 | Role::GeneratorW2 => Fill::Constant(0.0),
            Role::GeneratorBias => Fill::Normal(RANGE),
            Role::DtBias => Fill::Step,
            Role::ALog => match block {
                Some(Block::Mamba2(_)) => Fill::LogUniform(1.0, 16.0),
                _ => Fill::LogUniform(0.0, 16.0),
            },
            // The usual bound of a depthwise convolution: one over the root of its taps.
            Role::ConvWeight | Role::ConvBias => match block {
                Some(Block::Mamba2(m)) => Fill::Uniform((m.conv.max(1) as f32).sqrt().recip()),
                _ => Fill::Uniform(0.5),
            },
            _ => Fill::Normal(RANGE),
        }
    }

    /// Fills `out` with the elements `first ..`.
    fn fill(self, stream: &Stream, first: u64, out: &mut [f32]) {
        match self {
            Fill::Constant(value) => out.fill(value),
            Fill::Normal(std) => normal::fill(stream, first, std, out),
            Fill::Uniform(bound) => {
                stream.uniforms_at(first, out);
                out.iter_mut().for_each(|v| *v = (*v * 2.0 - 1.0) * bound);
            }
            Fill::LogUniform(lo, hi) => {
                stream.uniforms_at(first, out);
                out.iter_mut().for_each(|v| *v = (lo + (hi - lo) * f64::from(*v)).ln() as f32);
            }
            Fill::Step => {
                stream.uniforms_at(first, out);
                let (lo, hi) = (STEPS.0.ln(), STEPS.1.ln());
                out.iter_mut().for_each(|v| {
                    let dt = (lo + (hi - lo) * f64::from(*v)).exp().max(STEP_FLOOR);
                    // The inverse of softplus, in the form that keeps small values.
                    *v = (dt + (-(-dt).exp_m1()).ln()) as f32;
                });
            }
        }
    }
}

/// Values drawn at a time: a multiple of every block length, and of the eight values a Philox block gives.
const PIECE: usize = 1 << 12;

/// Draws a tensor into its stored bytes, on all cores where it is large.
pub(super) fn draw(fill: Fill, stream: &Stream, dtype: DType, shape: &[u64]) -> Result<Vec<u8>, Error> {
    let values = shape.iter().product::<u64>() as usize;
    let ragged = Error::RaggedRow { dtype, values: shape.last().map_or(1, |&c| c as usize) };
    let size = tensor_bytes(dtype, shape).ok_or(ragged)?;
    let mut bytes = vec![0; size];
    if fill == Fill::Constant(0.0) && !dtype.is_quantized() {
        return Ok(bytes);
    }
    // Rows are whole blocks, so pieces may cross them.
    let piece_bytes = dtype.row_bytes(PIECE).expect("a piece is whole blocks of every format");
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    let pieces = size.div_ceil(piece_bytes);
    let share = pieces.div_ceil(if values < 1 << 18 { 1 } else { workers }).max(1);
    let worker = |first: usize, out: &mut [u8]| -> Result<(), Error> {
        let mut scratch = vec![0.0f32; PIECE];
        for (i, out) in out.chunks_mut(piece_bytes).enumerate() {
            let n = out.len() / dtype.block_bytes() * dtype.block_len();
            fill.fill(stream, ((first + i) * PIECE) as u64, &mut scratch[..n]);
            quantize_row(dtype, &scratch[..n], out)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let shares = bytes.chunks_mut(share * piece_bytes).enumerate();
        let threads: Vec<_> = shares.map(|(i, out)| scope.spawn(move || worker(i * share, out))).collect();
        threads.into_iter().try_for_each(|t| t.join().expect("drawing numbers does not panic"))
    })?;
    Ok(bytes)
}
