//! Lowering of every block kind, and what the rewrites and the memory plan must keep.

use jet_codegen::op::Op;
use jet_codegen::program::Program;
use jet_codegen::{LowerOptions, fuse, lower, lower_plain, memory, verify};
use jet_dsl::block::{Act, Attention, Block, JetBlock, Mamba2, Mlp, Moe, Rope, RopeScaling};
use jet_dsl::{Binding, ModelSpec, Naming};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn blocks() -> Vec<Binding> {
    let rope = Rope { theta: 1e4, scaling: RopeScaling::None };
    let full = Attention { n_heads: 4, n_kv_heads: 2, d_head: 8, rope: Some(rope), ..Attention::DEFAULT };
    let window = Attention { window: Some(5), qk_norm: true, qkv_bias: true, out_bias: true, ..full.clone() };
    let moe = Moe { n_experts: 4, top_k: 2, hidden: 16, shared_hidden: 24, ..Moe::DEFAULT };
    let bind = |symbol, block| Binding { symbol, block };
    vec![
        bind(
            'M',
            Block::Mamba2(Mamba2 { n_heads: 4, d_head: 8, d_state: 16, n_groups: 2, ..Mamba2::DEFAULT }),
        ),
        bind('*', Block::Attention(full)),
        bind('W', Block::Attention(window)),
        bind('-', Block::Mlp(Mlp { hidden: 48, act: Act::Swiglu, bias: false })),
        bind('r', Block::Mlp(Mlp { hidden: 48, act: Act::Relu2, bias: true })),
        bind('J', Block::JetBlock(JetBlock { n_heads: 2, d_head: 8, ..JetBlock::DEFAULT })),
        bind('E', Block::Moe(moe.clone())),
        bind('L', Block::Moe(Moe { latent: Some(12), act: Act::Swiglu, ..moe })),
    ]
}

fn spec(pattern: &str, tied: bool) -> ModelSpec {
    ModelSpec {
        name: "test".into(),
        vocab: 64,
        d_model: 32,
        norm_eps: 1e-5,
        tie_embeddings: tied,
        max_context: 128,
        pattern: pattern.to_owned().into(),
        bindings: blocks().into(),
        naming: Naming::NemotronH,
        precisions: vec![].into(),
    }
}

fn weights(p: &Program) -> BTreeSet<jet_dsl::weight::WeightRef> {
    p.steps.iter().flat_map(|s| s.op.weights()).collect()
}

#[test]
fn a_program_uses_exactly_the_weights_that_the_model_declares() {
    for tied in [true, false] {
        let spec = spec("M*W-rJEL", tied);
        let declared: BTreeSet<_> = spec.weights().into_iter().map(|w| w.id).collect();
        for p in [lower_plain(&spec, LowerOptions::default()), lower(&spec, LowerOptions::default())] {
            assert_eq!(weights(&p), declared);
            let sizes: u64 = p
                .steps
                .iter()
                .flat_map(|s| s.op.weight_elements())
                .collect::<std::collections::BTreeMap<_, _>>()
                .values()
                .map(|n| *n as u64)
                .sum();
            let router_biases = 2 * 4;
            assert_eq!(sizes, spec.params() + router_biases);
        }
    }
}

#[test]
fn rewrites_leave_one_projection_per_input_and_no_residual_add_behind_a_projection() {
    let p = lower(&spec("J*", true), LowerOptions::default());
    let linears =
        |layer| p.steps.iter().filter(|s| s.layer == Some(layer) && matches!(s.op, Op::Linear(_))).count();
    assert_eq!((linears(0), linears(1)), (2, 2), "{p}");
    assert!(!p.steps.iter().any(|s| matches!(s.op, Op::Add { .. })), "{p}");
    assert!(p.to_string().contains("0.q+k+u+z+beta+g+generator"), "{p}");
}

#[test]
fn the_same_model_gives_the_same_program() {
    let spec = spec("M*W-rJEL", true);
    let print = || lower(&spec, LowerOptions { keep_hidden: true }).to_string();
    assert_eq!(print(), print());
}

#[test]
fn the_verifier_finds_a_read_before_its_write() {
    let mut p = lower(&spec("M", true), LowerOptions::default());
    p.steps.swap(1, 2);
    assert!(verify::verify(&p).unwrap_err().contains("before it is written"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_pattern_lowers_verifies_and_fits_its_memory_plan(
        pattern in "[M*W\\-rJEL]{1,12}", tied: bool, keep_hidden: bool, tokens in 1usize..40, outputs in 1usize..4,
    ) {
        let spec = spec(&pattern, tied);
        let options = LowerOptions { keep_hidden };
        let mut p = lower_plain(&spec, options);
        prop_assert_eq!(verify::verify(&p), Ok(()));
        for pass in fuse::PASSES {
            (pass.run)(&mut p);
            prop_assert_eq!(verify::verify(&p), Ok(()), "after {}", pass.name);
        }
        let plan = memory::plan(&p, tokens, outputs);
        prop_assert!(plan.elements <= plan.unshared);
        // Walk the program with a tag per element: what an op reads must be what was written for that buffer.
        let mut owner = vec![usize::MAX; plan.elements];
        let rows = |b: usize| match p.buffers[b].rows {
            jet_codegen::program::Rows::Tokens => tokens,
            jet_codegen::program::Rows::Outputs => outputs,
        };
        for step in &p.steps {
            for v in step.op.reads() {
                let b = v.buf.0 as usize;
                for r in 0..rows(b) {
                    let at = plan.offsets[b] + r * p.buffers[b].width + v.col;
                    prop_assert!(owner[at..at + v.width].iter().all(|o| *o == b), "{} of {}", step.op.name(), p.buffers[b].name);
                }
            }
            for v in step.op.writes() {
                let b = v.buf.0 as usize;
                for r in 0..rows(b) {
                    let at = plan.offsets[b] + r * p.buffers[b].width + v.col;
                    owner[at..at + v.width].fill(b);
                }
            }
        }
    }
}
