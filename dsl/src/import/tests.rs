//! Imports of every config among the test vectors, against the names and shapes in the weights beside them,
//! and of small configs with each liberty and each mistake.

use super::gguf::{GgufModel, MetaValue, Metadata};
use super::*;
use crate::block::{Attention, Block, JetBlock, Mamba2, Moe, RopeScaling};
use crate::weight::Role;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

fn vectors(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(folder);
    let mut found: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap_or_else(|e| panic!("{}: {e}", root.display()))
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|p| p.join("config.json").is_file())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no checkpoints in {}", root.display());
    found
}

fn read(path: &Path) -> (ModelSpec, ImportNotes) {
    let text = std::fs::read_to_string(path).expect("it can be read");
    hf::import(&text, "vector").unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names and shapes from the headers of the safetensors files of a checkpoint.
fn headers(folder: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a folder entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if !(name.starts_with("model") && name.ends_with(".safetensors")) {
            continue;
        }
        let bytes = std::fs::read(&path).expect("it can be read");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
        for (name, tensor) in
            header.as_object().expect("an object").iter().filter(|(n, _)| *n != "__metadata__")
        {
            let shape = tensor["shape"].as_array().expect("a shape");
            all.insert(name.clone(), shape.iter().map(|d| d.as_u64().expect("a size")).collect());
        }
    }
    all
}

#[test]
fn every_checkpoint_has_exactly_the_weights_its_config_asks_for() {
    for folder in ["jet", "nemotron_h", "dense"].into_iter().flat_map(vectors) {
        let (spec, notes) = read(&folder.join("config.json"));
        let wanted: BTreeMap<String, Vec<u64>> =
            spec.weights().into_iter().map(|w| (w.name, w.shape.0)).collect();
        assert_eq!(wanted, headers(&folder), "{}", folder.display());
        assert_eq!(notes.eos.len(), 1, "{}", folder.display());
        assert!(notes.bos.is_some() && notes.dtype.is_some(), "{}", folder.display());
        let other = folder.join("config_transformers5.json");
        if other.is_file() {
            assert_eq!(read(&other), (spec, notes), "{}", folder.display());
        }
    }
}

const JET: &str = r#"{
    "model_type": "jet_nemotron", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 4,
    "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "rope_scaling": null, "tie_word_embeddings": true,
    "bos_token_id": 151643, "eos_token_id": [151643, 151645], "hidden_act": "silu", "torch_dtype": "bfloat16",
    "efficient_attention_config": {
        "jet": {"num_heads": 12, "head_dim": 96, "expand_v": 2.6666666667, "conv_size": 4, "mode": "chunk",
                "dconv_generator_reduction": 8, "dconv_implementation": "triton", "norm_eps": "1e-5"},
        "swa": {"window_size": 1152}
    },
    "layer_types": ["jet", "attn", "swa", "jet"]
}"#;

const NEMOTRON: &str = r#"{
    "model_type": "nemotron_h", "hybrid_override_pattern": "M-M*E", "num_hidden_layers": 5, "hidden_size": 64,
    "vocab_size": 100, "intermediate_size": 96, "mamba_num_heads": 8, "mamba_head_dim": 16, "n_groups": 2,
    "ssm_state_size": 16, "conv_kernel": 4, "chunk_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 24, "time_step_limit": [0.0, Infinity], "mlp_hidden_act": "relu2", "layer_norm_epsilon": 1e-5,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "n_shared_experts": 1,
    "moe_shared_expert_intermediate_size": 40, "routed_scaling_factor": 2.5, "rope_theta": 10000,
    "partial_rotary_factor": 0.5, "mtp_hybrid_override_pattern": "*E", "eos_token_id": null
}"#;

const LLAMA: &str = r#"{
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0, "eos_token_id": 2
}"#;

fn replaced(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

fn with(text: &str, changes: &[(&str, &str)]) -> ModelSpec {
    hf::import(&replaced(text, changes), "m").unwrap_or_else(|e| panic!("{e}")).0
}

fn faults(text: &str, changes: &[(&str, &str)]) -> Vec<String> {
    match hf::import(&replaced(text, changes), "m") {
        Ok(_) => Vec::new(),
        Err(ImportError::Fields { faults }) => faults,
        Err(other) => vec![other.to_string()],
    }
}

#[track_caller]
fn only(text: &str, changes: &[(&str, &str)], expected: &str) {
    let found = faults(text, changes);
    assert!(found.len() == 1 && found[0].contains(expected), "{expected:?} in {found:#?}");
}

#[test]
fn reads_jet_nemotron() {
    let (spec, notes) = hf::import(JET, "jet").expect("it is legal");
    assert_eq!((&*spec.name, &*spec.pattern), ("jet", "J-*-W-J-"));
    assert_eq!(notes.eos, [151_643, 151_645]);
    assert_eq!((notes.bos, notes.dtype.as_deref()), (Some(151_643), Some("bfloat16")));
    let Some(Block::JetBlock(JetBlock { norm_eps, .. })) = spec.block('J') else { panic!("a JetBlock") };
    assert_eq!(*norm_eps, 1e-5);
    let Some(Block::Attention(Attention { window, d_head, qkv_bias, .. })) = spec.block('W') else {
        panic!("attention")
    };
    assert_eq!((*window, *d_head, *qkv_bias), (Some(1152), 128, true));
}

#[test]
fn accepts_the_liberties_of_jet_nemotron() {
    let spec = with(JET, &[]);
    for change in [
        ("\"1e-5\"", "1e-5"),
        ("2.6666666667", "2.6666666666"),
        (r#"["jet", "attn", "swa", "jet"]"#, r#""['jet', 'attn', 'swa', 'jet']""#),
        ("\"num_hidden_layers\": 4,", ""),
        ("\"vocab_size\"", "\"unknown\": {\"a\": [1]}, \"vocab_size\""),
    ] {
        let other = with(JET, &[change]);
        assert_eq!(other.weights(), spec.weights(), "{change:?}");
        assert_eq!(other.pattern, spec.pattern, "{change:?}");
    }
    let two = with(JET, &[("2.6666666667", "2")]);
    let Some(Block::JetBlock(block)) = two.block('J') else { panic!("a JetBlock") };
    assert_eq!(block.d_value(), 192);
    let heads = with(JET, &[("\"num_key_value_heads\": 2", "\"num_key_value_heads\": null")]);
    let Some(Block::Attention(block)) = heads.block('*') else { panic!("attention") };
    assert_eq!(block.n_kv_heads, 12, "null is as many as query heads");
}

#[test]
fn fills_in_what_jet_nemotron_leaves_out() {
    let (spec, _) = hf::import(r#"{"model_type": "jet_nemotron"}"#, "m").expect("all has defaults");
    assert_eq!((spec.vocab, spec.d_model, spec.max_context), (151_936, 1536, 32_768));
    assert_eq!(spec.pattern, "*-".repeat(28));
    let text = r#"{"model_type": "jet_nemotron", "layer_types": ["jet"]}"#;
    let (spec, _) = hf::import(text, "m").expect("all has defaults");
    let Some(Block::JetBlock(block)) = spec.block('J') else { panic!("a JetBlock") };
    assert_eq!((block.n_heads, block.d_head, block.d_value(), block.reduction), (6, 256, 512, 8));
}

#[test]
fn names_what_is_wrong_in_jet_nemotron() {
    only(
        JET,
        &[("\"attn\"", "\"mamba\"")],
        "`layer_types`: entry 1 is \"mamba\", expected one of \"jet\", \"attn\", \"swa\"",
    );
    only(JET, &[("layers\": 4", "layers\": 5")], "`layer_types`: 4 entries, but `num_hidden_layers` is 5");
    only(
        JET,
        &[("{\"window_size\": 1152}", "{}")],
        "`efficient_attention_config.swa.window_size`: missing, expected a whole number",
    );
    only(
        JET,
        &[("2.6666666667", "2.6")],
        "`efficient_attention_config.jet.expand_v` and `efficient_attention_config.jet.head_dim`: block `J` (jet_block): d_head × expand_v is 96 × 2.6",
    );
    only(
        JET,
        &[("\"1e-5\"", "\"small\"")],
        "`efficient_attention_config.jet.norm_eps`: found \"small\", expected a number",
    );
    only(
        JET,
        &[("[\"jet\", \"attn\"", "[7, \"attn\"")],
        "`layer_types`: found [7,\"attn\",\"swa\",\"jet\"], expected a list of strings",
    );
    only(JET, &[("\"silu\"", "\"gelu\"")], "`hidden_act`: found \"gelu\", expected \"silu\"");
}

#[test]
fn reads_nemotron_h() {
    let (spec, notes) = hf::import(NEMOTRON, "n").expect("it is legal");
    assert_eq!((&*spec.pattern, spec.max_context), ("M-M*E", 4096));
    assert_eq!(notes.eos, [0; 0]);
    let Some(Block::Mamba2(m)) = spec.block('M') else { panic!("Mamba-2") };
    assert_eq!((m.dt_min, m.dt_max, m.chunk, m.conv_bias, m.proj_bias), (0.0, None, 32, true, false));
    let Some(Block::Attention(a)) = spec.block('*') else { panic!("attention") };
    assert_eq!((a.rope.as_ref(), a.d_head), (None, 24), "no positions, whatever rope_theta says");
    let Some(Block::Moe(e)) = spec.block('E') else { panic!("experts") };
    assert_eq!((e.scale, e.shared_hidden, e.latent, e.norm_topk), (2.5, 40, None, true));
}

#[test]
fn accepts_the_liberties_of_nemotron_h() {
    let spec = with(NEMOTRON, &[]);
    for changes in [
        &[("Infinity", r#"{"__float__": "Infinity"}"#)][..],
        &[("\"time_step_limit\": [0.0, Infinity], ", "")],
        &[("[0.0, Infinity]", "[-Infinity, Infinity]")],
        &[("\"time_step_limit\"", "\"mamba_dt_limit\"")],
        &[("\"head_dim\"", "\"attention_head_dim\"")],
        &[
            ("\"n_groups\"", "\"mamba_n_groups\""),
            ("conv_kernel", "mamba_d_conv"),
            ("chunk_size", "mamba_chunk_size"),
        ],
        &[("\"M-M*E\", \"num_hidden_layers\": 5", "\"M-M|*E/*E\"")],
        &[(
            "\"hybrid_override_pattern\": \"M-M*E\"",
            r#""layers_block_type": ["mamba", "mlp", "mamba", "attention", "moe"]"#,
        )],
        &[(
            "\"hybrid_override_pattern\"",
            r#""layers_block_type": ["linear_attention", "mlp", "linear_attention", "full_attention", "moe"], "hybrid_override_pattern""#,
        )],
        &[("\"n_routed_experts\"", "\"moe_latent_size\": null, \"n_routed_experts\"")],
    ] {
        assert_eq!(with(NEMOTRON, changes), spec, "{changes:?}");
    }
    let Some(Block::Moe(Moe { latent, .. })) =
        with(NEMOTRON, &[("\"n_routed_experts\"", "\"moe_latent_size\": 16, \"n_routed_experts\"")])
            .block('E')
            .cloned()
    else {
        panic!("experts")
    };
    assert_eq!(latent, Some(16));
    let clamped = with(NEMOTRON, &[("[0.0, Infinity]", "[0.02, 0.25]")]);
    let Some(Block::Mamba2(Mamba2 { dt_min, dt_max, .. })) = clamped.block('M') else { panic!("Mamba-2") };
    assert_eq!((*dt_min, *dt_max), (0.02, Some(0.25)));
}

#[test]
fn names_what_is_wrong_in_nemotron_h() {
    only(
        NEMOTRON,
        &[("layers\": 5", "layers\": 6")],
        "`hybrid_override_pattern`: 5 blocks, but `num_hidden_layers` is 6",
    );
    only(
        NEMOTRON,
        &[("M-M*E", "M-MJE")],
        "`hybrid_override_pattern`: unknown block symbol `J`\n\"M-MJE\"\n    ^ bind",
    );
    only(NEMOTRON, &[("\"relu2\"", "\"silu\"")], "`mlp_hidden_act`: found \"silu\", expected \"relu2\"");
    only(
        NEMOTRON,
        &[("\"n_groups\": 2", "\"n_groups\": 3")],
        "`n_groups` and `mamba_num_heads`: block `M` (mamba2): n_groups (3) does not divide n_heads (8)",
    );
    only(
        NEMOTRON,
        &[("\"n_groups\": 2,", "")],
        "`n_groups`: missing (or `mamba_n_groups`), expected a whole number",
    );
    only(NEMOTRON, &[("[0.0, Infinity]", "[0.3, 0.1]")], "dt_min (0.3) is above dt_max (0.1)");
    only(NEMOTRON, &[("[0.0, Infinity]", "[0.0, NaN]")], "dt_max is NaN");
    only(
        NEMOTRON,
        &[("[0.0, Infinity]", "0.5")],
        "`time_step_limit`: found 0.5, expected a list of two numbers",
    );
    only(NEMOTRON, &[("\"hybrid_override_pattern\": \"M-M*E\", ", "")], "`hybrid_override_pattern`: missing");
    let contradiction = (
        "\"hybrid_override_pattern\"",
        r#""layers_block_type": ["mamba", "mlp", "mlp", "mlp", "moe"], "hybrid_override_pattern""#,
    );
    only(
        NEMOTRON,
        &[contradiction],
        "`layers_block_type`: it says M---E, but `hybrid_override_pattern` says M-M*E",
    );
}

#[test]
fn reads_llama_and_its_scaling() {
    let spec = with(LLAMA, &[]);
    assert_eq!((&*spec.pattern, spec.tie_embeddings), ("*-*-*-", false));
    let Some(Block::Attention(a)) = spec.block('*') else { panic!("attention") };
    assert_eq!((a.d_head, a.qkv_bias, a.qk_norm), (16, false, false));
    let llama3 = r#""factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192"#;
    let old = with(
        LLAMA,
        &[("\"vocab_size\"", &format!(r#""rope_scaling": {{"type": "llama3", {llama3}}}, "vocab_size""#))],
    );
    let new = with(
        LLAMA,
        &[(
            "\"rope_theta\": 500000.0",
            &format!(r#""rope_parameters": {{"rope_theta": 500000.0, "rope_type": "llama3", {llama3}}}"#),
        )],
    );
    assert_eq!(old, new);
    let Some(Block::Attention(a)) = new.block('*') else { panic!("attention") };
    let scaling = RopeScaling::Llama3 { factor: 8.0, low_freq: 1.0, high_freq: 4.0, original_context: 8192 };
    assert_eq!(a.rope.as_ref().map(|r| (r.theta, &r.scaling)), Some((500_000.0, &scaling)));
    assert_eq!(
        with(LLAMA, &[("\"rope_theta\"", "\"rope_scaling\": {\"rope_type\": \"default\"}, \"rope_theta\"")]),
        spec
    );
}

#[test]
fn names_what_is_wrong_in_llama() {
    only(
        LLAMA,
        &[("\"rope_theta\"", "\"rope_scaling\": {\"rope_type\": \"yarn\"}, \"rope_theta\"")],
        "`rope_scaling.rope_type`: found \"yarn\", expected \"default\" or \"llama3\"",
    );
    only(
        LLAMA,
        &[("\"hidden_size\": 64", "\"hidden_size\": \"64\"")],
        "`hidden_size`: found \"64\", expected a whole number",
    );
    only(
        LLAMA,
        &[("heads\": 4", "heads\": 5")],
        "`head_dim`: missing, and hidden_size (64) cannot be shared by 5 heads",
    );
    only(
        LLAMA,
        &[("value_heads\": 2", "value_heads\": 3")],
        "`num_key_value_heads` and `num_attention_heads`: block `*` (attention)",
    );
    only(
        LLAMA,
        &[("layers\": 3", "layers\": 1000000000")],
        "`num_hidden_layers`: found 1000000000, expected 1 to 2048",
    );
    only(LLAMA, &[("layers\": 3", "layers\": 0")], "`num_hidden_layers`: found 0, expected 1 to 2048");
    only(LLAMA, &[("\"vocab_size\": 100, ", "")], "`vocab_size`: missing, expected a whole number");
    only(LLAMA, &[("1e-5", "0")], "`rms_norm_eps`: norm: the norm's eps is 0");
    let many =
        faults(LLAMA, &[("\"vocab_size\": 100, ", ""), ("\"hidden_size\": 64", "\"hidden_size\": -1")]);
    assert_eq!(many.len(), 2, "{many:#?}");
}

#[test]
fn gives_windows_to_the_layers_that_have_them() {
    let qwen = |extra: &str| {
        with(LLAMA, &[("\"llama\"", "\"qwen2\""), ("\"vocab_size\"", &format!("{extra}, \"vocab_size\""))])
    };
    let old = qwen(r#""use_sliding_window": true, "sliding_window": 32, "max_window_layers": 1"#);
    let new = qwen(
        r#""sliding_window": 32, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]"#,
    );
    assert_eq!(old, new);
    assert_eq!(old.pattern, "*-W-W-");
    let Some(Block::Attention(a)) = old.block('W') else { panic!("attention") };
    assert_eq!((a.window, a.qkv_bias), (Some(32), true));
    let none = qwen(r#""use_sliding_window": false, "sliding_window": 32, "max_window_layers": 1"#);
    assert_eq!(none.pattern, "*-*-*-");
}

#[test]
fn refuses_what_it_does_not_know() {
    only(
        LLAMA,
        &[("\"llama\"", "\"gpt2\"")],
        "`model_type` is \"gpt2\", and the supported ones are `jet_nemotron`, `nemotron_h`",
    );
    only("{}", &[], "`model_type` is missing");
    assert!(matches!(hf::import("{\"a\": }", "m"), Err(ImportError::Json(_))));
    assert!(matches!(hf::import("[1]", "m"), Err(ImportError::Json(_))));
    assert!(matches!(hf::import("", "m"), Err(ImportError::Json(_))));
    assert!(matches!(hf::import(&"[".repeat(100_000), "m"), Err(ImportError::Json(_))));
}

/// Every prefix and every single-field loss of a config: a model or an error, never a panic.
#[test]
fn survives_damaged_configs() {
    for text in [JET, NEMOTRON, LLAMA] {
        for end in (0..text.len()).filter(|e| text.is_char_boundary(*e)) {
            assert!(hf::import(&text[..end], "m").is_err());
        }
        let numbers =
            ["0", "-1", "1e300", "4294967295", "18446744073709551616", "null", "NaN", "[]", "{}", "\"\""];
        for (at, _) in text.match_indices(": ") {
            let end = text[at..].find([',', '}', '\n']).map_or(text.len(), |e| at + e);
            for number in numbers {
                let changed = format!("{}: {number}{}", &text[..at], &text[end..]);
                if let Ok((spec, _)) = hf::import(&changed, "m") {
                    assert!(spec.params() > 0 && spec.cache_bytes(1 << 20, 4) < u64::MAX);
                }
            }
        }
    }
}

/// Metadata as a table.
#[derive(Clone, Default)]
struct Table {
    values: HashMap<String, MetaValue>,
    tensors: HashSet<String>,
}

impl Metadata for Table {
    fn get(&self, key: &str) -> Option<MetaValue> {
        self.values.get(key).cloned()
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains(name)
    }
}

/// The metadata of SmolLM2-135M's GGUF file.
fn smollm2(arch: &str) -> Table {
    let mut table = Table::default();
    for (key, value) in [
        ("block_count", 30),
        ("context_length", 8192),
        ("embedding_length", 576),
        ("feed_forward_length", 1536),
        ("attention.head_count", 9),
        ("attention.head_count_kv", 3),
        ("rope.dimension_count", 64),
        ("vocab_size", 49_152),
    ] {
        table.values.insert(format!("{arch}.{key}"), MetaValue::Uint(value));
    }
    table.values.insert("general.architecture".into(), MetaValue::Text(arch.into()));
    table.values.insert(format!("{arch}.rope.freq_base"), MetaValue::F32(100_000.0));
    table.values.insert(format!("{arch}.attention.layer_norm_rms_epsilon"), MetaValue::F32(1e-5));
    table.values.insert("tokenizer.ggml.bos_token_id".into(), MetaValue::Uint(1));
    table.values.insert("tokenizer.ggml.eos_token_id".into(), MetaValue::Uint(2));
    table.values.insert("tokenizer.ggml.padding_token_id".into(), MetaValue::Uint(2));
    table.values.insert("tokenizer.chat_template".into(), MetaValue::Text("{{ x }}".into()));
    table
}

fn gguf(table: &Table) -> GgufModel {
    gguf::import(table, "g").unwrap_or_else(|e| panic!("{e}"))
}

fn gguf_faults(change: impl FnOnce(&mut Table)) -> Vec<String> {
    let mut table = smollm2("llama");
    change(&mut table);
    match gguf::import(&table, "g") {
        Ok(_) => Vec::new(),
        Err(ImportError::Fields { faults }) => faults,
        Err(other) => vec![other.to_string()],
    }
}

#[test]
fn reads_the_metadata_of_smollm2() {
    let model = gguf(&smollm2("llama"));
    assert!(model.permuted_qk);
    assert_eq!(
        (model.spec.params(), model.spec.norm_eps, model.spec.tie_embeddings),
        (134_515_008, 1e-5, true)
    );
    assert_eq!((model.notes.bos, &*model.notes.eos, model.notes.pad), (Some(1), &[2][..], Some(2)));
    assert_eq!(model.notes.chat_template.as_deref(), Some("{{ x }}"));
    let names: HashSet<String> =
        model.spec.weights().iter().map(|w| model.spec.gguf_name(w.id).expect("it has a name")).collect();
    assert_eq!(names.len(), 272);
    for name in ["token_embd.weight", "output_norm.weight", "blk.29.attn_q.weight", "blk.0.ffn_norm.weight"] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn reads_the_other_architectures() {
    let qwen2 = gguf(&smollm2("qwen2"));
    let Some(Block::Attention(a)) = qwen2.spec.block('*') else { panic!("attention") };
    assert!(a.qkv_bias && !a.qk_norm && !qwen2.permuted_qk);
    let mut table = smollm2("qwen3");
    table.values.insert("qwen3.attention.key_length".into(), MetaValue::Uint(128));
    table.values.insert("qwen3.rope.dimension_count".into(), MetaValue::Uint(128));
    table.values.remove("qwen3.vocab_size");
    table.values.insert("tokenizer.ggml.tokens".into(), MetaValue::Array(vec![MetaValue::Bool(true); 77]));
    table.tensors.insert("output.weight".into());
    let qwen3 = gguf(&table);
    let Some(Block::Attention(a)) = qwen3.spec.block('*') else { panic!("attention") };
    assert!(!a.qkv_bias && a.qk_norm && a.d_head == 128);
    assert_eq!((qwen3.spec.vocab, qwen3.spec.tie_embeddings), (77, false));
    let norm = qwen3.spec.weights().into_iter().find(|w| w.id.role == Role::QNorm).expect("a q norm");
    assert_eq!(qwen3.spec.gguf_name(norm.id).as_deref(), Some("blk.0.attn_q_norm.weight"));
}

#[test]
fn accepts_heads_per_layer_when_they_agree() {
    let heads = |list: &[u64]| MetaValue::Array(list.iter().map(|n| MetaValue::Uint(*n)).collect());
    let set = |value: MetaValue| {
        gguf_faults(|t| drop(t.values.insert("llama.attention.head_count_kv".into(), value)))
    };
    assert_eq!(set(heads(&[3, 3, 3])), [""; 0]);
    assert!(set(heads(&[3, 9]))[0].contains("`llama.attention.head_count_kv`: found an array of 2"));
}

#[test]
fn names_what_is_wrong_in_gguf_metadata() {
    let text = |t: &str| MetaValue::Text(t.into());
    for (key, value, expected) in [
        (
            "general.architecture",
            text("gpt2"),
            "`general.architecture` is \"gpt2\", and the supported ones are",
        ),
        ("llama.expert_count", MetaValue::Uint(8), "`llama.expert_count`: found 8, expected none"),
        ("llama.rope.scaling.type", text("yarn"), "`llama.rope.scaling.type`: found \"yarn\""),
        (
            "llama.rope.dimension_count",
            MetaValue::Uint(32),
            "`llama.rope.dimension_count`: found 32, expected 64",
        ),
        ("llama.block_count", MetaValue::Uint(1 << 40), "`llama.block_count`: found 1099511627776"),
        (
            "llama.attention.head_count",
            MetaValue::Uint(0),
            "`llama.attention.key_length`: missing, and 0 heads",
        ),
        ("llama.attention.head_count_kv", MetaValue::Uint(2), "n_kv_heads (2) does not divide n_heads (9)"),
        ("llama.attention.layer_norm_rms_epsilon", text("x"), "expected a number"),
    ] {
        let found = gguf_faults(|t| drop(t.values.insert(key.into(), value)));
        assert!(found.len() == 1 && found[0].contains(expected), "{expected:?} in {found:#?}");
    }
    let found = gguf_faults(|t| drop(t.values.remove("llama.embedding_length")));
    assert!(found[0].contains("`llama.embedding_length`: missing"), "{found:#?}");
    let found = gguf_faults(|t| assert!(t.tensors.insert("rope_freqs.weight".into())));
    assert!(found[0].contains("rope_freqs.weight"), "{found:#?}");
    assert!(gguf_faults(|t| t.values.clear())[0].contains("`general.architecture` is"));
}
