//! How fast the emulator is: thread instructions a second on scalar code, FLOPs a second through tensor instructions,
//! with the checks off and on, on one core.
//!
//! `cargo bench -p jet-emu --bench speed -- [--json] [--rounds N] [--only NAME]`

mod wgmma;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jet_emu::exec::{Arg, Checks, Emulator, EmulatorOptions, LaunchConfig, ModuleId};
use serde_json::json;

/// What the result is held against.
const INSTRUCTIONS_BAR: f64 = 300e6;
const FLOPS_BAR: f64 = 4e9;
const RATIO_BAR: f64 = 5.0;

/// What counts as work.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Instructions,
    Flops,
}

struct Kernel {
    name: &'static str,
    text: String,
    grid: u32,
    block: u32,
    unit: Unit,
    /// Buffers of f32, and the number that follows them.
    buffers: &'static [u64],
    number: u32,
}

fn kernels() -> Vec<Kernel> {
    let scalar = |name, text: &str, grid, block, buffers, number| Kernel {
        name,
        text: text.to_owned(),
        grid,
        block,
        unit: Unit::Instructions,
        buffers,
        number,
    };
    const THREADS: &[u64] = &[4096];
    const STREAM: &[u64] = &[1 << 20, 1 << 20, 1 << 20];
    let tensor = |name, text: String, grid, number| Kernel {
        name,
        text,
        grid,
        block: 128,
        unit: Unit::Flops,
        buffers: &[128],
        number,
    };
    vec![
        scalar("integer", include_str!("integer.ptx"), 16, 256, THREADS, 1000),
        scalar("float", include_str!("float.ptx"), 16, 256, THREADS, 1000),
        scalar("stream", include_str!("stream.ptx"), 16, 256, STREAM, 1 << 20),
        scalar("shared", include_str!("shared.ptx"), 16, 256, THREADS, 60),
        scalar("branchy", include_str!("branchy.ptx"), 16, 256, THREADS, 200),
        tensor("mma", include_str!("mma.ptx").to_owned(), 1, 600),
        tensor("wgmma", wgmma::text(), 1, 60),
    ]
}

/// Measures the time that this thread has a core, so that whatever else runs on the machine does not count; where the
/// system does not say, the time on the wall.
struct Stopwatch {
    wall: Instant,
    core: Option<Duration>,
}

impl Stopwatch {
    fn start() -> Self {
        Stopwatch { wall: Instant::now(), core: Self::core() }
    }

    fn core() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    }

    fn read(&self) -> Duration {
        match (self.core, Self::core()) {
            (Some(before), Some(after)) if after > before => after - before,
            _ => self.wall.elapsed(),
        }
    }
}

/// A kernel made ready, and how long its launches took.
struct Bench {
    emulator: Emulator,
    module: ModuleId,
    config: LaunchConfig,
    args: Vec<Arg>,
    work: f64,
    times: Vec<f64>,
}

impl Bench {
    /// Loads the kernel, counts its work, and looks that it runs clean.
    fn new(kernel: &Kernel, checks: Checks) -> Result<Self, String> {
        let options = EmulatorOptions { threads: 1, checks, counters: true, ..EmulatorOptions::default() };
        let mut emulator = Emulator::new(options);
        let module = emulator.load(&kernel.text).map_err(|e| e.to_string())?;
        let mut args = Vec::new();
        for (i, elements) in kernel.buffers.iter().enumerate() {
            let buffer = emulator.alloc_zeroed(&format!("buffer {i}"), elements * 4);
            args.push(Arg::Buffer(buffer.map_err(|e| e.to_string())?));
        }
        args.push(Arg::U32(kernel.number));
        let config = LaunchConfig::new(kernel.name, kernel.grid, kernel.block);
        let report = emulator.launch(module, &config, &args).map_err(|e| e.to_string())?;
        if !report.clean() {
            return Err(report.findings.first().map_or_else(|| "not clean".to_owned(), ToString::to_string));
        }
        let counters = report.counters.ok_or("no counters")?;
        let work = match kernel.unit {
            Unit::Instructions => counters.instructions.thread,
            Unit::Flops => counters.tensor.iter().map(|t| t.flops).sum(),
        };
        emulator.options_mut().counters = false;
        Ok(Bench { emulator, module, config, args, work: work as f64, times: Vec::new() })
    }

    fn launch(&mut self) -> Result<(), String> {
        let watch = Stopwatch::start();
        self.emulator.launch(self.module, &self.config, &self.args).map_err(|e| e.to_string())?;
        self.times.push(watch.read().as_secs_f64());
        Ok(())
    }

    /// Work a second, by the median launch.
    fn rate(&mut self) -> f64 {
        self.times.sort_by(f64::total_cmp);
        self.work / self.times[self.times.len() / 2]
    }
}

/// Both runs of a kernel in turns, so that a slow moment of the machine falls on both.
fn measure(kernel: &Kernel, rounds: usize) -> Result<Line, String> {
    let (mut off, mut on) = (Bench::new(kernel, Checks::NONE)?, Bench::new(kernel, Checks::ALL)?);
    for _ in 0..rounds {
        off.launch()?;
        on.launch()?;
    }
    Ok(Line { name: kernel.name, unit: kernel.unit, off: off.rate(), on: on.rate() })
}

struct Line {
    name: &'static str,
    unit: Unit,
    off: f64,
    on: f64,
}

impl Line {
    fn bar(&self) -> f64 {
        if self.unit == Unit::Flops { FLOPS_BAR } else { INSTRUCTIONS_BAR }
    }

    fn met(&self) -> bool {
        self.off >= self.bar() && self.off / self.on <= RATIO_BAR
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "kernel": self.name,
            "unit": if self.unit == Unit::Flops { "flops_per_second" } else { "thread_instructions_per_second" },
            "checks_off": self.off,
            "checks_on": self.on,
            "bar": self.bar(),
            "ratio": self.off / self.on,
            "ratio_bar": RATIO_BAR,
            "met": self.met(),
        })
    }

    fn show(&self) {
        let (scale, unit) = if self.unit == Unit::Flops { (1e9, "GFLOP/s") } else { (1e6, "M instr/s") };
        let (off, on, bar) = (self.off / scale, self.on / scale, self.bar() / scale);
        let verdict = if self.met() { "met" } else { "missed" };
        println!(
            "{:<10} {off:>10.2} {bar:>8.0}   {on:>10.2}   {:>6.2} x {RATIO_BAR:>4.0} x   {unit:<10} {verdict}",
            self.name,
            self.off / self.on
        );
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| words.iter().position(|w| w == name).and_then(|i| words.get(i + 1)).cloned();
    let as_json = words.iter().any(|w| w == "--json");
    let rounds = value("--rounds").and_then(|n| n.parse().ok()).unwrap_or(7usize).max(1);
    let only = value("--only");
    let mut lines = Vec::new();
    let mut failed = false;
    if !as_json {
        println!(
            "{:<10} {:>10} {:>8}   {:>10}   {:>8} {:>6}   unit",
            "kernel", "checks off", "bar", "checks on", "ratio", "bar"
        );
    }
    for kernel in kernels().iter().filter(|k| only.as_deref().is_none_or(|o| o == k.name)) {
        match measure(kernel, rounds) {
            Ok(line) => {
                if !as_json {
                    line.show();
                }
                lines.push(line);
            }
            Err(e) => {
                failed = true;
                eprintln!("{}: {e}", kernel.name);
            }
        }
    }
    if as_json {
        let kernels: Vec<_> = lines.iter().map(Line::json).collect();
        println!("{}", json!({"cores": 1, "rounds": rounds, "kernels": kernels}));
    }
    ExitCode::from(u8::from(failed))
}
