//! `jet spec` and `jet plan`.

use crate::model::{Home, done};
use serde_json::Value;

/// Parameters of each preset as published.
const PARAMS: [(&str, u64); 4] = [
    ("smollm2-135m", 134_515_008),
    ("qwen2.5-1.5b", 1_543_714_304),
    ("qwen3-1.7b", 1_720_574_976),
    ("tiny-hybrid", 27_278_108),
];

#[test]
fn every_preset_has_a_table_and_json_that_agree() {
    let home = Home::new();
    let names = done(home.jet(&["spec", "--list", "--json"])).ok().json();
    let names: Vec<&str> = names.as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    assert_eq!(names.len(), 9);
    for name in names {
        let table = done(home.jet(&["spec", name])).ok().out;
        let json = done(home.jet(&["spec", name, "--json"])).ok().json();
        let params = json["params"].as_u64().unwrap();
        assert_eq!(json["name"], name);
        let sum: u64 = json["layers"].as_array().unwrap().iter().map(|l| l["params"].as_u64().unwrap()).sum();
        assert_eq!(sum, params, "{name}");
        let rows = table.lines().filter(|l| l.trim().starts_with(|c: char| c.is_ascii_digit())).count();
        assert_eq!(rows, json["pattern"].as_str().unwrap().chars().count(), "{table}");
        for word in ["at 4K tokens", "at 256K tokens", "total", "weights"] {
            assert!(table.contains(word), "{word}: {table}");
        }
        if let Some((_, published)) = PARAMS.iter().find(|(n, _)| *n == name) {
            assert_eq!(params, *published, "{name}");
        }
    }
}

#[test]
fn flops_grow_with_the_context_and_caches_are_ascending() {
    let home = Home::new();
    let at = |context: &str| {
        let json = done(home.jet(&["spec", "smollm2-135m", "--json", "--context", context])).ok().json();
        json["flops_per_token"].as_u64().unwrap()
    };
    assert!(at("8192") > at("16"));
    let json = done(home.jet(&["spec", "tiny-hybrid", "--json"])).ok().json();
    let caches = json["caches"].as_array().unwrap();
    let pairs: Vec<(u64, u64)> =
        caches.iter().map(|c| (c["context"].as_u64().unwrap(), c["bytes"].as_u64().unwrap())).collect();
    assert_eq!((pairs[0].0, pairs[pairs.len() - 1].0), (4096, 262_144));
    assert!(pairs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    done(home.jet(&["spec", "tiny-hybrid", "--context", "0"])).fails(2, &["--context is 0"]);
}

#[test]
fn a_plan_shows_program_memory_and_tasks() {
    let home = Home::new();
    let small = home.small();
    let text = done(home.jet(&["plan", &small, "--device", "cpu", "--tokens", "64"])).ok().out;
    for word in ["program small", "logits", "in one arena", "recurrent", "keys and values", "tuning task"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let json = done(home.jet(&["plan", &small, "--tokens", "64", "--json"])).ok().json();
    assert_eq!(json["tokens"], 64);
    let buffers = json["program"]["buffers"].as_array().unwrap().len();
    assert_eq!(json["memory"]["offsets"].as_array().unwrap().len(), buffers);
    assert!(json["tasks"].as_array().is_some_and(|t| t.iter().all(|t| t["family"].is_string())));
    assert!(matches!(json["memory"]["elements"], Value::Number(_)));
    done(home.jet(&["plan", &small, "--device", "abacus"])).fails(1, &["unknown device `abacus`", "cpu"]);
}
