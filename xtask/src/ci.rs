//! `cargo xtask ci`: everything that must hold before a change is done.

use crate::count::Counts;
use crate::process::{cargo, run as run_command};
use crate::suites;
use anyhow::Result;
use std::process::ExitCode;

/// Formatting and lints count as one check each; the tests follow.
pub(crate) fn run() -> Result<ExitCode> {
    let mut counts = Counts::default();
    for (name, args) in [
        ("formatting", &["fmt", "--all", "--check"][..]),
        ("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
        (
            "lints of the runtime without SIMD",
            &[
                "clippy",
                "--package",
                "jet-runtime",
                "--no-default-features",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ],
        ),
    ] {
        println!("== {name}");
        let outcome = run_command(&mut cargo(args));
        if let Err(e) = &outcome {
            println!("{e:#}");
        }
        counts += Counts::one(outcome.is_ok());
    }
    counts += suites::all(true, false)?;
    println!("{counts}");
    Ok(ExitCode::from(u8::from(counts.failed > 0)))
}
