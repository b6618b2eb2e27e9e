//! `causal_conv`: the depthwise convolution in front of Mamba-2's scan, with and without the silu behind it.

use crate::check::case::CaseFile;
use crate::check::expect::Expectations;
use crate::check::program::weight;
use crate::check::rig::{Rig, Stream};
use crate::check::tally::Tallies;
use crate::check::{Context, Greedy};
use anyhow::{Result, ensure};
use jet_codegen::op::Op;
use jet_codegen::program::{Program, Rows, StateShape};
use jet_dsl::weight::Role;
use jet_runtime::weights::MemoryWeights;

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let x = case.array_of_rank("x", 3)?;
    let (batch, tokens, channels) = (x.dim(0), x.dim(1), x.dim(2));
    let taps = case.array_of_rank("weight", 3)?.dim(2);
    ensure!(taps >= 2, "the convolution has {taps} taps, expected at least 2");
    let mut weights = MemoryWeights::default();
    let shape = [channels, 1, taps];
    weights.insert(weight(Role::ConvWeight), &shape, case.array_of_shape("weight", &shape)?.f32());
    let bias = case.has("bias").then_some(weight(Role::ConvBias));
    if let Some(bias) = bias {
        weights.insert(bias, &[channels], case.array_of_shape("bias", &[channels])?.f32());
    }
    let columns = taps - 1;
    let state_shape = [batch, channels, columns];
    let initial = match case.has("initial_state") {
        true => Some(case.array_of_shape("initial_state", &state_shape)?),
        false => None,
    };
    let judge = cx.judge_outputs(case)?;
    tallies.expect("y", case.array_of_shape("y", &x.shape)?, judge);
    tallies.expect("y_before_silu", case.array_of_shape("y_before_silu", &x.shape)?, judge);
    tallies.expect("final_state", case.array_of_shape("final_state", &state_shape)?, judge);

    for (silu, tensor) in [(true, "y"), (false, "y_before_silu")] {
        let mut p = Program::new("causal_conv");
        let input = p.input("x", channels);
        let out = p.buffer("out", channels, Rows::Tokens);
        p.mark_output(out);
        let state = p.state("conv", 0, StateShape::Conv { channels, columns });
        let kernel = weight(Role::ConvWeight);
        p.push(Some(0), Op::CausalConv { x: input, weight: kernel, bias, out, state, taps, silu });
        let lengths = vec![tokens; batch];
        let mut expect = Expectations::default();
        expect.batch(0, tensor, &lengths, channels);
        expect.final_states(state, "final_state", &lengths, channels * columns);
        let streams = (0..batch)
            .map(|b| {
                Stream::counted(tokens)
                    .input(input.buf, x.row(b))
                    .state(state, initial.as_ref().map(|s| s.row(b)))
            })
            .collect();
        let watch = vec![out.buf];
        let (device, precision) = (cx.device, cx.precision);
        Rig { device, program: p, weights: &weights, precision, streams, watch, expect }
            .check_all(tallies)?;
    }
    Ok(None)
}
