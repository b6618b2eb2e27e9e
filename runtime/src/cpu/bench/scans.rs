//! Cases of the recurrences.

use super::{Case, random, weight};
use crate::cpu::{gated_delta, ssd};
use crate::device::Precision;
use crate::weights::MemoryWeights;
use jet_codegen::op::{self, Op};
use jet_codegen::program::{Program, Rows, StateShape};
use jet_codegen::schedule::Problem;
use jet_dsl::weight::Role;

/// Mamba-2's scan.
pub(super) fn ssd(problem: &Problem) -> Result<Case, String> {
    let names = ["tokens", "heads", "d_head", "groups", "d_state"];
    let [tokens, heads, d_head, groups, d_state] = super::sizes(problem, names)?;
    if !heads.is_multiple_of(groups) {
        return Err(format!("{groups} groups do not divide {heads} heads"));
    }
    let mut program = Program::new("ssd");
    let (x, b) = (program.input("x", heads * d_head), program.input("b", groups * d_state));
    let (c, dt) = (program.input("c", groups * d_state), program.input("dt", heads));
    let out = program.buffer("out", heads * d_head, Rows::Tokens);
    program.mark_output(out);
    let state = program.state("ssm", 0, StateShape::Recurrent { heads, rows: d_head, cols: d_state });
    let [dt_bias, a_log, d_skip] = [Role::DtBias, Role::ALog, Role::DSkip].map(|r| weight(0, r));
    let (dt_min, dt_max, chunk_hint) = (0.0, None, 0);
    program.push(
        Some(0),
        Op::Ssd(op::Ssd {
            x,
            b,
            c,
            dt,
            out,
            dt_bias,
            a_log,
            d_skip,
            state,
            heads,
            d_head,
            groups,
            d_state,
            dt_min,
            dt_max,
            chunk_hint,
        }),
    );

    let data = [x, b, c, dt].map(|v| (v.buf, random(v.buf.0, tokens * v.width)));
    let [bias, decay, skip] = [10, 11, 12].map(|stream| random(stream, heads));
    let start = random(13, heads * d_head * d_state);
    let mut reference = vec![0.0; tokens * heads * d_head];
    let mut carried: Vec<f64> = start.iter().map(|v| f64::from(*v)).collect();
    let shape = ssd::SsdShape { heads, d_head, groups, d_state };
    let [xs, bs, cs, dts] = [0, 1, 2, 3].map(|i: usize| data[i].1.as_slice());
    let limit = (0.0, f32::INFINITY);
    ssd::reference(&shape, (&bias, &decay, &skip), limit, (xs, bs, cs, dts), &mut carried, &mut reference);
    let mut weights = MemoryWeights::default();
    for (id, values) in [(dt_bias, bias), (a_log, decay), (d_skip, skip)] {
        weights.insert(id, &[heads], values);
    }
    let elements = heads * d_head * d_state;
    let moved = 4 * (2 * elements + tokens * (2 * heads * d_head + 2 * groups * d_state + heads));
    Ok(Case {
        program,
        weights,
        precision: Precision::F32,
        tokens,
        inputs: data.into(),
        states: vec![(state, start)],
        past: 0,
        output: out.buf,
        reference,
        allowed: 2e-5,
        copies: 1,
        floor: (moved as u64, (5 * tokens * elements) as u64),
    })
}

/// The gated delta rule.
pub(super) fn gated_delta(problem: &Problem) -> Result<Case, String> {
    let [tokens, heads, d_key, d_value] = super::sizes(problem, ["tokens", "heads", "d_key", "d_value"])?;
    let mut program = Program::new("gated_delta");
    let (q, k) = (program.input("q", heads * d_key), program.input("k", heads * d_key));
    let v = program.input("v", heads * d_value);
    let (g, beta) = (program.input("g", heads), program.input("beta", heads));
    let out = program.buffer("out", heads * d_value, Rows::Tokens);
    program.mark_output(out);
    let state = program.state("delta", 0, StateShape::Recurrent { heads, rows: d_key, cols: d_value });
    let (scale, l2_eps) = (1.0 / (d_key as f32).sqrt(), 1e-6);
    let rule = op::GatedDelta { q, k, v, g, beta, out, state, heads, d_key, d_value, scale, l2_eps };
    program.push(Some(0), Op::GatedDelta(rule));

    let mut data = [q, k, v, g, beta].map(|v| (v.buf, random(v.buf.0, tokens * v.width)));
    // Decays are at most 0, write strengths between 0 and 1.
    data[3].1.iter_mut().for_each(|x| *x = -x.abs());
    data[4].1.iter_mut().for_each(|x| *x = x.abs());
    let start = random(13, heads * d_key * d_value);
    let mut reference = vec![0.0; tokens * heads * d_value];
    let mut carried: Vec<f64> = start.iter().map(|v| f64::from(*v)).collect();
    let shape = gated_delta::GatedDeltaShape { heads, d_key, d_value, scale, l2_eps };
    let [qs, ks, vs, gs, bs] = [0, 1, 2, 3, 4].map(|i: usize| data[i].1.as_slice());
    gated_delta::reference(&shape, (qs, ks, vs), (gs, bs), &mut carried, &mut reference);
    let elements = heads * d_key * d_value;
    let moved = 4 * (2 * elements + tokens * (2 * heads * d_key + 2 * heads * d_value + 2 * heads));
    Ok(Case {
        program,
        weights: MemoryWeights::default(),
        precision: Precision::F32,
        tokens,
        inputs: data.into(),
        states: vec![(state, start)],
        past: 0,
        output: out.buf,
        reference,
        allowed: 2e-5,
        copies: 1,
        floor: (moved as u64, (7 * tokens * elements) as u64),
    })
}
