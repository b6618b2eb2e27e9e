//! Mixture of experts: routing, and the routed experts.

use crate::kernel::{Elem, Formats};
use crate::launch::{Call, Choice, Cx, Weight, row_stride};
use crate::op::{Experts, Op};
use crate::schedule::Problem;
use jet_dsl::block::Act;
use jet_dsl::weight::WeightRef;

pub(super) fn route(cx: &Cx<'_>, op: &Op) -> Vec<Vec<Choice>> {
    let Op::Route { logits, bias, ids, gates, n_group, topk_group, normalise, scale } = op else {
        return vec![];
    };
    let format = Formats::new(cx.elem(*logits), &[]);
    let dims = [
        ("experts", logits.width),
        ("top_k", ids.width),
        ("n_group", *n_group),
        ("topk_group", *topk_group),
        ("normalise", usize::from(*normalise)),
    ];
    let call = Call::new(Problem::new("route", &format.to_string(), &dims), cx.rows(*logits))
        .view("logits", *logits)
        .weight("bias", Weight::vector(*bias, logits.width))
        .view("ids", *ids)
        .view("gates", *gates)
        .scalar("scale", f64::from(*scale));
    vec![call.always()]
}

pub(super) fn experts(cx: &Cx<'_>, e: &Experts) -> Vec<Vec<Choice>> {
    let act = match e.act {
        Act::Relu2 => "relu2",
        Act::Swiglu => "swiglu",
        Act::Geglu => "geglu",
    };
    let formats = [("x", cx.elem(e.x)), ("weight", cx.main()), ("out", cx.elem(e.out))];
    let formats =
        Formats::new(cx.main(), &[&formats[..], &[("ids", Elem::F32), ("gates", Elem::F32)]].concat());
    let dims = [
        ("width", e.x.width),
        ("hidden", e.hidden),
        ("experts", e.up.len()),
        ("top_k", e.top_k),
        ("align", cx.align(&[e.x])),
        ("out_align", cx.align(&[e.out])),
        ("accumulate", usize::from(e.accumulate)),
        (act, 1),
    ];
    let bank = |ids: &[WeightRef], rows: usize, cols: usize| Weight {
        parts: ids.iter().map(|id| (Some(*id), rows)).collect(),
        cols,
        stride: row_stride(cols),
        elem: cx.main(),
    };
    let mut call = Call::new(Problem::new("experts", &formats.to_string(), &dims), cx.rows(e.x))
        .view("x", e.x)
        .view("ids", e.ids)
        .view("gates", e.gates)
        .weight("up", bank(&e.up, e.hidden, e.x.width))
        .weight("down", bank(&e.down, e.x.width, e.hidden))
        .view("out", e.out);
    if !e.gate.is_empty() {
        call = call.weight("gate", bank(&e.gate, e.hidden, e.x.width));
    }
    vec![call.always()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{Numbers, Operand, plan};
    use crate::program::Program;
    use crate::{arch, kernel};
    use jet_dsl::weight::Role;

    #[test]
    fn experts_are_stacked_and_every_architecture_serves_them() {
        let (width, hidden, n, top_k) = (48, 32, 5, 2);
        let weights: Vec<WeightRef> =
            (0..n).map(|e| WeightRef { layer: Some(e), role: Role::Norm }).collect();
        for (act, gate) in [(Act::Relu2, vec![]), (Act::Swiglu, weights.clone())] {
            let mut p = Program::new("mixture");
            let (x, logits) = (p.input("x", width), p.input("logits", weights.len()));
            let [ids, gates] = ["ids", "gates"].map(|n| p.input(n, top_k));
            let out = p.input("out", width);
            let (up, down) = (weights.clone(), weights.clone());
            let bias = weights[0];
            let (n_group, topk_group, normalise, scale) = (1, 1, true, 2.5);
            p.push(None, Op::Route { logits, bias, ids, gates, n_group, topk_group, normalise, scale });
            let e = Experts { x, ids, gates, out, accumulate: true, gate, up, down, hidden, top_k, act };
            p.push(None, Op::Experts(e));
            for numbers in [Numbers::F32, Numbers::Bf16] {
                let plan = plan(&p, numbers).unwrap();
                let call = &plan.steps.last().unwrap().choices[0].call;
                let Some(Operand::Weight(up)) = call.operand("up") else { panic!("there is an up matrix") };
                assert_eq!((up.rows(), up.cols), (weights.len() * hidden, width));
                assert_eq!(call.operand("gate").is_some(), act != Act::Relu2);
                for problem in [1, 9, 4096].into_iter().flat_map(|tokens| plan.problems(tokens)) {
                    let kernel = kernel::find(&problem.family).unwrap();
                    arch::ALL.iter().for_each(|a| drop(kernel.default_for(&problem, a).unwrap()));
                }
            }
        }
    }
}
