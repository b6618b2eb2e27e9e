//! What single layers computed: `<run>.layer<i>.<tensor>`, compared with copies taken around the ops of a program.

use super::runs::Run;
use super::{Model, tokens};
use crate::check::case::Array;
use crate::check::expect::Expectations;
use crate::check::forms::Form;
use crate::check::program::{buffer, expose, rewrite};
use crate::check::tally::{Judge, Tallies};
use anyhow::{Result, ensure};
use jet_codegen::op::{BufId, Op, View};
use jet_codegen::program::Program;
use jet_codegen::{LowerOptions, lower_plain};
use jet_runtime::select::NoSchedules;

/// Tensors inside an op, which no device shows.
const INSIDE: &[(&str, &str)] = &[
    ("dt", "inside the scan; cases of the op `ssd` check it"),
    ("router_choice", "inside the routing; the chosen ids and weights are compared"),
];

/// Compares every dump of every run, in one call.
pub(super) fn check(model: &Model<'_>, runs: &[Run], tallies: &mut Tallies) -> Result<()> {
    for run in runs {
        let prefix = run.name("layer");
        if !model.case.names().iter().any(|n| n.starts_with(&prefix)) {
            continue;
        }
        let mut program = lower_plain(model.spec, LowerOptions::default());
        let shown = show_layers(&mut program);
        rewrite(&mut program)?;
        let streams = run.rows.iter().map(|r| tokens(r)).collect();
        let mut rig = model.rig(program, streams, vec![], Expectations::default());
        let mut watched = Vec::new();
        for (layer, name) in shown {
            rig.watch.push(buffer(&rig.program, &buffer_name(layer, name))?);
            watched.push((layer, name));
        }
        let lanes = rig.run(&[Form::one_call(&rig.lengths())], &NoSchedules)?.remove(0);
        ensure!(lanes.len() == 1, "`{prefix}…` of a batch of {} rows, expected one row", lanes.len());
        let get = |layer: u32, name: &str| {
            watched.iter().position(|w| *w == (layer, name)).map(|i| &lanes[0].outputs[i][..])
        };
        let step = model.spec.naming.blocks_per_layer() as u32;
        let layers = model.spec.layers().map(|(i, _, _)| i).filter(|i| i.is_multiple_of(step));
        for layer in layers {
            let named = |name: &str| format!("{prefix}{}.{name}", layer / step);
            for (name, why) in INSIDE.iter().filter(|(name, _)| model.case.has(&named(name))) {
                model.case.skip(&named(name));
                tallies.not_exposed(&named(name), why);
            }
            for (_, name) in watched.iter().filter(|w| w.0 == layer && model.case.has(&named(w.1))) {
                compare(model, &named(name), get(layer, name).unwrap_or_default(), tallies)?;
            }
            if let Some(logits) = get(layer, "router")
                && model.case.has(&named("router_scores"))
            {
                let scores: Vec<f32> = logits.iter().map(|l| 1.0 / (1.0 + (-l).exp())).collect();
                compare(model, &named("router_scores"), &scores, tallies)?;
            }
            if let (Some(ids), Some(gates)) = (get(layer, "ids"), get(layer, "gates")) {
                let k = rig.program.buf(find(&rig.program, layer, "ids")?).width;
                let (ids, gates) = by_expert(ids, gates, k);
                let chosen = match model.judges.inner {
                    Judge::Largest(_) => Judge::Equal,
                    other => other,
                };
                if model.case.has(&named("topk_indices_sorted")) {
                    compare_as(model, &named("topk_indices_sorted"), &ids, chosen, tallies)?;
                }
                if model.case.has(&named("topk_weights_sorted")) {
                    compare(model, &named("topk_weights_sorted"), &gates, tallies)?;
                }
            }
        }
    }
    Ok(())
}

fn compare(model: &Model<'_>, tensor: &str, got: &[f32], tallies: &mut Tallies) -> Result<()> {
    compare_as(model, tensor, got, model.judges.inner, tallies)
}

fn compare_as(
    model: &Model<'_>,
    tensor: &str,
    got: &[f32],
    judge: Judge,
    tallies: &mut Tallies,
) -> Result<()> {
    let expected: Array = model.case.array(tensor)?;
    tallies.expect(tensor, expected, judge);
    tallies.compare(tensor, "one call", 0, got);
    Ok(())
}

/// Experts and weights of each token in the order of the experts' ids.
fn by_expert(ids: &[f32], gates: &[f32], k: usize) -> (Vec<f32>, Vec<f32>) {
    let mut pairs: Vec<(f32, f32)> = ids.iter().copied().zip(gates.iter().copied()).collect();
    pairs.chunks_mut(k.max(1)).for_each(|token| token.sort_by(|a, b| a.0.total_cmp(&b.0)));
    pairs.into_iter().unzip()
}

fn buffer_name(layer: u32, name: &str) -> String {
    format!("layer{layer}.{name}")
}

fn find(p: &Program, layer: u32, name: &str) -> Result<BufId> {
    buffer(p, &buffer_name(layer, name))
}

/// Copies what the ops of every layer read and write, under the names of the dumps; gives what is there now.
fn show_layers(p: &mut Program) -> Vec<(u32, &'static str)> {
    let mut shown = Vec::new();
    let mut at = 0;
    while at < p.steps.len() {
        let (Some(layer), op) = (p.steps[at].layer, p.steps[at].op.clone()) else {
            at += 1;
            continue;
        };
        let last = p.steps.get(at + 1).is_none_or(|s| s.layer != Some(layer));
        let (before, after) = views(&op, last);
        for (view, name) in before {
            if take(&mut shown, layer, name) {
                expose(p, at, view, &buffer_name(layer, name));
                at += 1;
            }
        }
        at += 1;
        for (view, name) in after {
            if take(&mut shown, layer, name) {
                expose(p, at, view, &buffer_name(layer, name));
                at += 1;
            }
        }
    }
    shown
}

fn take(shown: &mut Vec<(u32, &'static str)>, layer: u32, name: &'static str) -> bool {
    let new = !shown.contains(&(layer, name));
    if new {
        shown.push((layer, name));
    }
    new
}

type Named = Vec<(View, &'static str)>;

/// What the dumps call an op's operands: those to copy in front of it, and those behind it. Of several ops with a
/// name for the same thing the first counts. The `last` op of a layer adds the mixer's output to the stream.
fn views(op: &Op, last: bool) -> (Named, Named) {
    match op {
        Op::Add { x, .. } if last => (vec![(*x, "mixer_out")], vec![]),
        Op::Add { out, .. } => (vec![(*out, "routed_out")], vec![]),
        Op::RmsNorm { out, .. } => (vec![], vec![(*out, "normed")]),
        Op::CausalConv { x, out, .. } => (vec![(*x, "xbc")], vec![(*out, "conv_out")]),
        Op::Ssd(s) => (vec![(s.dt, "dt_raw")], vec![(s.out, "ssd_y")]),
        Op::GatedNorm { z, out, .. } => (vec![(*z, "z")], vec![(*out, "gated_norm")]),
        Op::Attention(a) => (vec![(a.q, "q"), (a.k, "k"), (a.v, "v")], vec![(a.out, "attn")]),
        Op::Route { logits, ids, gates, .. } => {
            (vec![(*logits, "router")], vec![(*ids, "ids"), (*gates, "gates")])
        }
        _ => (vec![], vec![]),
    }
}
