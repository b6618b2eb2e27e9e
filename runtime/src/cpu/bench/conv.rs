//! Cases of the convolutions.

use super::{Case, random, weight};
use crate::cpu::{conv, dynamic_conv};
use crate::device::Precision;
use crate::weights::MemoryWeights;
use jet_codegen::op::Op;
use jet_codegen::program::{Program, Rows, StateShape};
use jet_codegen::schedule::Problem;
use jet_dsl::weight::Role;
use jet_numerics::DType;

/// The causal convolution with bias and silu, as Mamba-2 has it.
pub(super) fn causal(problem: &Problem) -> Result<Case, String> {
    let [tokens, channels, taps] = super::sizes(problem, ["tokens", "channels", "taps"])?;
    let mut program = Program::new("causal_conv");
    let x = program.input("x", channels);
    let out = program.buffer("out", channels, Rows::Tokens);
    program.mark_output(out);
    let columns = taps - 1;
    let state = program.state("conv", 0, StateShape::Conv { channels, columns });
    let (w, b) = (weight(0, Role::ConvWeight), weight(0, Role::ConvBias));
    program.push(Some(0), Op::CausalConv { x, weight: w, bias: Some(b), out, state, taps, silu: true });

    let (xs, ws, bs) = (random(0, tokens * channels), random(1, channels * taps), random(2, channels));
    let history = random(3, channels * columns);
    let mut reference = vec![0.0; tokens * channels];
    conv::reference(taps, &ws, Some(&bs), true, &xs, &mut history.clone(), &mut reference);
    let mut weights = MemoryWeights::default();
    weights.insert(w, &[channels, 1, taps], ws);
    weights.insert(b, &[channels], bs);
    let flops = 2 * tokens * channels * taps;
    Ok(Case {
        program,
        weights,
        precision: Precision::F32,
        tokens,
        inputs: vec![(x.buf, xs)],
        states: vec![(state, history)],
        past: 0,
        output: out.buf,
        reference,
        allowed: 1e-5,
        copies: 1,
        floor: ((8 * tokens * channels + 4 * channels * taps) as u64, flops as u64),
    })
}

/// The dynamic convolution, as JetBlock has it.
pub(super) fn dynamic(problem: &Problem) -> Result<Case, String> {
    let [tokens, channels, taps, hidden] = super::sizes(problem, ["tokens", "channels", "taps", "hidden"])?;
    let dtype = super::dtype(&problem.format)?;
    let mut program = Program::new("dynamic_conv");
    let (u, h) = (program.input("u", channels), program.input("h", hidden));
    let out = program.buffer("out", channels, Rows::Tokens);
    program.mark_output(out);
    let state = program.state("conv", 0, StateShape::Conv { channels, columns: taps });
    let (w2, bias) = (weight(0, Role::GeneratorW2), weight(0, Role::GeneratorBias));
    program.push(Some(0), Op::DynamicConv { u, h, w2, bias, out, state, taps });

    let rows = channels * taps;
    let (us, hs, bs) = (random(0, tokens * channels), random(1, tokens * hidden), random(2, rows));
    let history = random(3, rows);
    let mut weights = MemoryWeights::default();
    weights.insert_as(w2, dtype, &[rows, hidden], &random(4, rows * hidden))?;
    let stored = weights.values(w2)?;
    let mut reference = vec![0.0; tokens * channels];
    let packed = dynamic_conv::Rows::F32(&stored);
    let sizes = (channels, taps, hidden);
    dynamic_conv::reference(sizes, packed, &bs, &hs, &us, &mut history.clone(), &mut reference);
    weights.insert(bias, &[rows], bs);
    let flops = 2 * tokens * rows * (hidden + 1);
    let bytes = rows * hidden * dtype.block_bytes() + 4 * tokens * (2 * channels + hidden);
    Ok(Case {
        program,
        weights,
        precision: if dtype == DType::F32 { Precision::F32 } else { Precision::Native },
        tokens,
        inputs: vec![(u.buf, us), (h.buf, hs)],
        states: vec![(state, history)],
        past: 0,
        output: out.buf,
        reference,
        allowed: 1e-5,
        copies: 1,
        floor: (bytes as u64, flops as u64),
    })
}
