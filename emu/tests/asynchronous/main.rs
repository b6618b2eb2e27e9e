//! What takes effect later than it is issued: mbarriers, bulk and tensor copies, wgmma, clusters. Small kernels, each
//! with an expectation of its own, under several seeds.
#![allow(clippy::unwrap_used)]

mod bulk;
mod cluster;
mod mbarrier;
mod speed;
mod tensor;
mod wgmma;

use jet_emu::{
    Arg, BufferId, Emulator, EmulatorOptions, Finding, FindingKind, LaunchConfig, Report, Severity,
};

/// A kernel `k` with registers of every class and parameters `p0`, `p1`, … of 64 bits, already in `%a0`, `%a1`, …
/// `shared` are declarations. The text's first line is line 1; the body begins at line 10.
pub(crate) fn kernel(target: &str, shared: &str, body: &str) -> String {
    let params: Vec<String> = (0..4).map(|i| format!(".param .u64 p{i}")).collect();
    let loads: Vec<String> = (0..4).map(|i| format!("ld.param.u64 %a{i}, [p{i}];")).collect();
    format!(
        ".version 8.8\n.target {target}\n.address_size 64\n.visible .entry k({})\n{{\n\
         .reg .pred %p<16>; .reg .b16 %h<16>; .reg .b32 %r<64>; .reg .f32 %f<300>; .reg .b64 %a<8>, %d<64>;\n\
         {}\n{}\nmov.u32 %r0, %tid.x;\n{body}\nret;\n}}\n",
        params.join(", "),
        shared.replace('\n', " "),
        loads.join(" "),
    )
}

/// A device with one module and buffers.
pub(crate) struct Bench {
    pub(crate) emulator: Emulator,
    module: jet_emu::ModuleId,
}

impl Bench {
    pub(crate) fn new(text: &str, seed: u64) -> Self {
        let options =
            EmulatorOptions { threads: 1, seed, instruction_limit: 2_000_000, ..EmulatorOptions::default() };
        let mut emulator = Emulator::new(options);
        let module = emulator.load(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        Bench { emulator, module }
    }

    pub(crate) fn buffer(&mut self, name: &str, bytes: &[u8]) -> BufferId {
        self.emulator.alloc_bytes(name, bytes).unwrap()
    }

    pub(crate) fn launch(&mut self, grid: u32, block: u32, cluster: u32, args: &[Arg]) -> Report {
        let mut config = LaunchConfig::new("k", grid, block);
        config.cluster = (cluster > 1).then_some([cluster, 1, 1]);
        let mut args = args.to_vec();
        let wanted = self.emulator.program(self.module, "k").unwrap().params.len();
        args.resize(wanted, Arg::Null);
        self.emulator.launch(self.module, &config, &args).unwrap()
    }

    pub(crate) fn words(&self, buffer: BufferId) -> Vec<u32> {
        words(&self.emulator.read(buffer).unwrap())
    }
}

pub(crate) fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c)).collect()
}

pub(crate) fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Runs a kernel whose first argument is a buffer for results of `out` words, and whose second has the words `input`.
pub(crate) fn run_with(
    text: &str,
    seed: u64,
    shape: (u32, u32, u32),
    out: usize,
    input: &[u32],
) -> (Report, Vec<u32>) {
    let mut bench = Bench::new(text, seed);
    let result = bench.buffer("result", &vec![0; out * 4]);
    let given = bench.buffer("input", &bytes(input));
    let report = bench.launch(shape.0, shape.1, shape.2, &[Arg::Buffer(result), Arg::Buffer(given)]);
    let words = bench.words(result);
    (report, words)
}

/// The same, which must be clean.
pub(crate) fn clean(text: &str, seed: u64, shape: (u32, u32, u32), out: usize, input: &[u32]) -> Vec<u32> {
    let (report, words) = run_with(text, seed, shape, out, input);
    assert!(report.clean(), "seed {seed}: {}", show(&report));
    words
}

pub(crate) fn show(report: &Report) -> String {
    report.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The first finding of a kind whose message holds a text.
pub(crate) fn finding<'r>(report: &'r Report, kind: FindingKind, text: &str) -> &'r Finding {
    let found = report.of(kind).find(|f| f.message.contains(text) && f.severity > Severity::Note);
    found.unwrap_or_else(|| panic!("no {kind:?} with `{text}` in:\n{}", show(report)))
}

/// The line of the body's statement that holds a mark.
pub(crate) fn line_of(text: &str, mark: &str) -> u32 {
    text.lines().position(|l| l.contains(mark)).expect("the mark is in the text") as u32 + 1
}

/// A small stream of numbers.
pub(crate) fn numbers(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    }
}

pub(crate) const SEEDS: std::ops::Range<u64> = 0..8;
