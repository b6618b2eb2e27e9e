//! The gated delta rule: one kernel where every sequence has one new token, another for segments.

use crate::kernel::{Elem, Formats};
use crate::launch::{Call, Choice, Cx, Operand, When};
use crate::op::GatedDelta;
use crate::schedule::Problem;

pub(super) fn lower(cx: &Cx<'_>, d: &GatedDelta) -> Vec<Vec<Choice>> {
    let formats = Formats::new(
        cx.main(),
        &[
            ("q", cx.elem(d.q)),
            ("k", cx.elem(d.k)),
            ("v", cx.elem(d.v)),
            ("out", cx.elem(d.out)),
            ("g", Elem::F32),
            ("beta", Elem::F32),
            ("state", Elem::F32),
        ],
    );
    let call = |step: usize| {
        let dims = [
            ("heads", d.heads),
            ("d_key", d.d_key),
            ("d_value", d.d_value),
            ("align", cx.align(&[d.q, d.k, d.v])),
            ("out_align", cx.align(&[d.out])),
            ("step", step),
        ];
        Call::new(Problem::new("gated_delta", &formats.to_string(), &dims), cx.rows(d.out))
            .view("q", d.q)
            .view("k", d.k)
            .view("v", d.v)
            .view("g", d.g)
            .view("beta", d.beta)
            .view("out", d.out)
            .with("state", Operand::State(d.state))
            .scalar("scale", f64::from(d.scale))
            .scalar("l2_eps", f64::from(d.l2_eps))
    };
    vec![vec![Choice { when: When::Steps, call: call(1) }, Choice { when: When::Always, call: call(0) }]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{Numbers, plan};
    use crate::op::Op;
    use crate::program::{Program, StateShape};
    use crate::{arch, kernel};

    #[test]
    fn runs_of_single_tokens_have_a_kernel_of_their_own_and_every_architecture_serves_both() {
        let (heads, d_key, d_value) = (12, 96, 256);
        let mut p = Program::new("rule");
        let [q, k] = ["q", "k"].map(|n| p.input(n, heads * d_key));
        let v = p.input("v", heads * d_value);
        let [g, beta] = ["g", "beta"].map(|n| p.input(n, heads));
        let out = p.input("out", heads * d_value);
        let state = p.state("s", 0, StateShape::Recurrent { heads, rows: d_key, cols: d_value });
        let rule =
            GatedDelta { q, k, v, g, beta, out, state, heads, d_key, d_value, scale: 0.1, l2_eps: 1e-6 };
        p.push(None, Op::GatedDelta(rule));
        for numbers in [Numbers::F32, Numbers::Bf16] {
            let plan = plan(&p, numbers).unwrap();
            let choices = &plan.steps.last().unwrap().choices;
            assert_eq!(choices.iter().map(|c| c.when).collect::<Vec<_>>(), [When::Steps, When::Always]);
            for (choice, forms) in choices.iter().zip([vec![0], vec![1, 2]]) {
                for arch in arch::ALL {
                    let kernel = kernel::find("gated_delta").unwrap();
                    for tokens in [1, 64, 4096] {
                        let values = kernel.default_for(&choice.call.problem(tokens), arch).unwrap();
                        assert!(forms.contains(&values.get("form").unwrap()), "{values} on {arch}");
                    }
                }
            }
        }
    }
}
