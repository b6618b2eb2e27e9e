//! Attention and its KV cache: new tokens attend to old keys in the cache and to each other's among the activations, then
//! their keys are appended. A step of one token each appends first: the new key takes the place of the one that has just
//! left the window.

use crate::kernel::{Elem, Formats};
use crate::launch::{Call, Choice, Cx, Operand, When};
use crate::op::{Attention, View};
use crate::schedule::Problem;

pub(super) fn lower(cx: &Cx<'_>, a: &Attention) -> Vec<Vec<Choice>> {
    let window = a.window.map_or(0, |w| w.max(1));
    let heads = [("heads", a.heads), ("window", window)];
    let prefill = call(cx, a, "attention", &[("q", a.q), ("k", a.k), ("v", a.v), ("out", a.out)], &heads);
    let decode = call(cx, a, "attention_decode", &[("q", a.q), ("out", a.out)], &heads);
    let append = call(cx, a, "kv_append", &[("k", a.k), ("v", a.v)], &[]);
    let (prefill, decode) = (prefill.scalar("scale", a.scale.into()), decode.scalar("scale", a.scale.into()));
    let step = |first: Call, otherwise: Call| {
        vec![Choice { when: When::Steps, call: first }, Choice { when: When::Always, call: otherwise }]
    };
    vec![step(append.clone(), prefill), step(decode, append)]
}

/// A call of `family` on `views` and the cache.
fn call(
    cx: &Cx<'_>,
    a: &Attention,
    family: &str,
    views: &[(&'static str, View)],
    sizes: &[(&str, usize)],
) -> Call {
    let plain: Vec<View> = views.iter().map(|(_, v)| *v).collect();
    // A head that begins in the middle of a row is no better aligned than its width.
    let align = cx.align(&plain).min(1 << a.d_head.trailing_zeros().min(3));
    let mut formats: Vec<(&str, Elem)> = views.iter().map(|(role, v)| (*role, cx.elem(*v))).collect();
    formats.extend([("k_cache", cx.main()), ("v_cache", cx.main())]);
    let dims = [("kv_heads", a.kv_heads), ("d_head", a.d_head), ("align", align)];
    let dims: Vec<(&str, usize)> = dims.iter().chain(sizes).copied().collect();
    let problem = Problem::new(family, &Formats::new(cx.main(), &formats).to_string(), &dims);
    let call = views.iter().fold(Call::new(problem, cx.rows(plain[0])), |c, (role, v)| c.view(role, *v));
    call.with("k_cache", Operand::Keys(a.cache)).with("v_cache", Operand::Values(a.cache))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{Numbers, plan};
    use crate::op::Op;
    use crate::program::{Program, Rows, StateShape};

    fn program(window: Option<usize>) -> Program {
        let mut p = Program::new("attention");
        let (heads, kv_heads, d_head) = (6, 2, 24);
        let qkv = p.input("qkv", (heads + 2 * kv_heads) * d_head);
        let q = qkv.slice(0, heads * d_head);
        let k = qkv.slice(heads * d_head, kv_heads * d_head);
        let v = qkv.slice((heads + kv_heads) * d_head, kv_heads * d_head);
        let cache = p.state("kv", 0, StateShape::Kv { kv_heads, d_head, window });
        let out = p.buffer("out", heads * d_head, Rows::Tokens);
        p.mark_output(out);
        p.push(
            None,
            Op::Attention(Attention { q, k, v, out, cache, heads, kv_heads, d_head, scale: 0.2, window }),
        );
        p
    }

    #[test]
    fn steps_append_before_they_attend_and_others_after() {
        let p = plan(&program(Some(8)), Numbers::F32);
        let families = |when: When| -> Vec<&str> {
            let of = |s: &'_ crate::launch::Step| s.choices.iter().position(|c| c.when == when).unwrap();
            p.steps.iter().map(|s| s.choices[of(s)].call.problem.family.as_str()).collect()
        };
        assert_eq!(families(When::Steps), ["kv_append", "attention_decode"]);
        assert_eq!(families(When::Always), ["attention", "kv_append"]);
    }

    #[test]
    fn every_problem_is_served_on_every_architecture_with_tensor_cores_in_bf16() {
        for numbers in [Numbers::F32, Numbers::Bf16] {
            let p = plan(&program(None), numbers);
            for problem in p.problems(64) {
                let kernel = crate::kernel::find(&problem.family).unwrap();
                for arch in crate::arch::ALL {
                    let values = kernel.default_for(&problem, arch).unwrap();
                    let products = problem.family.starts_with("attention") && numbers == Numbers::Bf16;
                    assert_eq!(values.get("form").unwrap_or(0), i64::from(products), "{problem}");
                }
            }
        }
    }
}
