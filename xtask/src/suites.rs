//! `cargo xtask test`: the test suites, sorted by what they need.

use crate::count::{Counts, Reader};
use crate::process::{cargo, show};
use crate::{fetch, target, toolchain};
use anyhow::{Context, Result};
use clap::Args;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Arguments of `test`.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Do not fetch the model and NVRTC; tests that need them are skipped unless they are there already.
    #[arg(long)]
    no_fetch: bool,
    /// Also what takes long: 200 sampled schedules of each GPU kernel over all architectures, and more random cases.
    #[arg(long)]
    slow: bool,
}

/// A command whose output is that of `cargo test`.
struct Suite {
    name: &'static str,
    needs: &'static str,
    command: Command,
}

fn suites() -> Vec<Suite> {
    let mut examples =
        cargo(["test", "--workspace", "--no-fail-fast", "--manifest-path", "examples/Cargo.toml"]);
    // Dependencies built for the workspace serve the examples too.
    examples.arg("--target-dir").arg(target());
    vec![
        Suite {
            name: "the workspace",
            needs: "nothing; a part of it the model file",
            command: cargo(["test", "--workspace", "--no-fail-fast"]),
        },
        Suite {
            name: "the runtime without SIMD",
            needs: "nothing",
            command: cargo(["test", "--package", "jet-runtime", "--no-default-features", "--no-fail-fast"]),
        },
        Suite { name: "the examples, as users' projects", needs: "nothing", command: examples },
    ]
}

/// Runs every suite, prints the sum as the last line.
pub(crate) fn run(args: &TestArgs) -> Result<ExitCode> {
    let counts = all(!args.no_fetch, args.slow)?;
    println!("{counts}");
    Ok(ExitCode::from(u8::from(counts.failed > 0)))
}

/// Runs every suite.
pub(crate) fn all(may_fetch: bool, slow: bool) -> Result<Counts> {
    if may_fetch {
        if let Err(e) = fetch::model() {
            println!("the model could not be fetched, tests that need it will be skipped: {e:#}");
        }
        toolchain::ensure_or_say();
    }
    let mut counts = Counts::default();
    for mut suite in suites() {
        if slow {
            suite.command.env("JET_SLOW", "1");
        }
        counts += one(suite)?;
    }
    Ok(counts)
}

fn one(mut suite: Suite) -> Result<Counts> {
    suite.command.args(["--", "--show-output"]).env("CARGO_TERM_COLOR", "never");
    println!("\n== {} (needs {}): {}", suite.name, suite.needs, show(&suite.command));
    let start = Instant::now();
    let mut child =
        suite.command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {}", suite.name))?;
    let out = child.stdout.take().context("the output was asked for")?;
    let mut reader = Reader::default();
    let mut log = std::fs::File::create(log_path(suite.name)?)?;
    for line in BufReader::new(out).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(log, "{line}")?;
        if reader.line(&line) {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    let mut counts = reader.counts();
    if !status.success() && counts.failed == 0 {
        // A suite that could not be built, or died, has no line of its own for that.
        println!("{} did not run to its end ({status})", suite.name);
        counts.failed = 1;
    }
    println!("== {}: {counts}, {:.0} s", suite.name, start.elapsed().as_secs_f64());
    Ok(counts)
}

/// Where a suite's whole output is kept.
fn log_path(name: &str) -> Result<std::path::PathBuf> {
    let folder = target().join("xtask");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.join(format!("{}.log", name.replace([' ', ',', '\''], "-"))))
}
