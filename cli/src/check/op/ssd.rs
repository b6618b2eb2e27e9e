//! `ssd`: Mamba-2's scan.
//!
//! Besides the scan itself: without the D skip (a zero `D`), behind the gate (`silu(z) · y` by the device's own
//! product), and Δ, which is what the scan returns for unit inputs on an empty state.

use crate::check::case::{Array, CaseFile};
use crate::check::expect::Expectations;
use crate::check::forms::Form;
use crate::check::program::weight;
use crate::check::rig::{Rig, Stream};
use crate::check::tally::Tallies;
use crate::check::{Context, Greedy};
use anyhow::{Result, ensure};
use jet_codegen::op::{Op, Ssd, StateId, View};
use jet_codegen::program::{Program, Rows, StateShape};
use jet_dsl::block::Act;
use jet_dsl::weight::Role;
use jet_runtime::select::NoSchedules;
use jet_runtime::weights::MemoryWeights;

/// Sizes and limits of a case.
struct Sizes {
    batch: usize,
    tokens: usize,
    heads: usize,
    d_head: usize,
    groups: usize,
    d_state: usize,
    dt_min: f64,
    dt_max: Option<f64>,
}

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let (x, b) = (case.array_of_rank("x", 4)?, case.array_of_rank("B", 4)?);
    let limits: Vec<f64> = case.list("dt_limit")?;
    ensure!(limits.len() == 2, "the metadata's `dt_limit` is {limits:?}, expected two numbers");
    let s = Sizes {
        batch: x.dim(0),
        tokens: x.dim(1),
        heads: x.dim(2),
        d_head: x.dim(3),
        groups: b.dim(2),
        d_state: b.dim(3),
        dt_min: limits[0],
        dt_max: limits[1].is_finite().then_some(limits[1]),
    };
    ensure!(s.groups > 0 && s.heads.is_multiple_of(s.groups), "{} heads in {} groups", s.heads, s.groups);
    let bc_shape = [s.batch, s.tokens, s.groups, s.d_state];
    let dt_shape = [s.batch, s.tokens, s.heads];
    let inputs = Inputs {
        b: case.array_of_shape("B", &bc_shape)?,
        c: case.array_of_shape("C", &bc_shape)?,
        dt: case.array_of_shape("dt_raw", &dt_shape)?,
        z: case.array_of_shape("z", &x.shape)?,
        x,
    };
    let state_shape = [s.batch, s.heads, s.d_head, s.d_state];
    let initial = match case.has("initial_state") {
        true => Some(case.array_of_shape("initial_state", &state_shape)?),
        false => None,
    };
    let judge = cx.judge_outputs(case)?;
    for name in ["y", "y_no_D", "y_silu_z"] {
        tallies.expect(name, case.array_of_shape(name, &inputs.x.shape)?, judge);
    }
    tallies.expect("final_state", case.array_of_shape("final_state", &state_shape)?, judge);
    tallies.expect("dt", case.array_of_shape("dt", &dt_shape)?, judge);

    let mut weights = MemoryWeights::default();
    for (name, role) in [("dt_bias", Role::DtBias), ("A_log", Role::ALog), ("D", Role::DSkip)] {
        weights.insert(weight(role), &[s.heads], case.array_of_shape(name, &[s.heads])?.f32());
    }
    let mut no_skip = weights.clone();
    no_skip.insert(weight(Role::DSkip), &[s.heads], vec![0.0; s.heads]);

    let lengths = vec![s.tokens; s.batch];
    let width = s.heads * s.d_head;
    for (weights, y, gated) in [(&weights, "y", Some("y_silu_z")), (&no_skip, "y_no_D", None)] {
        let (p, views, state) = program(&s);
        let mut expect = Expectations::default();
        expect.batch(0, y, &lengths, width);
        if let Some(gated) = gated {
            expect.batch(1, gated, &lengths, width);
        }
        expect.final_states(state, "final_state", &lengths, width * s.d_state);
        let streams = (0..s.batch)
            .map(|i| inputs.stream(&views, i, s.tokens).state(state, initial.as_ref().map(|a| a.row(i))))
            .collect();
        let watch = vec![views.y.buf, views.gated.buf];
        let (device, precision) = (cx.device, cx.precision);
        Rig { device, program: p, weights, precision, streams, watch, expect }.check_all(tallies)?;
    }
    probe_dt(cx, &s, &inputs.dt, &no_skip, tallies)?;
    Ok(None)
}

/// Δ as the scan sees it: on an empty state with x = 1, B = C = (1, 0, …) and no skip, y is Δ. Every token is a
/// sequence of its own.
fn probe_dt(cx: &Context<'_>, s: &Sizes, dt: &Array, w: &MemoryWeights, tallies: &mut Tallies) -> Result<()> {
    let (p, v, _) = program(s);
    let width = s.heads * s.d_head;
    let unit: Vec<f32> =
        (0..s.groups * s.d_state).map(|i| f32::from(u8::from(i.is_multiple_of(s.d_state)))).collect();
    let raw = dt.f32();
    let streams = raw.chunks(s.heads).map(|raw| {
        Stream::counted(1)
            .input(v.x.buf, vec![1.0; width])
            .input(v.z.buf, vec![0.0; width])
            .input(v.b.buf, unit.clone())
            .input(v.c.buf, unit.clone())
            .input(v.dt.buf, raw.to_vec())
    });
    let rig = Rig {
        device: cx.device,
        program: p,
        weights: w,
        precision: cx.precision,
        streams: streams.collect(),
        watch: vec![v.y.buf],
        expect: Expectations::default(),
    };
    let lanes = rig.run(&[Form::one_call(&rig.lengths())], &NoSchedules)?.remove(0);
    for (i, lane) in lanes.iter().enumerate() {
        for channel in 0..s.d_head {
            let of_head: Vec<f32> = lane.outputs[0].chunks(s.d_head).map(|h| h[channel]).collect();
            tallies.compare("dt", "unit inputs on an empty state", i * s.heads, &of_head);
        }
    }
    Ok(())
}

/// The tensors that change from token to token.
struct Inputs {
    x: Array,
    b: Array,
    c: Array,
    dt: Array,
    z: Array,
}

impl Inputs {
    fn stream(&self, v: &Views, i: usize, tokens: usize) -> Stream {
        Stream::counted(tokens)
            .input(v.x.buf, self.x.row(i))
            .input(v.b.buf, self.b.row(i))
            .input(v.c.buf, self.c.row(i))
            .input(v.dt.buf, self.dt.row(i))
            .input(v.z.buf, self.z.row(i))
    }
}

struct Views {
    x: View,
    b: View,
    c: View,
    dt: View,
    z: View,
    y: View,
    gated: View,
}

fn program(s: &Sizes) -> (Program, Views, StateId) {
    let mut p = Program::new("ssd");
    let width = s.heads * s.d_head;
    let v = Views {
        x: p.input("x", width),
        b: p.input("B", s.groups * s.d_state),
        c: p.input("C", s.groups * s.d_state),
        dt: p.input("dt", s.heads),
        z: p.input("z", width),
        y: p.buffer("y", width, Rows::Tokens),
        gated: p.buffer("gated", width, Rows::Tokens),
    };
    p.mark_output(v.y);
    p.mark_output(v.gated);
    let shape = StateShape::Recurrent { heads: s.heads, rows: s.d_head, cols: s.d_state };
    let state = p.state("ssm", 0, shape);
    let ssd = Ssd {
        x: v.x,
        b: v.b,
        c: v.c,
        dt: v.dt,
        out: v.y,
        dt_bias: weight(Role::DtBias),
        a_log: weight(Role::ALog),
        d_skip: weight(Role::DSkip),
        state,
        heads: s.heads,
        d_head: s.d_head,
        groups: s.groups,
        d_state: s.d_state,
        dt_min: s.dt_min,
        dt_max: s.dt_max,
        chunk_hint: 0,
    };
    p.push(Some(0), Op::Ssd(ssd));
    p.push(Some(0), Op::Glu { gate: v.z, up: v.y, act: Act::Swiglu, out: v.gated });
    (p, v, state)
}
