//! `rope`: the tables behind the rotary embedding, read off from what the rotation does to unit vectors.

use crate::check::case::CaseFile;
use crate::check::expect::Expectations;
use crate::check::forms::Form;
use crate::check::program::copied;
use crate::check::rig::{Rig, Stream};
use crate::check::tally::Tallies;
use crate::check::{Context, Greedy};
use anyhow::{Result, anyhow, ensure};
use jet_codegen::op::{Op, RopeSpec};
use jet_codegen::program::Program;
use jet_dsl::block::RopeScaling;
use jet_runtime::select::NoSchedules;
use jet_runtime::weights::MemoryWeights;

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let d: usize = case.number("dim")?;
    ensure!(d >= 2 && d.is_multiple_of(2), "the metadata's `dim` is {d}, expected an even number");
    let (_, positions) = case.ints("positions")?;
    let positions: Vec<usize> = positions
        .iter()
        .map(|p| usize::try_from(*p).map_err(|_| anyhow!("`positions` holds {p}")))
        .collect::<Result<_>>()?;

    let mut p = Program::new("rope");
    let input = p.input("x", d);
    let x = copied(&mut p, input, "rotated");
    p.mark_output(x);
    let rope = RopeSpec { theta: case.number("theta")?, scaling: scaling(case)? };
    p.push(Some(0), Op::Rope { x, heads: 1, rope });

    let judge = cx.judge_outputs(case)?;
    let half = d / 2;
    let shape = [positions.len(), half];
    tallies.expect("inv_freq", case.array_of_shape("inv_freq", &[half])?, judge);
    tallies.expect("cos", case.array_of_shape("cos", &shape)?, judge);
    tallies.expect("sin", case.array_of_shape("sin", &shape)?, judge);

    // (1, 0) becomes (cos, sin) and (0, 1) becomes (-sin, cos). The last stream is at position 1, where the angle
    // is the frequency itself.
    let unit = |second: bool| (0..d).map(|i| f32::from(u8::from((i >= half) == second))).collect::<Vec<_>>();
    let mut streams = Vec::new();
    for position in positions.iter().chain([&1]) {
        for second in [false, true] {
            let stream = Stream::counted(1).input(input.buf, unit(second));
            streams.push(Stream { position: *position, ..stream });
        }
    }
    let weights = MemoryWeights::default();
    let rig = Rig {
        device: cx.device,
        program: p,
        weights: &weights,
        precision: cx.precision,
        streams,
        watch: vec![x.buf],
        expect: Expectations::default(),
    };
    let form = Form::one_call(&rig.lengths());
    let lanes = rig.run(&[form], &NoSchedules)?.remove(0);
    for (i, pair) in lanes.chunks(2).enumerate() {
        let (first, second) = (&pair[0].outputs[0], &pair[1].outputs[0]);
        if i < positions.len() {
            tallies.compare("cos", "of (1, 0)", i * half, &first[..half]);
            tallies.compare("sin", "of (1, 0)", i * half, &first[half..]);
            let minus_sin: Vec<f32> = second[..half].iter().map(|v| -v).collect();
            tallies.compare("sin", "of (0, 1)", i * half, &minus_sin);
            tallies.compare("cos", "of (0, 1)", i * half, &second[half..]);
        } else {
            let angle = |j: usize| f64::from(first[half + j]).atan2(f64::from(first[j]));
            let angles: Vec<f64> = (0..half).map(angle).collect();
            tallies.compare_f64("inv_freq", "the angle at position 1", 0, &angles);
        }
    }
    Ok(None)
}

/// Rescaling of the frequencies: Llama 3's where the case has its parameters.
fn scaling(case: &CaseFile) -> Result<RopeScaling> {
    if case.param_or_none("factor").is_none() {
        return Ok(RopeScaling::None);
    }
    Ok(RopeScaling::Llama3 {
        factor: case.number("factor")?,
        low_freq: case.number("low_freq_factor")?,
        high_freq: case.number("high_freq_factor")?,
        original_context: case.number("original_max_position_embeddings")?,
    })
}
