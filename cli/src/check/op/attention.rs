//! `attention`: new queries over cached and new keys, with rotation and window where the case has them.
//!
//! A device takes no foreign KV cache, so the keys of the past are fed as tokens with a zero query.

use crate::check::case::CaseFile;
use crate::check::expect::Expectations;
use crate::check::program::copied;
use crate::check::rig::{Rig, Stream};
use crate::check::tally::Tallies;
use crate::check::{Context, Greedy};
use anyhow::{Result, ensure};
use jet_codegen::op::{Attention, Op, RopeSpec};
use jet_codegen::program::{Program, Rows, StateShape};
use jet_dsl::block::RopeScaling;
use jet_runtime::weights::MemoryWeights;

pub(super) fn run(cx: &Context<'_>, case: &CaseFile, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let (q, k, v) = (case.array_of_rank("q", 4)?, case.array_of_rank("k", 4)?, case.array_of_rank("v", 4)?);
    let [batch, new, heads, d_head] = [q.dim(0), q.dim(1), q.dim(2), q.dim(3)];
    let (all, kv_heads) = (k.dim(1), k.dim(2));
    ensure!(
        k.shape == [batch, all, kv_heads, d_head] && v.shape == k.shape && new <= all && all > 0,
        "q {:?}, k {:?} and v {:?} do not fit together",
        q.shape,
        k.shape,
        v.shape
    );
    let past = all - new;
    let position = positions(case, past, all)?;

    let mut p = Program::new("attention");
    let (q_in, k_in, v_in) =
        (p.input("q", heads * d_head), p.input("k", kv_heads * d_head), p.input("v", kv_heads * d_head));
    let theta: Option<f64> = case.number_or_none("theta")?;
    let (mut q_used, mut k_used) = (q_in, k_in);
    if let Some(theta) = theta {
        for (view, name, n) in [(&mut q_used, "q_rot", heads), (&mut k_used, "k_rot", kv_heads)] {
            *view = copied(&mut p, *view, name);
            p.mark_output(*view);
            let rope = RopeSpec { theta, scaling: RopeScaling::None };
            p.push(Some(0), Op::Rope { x: *view, heads: n, rope });
        }
    }
    let window = case.number_or_none("window")?;
    let cache = p.state("kv", 0, StateShape::Kv { kv_heads, d_head, window });
    let out = p.buffer("out", heads * d_head, Rows::Tokens);
    p.mark_output(out);
    let scale = case.number("scale")?;
    let (q_view, k_view) = (q_used, k_used);
    let op = Attention { q: q_view, k: k_view, v: v_in, out, cache, heads, kv_heads, d_head, scale, window };
    p.push(Some(0), Op::Attention(op));

    let judge = cx.judge_outputs(case)?;
    let mut expect = Expectations::default();
    let mut watch = vec![out.buf];
    tallies.expect("out", case.array_of_shape("out", &q.shape)?, judge);
    if theta.is_some() {
        watch.extend([q_view.buf, k_view.buf]);
        tallies.expect("q_rot", case.array_of_shape("q_rot", &q.shape)?, judge);
        tallies.expect("k_rot", case.array_of_shape("k_rot", &k.shape)?, judge);
        expect.batch(2, "k_rot", &vec![all; batch], kv_heads * d_head);
    }
    for b in 0..batch {
        let offset = b * new * heads * d_head;
        expect.rows(b, 0, past, new, "out", offset);
        if theta.is_some() {
            expect.rows(b, 1, past, new, "q_rot", offset);
        }
    }
    let streams = (0..batch)
        .map(|b| {
            let mut queries = vec![0.0; past * heads * d_head];
            queries.extend(q.row(b));
            let stream = Stream::counted(all)
                .input(q_in.buf, queries)
                .input(k_in.buf, k.row(b))
                .input(v_in.buf, v.row(b));
            Stream { position, ..stream }
        })
        .collect();
    let weights = MemoryWeights::default();
    Rig { device: cx.device, program: p, weights: &weights, precision: cx.precision, streams, watch, expect }
        .check_all(tallies)?;
    Ok(None)
}

/// Position of the first key. The keys' positions must follow each other and the queries' must be the last of them,
/// as in any stream of tokens.
fn positions(case: &CaseFile, past: usize, all: usize) -> Result<usize> {
    let (_, k) = case.ints("k_positions")?;
    let (_, q) = case.ints("q_positions")?;
    let first = k.first().and_then(|p| usize::try_from(*p).ok());
    let follows = k.len() == all && k.windows(2).all(|w| w[1] == w[0] + 1) && q[..] == k[past.min(k.len())..];
    match first {
        Some(first) if follows => Ok(first),
        _ => anyhow::bail!(
            "the positions are no stream of tokens: {} keys from {:?} on, {} queries from {:?} on",
            k.len(),
            k.first(),
            q.len(),
            q.first()
        ),
    }
}
