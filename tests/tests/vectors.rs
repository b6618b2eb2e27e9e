//! Every stored vector through the code of `jet check`, on every device of this build that is no emulated one: those
//! have tests of their own in `emulated.rs`.

use jet_cli::check::report::Report;
use jet_cli::check::tally::Verdict;
use jet_cli::check::{Context, check};
use jet_runtime::device::{Grade, Precision, device_names, open};
use jet_tests::{all_cores, real_model, vectors};
use std::path::Path;

fn run(folder: &str, precision: Precision, model: Option<&Path>) -> Vec<Report> {
    let _cores = all_cores();
    let reports: Vec<Report> = device_names()
        .iter()
        .map(|name| open(name, 2).expect("a device of this build opens"))
        .filter(|device| device.grade() == Grade::Measured)
        .map(|device| {
            let cx = Context { device: &*device, precision, model };
            check(&cx, &[vectors(folder)]).expect("the folder holds cases and nothing but cases")
        })
        .collect();
    assert!(!reports.is_empty(), "this build has no device");
    reports
}

/// Everything was checked and is right, and something was checked.
fn all_pass(folder: &str, precision: Precision, model: Option<&Path>) {
    for report in run(folder, precision, model) {
        assert!(report.ok, "{report}");
        for case in &report.cases {
            let judged = case.rows.iter().filter(|r| r.verdict == Verdict::Pass).count();
            assert!(
                judged > 0 || precision != Precision::F32,
                "nothing of {} was judged\n{report}",
                case.path
            );
        }
    }
}

#[test]
fn jet_in_f32() {
    all_pass("jet", Precision::F32, None);
}

#[test]
fn mamba2_in_f32() {
    all_pass("mamba2", Precision::F32, None);
}

#[test]
fn nemotron_h_in_f32() {
    all_pass("nemotron_h", Precision::F32, None);
}

#[test]
fn attention_in_f32() {
    all_pass("attention", Precision::F32, None);
}

#[test]
fn dense_in_f32() {
    all_pass("dense", Precision::F32, None);
}

#[test]
fn checkpoints_in_bf16() {
    for folder in ["nemotron_h", "dense"] {
        all_pass(folder, Precision::Bf16, None);
    }
    for model in ["jet/tiny_model", "jet/tiny_model_bf16"] {
        all_pass(model, Precision::Bf16, None);
    }
}

#[test]
fn the_real_model_in_f32() {
    if let Some(model) = real_model() {
        all_pass("smollm2", Precision::F32, Some(&model));
    }
}

#[test]
fn cases_of_a_file_say_that_they_need_it() {
    for report in run("smollm2", Precision::F32, None) {
        assert_eq!((report.failed, report.passed), (0, 0), "{report}");
        assert!(
            report.cases.iter().all(|c| c.error.as_ref().is_some_and(|e| e.contains("--model"))),
            "{report}"
        );
    }
}
