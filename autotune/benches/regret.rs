//! The search strategies on the recorded landscapes: `cargo xtask bench regret`.
#![allow(clippy::print_stdout, reason = "a bench prints what it found")]

use jet_autotune::landscape::{load, regret};
use jet_codegen::schedule::Family;
use jet_runtime::cpu::FAMILIES;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<String, String> {
    let (mut seeds, mut json) = (50, false);
    let mut folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("landscapes");
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--json" => json = true,
            "--seeds" => {
                let text = args.next().unwrap_or_default();
                let number = text.parse().ok().filter(|n| *n > 0);
                seeds = number.ok_or_else(|| format!("--seeds is `{text}`; it takes a number above 0"))?;
            }
            "--landscapes" => folder = args.next().ok_or("--landscapes takes a folder")?.into(),
            other => return Err(format!("`{other}` is none of --seeds N, --landscapes FOLDER, --json")),
        }
    }
    let landscapes = load(&folder).map_err(|e| e.to_string())?;
    let families: Vec<&dyn Family> = FAMILIES.to_vec();
    let comparison = regret::compare(&landscapes, &families, seeds)?;
    match json {
        true => serde_json::to_string_pretty(&comparison).map(|t| t + "\n").map_err(|e| e.to_string()),
        false => Ok(comparison.to_string()),
    }
}
