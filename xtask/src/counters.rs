//! `cargo xtask bench counters`: what jet's kernels and those of Triton and fla-core do on the same emulator: counts, no
//! times. Nothing of the peers is kept in the project; they are fetched and compiled here.

use crate::process::{cargo, json, output, run as run_command};
use crate::{jet, root, target};
use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TRITON: &str = "triton==3.9.0";
const FLA: &str = "fla-core==0.6.0";
/// The peers' targets and the architectures that run them.
const ARCHES: [(u64, &str); 2] = [(80, "sm_80"), (90, "sm_90a")];
/// What is compared: name, key, and whether it is bytes.
const COUNTS: [(&str, &str); 5] = [
    ("instructions", "warp_instructions"),
    ("sector bytes", "sector_bytes"),
    ("unique bytes", "unique_bytes"),
    ("wavefronts", "wavefronts"),
    ("tensor FLOPs", "tensor_flops"),
];

/// Arguments of `bench counters`.
#[derive(Args)]
pub(crate) struct CountersArgs {
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CountersArgs) -> Result<ExitCode> {
    let folder = root().join("bench/counters");
    let work = target().join("counters");
    fs::create_dir_all(&work)?;
    run_command(&mut cargo([
        "build",
        "--release",
        "--package",
        "jet-cli",
        "--package",
        "jet-emu",
        "--bins",
    ]))?;
    let (python, wheel) = environment(&folder, &work)?;
    let mut script = Command::new(python);
    script.args(["-W", "ignore"]).arg(folder.join("peers.py")).arg("--emu").arg(jet::binary("jet-emu"));
    let peers = output(script.arg("--fla").arg(wheel).arg("--work").arg(&work))?;
    let peers: Vec<Value> = peers.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let shapes: Vec<Value> = serde_json::from_slice(&fs::read(folder.join("peers.json"))?)?;
    let mut rows = Vec::new();
    for peer in &peers {
        let shape = shapes.iter().find(|s| s["name"] == peer["name"]).context("a peer without a shape")?;
        let problem = shape["problem"].as_str().context("a shape names its problem")?;
        let (_, arch) = ARCHES
            .iter()
            .find(|(capability, _)| peer["capability"] == *capability)
            .context("a peer's target is none of ours")?;
        let mut emit = Command::new(jet::binary("jet"));
        let own = json(emit.args(["emit", problem, "--arch", arch, "--show", "counters", "--json"]))?;
        rows.push(json!({"name": peer["name"], "arch": arch, "grade": "emulated", "jet": own, "peer": peer}));
    }
    if args.json {
        println!("{:#}", json!({"rows": rows}));
    } else {
        print!("{}", table(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

/// A Python with Triton and NumPy, and the wheel of fla-core; fetched if they are not there.
fn environment(folder: &Path, work: &Path) -> Result<(PathBuf, PathBuf)> {
    let venv = folder.join(".venv");
    let python = venv.join("bin/python");
    let installed = |python: &Path| {
        let mut c = Command::new(python);
        c.args(["-c", "import triton, numpy"]);
        python.is_file() && c.output().is_ok_and(|o| o.status.success())
    };
    if !installed(&python) {
        eprintln!("installing {TRITON} and numpy into {}", venv.display());
        run_command(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run_command(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            TRITON,
            "numpy",
            "setuptools",
        ]))?;
    }
    let wheel = || -> Option<PathBuf> {
        let files = fs::read_dir(work).ok()?.filter_map(|e| Some(e.ok()?.path()));
        files.filter(|p| p.extension().is_some_and(|e| e == "whl")).max()
    };
    if wheel().is_none() {
        let mut pip = Command::new(&python);
        run_command(
            pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"]).arg(work).arg(FLA),
        )?;
    }
    Ok((python, wheel().with_context(|| format!("{FLA} was fetched and is not there"))?))
}

/// A block of lines for each comparison.
fn table(rows: &[Value]) -> String {
    let mut out = "counted on the PTX emulator, all checks on (grade: emulated)\n".to_owned();
    for row in rows {
        let name = row["name"].as_str().unwrap_or_default();
        let arch = row["arch"].as_str().unwrap_or_default();
        out += &format!("\n{name}, {arch}\n");
        out += &format!("  jet   {}\n", row["jet"]["schedule"].as_str().unwrap_or_default());
        let tiles = row["peer"]["tiles"].as_array().into_iter().flatten().filter_map(Value::as_str);
        out += &format!("  peer  {}\n", tiles.collect::<Vec<_>>().join(", "));
        out += &format!("  {:<14} {:>14} {:>14} {:>10}\n", "", "jet", "peer", "jet/peer");
        for (what, key) in COUNTS {
            let own = row["jet"]["counters"][key].as_u64().unwrap_or(0);
            let other = row["peer"]["counters"][key].as_u64().unwrap_or(0);
            let ratio = if other == 0 { "-".to_owned() } else { format!("{:.2}", own as f64 / other as f64) };
            out += &format!("  {what:<14} {own:>14} {other:>14} {ratio:>10}\n");
        }
        let launches = [&row["jet"], &row["peer"]].map(|r| r["counters"]["launches"].as_u64().unwrap_or(0));
        out += &format!("  {:<14} {:>14} {:>14}\n", "launches", launches[0], launches[1]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_both_sides_and_their_ratio() {
        let side =
            |n: u64| json!({"schedule": "tile=1", "tiles": ["t"], "counters": {"warp_instructions": n}});
        let row = json!({"name": "product", "arch": "sm_80", "jet": side(50), "peer": side(200)});
        let text = table(&[row]);
        let line = text.lines().find(|l| l.contains("instructions")).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["instructions", "50", "200", "0.25"]);
        assert!(text.lines().find(|l| l.contains("wavefronts")).unwrap().ends_with('-'));
    }
}
