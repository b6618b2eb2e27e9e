//! The parts of a mixture of experts that are not matrices: choosing experts, sorting tokens by expert, and
//! adding the experts' answers up again.
//!
//! The router is that of Nemotron 3: sigmoid scores; the choice is made on scores with a bias, inside the best
//! groups of experts; the weights are the scores of the chosen without it. A tie goes to the lower expert, so
//! the choice never depends on the order of work.

use super::act::sigmoid_lanes;
use super::mat::{Mat, MatMut};
use super::simd::{Isa, Kernel, Simd, dispatch};

/// How experts are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Routing {
    /// Experts.
    pub experts: usize,
    /// Experts per token, at most `experts`.
    pub top_k: usize,
    /// Groups of neighbouring experts; divides `experts`.
    pub n_group: usize,
    /// Groups that stay in the choice.
    pub topk_group: usize,
    /// Divide the weights by their sum.
    pub normalise: bool,
    /// Factor on the weights.
    pub scale: f32,
}

/// Floats of scratch that [`route`] needs: the scores, the choice, and one value per group.
pub fn route_scratch_len(r: &Routing) -> usize {
    2 * r.experts + r.n_group
}

/// Chooses experts for each row of `logits` `[tokens, experts]`, with `bias` `[experts]` added to the scores for
/// the choice only. Writes the chosen, best first, as small exact floats to `ids` and their weights to `gates`,
/// both `[tokens, top_k]`. `scratch` has [`route_scratch_len`] floats.
pub fn route(
    isa: Isa,
    r: &Routing,
    logits: Mat<'_>,
    bias: &[f32],
    mut ids: MatMut<'_>,
    mut gates: MatMut<'_>,
    scratch: &mut [f32],
) {
    let (scores, rest) = scratch.split_at_mut(r.experts);
    let (choice, groups) = rest.split_at_mut(r.experts);
    for t in 0..logits.rows() {
        dispatch(isa, Scores { logits: logits.row(t), bias, scores, choice });
        if r.n_group > 1 {
            mask_groups(r, choice, &mut groups[..r.n_group]);
        }
        let (ids, gates) = (ids.row_mut(t), gates.row_mut(t));
        for (id, gate) in ids.iter_mut().zip(&mut *gates) {
            let best = take_best(choice);
            (*id, *gate) = (best as f32, scores[best]);
        }
        let sum: f32 = gates.iter().sum();
        let divisor = if r.normalise { sum + 1e-20 } else { 1.0 };
        for gate in gates {
            *gate = *gate / divisor * r.scale;
        }
    }
}

/// `scores = sigmoid(logits)`, `choice = scores + bias`.
struct Scores<'a> {
    logits: &'a [f32],
    bias: &'a [f32],
    scores: &'a mut [f32],
    choice: &'a mut [f32],
}

impl Kernel for Scores<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, x_rest) = self.logits.as_chunks::<16>();
        let (out, out_rest) = self.scores.as_chunks_mut::<16>();
        for (x, out) in x.iter().zip(out) {
            s.store(sigmoid_lanes(s, s.load(x)), out);
        }
        if !x_rest.is_empty() {
            s.store_part(sigmoid_lanes(s, s.load_part(x_rest)), out_rest);
        }
        for ((choice, score), bias) in self.choice.iter_mut().zip(&*self.scores).zip(self.bias) {
            *choice = score + bias;
        }
    }
}

/// Sets the choice of all experts outside the best groups to minus infinity. A group is as good as the sum of its
/// two best experts.
fn mask_groups(r: &Routing, choice: &mut [f32], groups: &mut [f32]) {
    let size = r.experts / r.n_group;
    for (group, members) in groups.iter_mut().zip(choice.chunks_exact(size)) {
        let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        for c in members {
            if *c > first {
                (first, second) = (*c, first);
            } else if *c > second {
                second = *c;
            }
        }
        *group = if size > 1 { first + second } else { first };
    }
    // A kept group is marked by a value that no sum has.
    for _ in 0..r.topk_group.min(r.n_group) {
        let best = take_best(groups);
        groups[best] = f32::NAN;
    }
    for (group, members) in groups.iter().zip(choice.chunks_exact_mut(size)) {
        if !group.is_nan() {
            members.fill(f32::NEG_INFINITY);
        }
    }
}

/// The index of the largest value, the first of equals, which becomes not-a-number and so is never found again;
/// values that are not a number come last. If nothing else is left, index 0.
fn take_best(values: &mut [f32]) -> usize {
    let mut best: Option<usize> = None;
    for (i, v) in values.iter().enumerate() {
        if !v.is_nan() && best.is_none_or(|b| *v > values[b]) {
            best = Some(i);
        }
    }
    let best = best.unwrap_or(0);
    values[best] = f32::NAN;
    best
}

/// Sorts the pairs (token, choice) of `ids` `[tokens, top_k]` by expert, those of one expert by token.
///
/// `starts` `[experts + 1]`: the pairs of expert `e` are the sorted rows `starts[e]..starts[e + 1]`. `sources`
/// `[tokens · top_k]`: the token of each sorted row. `places` `[tokens · top_k]`: the sorted row of each pair.
pub fn sort_by_expert(ids: Mat<'_>, starts: &mut [u32], sources: &mut [u32], places: &mut [u32]) {
    let top_k = ids.cols();
    let pairs = || (0..ids.rows()).flat_map(|t| ids.row(t).iter().map(|id| *id as usize));
    debug_assert!(pairs().all(|e| e + 1 < starts.len()), "an expert id beyond the last");
    starts.fill(0);
    for e in pairs() {
        starts[e + 1] += 1;
    }
    for e in 1..starts.len() {
        starts[e] += starts[e - 1];
    }
    // `starts[e]` runs up to the next expert's start while its rows are given out; then all move back by one.
    for (pair, (e, place)) in pairs().zip(&mut *places).enumerate() {
        *place = starts[e];
        sources[starts[e] as usize] = (pair / top_k) as u32;
        starts[e] += 1;
    }
    starts.copy_within(..starts.len() - 1, 1);
    starts[0] = 0;
}

/// Row `i` of `out` becomes row `sources[i]` of `x`: the inputs of one expert, or of a share of them.
pub fn gather(x: Mat<'_>, sources: &[u32], mut out: MatMut<'_>) {
    for (i, source) in sources.iter().enumerate() {
        out.row_mut(i).copy_from_slice(x.row(*source as usize));
    }
}

/// Adds the experts' answers up: `out[t] (+)= Σ_j gates[t][j] · y[places[t·top_k + j]]`. `gates` `[tokens, top_k]`,
/// `places` and `out` `[tokens, width]` belong to the same tokens; `y` `[all sorted rows, width]`. The order of
/// the sum is that of the choice, whatever the split of tokens or columns.
pub fn combine(isa: Isa, y: Mat<'_>, gates: Mat<'_>, places: &[u32], accumulate: bool, out: MatMut<'_>) {
    debug_assert_eq!(places.len(), gates.rows() * gates.cols());
    dispatch(isa, Combine { y, gates, places, accumulate, out });
}

struct Combine<'a> {
    y: Mat<'a>,
    gates: Mat<'a>,
    places: &'a [u32],
    accumulate: bool,
    out: MatMut<'a>,
}

impl Kernel for Combine<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for (t, places) in self.places.chunks_exact(self.gates.cols().max(1)).enumerate() {
            let out = self.out.row_mut(t);
            if !self.accumulate {
                out.fill(0.0);
            }
            for (gate, place) in self.gates.row(t).iter().zip(places) {
                let g = s.splat(*gate);
                let (whole, rest) = out.as_chunks_mut::<16>();
                let (y, y_rest) = self.y.row(*place as usize).as_chunks::<16>();
                for (o, y) in whole.iter_mut().zip(y) {
                    s.store(s.fma(g, s.load(y), s.load(o)), o);
                }
                for (o, y) in rest.iter_mut().zip(y_rest) {
                    *o += gate * y;
                }
            }
        }
    }
}

/// Routing in plain float64, by sorting.
pub mod reference {
    use super::Routing;
    use std::cmp::Ordering;

    /// Indices from the largest value to the smallest, equals in order.
    fn ranked(values: &[f64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*b].partial_cmp(&values[*a]).unwrap_or(Ordering::Equal));
        order
    }

    /// The chosen experts of one token with their weights, best first.
    pub fn route(r: &Routing, logits: &[f32], bias: &[f32]) -> Vec<(usize, f64)> {
        let scores: Vec<f64> = logits.iter().map(|x| 1.0 / (1.0 + (-f64::from(*x)).exp())).collect();
        let mut choice: Vec<f64> = scores.iter().zip(bias).map(|(s, b)| s + f64::from(*b)).collect();
        if r.n_group > 1 {
            let size = r.experts / r.n_group;
            let group_scores: Vec<f64> = choice
                .chunks(size)
                .map(|members| ranked(members).iter().take(2).map(|i| members[*i]).sum())
                .collect();
            let kept = &ranked(&group_scores)[..r.topk_group];
            for (e, c) in choice.iter_mut().enumerate() {
                if !kept.contains(&(e / size)) {
                    *c = f64::NEG_INFINITY;
                }
            }
        }
        let chosen = &ranked(&choice)[..r.top_k];
        let sum: f64 = chosen.iter().map(|e| scores[*e]).sum();
        let divisor = if r.normalise { sum + 1e-20 } else { 1.0 };
        chosen.iter().map(|e| (*e, scores[*e] / divisor * f64::from(r.scale))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::golden::{Golden, noise, root};
    use proptest::prelude::*;

    fn run(isa: Isa, r: &Routing, logits: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let tokens = logits.len() / r.experts;
        let (mut ids, mut gates) = (vec![0.0; tokens * r.top_k], vec![0.0; tokens * r.top_k]);
        let mut scratch = vec![f32::NAN; route_scratch_len(r)];
        let logits = Mat::new(logits, tokens, r.experts);
        let view = |x| MatMut::new(x, tokens, r.top_k);
        route(isa, r, logits, bias, view(&mut ids), view(&mut gates), &mut scratch);
        (ids, gates)
    }

    proptest! {
        #[test]
        fn choices_and_weights_agree_with_the_reference(
            groups in 1usize..5, size in 1usize..20, keep in 1usize..5, k in 1usize..20, normalise: bool,
            seed in 0u64..10_000,
        ) {
            let topk_group = keep.min(groups);
            let r = Routing {
                experts: groups * size, top_k: k.min(topk_group * size), n_group: groups, topk_group, normalise,
                scale: 2.5,
            };
            // On a grid, so that choices are equal or well apart, also in float32.
            let logits: Vec<f32> = noise(seed, 3 * r.experts).iter().map(|x| (x * 16.0).round() / 16.0).collect();
            let bias: Vec<f32> = noise(seed + 1, r.experts).iter().map(|b| b.round() / 4.0).collect();
            for isa in Isa::all_available() {
                let (ids, gates) = run(isa, &r, &logits, &bias);
                for t in 0..3 {
                    let want = reference::route(&r, &logits[t * r.experts..][..r.experts], &bias);
                    for (j, (id, gate)) in want.iter().enumerate() {
                        let at = t * r.top_k + j;
                        prop_assert_eq!(ids[at] as usize, *id, "{:?} token {} choice {}", isa, t, j);
                        prop_assert!((f64::from(gates[at]) - gate).abs() < 2e-6 * gate.abs(), "{isa:?}");
                    }
                }
            }
        }

        #[test]
        fn sorting_keeps_every_pair_and_combining_undoes_it(
            tokens in 0usize..40, experts in 1usize..9, k in 1usize..5, width in 1usize..40, seed in 0u64..1000,
        ) {
            let k = k.min(experts);
            // Distinct experts for each token: k neighbours from a random one on.
            let first = noise(seed, tokens.max(1));
            let ids: Vec<f32> = (0..tokens * k)
                .map(|i| (((first[i / k] + 2.0) * 100.0) as usize + i % k) % experts)
                .map(|e| e as f32)
                .collect();
            let (mut starts, mut sources) = (vec![9; experts + 1], vec![9; tokens * k]);
            let mut places = vec![9; tokens * k];
            sort_by_expert(Mat::new(&ids, tokens, k), &mut starts, &mut sources, &mut places);
            prop_assert_eq!((starts[0], starts[experts]), (0, (tokens * k) as u32));
            for e in 0..experts {
                let rows = starts[e] as usize..starts[e + 1] as usize;
                prop_assert!(sources[rows.clone()].windows(2).all(|s| s[0] < s[1]));
                let count = ids.iter().filter(|id| **id as usize == e).count();
                prop_assert_eq!(rows.len(), count);
            }
            for (pair, place) in places.iter().enumerate() {
                prop_assert_eq!(sources[*place as usize] as usize, pair / k);
                let e = ids[pair] as usize;
                prop_assert!((starts[e]..starts[e + 1]).contains(place));
            }
            // Experts that answer with their input: the weighted sum is the input times the sum of weights.
            let x = noise(seed + 1, tokens * width);
            let gates = noise(seed + 2, tokens * k);
            let mut y = vec![0.0; tokens * k * width];
            gather(Mat::new(&x, tokens, width), &sources, MatMut::new(&mut y, tokens * k, width));
            for isa in Isa::all_available() {
                for accumulate in [false, true] {
                    let mut out = vec![1.0; tokens * width];
                    let view = MatMut::new(&mut out, tokens, width);
                    let (y, gates) = (Mat::new(&y, tokens * k, width), Mat::new(&gates, tokens, k));
                    combine(isa, y, gates, &places, accumulate, view);
                    for (i, got) in out.iter().enumerate() {
                        let sum: f32 = gates.row(i / width).iter().sum();
                        let want = x[i] * sum + if accumulate { 1.0 } else { 0.0 };
                        prop_assert!((got - want).abs() < 1e-5, "{isa:?}: {got} is not {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn ties_go_to_the_lower_expert() {
        let r = Routing { experts: 6, top_k: 4, n_group: 1, topk_group: 1, normalise: true, scale: 1.0 };
        let (ids, gates) = run(Isa::detect(), &r, &[0.5, 1.0, 0.5, 1.0, 0.5, 0.5], &[0.0; 6]);
        assert_eq!(ids, [1.0, 3.0, 0.0, 2.0]);
        assert!((gates.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let grouped = Routing { n_group: 3, topk_group: 2, top_k: 3, ..r };
        let (ids, _) = run(Isa::detect(), &grouped, &[1.0; 6], &[0.0; 6]);
        assert_eq!(ids, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn the_bias_moves_the_choice_and_not_the_weight() {
        let r = Routing { experts: 3, top_k: 1, n_group: 1, topk_group: 1, normalise: false, scale: 2.0 };
        let (ids, gates) = run(Isa::detect(), &r, &[0.0, 3.0, 0.0], &[0.0, 0.0, 5.0]);
        assert_eq!((ids[0], gates[0]), (2.0, 1.0));
    }

    #[test]
    fn not_a_number_neither_panics_nor_vanishes() {
        let r = Routing { experts: 4, top_k: 3, n_group: 2, topk_group: 2, normalise: true, scale: 1.0 };
        let (ids, gates) = run(Isa::detect(), &r, &[f32::NAN; 4], &[0.0; 4]);
        assert!(ids.iter().all(|id| *id < 4.0) && gates.iter().all(|g| g.is_nan()));
    }

    #[test]
    fn golden_routers_are_met() {
        let mut layers = 0;
        for (folder, r) in [
            (
                "tiny_moe",
                Routing { experts: 8, top_k: 3, n_group: 1, topk_group: 1, normalise: true, scale: 2.5 },
            ),
            (
                "tiny_moe_groups_latent",
                Routing { experts: 12, top_k: 4, n_group: 4, topk_group: 2, normalise: false, scale: 1.7 },
            ),
        ] {
            let folder = root().join("nemotron_h").join(folder);
            let weights = Golden::open(&folder.join("model.safetensors"));
            let expected = Golden::open(&folder.join("expected.safetensors"));
            for name in expected.names().into_iter().filter(|n| n.ends_with(".router_scores")) {
                let layer = name.strip_suffix(".router_scores").unwrap();
                let index = layer.strip_prefix("prefill.layer").unwrap();
                let gate = format!("backbone.layers.{index}.mixer.gate");
                let bias = weights.f32(&format!("{gate}.e_score_correction_bias"));
                let weight = weights.f32(&format!("{gate}.weight"));
                let normed = expected.f32(&format!("{layer}.normed"));
                let width = weight.len() / r.experts;
                let mut logits = Vec::new();
                for x in normed.chunks(width) {
                    logits.extend(weight.chunks(width).map(|w| {
                        w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>() as f32
                    }));
                }
                let want_ids = expected.i64(&format!("{layer}.topk_indices_sorted"));
                let want_gates = expected.f32(&format!("{layer}.topk_weights_sorted"));
                for isa in Isa::all_available() {
                    let (ids, gates) = run(isa, &r, &logits, &bias);
                    for t in 0..normed.len() / width {
                        let at = t * r.top_k..(t + 1) * r.top_k;
                        let mut got: Vec<(i64, f32)> = ids[at.clone()]
                            .iter()
                            .map(|i| *i as i64)
                            .zip(gates[at.clone()].to_vec())
                            .collect();
                        got.sort_by_key(|g| g.0);
                        for ((id, gate), (want_id, want_gate)) in
                            got.iter().zip(want_ids[at.clone()].iter().zip(&want_gates[at.clone()]))
                        {
                            assert_eq!(id, want_id, "{layer} token {t} on {isa:?}");
                            assert!((gate - want_gate).abs() < 1e-5, "{layer} token {t} on {isa:?}");
                        }
                    }
                }
                layers += 1;
            }
        }
        assert_eq!(layers, 4);
    }
}
