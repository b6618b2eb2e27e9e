//! Everything in one command: the most valuable first, each step under its own deadline and all within one.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Golden folders, and the precisions that are checked in each.
const GOLDEN: [&str; 5] = ["jet", "mamba2", "attention", "dense", "nemotron_h"];
const PRECISIONS: [&str; 2] = ["f32", "bf16"];
/// How much of a step's output is kept.
const TAIL: usize = 6000;

/// Arguments of the command.
#[derive(Args)]
pub(crate) struct AllArgs {
    /// The device.
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// The pack: `bin`, `golden`, `fixtures`, `cubins`.
    #[arg(long)]
    pack: PathBuf,
    /// Folder for results.
    #[arg(long)]
    out: PathBuf,
    /// Small sizes on an emulated device.
    #[arg(long)]
    rehearse: bool,
    /// Seconds for everything.
    #[arg(long, default_value_t = 570)]
    seconds: u64,
    /// Only steps whose name begins so.
    #[arg(long)]
    only: Option<String>,
}

/// One step.
struct Step {
    name: String,
    command: Command,
    seconds: u64,
    /// Where its standard output is JSON, the name under which it is kept.
    json: bool,
}

#[derive(Serialize)]
struct Outcome {
    step: String,
    /// Exit code; nothing where it was stopped.
    code: Option<i32>,
    stopped: bool,
    seconds: f64,
    output: String,
}

/// Runs the command.
pub(crate) fn run(args: &AllArgs) -> Result<bool> {
    let folder = &args.out;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let (mut outcomes, mut golden) = (Vec::<Outcome>::new(), Vec::<Value>::new());
    let mut steps = steps(args)?;
    if let Some(only) = &args.only {
        steps.retain(|s| s.name.starts_with(only));
        ensure!(!steps.is_empty(), "no step begins with `{only}`");
    }
    for step in steps {
        let left = end.saturating_duration_since(Instant::now());
        let (name, json) = (step.name.clone(), step.json);
        let (outcome, printed) = perform(step, left, folder)?;
        let how = match outcome.code {
            Some(0) => "fine".to_owned(),
            Some(code) => format!("exit code {code}"),
            None => "stopped at its deadline".to_owned(),
        };
        println!("{name}: {how} after {:.1} s", outcome.seconds);
        if json {
            let report = serde_json::from_str(&printed).unwrap_or(Value::Null);
            golden.push(json!({"step": name, "report": report}));
            write(&folder.join("golden.json"), &golden)?;
        }
        outcomes.push(outcome);
        let about = json!({"device": args.device, "grade": crate::report::grade(&args.device),
            "rehearsal": args.rehearse, "steps": outcomes});
        write(&folder.join("summary.json"), &about)?;
    }
    let wrong = outcomes.iter().filter(|o| o.code != Some(0)).count();
    println!("{} steps, {wrong} not fine; results in {}", outcomes.len(), folder.display());
    Ok(wrong == 0)
}

fn write(path: &Path, what: &impl Serialize) -> Result<()> {
    fs::write(path, serde_json::to_vec_pretty(what)?).with_context(|| path.display().to_string())
}

/// What is done, in order.
fn steps(args: &AllArgs) -> Result<Vec<Step>> {
    let bin = args.pack.join("bin");
    let mut all = Vec::new();
    let step = |name: &str, program: &str, words: &[&str], seconds: u64, json: bool| {
        let mut command = Command::new(bin.join(program));
        command.args(words).env("JET_CUBINS", args.pack.join("cubins"));
        // An emulated device takes its time.
        let seconds = if args.rehearse { 20 * seconds } else { seconds };
        Step { name: name.to_owned(), command, seconds, json }
    };
    let text = |p: PathBuf| -> Result<String> {
        Ok(p.to_str().with_context(|| format!("{} is no text", p.display()))?.to_owned())
    };
    let out = |name: &str| text(args.out.join(name));
    let device = ["--device", &args.device];
    let toy = if args.rehearse { &["--toy"][..] } else { &[] };
    let doctor = step("doctor", "jet", &["doctor"], 20, false);
    all.push(doctor);
    let (kernels, fixtures, time) = (out("kernels.json")?, out("fixtures.json")?, out("time.json")?);
    let cases = if args.rehearse { "2" } else { "12" };
    let words = [&["kernels"], &device[..], &["--out", &kernels, "--cases", cases]].concat();
    all.push(step("kernels", "jet-gpu", &words, 90, false));
    for precision in PRECISIONS {
        for folder in GOLDEN {
            let path = args.pack.join("golden").join(folder);
            if path.is_dir() {
                let path = text(path)?;
                let words = [&["check", &path], &device[..], &["--precision", precision, "--json"]].concat();
                all.push(step(&format!("golden {folder} {precision}"), "jet", &words, 20, true));
            }
        }
    }
    let root = text(args.pack.join("fixtures"))?;
    let words = [&["fixtures"], &device[..], &["--out", &fixtures, "--folder", &root], toy].concat();
    all.push(step("fixtures", "jet-gpu", &words, 100, false));
    let words = [&["time"], &device[..], &["--out", &time], toy].concat();
    all.push(step("time", "jet-gpu", &words, 150, false));
    Ok(all)
}

/// Runs a step within its deadline and within what is left: how it ended, and what it printed.
fn perform(mut step: Step, left: Duration, folder: &Path) -> Result<(Outcome, String)> {
    let log = folder.join("step.log");
    let (out, err) = (File::create(&log)?, folder.join("step.err"));
    // JSON is not mixed with what is said beside it.
    let errors = if step.json { File::create(&err)? } else { out.try_clone()? };
    step.command.stdin(Stdio::null()).stdout(out).stderr(errors);
    let start = Instant::now();
    let end = start + left.min(Duration::from_secs(step.seconds));
    let mut child =
        step.command.spawn().with_context(|| format!("cannot run {:?}", step.command.get_program()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= end {
            // Its results up to here are in its file.
            let _ = child.kill();
            child.wait()?;
            break None;
        }
        sleep(Duration::from_millis(20));
    };
    let printed = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let said =
        if step.json { String::from_utf8_lossy(&fs::read(&err)?).into_owned() } else { printed.clone() };
    let _ = (fs::remove_file(&log), fs::remove_file(&err));
    let tail = said.char_indices().rev().nth(TAIL).map_or(0, |(i, _)| i);
    let outcome = Outcome {
        step: step.name,
        code: status.and_then(|s| s.code()),
        stopped: status.is_none(),
        seconds: start.elapsed().as_secs_f64(),
        output: said[tail..].to_owned(),
    };
    Ok((outcome, printed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(script: &str, seconds: u64, json: bool) -> Step {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Step { name: "s".into(), command, seconds, json }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("jet-all-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_step_that_hangs_is_stopped_and_what_it_said_is_kept() {
        let at = folder("hang");
        let (o, _) = perform(step("echo begun; exec sleep 60", 1, false), Duration::MAX / 4, &at).unwrap();
        assert!(o.stopped && o.code.is_none() && o.seconds < 20.0);
        assert_eq!(o.output, "begun\n");
        let (o, _) = perform(step("exec sleep 60", 60, false), Duration::ZERO, &at).unwrap();
        assert!(o.stopped, "nothing is left of the whole");
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn json_and_what_is_said_beside_it_are_kept_apart() {
        let at = folder("json");
        let (o, printed) =
            perform(step("echo '{}'; echo oh >&2; exit 3", 20, true), Duration::from_secs(60), &at).unwrap();
        assert_eq!((o.code, o.output.as_str(), printed.as_str()), (Some(3), "oh\n", "{}\n"));
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn the_deadlines_of_the_most_valuable_steps_leave_room_for_all() {
        let at = folder("steps");
        let args = AllArgs {
            device: "cuda:0".into(),
            pack: at.clone(),
            out: at.join("out"),
            rehearse: false,
            seconds: 570,
            only: None,
        };
        for g in GOLDEN {
            fs::create_dir_all(at.join("golden").join(g)).unwrap();
        }
        let steps = steps(&args).unwrap();
        let names: Vec<_> = steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!((names[0], names[1], names[names.len() - 1]), ("doctor", "kernels", "time"));
        assert!(
            steps.iter().map(|s| s.seconds).sum::<u64>() <= args.seconds,
            "the last one has its time too"
        );
        assert_eq!(names.iter().filter(|n| n.starts_with("golden")).count(), 10);
        fs::remove_dir_all(at).unwrap();
    }
}
