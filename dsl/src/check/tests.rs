//! Each rule by a model that breaks it and no other; see `legal` for the model they start from.

use super::*;
use crate::block::{Act, Attention, JetBlock, Mamba2, Mlp, Moe, Rope, RopeScaling};
use crate::naming::Naming;
use crate::spec::{Binding, Precision};
use std::borrow::Cow;

/// A legal model with every kind of block.
pub(crate) fn legal() -> ModelSpec {
    let bind = |symbol, block| Binding { symbol, block };
    let attention = Attention {
        n_heads: 8,
        n_kv_heads: 2,
        d_head: 64,
        rope: Some(Rope { theta: 10_000.0, scaling: RopeScaling::None }),
        ..Attention::DEFAULT
    };
    ModelSpec {
        name: "legal".into(),
        vocab: 1000,
        d_model: 512,
        norm_eps: 1e-5,
        tie_embeddings: true,
        max_context: 4096,
        pattern: "M*W-JE".into(),
        bindings: Cow::Owned(vec![
            bind('M', Block::Mamba2(Mamba2 { n_heads: 16, d_head: 64, n_groups: 2, ..Mamba2::DEFAULT })),
            bind('*', Block::Attention(attention.clone())),
            bind('W', Block::Attention(Attention { window: Some(128), ..attention })),
            bind('-', Block::Mlp(Mlp { hidden: 2048, act: Act::Relu2, bias: false })),
            bind('J', Block::JetBlock(JetBlock { n_heads: 6, d_head: 64, ..JetBlock::DEFAULT })),
            bind('E', Block::Moe(Moe { n_experts: 8, top_k: 2, hidden: 64, ..Moe::DEFAULT })),
        ]),
        naming: Naming::NemotronH,
        precisions: Cow::Owned(vec![Precision::Bf16]),
    }
}

/// Faults, rendered, of the legal model after a change to it.
fn model(change: impl FnOnce(&mut ModelSpec)) -> Vec<String> {
    let mut spec = legal();
    change(&mut spec);
    check_definition(&spec).iter().map(Fault::to_string).collect()
}

/// Faults after a change to the block bound to a symbol.
macro_rules! block {
    ($symbol:literal, $kind:ident, |$b:ident| $change:expr) => {
        model(|spec| {
            let binding =
                spec.bindings.to_mut().iter_mut().find(|b| b.symbol == $symbol).expect("it is bound");
            let Block::$kind($b) = &mut binding.block else { panic!("another kind") };
            $change;
        })
    };
}

#[track_caller]
fn only(faults: &[String], expected: &str) {
    assert!(faults.len() == 1 && faults[0].contains(expected), "{expected:?} in {faults:#?}");
}

#[test]
fn accepts_the_legal_model() {
    assert_eq!(model(|_| ()), [""; 0]);
}

#[test]
fn judges_the_models_own_sizes() {
    only(&model(|s| s.vocab = 0), "vocab: vocab is 0; it must be from 1 to");
    only(&model(|s| s.d_model = 0), "d_model is 0");
    only(&model(|s| s.d_model = u32::MAX), "d_model is 4294967295");
    only(&model(|s| s.max_context = 0), "max_context is 0");
    for eps in [0.0, -1e-5, f64::NAN, f64::INFINITY] {
        only(&model(|s| s.norm_eps = eps), &format!("the norm's eps is {eps}"));
    }
    only(&model(|s| s.name = "".into()), "name: the name \"\" is empty");
    only(&model(|s| s.precisions.to_mut().push(Precision::Bf16)), "Bf16 is listed twice");
}

#[test]
fn judges_the_pattern() {
    let unbound = |s: &mut ModelSpec| s.pattern = "M*W-JEK".into();
    only(&model(unbound), "pattern: unknown block symbol `K`\n\"M*W-JEK\"\n       ^ one of: M (mamba2)");
    only(&model(|s| s.pattern = "M*W-J".into()), "block `E`: `E` is bound but not in the pattern");
    only(&model(|s| s.pattern = "M*W-(JE)2".into()), "the pattern is not flat");
    only(&model(|s| s.pattern = "M*W-JE|".into()), "Megatron");
    only(&model(|s| s.pattern = "".into()), "an empty pattern");
}

#[test]
fn judges_the_bindings() {
    let twice = model(|s| {
        let again = s.bindings[0].clone();
        s.bindings.to_mut().push(again);
    });
    only(&twice, "`M` is bound twice");
    let digit = model(|s| s.bindings.to_mut()[0].symbol = '3');
    assert!(digit.iter().any(|f| f.contains("'3' cannot stand for a block")), "{digit:#?}");
}

#[test]
fn wants_mixers_and_mlps_to_alternate_under_the_transformer_naming() {
    let naming = |pattern: &'static str| {
        let mut spec = legal();
        (spec.pattern, spec.naming) = (pattern.into(), Naming::Transformer);
        check(&spec).iter().map(Fault::to_string).collect::<Vec<_>>()
    };
    assert_eq!(naming("*-WEJ-"), [""; 0]);
    only(&naming("*-*W-"), "block 3 is a mixer, and `naming: transformer` wants an MLP there");
    only(&naming("-*"), "block 0 is an MLP, and `naming: transformer` wants a mixer there");
    only(&naming("*-*"), "the last mixer has no MLP behind it");
}

#[test]
fn judges_attention() {
    only(&block!('*', Attention, |b| b.n_heads = 0), "block `*` (attention): n_heads is 0");
    only(
        &block!('*', Attention, |b| b.n_kv_heads = 3),
        "n_kv_heads (3) does not divide n_heads (8): every key/value head serves equally many query heads; \
         n_kv_heads could be 2 or 4",
    );
    only(&block!('*', Attention, |b| b.n_kv_heads = 16), "n_kv_heads (16) does not divide n_heads (8)");
    let prime = block!('*', Attention, |b| (b.n_heads, b.n_kv_heads) = (4_294_967_291, 4_294_967_290));
    assert!(prime.iter().any(|f| f.contains("n_kv_heads must divide n_heads")), "{prime:#?}");
    only(&block!('*', Attention, |b| b.d_head = 65), "d_head is 65, and a rotary embedding turns pairs");
    only(&block!('W', Attention, |b| b.window = Some(0)), "block `W` (window_attention): window is 0");
    only(
        &block!('*', Attention, |b| (b.n_heads, b.d_head) = (1 << 20, 1 << 20)),
        "n_heads × d_head is 1099511627776; the limit is 16777216",
    );
    for theta in [1.0, 0.0, -3.0, f64::NAN, f64::INFINITY] {
        let rope = Rope { theta, scaling: RopeScaling::None };
        only(&block!('*', Attention, |b| b.rope = Some(rope)), &format!("rope theta is {theta}"));
    }
    assert_eq!(block!('*', Attention, |b| (b.d_head, b.rope) = (65, None)), [""; 0]);
}

#[test]
fn judges_rope_scaling() {
    let scaled = |factor, low_freq, high_freq, original_context| {
        let scaling = RopeScaling::Llama3 { factor, low_freq, high_freq, original_context };
        block!('*', Attention, |b| b.rope = Some(Rope { theta: 5e5, scaling }))
    };
    assert_eq!(scaled(8.0, 1.0, 4.0, 8192), [""; 0]);
    only(&scaled(0.5, 1.0, 4.0, 8192), "llama3 factor is 0.5");
    only(&scaled(8.0, 4.0, 4.0, 8192), "llama3 low_freq is 4 and high_freq is 4");
    only(&scaled(8.0, 1.0, 4.0, 0), "llama3 original_context is 0");
}

#[test]
fn judges_mamba2() {
    only(&block!('M', Mamba2, |b| b.n_groups = 3), "n_groups (3) does not divide n_heads (16)");
    only(&block!('M', Mamba2, |b| b.n_groups = 0), "n_groups is 0");
    only(&block!('M', Mamba2, |b| b.d_state = 0), "d_state is 0");
    only(&block!('M', Mamba2, |b| b.chunk = 0), "chunk is 0");
    for taps in [0, 1, 1025] {
        only(&block!('M', Mamba2, |b| b.conv = taps), &format!("conv is {taps}; it must be from 2 to 1024"));
    }
    only(&block!('M', Mamba2, |b| b.dt_min = -0.1), "dt_min is -0.1");
    only(&block!('M', Mamba2, |b| b.dt_max = Some(0.0)), "dt_max is 0");
    only(
        &block!('M', Mamba2, |b| (b.dt_min, b.dt_max) = (0.2, Some(0.1))),
        "dt_min (0.2) is above dt_max (0.1)",
    );
    only(&block!('M', Mamba2, |b| b.dt_max = Some(f64::INFINITY)), "dt_max is inf");
}

#[test]
fn judges_mlps() {
    only(&block!('-', Mlp, |b| b.hidden = 0), "block `-` (mlp): hidden is 0");
}

#[test]
fn judges_jet_blocks() {
    only(
        &block!('J', JetBlock, |b| b.expand_v = 2.33),
        "d_head × expand_v is 64 × 2.33 = 149.12, not a whole number; for values 149 wide write \
         expand_v: 2.3281250000",
    );
    only(&block!('J', JetBlock, |b| b.expand_v = -1.0), "expand_v is -1");
    only(&block!('J', JetBlock, |b| b.expand_v = f64::NAN), "expand_v is NaN");
    only(&block!('J', JetBlock, |b| b.expand_v = 1e300), "expand_v is 1");
    only(&block!('J', JetBlock, |b| b.expand_v = 1e-9), "not a whole number; for values 1 wide");
    only(&block!('J', JetBlock, |b| b.reduction = 7), "reduction (7) does not divide the 768 value channels");
    only(
        &block!('J', JetBlock, |b| b.reduction = 1000),
        "reduction (1000) is more than the 768 value channels",
    );
    only(&block!('J', JetBlock, |b| b.reduction = 0), "reduction is 0");
    only(&block!('J', JetBlock, |b| b.conv = 1), "conv is 1");
    only(&block!('J', JetBlock, |b| b.norm_eps = 0.0), "norm_eps is 0; it must be above 0");
    // The published 2B model writes 8/3 with ten decimals; one digit less or more is as good.
    for expand_v in [2.666_666_666_7, 2.666_666_666_6, 2.666_67] {
        let faults = block!('J', JetBlock, |b| (b.d_head, b.expand_v) = (96, expand_v));
        assert_eq!(faults, [""; 0], "{expand_v}");
    }
}

#[test]
fn leaves_a_remainder_of_the_reduction_to_published_configs() {
    let mut spec = legal();
    let Block::JetBlock(b) = &mut spec.bindings.to_mut()[4].block else { panic!("another kind") };
    b.reduction = 7;
    assert_eq!(check(&spec), []);
}

#[test]
fn judges_mixtures_of_experts() {
    only(&block!('E', Moe, |b| b.top_k = 9), "top_k (9) is more than n_experts (8)");
    only(&block!('E', Moe, |b| b.top_k = 0), "top_k is 0");
    only(&block!('E', Moe, |b| b.n_experts = 0), "n_experts is 0");
    only(&block!('E', Moe, |b| b.n_experts = 100_000), "n_experts is 100000");
    only(&block!('E', Moe, |b| b.latent = Some(0)), "latent is 0");
    only(&block!('E', Moe, |b| b.scale = 0.0), "scale is 0");
    only(&block!('E', Moe, |b| b.topk_group = 2), "topk_group (2) is more than n_group (1)");
    only(&block!('E', Moe, |b| b.n_group = 3), "n_group (3) does not divide n_experts (8)");
    only(&block!('E', Moe, |b| b.n_group = 8), "n_group (8) leaves one expert a group");
    only(&block!('E', Moe, |b| (b.n_group, b.top_k) = (4, 3)), "top_k (3) is more than the 2 experts");
}

#[test]
fn reports_all_faults_at_once() {
    let mut spec = legal();
    spec.vocab = 0;
    spec.pattern = "MK*W-JE".into();
    let Block::Mamba2(b) = &mut spec.bindings.to_mut()[0].block else { panic!("another kind") };
    (b.n_groups, b.conv) = (3, 0);
    let error = spec.checked().expect_err("four faults");
    assert_eq!(error.faults.len(), 4);
    let text = error.to_string();
    for part in ["vocab is 0", "unknown block symbol `K`", "n_groups (3)", "conv is 0"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn bounds_the_totals() {
    let tensors = model(|s| {
        s.pattern = format!("M*W-J{}", "E".repeat(1000)).into();
        let Block::Moe(b) = &mut s.bindings.to_mut()[5].block else { panic!("another kind") };
        b.n_experts = 65_536;
    });
    assert!(tensors.iter().any(|f| f.contains("weight tensors; the limit is 1048576")), "{tensors:?}");
    let params = model(|s| {
        s.d_model = MAX_SIZE;
        s.pattern = format!("M*W{}JE", "-".repeat(4000)).into();
        let Block::Mlp(b) = &mut s.bindings.to_mut()[3].block else { panic!("another kind") };
        (b.hidden, b.act) = (MAX_SIZE, Act::Swiglu);
    });
    only(&params, "parameters; the limit is 9007199254740992");
    let cache = model(|s| {
        (s.max_context, s.pattern) = (1 << 30, format!("M{}W-JE", "*".repeat(4000)).into());
        let Block::Attention(b) = &mut s.bindings.to_mut()[1].block else { panic!("another kind") };
        (b.n_heads, b.n_kv_heads, b.d_head) = (1 << 10, 1 << 10, 1 << 14);
    });
    only(&cache, "bytes of KvCache; the limit is 1152921504606846976");
}

/// The largest sizes that pass must not overflow in any figure.
#[test]
fn computes_the_largest_legal_models_without_overflow() {
    let mut spec = legal();
    (spec.d_model, spec.vocab, spec.max_context) = (MAX_SIZE, 1 << 20, 1 << 30);
    for binding in spec.bindings.to_mut() {
        match &mut binding.block {
            Block::Mamba2(b) => (b.n_heads, b.d_head, b.d_state) = (1 << 10, 1 << 14, 1 << 14),
            Block::Attention(b) => (b.n_heads, b.n_kv_heads, b.d_head) = (1 << 10, 1 << 10, 1 << 14),
            Block::Mlp(b) => b.hidden = MAX_SIZE,
            Block::JetBlock(b) => (b.n_heads, b.d_head, b.expand_v, b.conv) = (1 << 9, 1 << 14, 2.0, 4),
            Block::Moe(b) => (b.n_experts, b.hidden) = (64, MAX_SIZE),
        }
    }
    let spec = spec.checked().expect("large, yet legal");
    let context = u64::from(spec.max_context);
    assert!(spec.params() >= spec.active_params());
    assert!(
        spec.weight_bytes(32) > 0 && spec.flops_per_token(context) > 0 && spec.cache_bytes(context, 4) > 0
    );
}
