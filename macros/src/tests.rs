//! The expansion, pretty-printed, against committed files. `JET_BLESS=1` rewrites them.

use crate::expand;
use jet_dsl::syntax;
use proc_macro2::{TokenStream, TokenTree};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the macro would print, formatted.
fn expansion(tokens: &TokenStream) -> String {
    let expanded = match syntax::parse(tokens.clone()) {
        Ok(definition) => expand::definition(&definition),
        Err(errors) => expand::errors(&errors, syntax::header(tokens.clone()).ok().as_ref()),
    };
    let file: syn::File = syn::parse2(expanded).expect("an expansion is Rust");
    prettyplease::unparse(&file)
}

fn compare(name: &str, tokens: &str) {
    let tokens: TokenStream = tokens.parse().expect("the definition is Rust tokens");
    let got = expansion(&tokens);
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{name}.rs")].iter().collect();
    if std::env::var_os("JET_BLESS").is_some() {
        std::fs::write(&path, &got).expect("the golden file can be written");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, wanted, "{} differs; look at the change, then JET_BLESS=1", path.display());
}

const TINY: &str = r#"
    /// A seven-layer hybrid.
    pub struct TinyHybrid;
    vocab: 32_000,
    d_model: 512,
    norm: rms_norm { eps: 1e-5 },
    tie_embeddings: true,
    pattern: "MM*M-J*",
    blocks {
        'M' => mamba2    { n_heads: 16, d_head: 64, d_state: 128, n_groups: 2, conv: 4 },
        '*' => attention { n_heads: 8, n_kv_heads: 2, d_head: 64, rope: 10_000.0 },
        '-' => mlp       { hidden: 2_048, act: relu2 },
        'J' => jet_block { n_heads: 6, d_head: 64, expand_v: 2.0, conv: 4, reduction: 8 },
    }
    precision: tune [bf16, fp8_e4m3, nvfp4],
"#;

const EVERYTHING: &str = r#"
    #[cfg(all())]
    pub(crate) struct Everything;
    crate: crate::somewhere,
    name: "all-of-it",
    naming: transformer,
    max_context: 65_536,
    vocab: 100,
    d_model: 64,
    pattern: "(W-)2 *E",
    blocks {
        'W' => window_attention {
            n_heads: 4, n_kv_heads: 2, d_head: 16, window: 128, qk_norm: true,
            rope: { theta: 5e5, llama3 { factor: 8.0, low_freq: 1.0, high_freq: 4.0, original_context: 8192 } },
        }
        '*' => attention { n_heads: 4, n_kv_heads: 4, d_head: 16, qkv_bias: true, out_bias: true }
        '-' => mlp { hidden: 128, act: swiglu, bias: true }
        'E' => moe {
            n_experts: 8, top_k: 2, hidden: 32, shared_hidden: 48, act: geglu, n_group: 2, topk_group: 1,
            norm_topk: false, scale: 2.5, latent: 24,
        }
    }
"#;

#[test]
fn expands_the_tiny_hybrid() {
    compare("tiny_hybrid", TINY);
}

#[test]
fn expands_every_optional_part() {
    compare("everything", EVERYTHING);
}

#[test]
fn keeps_the_type_when_the_definition_is_wrong() {
    compare("wrong", &TINY.replace("M-J*", "M-K*").replace("32_000", "0"));
}

/// The tokens between the braces of the first `jet_model!` of a file.
fn definition_in(source: &str) -> TokenStream {
    let tokens: Vec<TokenTree> =
        source.parse::<TokenStream>().expect("the file is Rust").into_iter().collect();
    let name = tokens.windows(3).find_map(|w| match w {
        [TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Group(body)] if name == "jet_model" => {
            Some(body.stream())
        }
        _ => None,
    });
    name.expect("the file declares a model")
}

/// Prints what reading, judging and expanding each preset costs; a slow machine is not a failure.
#[test]
fn prints_the_time_of_every_presets_expansion() {
    let presets: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "models", "src", "presets"].iter().collect();
    let mut seen = 0;
    for entry in std::fs::read_dir(&presets).expect("the presets are there") {
        let path = entry.expect("a folder entry").path();
        let source = std::fs::read_to_string(&path).expect("it can be read");
        if !source.contains("jet_model! {") || !source.contains("pattern:") {
            continue;
        }
        let tokens = definition_in(&source);
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            let definition =
                syntax::parse(tokens.clone()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let expanded = expand::definition(&definition);
            best = best.min(start.elapsed());
            assert!(!expanded.is_empty());
        }
        println!("{:>10.1?}  {}", best, path.file_stem().and_then(|s| s.to_str()).unwrap_or_default());
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} presets");
}
