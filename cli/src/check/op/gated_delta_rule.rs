//! `gated_delta_rule`: the recurrence of a JetBlock alone, from raw queries and keys.

use crate::check::case::CaseFile;
use crate::check::expect::Expectations;
use crate::check::rig::{Rig, Stream};
use crate::check::tally::Tallies;
use crate::check::{Context, Greedy};
use anyhow::{Result, ensure};
use jet_codegen::op::{GatedDelta, Op};
use jet_codegen::program::{Program, Rows, StateShape};
use jet_runtime::weights::MemoryWeights;

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let normed = case.param("l2norm_qk")?;
    ensure!(normed == "true", "`l2norm_qk` is `{normed}`; the op always normalises queries and keys");
    let q = case.array_of_rank("q", 4)?;
    let [batch, tokens, heads, d_key] = [q.dim(0), q.dim(1), q.dim(2), q.dim(3)];
    let k = case.array_of_shape("k", &q.shape)?;
    let v = case.array_of_rank("v", 4)?;
    let d_value = v.dim(3);
    let v_shape = [batch, tokens, heads, d_value];
    let v = case.array_of_shape("v", &v_shape)?;
    let gates = [batch, tokens, heads];
    let (g, beta) = (case.array_of_shape("g", &gates)?, case.array_of_shape("beta", &gates)?);
    let state_shape = [batch, heads, d_key, d_value];
    let initial = match case.has("initial_state") {
        true => Some(case.array_of_shape("initial_state", &state_shape)?),
        false => None,
    };

    let mut p = Program::new("gated_delta_rule");
    let (q_in, k_in, v_in) =
        (p.input("q", heads * d_key), p.input("k", heads * d_key), p.input("v", heads * d_value));
    let (g_in, beta_in) = (p.input("g", heads), p.input("beta", heads));
    let out = p.buffer("o", heads * d_value, Rows::Tokens);
    p.mark_output(out);
    let state = p.state("delta", 0, StateShape::Recurrent { heads, rows: d_key, cols: d_value });
    let delta = GatedDelta {
        q: q_in,
        k: k_in,
        v: v_in,
        g: g_in,
        beta: beta_in,
        out,
        state,
        heads,
        d_key,
        d_value,
        scale: case.number("scale")?,
        l2_eps: case.number("l2norm_eps")?,
    };
    p.push(Some(0), Op::GatedDelta(delta));

    let judge = cx.judge_outputs(case)?;
    tallies.expect("o", case.array_of_shape("o", &v_shape)?, judge);
    tallies.expect("final_state", case.array_of_shape("final_state", &state_shape)?, judge);
    let lengths = vec![tokens; batch];
    let mut expect = Expectations::default();
    expect.batch(0, "o", &lengths, heads * d_value);
    expect.final_states(state, "final_state", &lengths, heads * d_key * d_value);
    let streams = (0..batch)
        .map(|b| {
            Stream::counted(tokens)
                .input(q_in.buf, q.row(b))
                .input(k_in.buf, k.row(b))
                .input(v_in.buf, v.row(b))
                .input(g_in.buf, g.row(b))
                .input(beta_in.buf, beta.row(b))
                .state(state, initial.as_ref().map(|s| s.row(b)))
        })
        .collect();
    let weights = MemoryWeights::default();
    let watch = vec![out.buf];
    Rig { device: cx.device, program: p, weights: &weights, precision: cx.precision, streams, watch, expect }
        .check_all(tallies)?;
    Ok(None)
}
