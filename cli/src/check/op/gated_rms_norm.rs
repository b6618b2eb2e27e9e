//! `gated_rms_norm`: Mamba-2's norm, the gate first and the mean over groups.

use crate::check::case::CaseFile;
use crate::check::expect::Expectations;
use crate::check::program::weight;
use crate::check::rig::{Rig, Stream};
use crate::check::tally::Tallies;
use crate::check::{Context, Greedy};
use anyhow::{Result, ensure};
use jet_codegen::op::{GateOrder, Op};
use jet_codegen::program::{Program, Rows};
use jet_dsl::weight::Role;
use jet_runtime::weights::MemoryWeights;

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let y = case.array_of_rank("y", 2)?;
    let z = case.array_of_shape("z", &y.shape)?;
    let (tokens, width) = (y.dim(0), y.dim(1));
    let groups: usize = case.number("groups")?;
    ensure!(groups > 0 && width.is_multiple_of(groups), "{width} channels do not make {groups} groups");

    let mut p = Program::new("gated_rms_norm");
    let (y_in, z_in) = (p.input("y", width), p.input("z", width));
    let out = p.buffer("out", width, Rows::Tokens);
    p.mark_output(out);
    let order = GateOrder::GateFirst;
    let norm = weight(Role::GatedNorm);
    p.push(
        Some(0),
        Op::GatedNorm { x: y_in, z: z_in, weight: norm, groups, eps: case.number("eps")?, order, out },
    );
    let mut weights = MemoryWeights::default();
    weights.insert(norm, &[width], case.array_of_shape("weight", &[width])?.f32());

    tallies.expect("out", case.array_of_shape("out", &y.shape)?, cx.judge_outputs(case)?);
    let mut expect = Expectations::default();
    expect.batch(0, "out", &[tokens], width);
    let streams = vec![Stream::counted(tokens).input(y_in.buf, y.f32()).input(z_in.buf, z.f32())];
    let watch = vec![out.buf];
    Rig { device: cx.device, program: p, weights: &weights, precision: cx.precision, streams, watch, expect }
        .check_all(tallies)?;
    Ok(None)
}
