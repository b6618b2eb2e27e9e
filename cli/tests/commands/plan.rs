//! `jet-tune plan`: what there is to tune, and schedules for a GPU that is not there.

use crate::model::{Home, done};

/// One block and no more, so that few kernels are compiled.
const DENSE: &str = r#"
jet_model! {
    pub struct Dense;
    vocab: 96,
    d_model: 32,
    norm: rms_norm { eps: 1e-5 },
    tie_embeddings: true,
    max_context: 256,
    pattern: "-",
    blocks { '-' => mlp { hidden: 64, act: relu2 } }
}
"#;

#[test]
fn the_tasks_of_a_model_are_listed_and_nothing_is_stored() {
    let home = Home::new();
    let list = done(home.tune(&["plan", &home.small(), "--tokens", "1,64", "--json"])).ok().json();
    let tasks = list.as_array().unwrap();
    assert!(
        tasks.len() > 5 && tasks.iter().all(|t| t["task"].as_str().unwrap().contains(" on cpu")),
        "{list}"
    );
    assert!(tasks.iter().all(|t| t["stored"].is_null() && t["candidates"].as_u64().unwrap() > 0));
    let shown = done(home.tune(&["plan", &home.small(), "--tokens", "1"])).ok().out;
    assert!(shown.contains("candidates") && shown.contains("gemv["), "{shown}");
    assert!(!home.cache().exists());
}

#[test]
fn an_unknown_gpu_is_told_with_all_that_are_known() {
    let home = Home::new();
    let wrong = done(home.tune(&["plan", &home.small(), "--gpu", "voodoo2"]));
    wrong.fails(2, &["`voodoo2`", "h100", "h200", "a100", "l40s", "b200", "rtx5090"]);
    let mixed = done(home.tune(&["plan", &home.small(), "--gpu", "h100", "--device", "cpu"]));
    mixed.fails(2, &["--gpu", "--device"]);
    done(home.tune(&["plan", &home.small(), "--budget", "3s"])).fails(2, &["--gpu"]);
}

#[test]
fn an_absent_gpu_gets_entries_that_say_they_are_modelled() {
    if let Err(e) = jet_codegen::nvrtc::Nvrtc::get() {
        return println!("skipped: an_absent_gpu_gets_entries_that_say_they_are_modelled: {e}");
    }
    let home = Home::new();
    let dense = home.file("dense.rs", DENSE);
    let plan = ["plan", &dense, "--gpu", "rtx5090", "--tokens", "1", "--effort", "none"];
    let first = done(home.tune(&[&plan[..], &["--json"]].concat())).ok();
    let json = first.json();
    assert_eq!((&json["grade"], &json["gpu"]["arch"]), (&"modelled".into(), &"sm_120a".into()));
    let tasks = json["tasks"].as_array().unwrap();
    assert!(
        tasks.iter().all(|t| t["outcome"] == "modelled" && t["best_ns"].as_f64().unwrap() > 2000.0),
        "{json}"
    );
    assert!(std::path::Path::new(json["page"].as_str().unwrap()).is_file());

    let shown = done(home.tune(&["show", "--json"])).ok().json();
    let entries = shown.as_array().unwrap();
    assert_eq!(entries.len(), tasks.len());
    assert!(entries.iter().all(|e| e["status"] == "modelled" && e["grade"] == "modelled"), "{shown}");
    let id = tasks[0]["id"].as_str().unwrap();
    let explained = done(home.tune(&["explain", id])).ok().out;
    assert!(explained.contains("nothing ran there") && explained.contains("bound by"), "{explained}");

    let again = done(home.tune(&plan)).ok().out;
    assert!(again.contains("NVIDIA GeForce RTX 5090") && again.contains("stored"), "{again}");
    assert!(again.contains("the model's error: not known"), "{again}");
}
