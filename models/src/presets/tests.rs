//! The presets against the published figures: patterns, parameters, weight names, state sizes.

use super::{ALL, find};
use crate::dsl::{ModelSpec, Naming};
use std::collections::HashSet;

fn spec(name: &str) -> ModelSpec {
    (find(name).expect("it is listed").spec)()
}

/// The mixers of a model whose layers are mixer and MLP.
fn mixers(spec: &ModelSpec) -> String {
    spec.pattern.chars().step_by(2).collect()
}

#[test]
fn every_preset_is_legal_and_is_found_by_its_name() {
    let mut names = HashSet::new();
    for preset in ALL {
        let spec = (preset.spec)();
        assert_eq!(spec.name, preset.name);
        assert!(names.insert(preset.name), "{} is listed twice", preset.name);
        assert_eq!(crate::dsl::check::check_definition(&spec), [], "{}", preset.name);
        assert!(preset.source.contains("jet_model!"));
        assert_eq!(find(preset.name).expect("it is listed").name, preset.name);
    }
}

#[test]
fn suggests_a_preset() {
    let error = find("jet-nemotron-3b").expect_err("there is none").to_string();
    assert!(error.contains("did you mean `jet-nemotron-2b`?"), "{error}");
    let error = find("gpt").expect_err("there is none").to_string();
    assert!(error.contains("there are `jet-nemotron-2b`, "), "{error}");
}

#[test]
fn patterns_are_the_published_ones() {
    assert_eq!(mixers(&spec("jet-nemotron-2b")), "JJJJJJJJJJJJJJ*JJJJ*WWJJJJJJ");
    assert_eq!(mixers(&spec("jet-nemotron-4b")), "JJJJJWJJJJJJJJJJW*JW*WWJJWJWJJJJ*JJJ");
    for (name, pattern) in [
        ("nemotron-nano-12b-v2-base", "M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M*-M-M-M-M-"),
        ("nemotron-nano-9b-v2", "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-"),
        ("nemotron-3-nano-30b-a3b", "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"),
        ("tiny-hybrid", "MM*M-J*"),
    ] {
        assert_eq!(spec(name).pattern, pattern, "{name}");
    }
}

#[test]
fn parameters_are_the_published_ones() {
    for (name, params, active) in [
        ("jet-nemotron-2b", 1_964_806_208, 1_964_806_208),
        ("jet-nemotron-4b", 3_960_424_768, 3_960_424_768),
        ("nemotron-nano-9b-v2", 8_888_227_328, 8_888_227_328),
        ("nemotron-nano-12b-v2-base", 12_310_001_152, 12_310_001_152),
        ("nemotron-3-nano-30b-a3b", 31_577_937_344, 3_580_076_352),
        ("qwen2.5-1.5b", 1_543_714_304, 1_543_714_304),
        ("qwen3-1.7b", 1_720_574_976, 1_720_574_976),
        ("smollm2-135m", 134_515_008, 134_515_008),
    ] {
        let spec = spec(name);
        assert_eq!((spec.params(), spec.active_params()), (params, active), "{name}");
        let listed: u64 =
            spec.weights().iter().filter(|w| w.id.role.is_parameter()).map(|w| w.shape.elements()).sum();
        assert_eq!(listed, params, "{name}: the weights of the list");
        assert_eq!(spec.weight_bytes(16), 2 * params, "{name}");
    }
}

#[test]
fn the_router_bias_is_a_weight_but_no_parameter() {
    let all: u64 = spec("nemotron-3-nano-30b-a3b").weights().iter().map(|w| w.shape.elements()).sum();
    assert_eq!(all, 31_577_937_344 + 2_944);
}

/// Names of the list, and the shape of one of them.
fn names(spec: &ModelSpec) -> HashSet<String> {
    let all = spec.weights();
    let names: HashSet<String> = all.iter().map(|w| w.name.clone()).collect();
    assert_eq!(names.len(), all.len(), "{}: a name twice", spec.name);
    names
}

#[track_caller]
fn shape(spec: &ModelSpec, name: &str, expected: &[u64]) {
    let found = spec.weights().into_iter().find(|w| w.name == name);
    assert_eq!(found.unwrap_or_else(|| panic!("no weight {name}")).shape.0, expected, "{name}");
}

#[test]
fn weight_names_are_those_of_the_checkpoints() {
    for (name, count) in [
        ("jet-nemotron-2b", 482),
        ("jet-nemotron-4b", 590),
        ("smollm2-135m", 272),
        ("qwen2.5-1.5b", 28 * 12 + 2),
        ("qwen3-1.7b", 28 * 11 + 2),
        ("nemotron-nano-12b-v2-base", 3 + 62 + 28 * 8 + 6 * 4 + 28 * 2),
        ("nemotron-nano-9b-v2", 3 + 56 + 27 * 8 + 4 * 4 + 25 * 2),
        ("nemotron-3-nano-30b-a3b", 3 + 52 + 23 * 8 + 6 * 4 + 23 * (2 + 2 * 128 + 2)),
    ] {
        assert_eq!(names(&spec(name)).len(), count, "{name}");
    }
}

#[test]
fn shapes_of_jet_nemotron_2b_are_the_published_ones() {
    let spec = spec("jet-nemotron-2b");
    let layer = |i: u32, rest: &str| format!("model.layers.{i}.{rest}");
    shape(&spec, "model.embed_tokens.weight", &[151_936, 1536]);
    shape(&spec, "model.norm.weight", &[1536]);
    shape(&spec, &layer(27, "input_layernorm.weight"), &[1536]);
    shape(&spec, &layer(27, "post_attention_layernorm.weight"), &[1536]);
    shape(&spec, &layer(0, "mlp.gate_proj.weight"), &[8960, 1536]);
    shape(&spec, &layer(0, "mlp.down_proj.weight"), &[1536, 8960]);
    shape(&spec, &layer(14, "self_attn.q_proj.weight"), &[1536, 1536]);
    shape(&spec, &layer(20, "self_attn.k_proj.bias"), &[256]);
    shape(&spec, &layer(0, "self_attn.A_log"), &[12]);
    shape(&spec, &layer(0, "self_attn.dt_bias"), &[12]);
    shape(&spec, &layer(0, "self_attn.q_proj.weight"), &[1152, 1536]);
    shape(&spec, &layer(0, "self_attn.v_proj.weight"), &[3072, 1536]);
    shape(&spec, &layer(0, "self_attn.b_proj.weight"), &[12, 1536]);
    shape(&spec, &layer(0, "self_attn.a_proj.weight"), &[12, 1536]);
    let generator = "self_attn.dynamic_conv1d.kernel_generator";
    shape(&spec, &layer(0, &format!("{generator}.w1.weight")), &[384, 1536]);
    shape(&spec, &layer(0, &format!("{generator}.w2.weight")), &[12_288, 384]);
    shape(&spec, &layer(0, &format!("{generator}.w2.bias")), &[12_288]);
    shape(&spec, &layer(0, "self_attn.g_proj.weight"), &[3072, 1536]);
    shape(&spec, &layer(0, "self_attn.o_norm.weight"), &[256]);
    shape(&spec, &layer(0, "self_attn.o_proj.weight"), &[1536, 3072]);
    assert!(!names(&spec).contains("lm_head.weight"), "tied");
}

#[test]
fn shapes_of_the_nemotrons_are_the_published_ones() {
    let base = spec("nemotron-nano-12b-v2-base");
    assert_eq!(base.naming, Naming::NemotronH);
    for (name, dims) in [
        ("backbone.embeddings.weight", &[131_072, 5120][..]),
        ("lm_head.weight", &[131_072, 5120]),
        ("backbone.norm_f.weight", &[5120]),
        ("backbone.layers.61.norm.weight", &[5120]),
        ("backbone.layers.0.mixer.in_proj.weight", &[22_656, 5120]),
        ("backbone.layers.0.mixer.conv1d.weight", &[12_288, 1, 4]),
        ("backbone.layers.0.mixer.conv1d.bias", &[12_288]),
        ("backbone.layers.0.mixer.D", &[128]),
        ("backbone.layers.0.mixer.norm.weight", &[10_240]),
        ("backbone.layers.0.mixer.out_proj.weight", &[5120, 10_240]),
        ("backbone.layers.7.mixer.q_proj.weight", &[5120, 5120]),
        ("backbone.layers.7.mixer.k_proj.weight", &[1024, 5120]),
        ("backbone.layers.1.mixer.up_proj.weight", &[20_480, 5120]),
        ("backbone.layers.1.mixer.down_proj.weight", &[5120, 20_480]),
    ] {
        shape(&base, name, dims);
    }
    let small = spec("nemotron-nano-9b-v2");
    shape(&small, "backbone.layers.14.mixer.q_proj.weight", &[5120, 4480]);
    shape(&small, "backbone.layers.14.mixer.o_proj.weight", &[4480, 5120]);
    let experts = spec("nemotron-3-nano-30b-a3b");
    shape(&experts, "backbone.layers.0.mixer.in_proj.weight", &[10_304, 2688]);
    shape(&experts, "backbone.layers.1.mixer.gate.weight", &[128, 2688]);
    shape(&experts, "backbone.layers.1.mixer.gate.e_score_correction_bias", &[128]);
    shape(&experts, "backbone.layers.51.mixer.experts.127.up_proj.weight", &[1856, 2688]);
    shape(&experts, "backbone.layers.51.mixer.experts.0.down_proj.weight", &[2688, 1856]);
    shape(&experts, "backbone.layers.51.mixer.shared_experts.up_proj.weight", &[3712, 2688]);
}

#[test]
fn state_sizes_of_jet_nemotron_are_the_published_ones() {
    const MIB: f64 = 1024.0 * 1024.0;
    for (name, figures) in [
        ("jet-nemotron-2b", [(4, 37.81), (16, 61.81), (64, 157.81), (256, 541.81)]),
        ("jet-nemotron-4b", [(4, 78.81), (16, 114.81), (64, 258.81), (256, 834.81)]),
    ] {
        for (context, mib) in figures {
            let got = spec(name).cache_bytes(context * 1024, 2) as f64 / MIB;
            assert!((got - mib).abs() < 0.005, "{name} at {context}K: {got} MiB, published {mib}");
        }
    }
    assert_eq!(spec("qwen3-1.7b").cache_bytes(65_536, 2), 7168 << 20);
    assert_eq!(spec("qwen2.5-1.5b").cache_bytes(65_536, 2), 1792 << 20);
}

#[test]
fn state_sizes_of_the_nemotrons_are_the_published_ones() {
    for (name, kv_per_token, recurrent, conv_mib) in [
        ("nemotron-nano-12b-v2-base", 24_576, 140 << 20, 1.97),
        ("nemotron-nano-9b-v2", 16_384, 135 << 20, 1.90),
        ("nemotron-3-nano-30b-a3b", 6_144, 46 << 20, 0.81),
        ("smollm2-135m", 23_040, 0, 0.0),
    ] {
        let spec = spec(name);
        assert_eq!(spec.cache_bytes(1001, 2) - spec.cache_bytes(1000, 2), kv_per_token, "{name}");
        let state: u64 = spec.layers().map(|(_, _, b)| b.kind().state().recurrent * 4).sum();
        assert_eq!(state, recurrent, "{name}");
        let conv: u64 = spec.layers().map(|(_, _, b)| b.kind().state().conv * 2).sum();
        let conv = conv as f64 / (1 << 20) as f64;
        assert!((conv - conv_mib).abs() < 0.005, "{name}: {conv} MiB of convolution columns");
    }
}
