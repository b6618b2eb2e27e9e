//! `cargo xtask setup`: what this machine has, and what each missing thing is needed for; NVRTC is fetched.

use crate::process::works;
use crate::{fetch, toolchain};
use anyhow::Result;
use std::process::ExitCode;

/// A program, how to see whether it is there, and who needs it.
const NEEDS: &[(&str, &[&str], &str)] = &[
    ("cargo", &["fmt", "--version"], "formatting (`cargo xtask ci`); rustup component add rustfmt"),
    ("cargo", &["clippy", "--version"], "lints (`cargo xtask ci`); rustup component add clippy"),
    (
        "python3",
        &["-m", "pip", "--version"],
        "fetching the model (`cargo xtask quickstart`, tests on it) and NVRTC",
    ),
    ("python3", &["-c", "import venv, ensurepip"], "`cargo xtask bench peers`"),
    ("c++", &["--version"], "`cargo xtask bench peers`, which compiles llama.cpp"),
];

pub(crate) fn run() -> Result<ExitCode> {
    let mut missing = 0;
    for (program, args, why) in NEEDS {
        let there = works(program, args);
        missing += usize::from(!there);
        let line = std::iter::once(program).chain(args.iter()).copied().collect::<Vec<_>>().join(" ");
        println!("{}  {line:<32}  {why}", if there { "ok     " } else { "missing" });
    }
    match fetch::cache_folder() {
        Ok(folder) => println!("ok       the model is kept in {}", folder.join("models").display()),
        Err(e) => {
            missing += 1;
            println!("missing  {e:#}");
        }
    }
    for tool in toolchain::ensure() {
        match tool.folder {
            Ok(folder) => println!("ok       {} is in {}", tool.name, folder.display()),
            Err(e) => {
                missing += 1;
                println!("missing  {}: {e:#}", tool.name);
            }
        }
    }
    Ok(ExitCode::from(u8::from(missing > 0)))
}
