//! The scan of Mamba-2.

use crate::kernel::Formats;
use crate::launch::{Call, Choice, Cx, Operand, Weight, When};
use crate::op::Ssd;
use crate::schedule::Problem;

pub(super) fn lower(cx: &Cx<'_>, s: &Ssd) -> Vec<Vec<Choice>> {
    let formats: Vec<_> = [("x", s.x), ("b", s.b), ("c", s.c), ("dt", s.dt), ("out", s.out)]
        .iter()
        .map(|(role, v)| (*role, cx.elem(*v)))
        .collect();
    let format = Formats::new(cx.main(), &formats).to_string();
    let call = |step: usize| {
        let dims = [
            ("heads", s.heads),
            ("d_head", s.d_head),
            ("groups", s.groups),
            ("d_state", s.d_state),
            ("align", cx.align(&[s.x, s.b, s.c, s.out])),
            ("step", step),
        ];
        Call::new(Problem::new("ssd", &format, &dims), cx.rows(s.x))
            .view("x", s.x)
            .view("b", s.b)
            .view("c", s.c)
            .view("dt", s.dt)
            .view("out", s.out)
            .weight("dt_bias", Weight::vector(s.dt_bias, s.heads))
            .weight("a_log", Weight::vector(s.a_log, s.heads))
            .weight("d_skip", Weight::vector(s.d_skip, s.heads))
            .with("state", Operand::State(s.state))
            .scalar("dt_min", s.dt_min)
            .scalar("dt_max", s.dt_max.unwrap_or(f64::INFINITY))
    };
    vec![vec![Choice { when: When::Steps, call: call(1) }, Choice { when: When::Always, call: call(0) }]]
}

#[cfg(test)]
mod tests {
    use crate::launch::{Numbers, When, plan};
    use crate::{LowerOptions, lower};
    use jet_dsl::block::{Block, Mamba2};
    use jet_dsl::{Binding, ModelSpec, Naming};

    #[test]
    fn a_mamba_model_is_served_in_steps_and_in_prefill() {
        let block = Mamba2 { n_heads: 4, d_head: 80, d_state: 128, n_groups: 2, ..Mamba2::DEFAULT };
        let model = ModelSpec {
            name: "one".into(),
            vocab: 40,
            d_model: 24,
            norm_eps: 1e-5,
            tie_embeddings: true,
            max_context: 64,
            pattern: "M".into(),
            naming: Naming::NemotronH,
            precisions: vec![].into(),
            bindings: vec![Binding { symbol: 'M', block: Block::Mamba2(block) }].into(),
        };
        for numbers in [Numbers::F32, Numbers::Bf16] {
            let plan = plan(&lower(&model, LowerOptions::default()), numbers);
            let scan = plan.steps.iter().find(|s| plan.op(s).name() == "ssd").unwrap();
            let form = |choice: usize, arch| {
                let problem = scan.choices[choice].call.problem(512);
                let kernel = crate::kernel::find("ssd").unwrap();
                kernel.default_for(&problem, arch).unwrap().get("form").unwrap()
            };
            assert_eq!(scan.choices[0].when, When::Steps);
            for arch in crate::arch::ALL {
                for problem in plan.problems(512) {
                    crate::kernel::find(&problem.family).unwrap().default_for(&problem, arch).unwrap();
                }
                // One token each goes through the recurrence, more by chunks, in bf16 on the tensor cores.
                let chunks = if numbers == Numbers::Bf16 { 2 } else { 1 };
                assert_eq!((form(0, arch), form(1, arch)), (0, chunks), "{arch}");
            }
        }
    }
}
