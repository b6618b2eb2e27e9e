//! Sampled legal schedules compile for every architecture; defaults neither spill nor draw a notice.

use crate::dice::Dice;
use crate::{families, nvrtc, slow};
use jet_codegen::arch;
use jet_codegen::kernel::Source;
use jet_codegen::nvrtc::{Job, Output, compile_all};
use std::sync::Arc;
use std::time::Duration;

/// One compilation and what it is of.
struct Sample {
    what: String,
    source: Source,
    default: bool,
}

#[test]
fn sampled_schedules_compile_for_every_architecture() {
    let Some(nvrtc) = nvrtc("compile") else { return };
    let (mut samples, mut jobs) = (Vec::new(), Vec::new());
    let per_arch = if slow() { 25 } else { 1 };
    for (kernel, family) in families() {
        let mut dice = Dice::new(7);
        for arch in arch::ALL {
            let mut take = |problem: &jet_codegen::schedule::Problem, values, default| {
                let source = kernel.emit(problem, &values, arch).expect("it was legal");
                let what = format!("{problem} {values} on {arch}");
                jobs.push(Job { source: Arc::from(source.text.as_str()), arch, output: Output::Cubin });
                samples.push(Sample { what, source, default });
            };
            let goldens = family.goldens();
            let (_, problem) = dice.of(&goldens);
            match kernel.default_for(&problem, arch) {
                Ok(values) => take(&problem, values, true),
                // What an architecture cannot do is refused with the reason.
                Err(why) => assert!(why.0.contains(arch.name), "{why}"),
            }
            for _ in 0..per_arch {
                let problem =
                    if dice.flip() { dice.of(&goldens).1 } else { family.random(&mut dice).problem };
                let legal = kernel.candidates(&problem, arch);
                if !legal.is_empty() {
                    let values = dice.of(&legal);
                    take(&problem, values, false);
                }
            }
        }
    }
    let results = compile_all(nvrtc, &jobs, 0, Duration::from_secs(120), None);
    for (sample, result) in samples.iter().zip(results) {
        let compiled = result.unwrap_or_else(|e| panic!("{}: {e}\n{}\n{e}", sample.what, sample.source.text));
        assert!(!compiled.cubin.is_empty(), "{}", sample.what);
        assert!(compiled.notices().is_empty(), "{}: {:?}", sample.what, compiled.notices());
        for entry in &sample.source.entries {
            let r = compiled
                .resources_of(&entry.name)
                .unwrap_or_else(|| panic!("{}: no `{}`", sample.what, entry.name));
            println!("{}: {} {} registers", sample.what, entry.name, r.registers);
            assert!(!sample.default || !r.spills(), "{}: {} spills: {r:?}", sample.what, entry.name);
        }
    }
}
