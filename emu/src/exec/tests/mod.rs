//! Kernels through the whole machine, judged against plain Rust.

mod arithmetic;
mod asynchronous;
mod barriers;
mod basics;
mod faults;
mod launches;
mod races;
mod warps;

use super::*;

/// An emulator with checks and a seed.
pub(crate) fn emulator(seed: u64) -> Emulator {
    Emulator::new(EmulatorOptions {
        seed,
        threads: 1,
        instruction_limit: 4_000_000,
        ..EmulatorOptions::default()
    })
}

/// A module text around bodies.
pub(crate) fn module(target: &str, text: &str) -> String {
    format!(".version 8.8\n.target {target}\n.address_size 64\n{text}\n")
}

/// A kernel `k` with one pointer parameter `p`; `%rd1` holds it, `%r1` the thread's index, and `%rd3` the address of
/// the thread's word.
pub(crate) fn kernel(target: &str, before: &str, body: &str) -> String {
    let head = ".reg .b64 %rd<40>;\n.reg .b32 %r<60>;\n.reg .b16 %h<20>;\n.reg .pred %p<20>;\n.reg .f64 %fd<10>;\n\
                .reg .f32 %f<20>;";
    let start = "ld.param.u64 %rd1, [p];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, 4;\nadd.s64 %rd3, %rd1, %rd2;";
    module(
        target,
        &format!("{before}\n.visible .entry k(.param .u64 p)\n{{\n{head}\n{start}\n{body}\nret;\n}}"),
    )
}

/// Runs `k` on words that are all written, and gives them back with the report.
pub(crate) fn run(seed: u64, text: &str, config: &LaunchConfig, words: &[u32]) -> (Vec<u32>, Report) {
    let mut emu = emulator(seed);
    run_on(&mut emu, text, config, words)
}

/// The same on a given emulator.
pub(crate) fn run_on(
    emu: &mut Emulator,
    text: &str,
    config: &LaunchConfig,
    words: &[u32],
) -> (Vec<u32>, Report) {
    let id = emu.load(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let buffer = emu.alloc_bytes("data", &bytes).expect("room");
    let report = emu.launch(id, config, &[Arg::Buffer(buffer)]).expect("a launch that is allowed");
    let back = emu.read(buffer).expect("alive");
    (back.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c)).collect(), report)
}

/// Runs a body on one warp without findings.
pub(crate) fn one_warp(target: &str, before: &str, body: &str, words: &[u32]) -> Vec<u32> {
    threads(32, 1, target, before, body, words)
}

/// Runs a body on one CTA without findings.
pub(crate) fn threads(
    count: u32,
    seed: u64,
    target: &str,
    before: &str,
    body: &str,
    words: &[u32],
) -> Vec<u32> {
    let (out, report) = run(seed, &kernel(target, before, body), &LaunchConfig::new("k", 1, count), words);
    assert!(report.clean(), "{}", report.findings.iter().map(|f| format!("{f}\n")).collect::<String>());
    out
}
