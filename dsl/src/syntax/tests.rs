//! The parser through [`file`], which gives lines and columns. A definition with its messages as rustc shows
//! them is in `tests/ui`.

use super::*;
use crate::block::{Act, Attention, Block, FieldInfo, KINDS, MODEL_FIELDS, RopeScaling};
use crate::naming::Naming;
use crate::spec::{ModelSpec, Precision};

const TINY: &str = r#"jet_model! {
    /// A seven-layer hybrid.
    pub struct TinyHybrid;
    vocab: 32_000,
    d_model: 512,
    norm: rms_norm { eps: 1e-6 },
    tie_embeddings: true,
    pattern: "MM*M-J*",
    blocks {
        'M' => mamba2    { n_heads: 16, d_head: 64, d_state: 128, n_groups: 2, conv: 4 },
        '*' => attention { n_heads: 8, n_kv_heads: 2, d_head: 64, rope: 10_000.0 },
        '-' => mlp       { hidden: 2_048, act: relu2 },
        'J' => jet_block { n_heads: 6, d_head: 64, expand_v: 2.0, conv: 4, reduction: 8 },
    }
    precision: tune [bf16, fp8_e4m3, nvfp4],
}"#;

fn one(text: &str) -> ModelSpec {
    let mut all = file(text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(all.len(), 1);
    all.remove(0).1
}

/// Errors, as `line:column: message`, of the tiny model after replacements in its text.
fn errors(changes: &[(&str, &str)]) -> Vec<String> {
    let mut text = TINY.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    match file(&text) {
        Ok(_) => Vec::new(),
        Err(error) => error.faults.iter().map(Located::to_string).collect(),
    }
}

#[track_caller]
fn only(changes: &[(&str, &str)], expected: &str) {
    let found = errors(changes);
    assert!(found.len() == 1 && found[0].contains(expected), "{expected:?} in {found:#?}");
}

#[test]
fn reads_the_whole_definition() {
    let spec = one(TINY);
    assert_eq!((&*spec.name, spec.vocab, spec.d_model), ("tiny-hybrid", 32_000, 512));
    assert_eq!((spec.norm_eps, spec.tie_embeddings, spec.max_context), (1e-6, true, 4096));
    assert_eq!((&*spec.pattern, spec.naming), ("MM*M-J*", Naming::NemotronH));
    assert_eq!(*spec.precisions, [Precision::Bf16, Precision::Fp8E4m3, Precision::Nvfp4]);
    let symbols: String = spec.bindings.iter().map(|b| b.symbol).collect();
    assert_eq!(symbols, "M*-J");
    let Some(Block::Mlp(mlp)) = spec.block('-') else { panic!("an MLP") };
    assert_eq!((mlp.hidden, mlp.act, mlp.bias), (2048, Act::Relu2, false));
}

#[test]
fn binds_several_characters_to_one_kind() {
    let spec = one(r#"jet::jet_model! {
        struct Windows;
        name: "two-windows", crate: crate, naming: transformer, max_context: 65_536,
        vocab: 100, d_model: 64,
        pattern: "(a-)2 b+ *-",
        blocks {
            'a' => window_attention { n_heads: 4, n_kv_heads: 2, d_head: 16, window: 128, rope: 10000 }
            'b' => window_attention {
                n_heads: 4, n_kv_heads: 2, d_head: 16, window: 4096, qk_norm: true,
                rope: { theta: 5e5, llama3 { factor: 8, low_freq: 1, high_freq: 4, original_context: 8192 } },
            },
            '-' => mlp { hidden: 128, act: swiglu },
            '+' => mlp { hidden: 256, act: geglu, bias: true },
            '*' => attention { n_heads: 4, n_kv_heads: 1, d_head: 16, rope: none, qkv_bias: true, out_bias: true },
        },
    }"#);
    assert_eq!((&*spec.name, &*spec.pattern), ("two-windows", "a-a-b+*-"));
    let symbols: String = spec.bindings.iter().map(|b| b.symbol).collect();
    assert_eq!(symbols, "a-b+*", "in order of first use");
    let Some(Block::Attention(Attention { window, rope: Some(rope), qk_norm, .. })) = spec.block('b') else {
        panic!("attention with rope")
    };
    assert_eq!((*window, *qk_norm, rope.theta), (Some(4096), true, 5e5));
    let scaling = RopeScaling::Llama3 { factor: 8.0, low_freq: 1.0, high_freq: 4.0, original_context: 8192 };
    assert_eq!(rope.scaling, scaling);
}

#[test]
fn reads_the_unquoted_pattern() {
    assert_eq!(one(&TINY.replace("\"MM*M-J*\"", "[MM*M-J*]")), one(TINY));
    assert_eq!(one(&TINY.replace("\"MM*M-J*\"", "[M2 (*M-J)1 *]")), one(TINY));
}

#[test]
fn puts_each_error_on_its_token() {
    only(&[("32_000", "32_000.0")], "4:12: `vocab` takes a whole number, found `32_000.0`; write `32000`");
    only(&[("32_000", "0")], "4:12: vocab is 0; it must be from 1 to");
    only(&[("32_000", "-5")], "4:13: `vocab` takes a whole number, found `-5`");
    only(
        &[("32_000", "32_000u32")],
        "4:12: `vocab` takes a whole number, found `32_000u32`; write it without `u32`",
    );
    only(&[("512", "\"512\"")], "5:14: `d_model` takes a whole number, found `\"512\"`");
    only(&[("512", "99999999999")], "5:14: `d_model` takes a whole number, found `99999999999`; the largest");
    only(&[("1e-6", "0.0")], "6:27: the norm's eps is 0; it must be above 0");
    only(
        &[("rms_norm { eps: 1e-6 }", "layer_norm")],
        "6:11: `norm` takes `rms_norm { eps: 1e-5 }`, found `layer_norm`",
    );
    only(&[("eps:", "epsilon:")], "6:22: `rms_norm` has no field `epsilon`; did you mean `eps`?");
    only(&[("true", "yes")], "7:21: `tie_embeddings` takes `true` or `false`, found `yes`");
    only(&[("\"MM*M-J*\"", "MMM")], "8:14: `pattern` takes a string such as");
    only(&[("n_groups: 2", "n_groups: 3")], "10:77: n_groups (3) does not divide n_heads (16)");
    only(&[("conv: 4 }", "conv: 1 }")], "10:86: conv is 1");
    only(&[("n_kv_heads: 2", "n_kv_heads: 3")], "11:52: n_kv_heads (3) does not divide n_heads (8)");
    only(
        &[("act: relu2", "act: silu")],
        "12:48: `act` takes `relu2`, `swiglu` or `geglu`, found `silu`; with a gate",
    );
    only(&[("nvfp4", "fp4")], "15:38: unknown precision `fp4`; did you mean `nvfp4`?");
    only(
        &[("tune [bf16, fp8_e4m3, nvfp4]", "bf16")],
        "15:16: `precision` takes `tune [bf16, …]`, found `bf16`",
    );
    only(&[("fp8_e4m3", "bf16")], "15:28: `bf16` is listed twice");
}

#[test]
fn puts_faults_of_a_rotary_embedding_on_their_own_tokens() {
    only(&[("rope: 10_000.0", "rope: 0.5")], "11:73: rope theta is 0.5");
    let llama3 =
        "rope: { theta: 5e5, llama3 { factor: 0.5, low_freq: 1, high_freq: 4, original_context: 8192 } }";
    only(&[("rope: 10_000.0", llama3)], "11:104: llama3 factor is 0.5");
    only(&[("rope: 10_000.0", &llama3.replace("0.5", "x"))], "11:104: `factor` takes a number, found `x`");
}

#[test]
fn suggests_fields_and_kinds() {
    only(&[("vocab:", "vocab_size:")], "4:5: the model has no field `vocab_size`; did you mean `vocab`?");
    only(
        &[("n_kv_heads", "kv_heads")],
        "11:40: `attention` has no field `kv_heads`; did you mean `n_kv_heads`?",
    );
    only(&[("mamba2    ", "mamba     ")], "10:16: unknown kind of block `mamba`; did you mean `mamba2`?");
    only(&[("mlp       ", "ffn       ")], "12:16: unknown kind of block `ffn`; did you mean `mlp`?");
    only(
        &[("mlp       ", "lstm      ")],
        "unknown kind of block `lstm`; the kinds are `mamba2`, `attention`",
    );
    only(
        &[("hidden: 2_048", "hidden: 2_048, dropout: 0.1")],
        "`mlp` has no field `dropout`; it takes `hidden`, `act` and `bias`",
    );
}

#[test]
fn reports_missing_and_duplicate_fields() {
    only(&[("    vocab: 32_000,\n", "")], "3:16: the model needs `vocab` (a whole number)");
    only(
        &[("n_heads: 8, n_kv_heads: 2, ", "")],
        "11:16: `attention` needs `n_heads` (a whole number), `n_kv_heads`",
    );
    only(&[("d_model: 512", "d_model: 512, d_model: 512")], "5:19: `d_model` is given twice");
    only(&[("'J' =>", "'M' =>"), ("M-J*", "M-*")], "13:9: `M` is bound twice");
}

#[test]
fn draws_the_caret_under_a_quoted_pattern() {
    only(
        &[("M-J*", "K-J*")],
        "8:14: unknown block symbol `K`\n    \"MM*K-J*\"\n        ^ one of: M (mamba2)  * (attention)",
    );
    only(&[("M-J*", "m-J*")], "8:14: unknown block symbol `m`");
}

#[test]
fn underlines_the_token_of_an_unquoted_pattern() {
    only(&[("\"MM*M-J*\"", "[MM*M-J*K]")], "8:22: unknown block symbol `K`; one of: M (mamba2)");
    only(&[("\"MM*M-J*\"", "[MM*M-J*|M]")], "8:22: `|` is Megatron's pipeline cut");
    only(&[("\"MM*M-J*\"", "[MM*M-J 0 *]")], "8:22: a repeat count of 0; 1 or more");
    only(&[("\"MM*M-J*\"", "[MM*M-J*()]")], "8:22: an empty group");
}

#[test]
fn judges_the_naming_in_the_source_of_the_pattern() {
    let change = [("precision", "naming: transformer, precision"), ("\"MM*M-J*\"", "\"(M-)2 JM *-\"")];
    let found = errors(&change);
    assert!(found.iter().any(|e| e.contains("\"(M-)2 JM *-\"\n            ^ mixers and MLPs")), "{found:#?}");
}

#[test]
fn reports_all_faults_at_once_and_nothing_that_only_follows() {
    let found = errors(&[
        ("32_000", "true"),
        ("n_groups: 2", "n_groups: 5"),
        ("n_heads: 8", "n_haeds: 8"),
        ("M-J*", "M-Q*"),
        ("relu2", "relu"),
        ("nvfp4]", "nvfp5]"),
    ]);
    let lines: Vec<&str> = found.iter().map(|e| e.split(':').next().expect("a line")).collect();
    // The eighth line has the pattern, the thirteenth the binding that the wrong pattern no longer uses.
    assert_eq!(lines, ["4", "8", "10", "11", "12", "13", "15"], "{found:#?}");
}

#[test]
fn goes_on_after_mistakes_of_form() {
    only(&[("32_000,", "32_000")], "5:5: a comma is missing before `d_model`");
    only(&[("vocab: 32_000", "vocab = 32_000")], "4:11: expected `:` behind `vocab`, found `=`");
    only(&[("vocab: 32_000", "vocab: 32_000 rows")], "4:19: expected a comma, found `rows`");
    only(&[("vocab: 32_000", "vocab: 32_000, 7: 8")], "4:20: expected the name of a field, found `7`");
    only(&[("'M' =>", "\"M\" =>")], "10:9: a symbol is one character in single quotes: `'M'`");
    only(&[("'*' =>", "* =>")], "11:9: a symbol is one character in single quotes: `'*'`");
    only(&[("'M' =>", "'M' :")], "10:13: expected `=>` behind the symbol, found `:`");
    only(
        &[("mlp       { hidden: 2_048, act: relu2 }", "mlp")],
        "expected `{ … }` with the parameters of `mlp`",
    );
    only(
        &[("pub struct TinyHybrid;", "pub enum TinyHybrid;")],
        "a definition begins with `pub struct Name;`",
    );
}

#[test]
fn finds_every_definition_of_a_file() {
    let text = format!(
        "//! Docs with jet_model! {{ in }} them.\n{TINY}\nmod a {{ mod b {{ jet::{} }} }}\nfn f() {{ {} }}\n\
         macro_rules! jet_model {{ () => {{ jet_model! {{ $x }} }} }}",
        TINY,
        TINY.replace("TinyHybrid", "Other")
    );
    let names: Vec<String> = file(&text).expect("three models").into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["TinyHybrid", "a::b::TinyHybrid", "Other"]);
    assert_eq!(file("fn main() {}").expect("Rust without a model"), []);
}

#[test]
fn reports_what_is_not_rust() {
    let error = file("fn main() {\n  \"open").expect_err("not Rust");
    assert!(error.faults[0].message.contains("not Rust source"));
    assert!(file("jet_model! {}").is_err());
    assert!(file("jet_model!()").is_err());
    let deep = format!("{}{}", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(file(&deep).expect("brackets are Rust to the lexer"), []);
}

/// Tokens taken away, doubled and swapped: an error or a model, never a panic.
#[test]
fn survives_every_small_mutilation() {
    let words: Vec<&str> = TINY.split_inclusive([' ', ',', '\n', '{', '}', ':']).collect();
    for i in 0..words.len() {
        for middle in
            [&[][..], &[words[i], words[i]], &[words[words.len() - 1 - i]], &["=> "], &["'x' "], &[": : "]]
        {
            let text = [&words[..i], middle, &words[i + 1..]].concat().concat();
            if let Err(error) = file(&text) {
                assert!(error.faults.iter().all(|f| !f.message.is_empty()), "{text}");
            }
        }
    }
}

/// The defaults that the tables of fields state are the ones that the parser fills in.
#[test]
fn leaving_a_field_out_is_writing_its_default() {
    let required = |kind: &str, field: &FieldInfo| match (kind, field.name, field.takes) {
        (_, "n_kv_heads", _) => "n_kv_heads: 2",
        (_, "window", _) => "window: 64",
        (_, "act", _) => "act: relu2",
        (_, "hidden", _) => "hidden: 64",
        (_, "n_heads", _) => "n_heads: 4",
        (_, "d_head", _) => "d_head: 16",
        (_, "n_experts", _) => "n_experts: 8",
        (_, "top_k", _) => "top_k: 2",
        other => panic!("a required field without an example: {other:?}"),
    };
    for kind in KINDS {
        let given: Vec<String> = kind
            .fields
            .iter()
            .filter(|f| f.default.is_none())
            .map(|f| required(kind.name, f).into())
            .collect();
        let filled = kind.fields.iter().filter_map(|f| Some(format!("{}: {}", f.name, f.default?)));
        let all: Vec<String> = given.iter().cloned().chain(filled).collect();
        let model = |model_fields: &str, fields: &[String]| {
            one(&format!(
                "jet_model! {{ struct A; vocab: 9, d_model: 8, pattern: \"{0}\", {1} \
                 blocks {{ '{0}' => {2} {{ {3} }} }} }}",
                kind.symbol,
                model_fields,
                kind.name,
                fields.join(", ")
            ))
        };
        assert_eq!(model("", &given), model("", &all), "{}", kind.name);
        let of_model = MODEL_FIELDS.iter().filter(|f| !matches!(f.name, "name" | "precision" | "crate"));
        let of_model: String =
            of_model.filter_map(|f| Some(format!("{}: {}, ", f.name, f.default?))).collect();
        assert_eq!(model("", &given), model(&of_model, &given), "{of_model}");
    }
}
