//! Cases of the matrix products.

use super::{Case, random, weight};
use crate::cpu::matmul::{FEW, NumberPath};
use crate::device::Precision;
use crate::weights::MemoryWeights;
use jet_codegen::op::{Linear, LinearPart, Op, View};
use jet_codegen::program::{Program, Rows};
use jet_codegen::schedule::Problem;
use jet_dsl::weight::Role;

/// Distinct token rows: the rows repeat, so the whole output is compared at the cost of a few reference rows. A prime
/// that divides no tile.
const PERIOD: usize = 5;
/// With few tokens a model streams its weights from memory; so must a benchmark: its copies of one matrix are
/// together larger than the caches.
const STREAM_BYTES: usize = 96 << 20;
/// Copies at most, and for products of many tokens, whose time is arithmetic.
const COPIES: (usize, usize) = (64, 2);

/// Both families.
pub(super) fn case(problem: &Problem) -> Result<Case, String> {
    let [tokens, n, k] = super::sizes(problem, ["tokens", "n", "k"])?;
    let (dtype, path) = problem.format.split_once('/').ok_or("its format names no arithmetic")?;
    let dtype = super::dtype(dtype)?;
    let path = NumberPath::ALL.iter().find(|(name, _)| *name == path).ok_or("its arithmetic is unknown")?.1;
    let precision = match path {
        NumberPath::F32 => Precision::F32,
        NumberPath::Bf16 => Precision::Bf16,
        NumberPath::Int8 => Precision::Native,
    };
    let row = dtype.row_bytes(k).ok_or_else(|| format!("rows of {k} are no whole blocks of {dtype}"))?;
    let most = if tokens <= FEW { COPIES.0 } else { COPIES.1 };
    let copies = (STREAM_BYTES / (n * row)).clamp(1, most);

    let mut program = Program::new("matmul");
    let x = program.input("x", k);
    let mut weights = MemoryWeights::default();
    let values = random(1, n * k);
    let mut out = View { width: 0, ..x };
    for copy in 0..copies {
        out = program.buffer(format!("out.{copy}"), n, Rows::Tokens);
        let w = weight(copy, Role::InProj);
        if copy == 0 {
            weights.insert_as(w, dtype, &[n, k], &values)?;
        } else {
            weights.copy(weight(0, Role::InProj), w);
        }
        let parts = vec![LinearPart { weight: w, bias: None, rows: n }];
        program.push(
            Some(copy as u32),
            Op::Linear(Linear { x, parts, out, accumulate: false, exact: false, act: None }),
        );
    }
    program.mark_output(out);

    let distinct = random(0, PERIOD.min(tokens) * k);
    let stored = weights.values(weight(0, Role::InProj))?;
    let expected = rows(&stored, &distinct, n, k);
    let repeat = |rows: &[f32], width: usize| -> Vec<f32> {
        rows.iter().copied().cycle().take(tokens * width).collect()
    };
    Ok(Case {
        precision,
        tokens,
        inputs: vec![(x.buf, repeat(&distinct, k))],
        states: vec![],
        past: 0,
        output: out.buf,
        reference: repeat(&expected, n),
        allowed: path.tolerance(),
        copies,
        floor: ((n * row + 4 * tokens * (n + k)) as u64, (2 * tokens * n * k) as u64),
        program,
        weights,
    })
}

/// `x · Wᵀ` in float64, one product after the other.
fn rows(w: &[f32], x: &[f32], n: usize, k: usize) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
    };
    x.chunks(k).flat_map(|x| w.chunks(k).take(n).map(move |w| dot(w, x))).collect()
}
