//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};

use crate::exec::{Accumulation, Checks, EmulatorOptions};

const AFTER: &str = "\
ARGS.json is a list with one entry for each parameter of the kernel, in order:
  {\"tensor\": \"a\"}                                   a tensor of IN or a buffer named before, by reference
  {\"zeros\": \"c\", \"dtype\": \"F32\", \"shape\": [64, 64]}  a fresh tensor of zeros
  {\"empty\": \"c\", \"dtype\": \"F32\", \"shape\": [64, 64]}  the same, and reading what nobody wrote is a finding
  {\"u8\": 1} {\"i8\"} {\"u16\"} {\"i16\"} {\"u32\"} {\"i32\"} {\"u64\"} {\"i64\"} {\"f32\": 0.5} {\"f64\"} {\"bool\": true}
  {\"null\": true}                                    a null pointer
  {\"bytes\": \"00ff…\"}                                a structure by value, as hexadecimal digits
  {\"tensor_map\": {\"tensor\": \"a\", \"dtype\": \"bf16\", \"dims\": [64, 128], \"box\": [64, 64], \"swizzle\": \"128B\"}}
or {\"buffers\": [...], \"args\": [...]}, where buffers are zeros or empty that only tensor maps use.
All tensors that the arguments name are in OUT, as the kernel left them.

Exit code: 0 clean, 1 an error or a fault that ended the launch, 2 a wrong command line, 3 ran to its end with findings.";

/// Runs one kernel of a PTX file on the CPU: exactly, with the checks of a sanitiser and the counters of a profiler.
#[derive(Debug, Parser)]
#[command(name = "jet-emu", version, after_help = AFTER)]
pub(super) struct Options {
    /// The PTX file.
    pub(super) file: PathBuf,
    /// The kernel; may be left out where the file has one only.
    #[arg(long, value_name = "NAME")]
    pub(super) kernel: Option<String>,
    /// CTAs: X, or X,Y,Z.
    #[arg(long, value_name = "X,Y,Z")]
    pub(super) grid: Dims,
    /// Threads of a CTA: X, or X,Y,Z.
    #[arg(long, value_name = "X,Y,Z")]
    pub(super) block: Dims,
    /// CTAs of a cluster: X, or X,Y,Z.
    #[arg(long, value_name = "X,Y,Z")]
    pub(super) cluster: Option<Dims>,
    /// Dynamic shared memory in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(super) smem: u32,
    /// Tensors that the arguments name, as safetensors.
    #[arg(long = "in", value_name = "IN.safetensors")]
    pub(super) input: Option<PathBuf>,
    /// The arguments, see below; may be left out for a kernel without parameters.
    #[arg(long, value_name = "ARGS.json")]
    pub(super) args: Option<PathBuf>,
    /// Where the tensors go after the launch.
    #[arg(long, value_name = "OUT.safetensors")]
    pub(super) out: Option<PathBuf>,
    /// Where findings and counters go, as JSON.
    #[arg(long, value_name = "REPORT.json")]
    pub(super) report: Option<PathBuf>,
    /// Where the PTX goes with what each line did, hot lines first.
    #[arg(long, value_name = "LISTING.txt")]
    pub(super) listing: Option<PathBuf>,
    /// Seed of every choice that the machine may make: whose turn it is, when an asynchronous copy arrives.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// What is looked for besides what cannot be executed.
    #[arg(long, value_enum, default_value_t = Check::All)]
    pub(super) check: Check,
    /// How tensor instructions add up.
    #[arg(long, value_enum, default_value_t = Sums::Exact)]
    pub(super) accumulation: Sums,
    /// Host threads; one is used while races or undefined values are looked for.
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// Warp instructions after which the launch is ended.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Count nothing, which is faster.
    #[arg(long, conflicts_with = "listing")]
    pub(super) no_counters: bool,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Check {
    /// Values that nobody wrote, data races, missing proxy fences.
    All,
    /// The same, and what most kernels get away with.
    Strict,
    /// Only what cannot be executed, such as an address outside of every buffer.
    None,
}

/// How tensor instructions add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Sums {
    /// Exact products, one rounding an instruction.
    Exact,
    /// As tensor cores of Ampere.
    #[value(name = "sm_80")]
    Sm80,
    /// As tensor cores of Ada.
    #[value(name = "sm_89")]
    Sm89,
    /// As tensor cores of Hopper.
    #[value(name = "sm_90")]
    Sm90,
    /// As tensor cores of Blackwell.
    #[value(name = "sm_100")]
    Sm100,
}

impl Sums {
    fn accumulation(self) -> Accumulation {
        match self {
            Sums::Exact => Accumulation::Exact,
            Sums::Sm80 => Accumulation::Sm80,
            Sums::Sm89 => Accumulation::Sm89,
            Sums::Sm90 => Accumulation::Sm90,
            Sums::Sm100 => Accumulation::Sm100,
        }
    }
}

/// Up to three dimensions; those left out are 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dims(pub(super) [u32; 3]);

impl FromStr for Dims {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut dims = [1; 3];
        let parts: Vec<&str> = text.split(',').collect();
        if parts.len() > 3 {
            return Err(format!(
                "`{text}` has {} dimensions, at most 3 are allowed: 64 or 64,1,1",
                parts.len()
            ));
        }
        for (dim, part) in dims.iter_mut().zip(&parts) {
            *dim = part.trim().parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                format!("`{part}` is no dimension; whole numbers from 1 on are expected: 64 or 64,1,1")
            })?;
        }
        Ok(Dims(dims))
    }
}

impl std::fmt::Display for Dims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} x {}", self.0[0], self.0[1], self.0[2])
    }
}

impl Options {
    /// The machine's options.
    pub(super) fn emulator(&self) -> EmulatorOptions {
        let defaults = EmulatorOptions::default();
        EmulatorOptions {
            threads: self.threads.unwrap_or(defaults.threads).max(1),
            seed: self.seed,
            checks: match self.check {
                Check::All => Checks::ALL,
                Check::Strict => Checks { strict: true, ..Checks::ALL },
                Check::None => Checks::NONE,
            },
            accumulation: self.accumulation.accumulation(),
            instruction_limit: self.limit.unwrap_or(defaults.instruction_limit),
            counters: !self.no_counters,
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_may_be_left_out_and_mistakes_are_told() {
        assert_eq!("64".parse(), Ok(Dims([64, 1, 1])));
        assert_eq!("8, 4".parse(), Ok(Dims([8, 4, 1])));
        assert_eq!("1,2,3".parse(), Ok(Dims([1, 2, 3])));
        for wrong in ["", "0", "-1", "1,2,3,4", "a", "1,,1", "5000000000"] {
            let error = wrong.parse::<Dims>().expect_err(wrong);
            assert!(error.contains("64,1,1"), "{error}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
