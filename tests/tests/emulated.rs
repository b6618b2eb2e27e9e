//! Stored vectors through the code of `jet check` on emulated GPUs. What a kernel family does on its own is tested in
//! `codegen/tests/kernels/`.

use jet_cli::check::tally::Verdict;
use jet_cli::check::{Context, check};
use jet_codegen::nvrtc::Nvrtc;
use jet_runtime::device::{Precision, open};
use jet_tests::{files, skip, vectors};

/// Architectures that the vectors are run on.
const ARCHS: [&str; 2] = ["emulated:sm_80", "emulated:sm_90a"];

/// Cases of `folder` whose file names begin with `prefix`: everything was checked and is right.
fn all_pass(folder: &str, prefix: &str, precision: Precision) {
    if let Err(e) = Nvrtc::get() {
        return skip(&e.to_string());
    }
    let named =
        |p: &std::path::PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix));
    let cases: Vec<_> = files(&vectors(folder), ".safetensors").into_iter().filter(named).collect();
    assert!(!cases.is_empty(), "there is no {prefix}* in {folder}");
    for name in ARCHS {
        let device = open(name, 0).expect("an emulated device needs nothing");
        let cx = Context { device: &*device, precision, model: None };
        let report = check(&cx, &cases).expect("the files are cases");
        assert!(report.ok, "{name}: {report}");
        for case in &report.cases {
            assert!(
                case.rows.iter().any(|r| r.verdict == Verdict::Pass),
                "nothing of {} was judged",
                case.path
            );
        }
    }
}

#[test]
fn gated_norms_of_mamba2_in_f32() {
    all_pass("mamba2", "norm_", Precision::F32);
}

#[test]
fn rotations_in_f32() {
    all_pass("attention", "rope_", Precision::F32);
}

#[test]
fn convolutions_of_mamba2_in_f32() {
    all_pass("mamba2", "conv_", Precision::F32);
}

#[test]
fn scans_of_mamba2_in_f32() {
    all_pass("mamba2", "ssd_", Precision::F32);
}

#[test]
fn dynamic_convolutions_in_f32() {
    all_pass("jet", "dynconv_", Precision::F32);
}
