//! Kernels through the whole machine, judged against plain Rust.

mod basics;

use super::*;

/// An emulator with checks and a seed.
pub(crate) fn emulator(seed: u64) -> Emulator {
    Emulator::new(EmulatorOptions { seed, threads: 1, ..EmulatorOptions::default() })
}

/// A module text around bodies.
pub(crate) fn module(target: &str, text: &str) -> String {
    format!(".version 8.8\n.target {target}\n.address_size 64\n{text}\n")
}

/// A kernel `k` with one pointer parameter `p`; `%rd1` holds it and `%r1` the thread's index.
pub(crate) fn kernel(target: &str, registers: &str, body: &str) -> String {
    let head = ".reg .b64 %rd<40>;\n.reg .b32 %r<60>;\n.reg .b16 %h<20>;\n.reg .pred %p<20>;\n.reg .f64 %fd<10>;\n.reg .f32 %f<20>;";
    let start = "ld.param.u64 %rd1, [p];\nmov.u32 %r1, %tid.x;";
    module(
        target,
        &format!(".visible .entry k(.param .u64 p)\n{{\n{head}\n{registers}\n{start}\n{body}\nret;\n}}"),
    )
}

/// Runs `k` on `count` words that are all written, and gives them back with the report.
pub(crate) fn run(seed: u64, text: &str, config: &LaunchConfig, words: &[u32]) -> (Vec<u32>, Report) {
    let mut emu = emulator(seed);
    let id = emu.load(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let buffer = emu.alloc_bytes("data", &bytes).expect("room");
    let report = emu.launch(id, config, &[Arg::Buffer(buffer)]).expect("a launch that is allowed");
    let back = emu.read(buffer).expect("alive");
    (back.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c)).collect(), report)
}

/// Runs a body of one warp that writes one word a thread at `%rd3`, without findings.
pub(crate) fn one_warp(target: &str, registers: &str, body: &str, words: &[u32]) -> Vec<u32> {
    let body = format!("mul.wide.u32 %rd2, %r1, 4;\nadd.s64 %rd3, %rd1, %rd2;\n{body}");
    let (out, report) = run(1, &kernel(target, registers, &body), &LaunchConfig::new("k", 1, 32), words);
    assert!(report.clean(), "{:#?}", report.findings);
    out
}
