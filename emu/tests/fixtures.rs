//! PTX of whole kernels from NVRTC and Triton, run and compared with references in f64, with every check on.
//!
//! A fixture is a JSON file of `fixtures/`; its PTX lies in `fixtures/ptx`, made by `fixtures/make.py` and
//! `fixtures/triton/make.py`. Every text of it, from every compiler and for every target, must give the same.
#![allow(clippy::unwrap_used)]

mod common;

use common::description::{Case, Loaded, Ptx, load};
use common::run::{complaints, kind_name, options, run, wrong_outputs};
use common::tensor::Tensors;
use jet_emu::exec::{Accumulation, Checks, EmulatorOptions};
use std::path::{Path, PathBuf};

const SEEDS: u64 = 4;

/// Runs every text of one fixture and fails with everything that is wrong.
fn check(name: &str) {
    let fixture = load("fixtures").into_iter().find(|f| f.name == name).expect("the description is there");
    if fixture.ptx.is_empty() && fixture.description.folder.is_some() {
        println!("skipped: {name}: its PTX is not there; fixtures/triton/README.md says how it is made");
        return;
    }
    assert!(!fixture.ptx.is_empty(), "{name} has no PTX");
    let wrong: Vec<String> = fixture.ptx.iter().flat_map(|ptx| check_text(&fixture, ptx)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn check_text(fixture: &Loaded, ptx: &Ptx) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(word) = fixture.description.refused.get(&ptx.target) {
        return match run(ptx, &fixture.description.cases[0], options(0)) {
            Err(error) if error.contains(word) => wrong,
            Err(error) => vec![format!("{}: expected an error that names {word}: {error}", ptx.name)],
            Ok(_) => vec![format!("{}: expected an error that names {word}, but it ran", ptx.name)],
        };
    }
    for case in &fixture.description.cases {
        let mut first: Option<Tensors> = None;
        for (how, options) in ways(&ptx.target) {
            let faults = match check_case(ptx, case, options, &mut first) {
                Ok(faults) => faults,
                Err(refused) => vec![refused],
            };
            if !faults.is_empty() {
                wrong.extend(faults.iter().map(|f| format!("{}, {}, {how}: {f}", ptx.name, case.name)));
                break;
            }
        }
    }
    wrong
}

/// With every check on under several seeds; fast, on two threads; with sums as the tensor cores of the target make them.
fn ways(target: &str) -> Vec<(String, EmulatorOptions)> {
    let mut ways: Vec<_> = (0..SEEDS).map(|seed| (format!("seed {seed}"), options(seed))).collect();
    ways.push(("without checks".into(), EmulatorOptions { checks: Checks::NONE, threads: 2, ..options(0) }));
    let accumulation = match target {
        "sm_80" => Accumulation::Sm80,
        "sm_89" => Accumulation::Sm89,
        "sm_90a" => Accumulation::Sm90,
        _ => Accumulation::Sm100,
    };
    ways.push((
        format!("sums as on {target}"),
        EmulatorOptions { accumulation, checks: Checks::NONE, ..options(0) },
    ));
    ways
}

fn check_case(
    ptx: &Ptx,
    case: &Case,
    options: EmulatorOptions,
    first: &mut Option<Tensors>,
) -> Result<Vec<String>, String> {
    let exact = options.accumulation == Accumulation::Exact;
    let outcome = run(ptx, case, options)?;
    if let Some(kind) = &case.fails {
        let findings = outcome.reports.iter().flat_map(|r| &r.findings);
        let found: Vec<String> = findings.map(|f| kind_name(f.kind)).collect();
        return Ok(if found.contains(kind) {
            vec![]
        } else {
            vec![format!("expected {kind}, found {found:?}")]
        });
    }
    let mut wrong = complaints(&outcome);
    if wrong.is_empty() {
        wrong.extend(wrong_outputs(case, &outcome.tensors, exact));
    }
    let printed = outcome.reports.iter().map(|r| r.output.as_str()).collect::<String>();
    let mut lines: Vec<&str> = printed.split_inclusive('\n').collect();
    lines.sort_unstable();
    if lines != case.prints {
        wrong.push(format!("printed {lines:?}, expected {:?}", case.prints));
    }
    let before = first.get_or_insert_with(|| outcome.tensors.clone());
    if case.same_bits_under_every_seed && exact && *before != outcome.tensors {
        wrong.push("other bits than under the first seed".to_owned());
    }
    Ok(wrong)
}

macro_rules! fixtures {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_description_has_its_test() {
            let names: Vec<String> = load("fixtures").into_iter().map(|f| f.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

fixtures! {
    attention bulk_reduce cluster_sum collectives dot_f64 fla_gated_delta fp8_mma gemm_mma gemm_wgmma gemv_dp4a half2 matrix_moves messages multicast nvfp4_mma
    recursion reduction split_k transpose triton_attention triton_layer_norm triton_matmul triton_matmul_descriptors
    triton_softmax wgmma_registers
}

/// `target/toolchain/nvrtc-…`, as `cargo xtask setup` lays them down, oldest first.
fn compilers() -> Vec<PathBuf> {
    let exe = std::env::current_exe().unwrap();
    let toolchain = exe.ancestors().map(|a| a.join("toolchain")).find(|t| t.is_dir());
    let list = toolchain.and_then(|t| std::fs::read_dir(t).ok()).into_iter().flatten();
    let mut folders: Vec<PathBuf> = list.map(|e| e.unwrap().path()).collect();
    folders.retain(|f| f.file_name().unwrap().to_string_lossy().starts_with("nvrtc-"));
    folders.sort();
    folders
}

#[test]
fn committed_ptx_is_what_nvrtc_makes() {
    let compilers = compilers();
    if compilers.len() < 2 {
        println!(
            "skipped: committed_ptx_is_what_nvrtc_makes: NVRTC is not there; `cargo xtask setup` fetches it"
        );
        return;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    // The planted faults are committed from the first compiler only.
    for (folder, count) in [("fixtures", 2), ("faults", 1)] {
        let mut python = std::process::Command::new("python3");
        python.arg(here.join("fixtures/make.py")).arg("--check").arg("--folder").arg(here.join(folder));
        for compiler in &compilers[..count] {
            python.arg("--nvrtc").arg(compiler);
        }
        let out = python.output().expect("python3 runs");
        assert!(out.status.success(), "{folder}: {}", String::from_utf8_lossy(&out.stderr));
    }
}
