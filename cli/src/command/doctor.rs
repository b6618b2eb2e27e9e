//! `jet doctor`: what this machine offers jet, and what is amiss.

use crate::common::exit::DEGRADED;
use crate::common::output;
use crate::common::table::Table;
use anyhow::Result;
use clap::Args;
use jet_cache::folders::{Layout, schedules_folder};
use jet_cache::{CacheError, Pack};
use jet_codegen::nvrtc::Nvrtc;
use jet_models::hub;
use jet_runtime::cuda::{self, Missing};
use jet_runtime::device::{self, Device};
use jet_runtime::emulated;
use jet_runtime::schedule_key::cached_device;
use jet_runtime::{bytes, schedule_key};
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Look at this machine: devices, memory, cache folder, tuned schedules; say what is amiss and what to do.
///
/// Exit code 0 where all is well, 3 where something is amiss that jet can work without.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Worker threads that schedules are looked up for; 0 is one for each physical core.
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Note,
    Amiss,
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    what: String,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn new(what: &str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { what: what.to_owned(), verdict, found: found.into(), advice: None }
    }

    fn advice(self, text: impl Into<String>) -> Self {
        Self { advice: Some(text.into()), ..self }
    }
}

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let mut findings = vec![Finding::new("jet", Verdict::Ok, env!("CARGO_PKG_VERSION"))];
    // The emulated ones are the same everywhere; what they need is the compiler.
    for name in device::device_names().into_iter().filter(|n| !n.starts_with(emulated::PREFIX)) {
        match device::open(&name, args.threads) {
            Ok(device) => findings.extend(of_device(&*device)),
            Err(e) => findings.push(Finding::new(&format!("device {name}"), Verdict::Note, e.to_string())),
        }
    }
    findings.extend(no_gpu());
    findings.push(compiler());
    findings.push(hub_folder());
    let amiss = findings.iter().any(|f| f.verdict == Verdict::Amiss);
    if args.json {
        output::json(&findings)?;
    } else {
        output::print(&shown(&findings, amiss))?;
    }
    Ok(if amiss { ExitCode::from(DEGRADED) } else { ExitCode::SUCCESS })
}

/// Why there is no GPU, where there is none: no driver is no fault of the machine, an old one is.
fn no_gpu() -> Option<Finding> {
    let found = match cuda::count() {
        Ok(0) => Missing::Device(0),
        Ok(_) => return None,
        Err(missing) => missing,
    };
    let verdict = match found {
        Missing::Driver | Missing::Device(_) => Verdict::Note,
        _ => Verdict::Amiss,
    };
    Some(Finding::new("device cuda", verdict, found.to_string()))
}

/// The compiler of GPU kernels, which emulated devices need, and real ones where a pack has no cubins.
fn compiler() -> Finding {
    match Nvrtc::get() {
        Ok(n) => Finding::new("nvrtc", Verdict::Ok, format!("{} at {}", n.version(), n.place())),
        Err(_) => Finding::new("nvrtc", Verdict::Note, "not found, so emulated devices cannot run")
            .advice("set JET_NVRTC, or `pip install nvidia-cuda-nvrtc`; in a checkout, `cargo xtask setup`"),
    }
}

fn of_device(device: &dyn Device) -> Vec<Finding> {
    let name = device.name();
    let mut findings = vec![Finding::new(&format!("device {name}"), Verdict::Ok, device.describe())];
    findings.push(match device.memory_available() {
        Some(free) => {
            Finding::new(&format!("{name} memory"), Verdict::Ok, format!("{} available", bytes(free)))
        }
        None => Finding::new(
            &format!("{name} memory"),
            Verdict::Note,
            "the system does not say how much is available",
        )
        .advice("a model that is too large is noticed only while it loads"),
    });
    let facts = cached_device(&device.fingerprint());
    findings.push(Finding::new(&format!("{name} identity"), Verdict::Ok, facts.to_string()));
    match schedules_folder() {
        Ok(folder) => {
            findings.push(cache_folder(&folder));
            findings.push(schedules(&folder, device));
        }
        Err(e) => findings.push(Finding::new("schedule cache", Verdict::Amiss, e.to_string())),
    }
    findings
}

/// Whether the tuner could write to its folder: the folder, or the nearest one above it that exists.
fn cache_folder(folder: &Path) -> Finding {
    let what = "schedule cache";
    let shown = folder.display();
    let Some(nearest) = folder.ancestors().find(|f| f.exists()) else {
        return Finding::new(
            what,
            Verdict::Amiss,
            format!("{shown} does not exist, and nothing above it does"),
        )
        .advice("set JET_CACHE_DIR to a folder that can be written");
    };
    if !nearest.is_dir() {
        return Finding::new(what, Verdict::Amiss, format!("{} is a file", nearest.display()))
            .advice("set JET_CACHE_DIR to a folder that can be written");
    }
    match probe(nearest) {
        Ok(()) if nearest == folder => Finding::new(what, Verdict::Ok, format!("{shown}, writable")),
        Ok(()) => Finding::new(what, Verdict::Ok, format!("{shown}, to be made by the first jet-tune")),
        Err(e) => Finding::new(what, Verdict::Amiss, format!("{} cannot be written: {e}", nearest.display()))
            .advice("schedules can be read but not tuned; make it writable or set JET_CACHE_DIR"),
    }
}

/// Makes and removes a file: permissions alone do not tell of read-only mounts.
fn probe(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".jet-doctor-{}", std::process::id()));
    fs::write(&path, b"")?;
    fs::remove_file(&path)
}

fn schedules(folder: &Path, device: &dyn Device) -> Finding {
    let what = format!("{} schedules", device.name());
    let tune = "tune a model: jet-tune run TARGET";
    let pack = match Pack::load(&Layout::of(folder).snapshot) {
        Ok(Some(pack)) => pack,
        Ok(None) => return Finding::new(&what, Verdict::Note, "none tuned yet").advice(tune),
        Err(e @ CacheError::NewerFormat { .. }) => return Finding::new(&what, Verdict::Amiss, e.to_string()),
        Err(e) => return Finding::new(&what, Verdict::Amiss, e.to_string()).advice(tune),
    };
    let here = cached_device(&device.fingerprint());
    let entries: Vec<_> = pack.entries().collect();
    let damaged = entries.iter().filter(|e| e.is_err()).count();
    let usable = |e: &jet_cache::Entry| {
        let f = e.key.fields();
        let version = device.family(&f.family).map(|family| family.version());
        f.device == here && f.code == schedule_key::KERNELS && version == Some(f.family_version)
    };
    let usable = entries.iter().flatten().filter(|e| usable(e)).count();
    let found = format!("{usable} for this device as it is, {} in all", entries.len());
    match (damaged, usable) {
        (0, 0) => Finding::new(&what, Verdict::Note, found).advice(tune),
        (0, _) => Finding::new(&what, Verdict::Ok, found),
        _ => Finding::new(&what, Verdict::Amiss, format!("{found}, {damaged} damaged")).advice(tune),
    }
}

fn hub_folder() -> Finding {
    match hub::folder() {
        Ok(folder) if folder.is_dir() => {
            Finding::new("Hugging Face cache", Verdict::Ok, folder.display().to_string())
        }
        Ok(folder) => {
            let found = format!("{} does not exist", folder.display());
            Finding::new("Hugging Face cache", Verdict::Note, found).advice("give models as folders or files")
        }
        Err(e) => Finding::new("Hugging Face cache", Verdict::Note, e.to_string()),
    }
}

fn shown(findings: &[Finding], amiss: bool) -> String {
    let mut table = Table::new(&["", "", ""]);
    for f in findings {
        let mark = match f.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Amiss => "AMISS",
        };
        table.row([mark, &f.what, &f.found]);
        if let Some(advice) = &f.advice {
            table.row(["", "", &format!("→ {advice}")]);
        }
    }
    let end =
        if amiss { "something is amiss; jet works, but not as well as it could" } else { "all is well" };
    format!("{table}\n{end}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_no_fault_and_a_file_in_its_place_is() {
        let dir = tempfile::tempdir().unwrap();
        let there = cache_folder(dir.path());
        assert_eq!(there.verdict, Verdict::Ok);
        assert!(there.found.ends_with("writable"));
        assert_eq!(cache_folder(&dir.path().join("a/b")).verdict, Verdict::Ok);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
        fs::write(dir.path().join("f"), "x").unwrap();
        let file = cache_folder(&dir.path().join("f/schedules"));
        assert_eq!(file.verdict, Verdict::Amiss);
        assert!(file.found.contains("is a file"));
    }
}
