//! `cargo xtask gpu`: what a GPU machine without Rust or network needs, in one folder with one command, and a rehearsal
//! of that command on the emulated device.

use crate::process::{cargo, run, show};
use crate::{jet, root};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The most that may travel.
const LIMIT: u64 = 64 << 20;
/// Folders of golden vectors that go along.
const GOLDEN: [&str; 5] = ["jet", "nemotron_h", "mamba2", "attention", "dense"];
/// What travels beside the command, in one file: compiled kernels shrink to a quarter.
const PARTS: &str = "parts.tar.gz";
/// The command on the GPU machine: `sh run.sh [RESULTS [DEVICE [ARGUMENT...]]]`.
const RUN: &str = "#!/bin/sh
# Parity, fixtures and first timings on the GPU of this machine; results go to the folder given as argument.
here=$(cd \"$(dirname \"$0\")\" && pwd)
out=\"${1:-results}\"
device=\"${2:-cuda:0}\"
if [ $# -gt 2 ]; then shift 2; else shift $#; fi
parts=$(mktemp -d) || exit 1
trap 'rm -rf \"$parts\"' EXIT
tar -xzf \"$here/parts.tar.gz\" -C \"$parts\" || exit 1
# Where containers have the driver.
export LD_LIBRARY_PATH=\"${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/nvidia/lib64\"
\"$parts/bin/jet-gpu\" all --pack \"$parts\" --out \"$out\" --device \"$device\" \"$@\"
";

/// Arguments of the command.
#[derive(Args)]
pub(crate) struct GpuArgs {
    /// Pack into this folder, which must be empty or a pack.
    #[arg(long, default_value = "target/gpu-pack")]
    pack: PathBuf,
    /// The GPU's architecture.
    #[arg(long, default_value = "sm_90a")]
    arch: String,
    /// Also run the pack's command here, at toy size on the emulated device.
    #[arg(long)]
    rehearse: bool,
    /// Only rehearse: take the pack as it is.
    #[arg(long)]
    packed: bool,
    /// Folder for the rehearsal's results.
    #[arg(long, default_value = "target/gpu-rehearsal")]
    out: PathBuf,
    /// Only steps of the rehearsal whose name begins so.
    #[arg(long)]
    only: Option<String>,
}

/// Runs the command.
pub(crate) fn run_gpu(args: &GpuArgs) -> Result<ExitCode> {
    let (pack, out) = (absolute(&args.pack), absolute(&args.out));
    if !args.packed {
        make(&pack, &args.arch)?;
    }
    if !args.rehearse {
        println!("on the machine: sh {}/run.sh RESULTS", pack.display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut rehearsal = Command::new("sh");
    rehearsal.arg(pack.join("run.sh")).arg(&out).arg(format!("emulated:{}", args.arch));
    rehearsal.args(["--rehearse", "--seconds", "3600"]).env("JET_NVRTC", nvrtc()?);
    if let Some(only) = &args.only {
        rehearsal.args(["--only", only]);
    }
    run(&mut rehearsal)?;
    Ok(ExitCode::SUCCESS)
}

/// A path of the command line, from the root.
fn absolute(path: &Path) -> PathBuf {
    root().join(path)
}

/// The compiler that the pack is made with.
fn nvrtc() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("JET_NVRTC") {
        return Ok(PathBuf::from(named));
    }
    let folder = crate::target().join("toolchain");
    let mut found: Vec<PathBuf> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("nvrtc-")))
        .collect();
    found.sort();
    // The oldest: its cubins load on the most drivers.
    found.into_iter().next().context("there is no NVRTC; `cargo xtask setup` fetches it")
}

fn make(pack: &Path, arch: &str) -> Result<()> {
    let marker = pack.join("run.sh");
    if pack.is_dir() && fs::read_dir(pack)?.next().is_some() {
        ensure!(marker.is_file(), "{} is neither empty nor a pack", pack.display());
        fs::remove_dir_all(pack)?;
    }
    let parts = crate::target().join("gpu-parts");
    if parts.is_dir() {
        fs::remove_dir_all(&parts)?;
    }
    let folder = |name: &str| -> Result<PathBuf> {
        let path = parts.join(name);
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    let bin = folder("bin")?;
    run(&mut cargo(["build", "--release", "--package", "jet-cli", "--package", "jet-gpu", "--bins"]))?;
    for name in ["jet", "jet-gpu"] {
        fs::copy(jet::binary(name), bin.join(name)).with_context(|| name.to_owned())?;
    }
    let fixtures = root().join("emu/tests/fixtures");
    copy(&fixtures, &folder("fixtures")?, &|p| ends(p, "json"))?;
    copy(&fixtures.join("ptx"), &folder("fixtures/ptx")?, &|p| ends(p, "ptx"))?;
    let golden = root().join("tests/vectors");
    for name in GOLDEN {
        tree(&golden.join(name), &folder("golden")?.join(name))?;
    }
    compile(&parts, arch)?;
    fs::create_dir_all(pack)?;
    fs::write(&marker, RUN)?;
    run(Command::new("tar").arg("-czf").arg(pack.join(PARTS)).arg("-C").arg(&parts).arg("."))?;
    let bytes = size(pack)?;
    println!("{} is {:.1} MiB of {} MiB", pack.display(), bytes as f64 / f64::from(1 << 20), LIMIT >> 20);
    ensure!(bytes <= LIMIT, "the pack is too large: {bytes} bytes, and {LIMIT} may travel");
    Ok(())
}

/// Goes through everything that the command there does with a device that compiles and runs nothing, so that every
/// kernel is there as a cubin.
fn compile(parts: &Path, arch: &str) -> Result<()> {
    let (cubins, device, nvrtc) = (parts.join("cubins"), format!("emulated:{arch}"), nvrtc()?);
    let scratch = parts.join("compile.json");
    let command = |program: &str| {
        let mut c = Command::new(parts.join("bin").join(program));
        c.env("JET_CUBINS", &cubins).env("JET_EMULATED_CUBINS", "only").env("JET_NVRTC", &nvrtc);
        c
    };
    let quietly = |c: &mut Command| -> Result<()> {
        // What a device without results gives is wrong by intention; only that it was compiled counts.
        let output = c.output().with_context(|| format!("cannot run `{}`", show(c)))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code().is_some(), "`{}` was ended: {said}", show(c));
        Ok(())
    };
    quietly(command("jet-gpu").args(["kernels", "--device", &device, "--out"]).arg(&scratch))?;
    for precision in ["f32", "bf16"] {
        for name in GOLDEN {
            let path = parts.join("golden").join(name);
            quietly(command("jet").arg("check").arg(path).args([
                "--device",
                &device,
                "--precision",
                precision,
            ]))?;
        }
    }
    run(command("jet-gpu").args(["time", "--device", &device, "--out"]).arg(&scratch))?;
    fs::remove_file(&scratch)?;
    run(command("jet-gpu").arg("seal").arg(&cubins))?;
    let count = fs::read_dir(&cubins)?.count() - 1;
    if count == 0 {
        bail!("nothing was compiled into {}", cubins.display());
    }
    println!("{count} compiled sources");
    Ok(())
}

fn ends(path: &Path, with: &str) -> bool {
    path.extension().is_some_and(|e| e == with)
}

/// Copies the files of a folder that `which` takes.
fn copy(from: &Path, to: &Path, which: &dyn Fn(&Path) -> bool) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        if path.is_file() && which(&path) {
            let name = path.file_name().expect("a file has a name");
            fs::copy(&path, to.join(name)).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// Copies a folder with all below it.
fn tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    copy(from, to, &|_| true)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_dir() {
            tree(&path, &to.join(path.file_name().expect("a folder has a name")))?;
        }
    }
    Ok(())
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_copied_whole_and_measured() {
        let at = std::env::temp_dir().join(format!("jet-pack-{}", std::process::id()));
        fs::create_dir_all(at.join("a/b")).unwrap();
        fs::write(at.join("a/x.json"), "12345").unwrap();
        fs::write(at.join("a/b/y"), "123").unwrap();
        tree(&at.join("a"), &at.join("c")).unwrap();
        assert_eq!(size(&at.join("c")).unwrap(), 8);
        fs::create_dir(at.join("d")).unwrap();
        copy(&at.join("a"), &at.join("d"), &|p| ends(p, "ptx")).unwrap();
        assert_eq!(size(&at.join("d")).unwrap(), 0);
        fs::write(at.join("d/mine"), "").unwrap();
        assert!(make(&at.join("d"), "sm_90a").unwrap_err().to_string().contains("nor a pack"));
        assert!(at.join("d/mine").is_file(), "what is not a pack is left alone");
        fs::remove_dir_all(at).unwrap();
    }
}
