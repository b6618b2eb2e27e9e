//! Running other programs.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// `cargo` with these arguments, in the root.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    // The cargo that runs this program, not a wrapper of another toolchain.
    let mut c = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    c.args(args).current_dir(crate::root());
    c
}

/// A command line for people.
pub(crate) fn show(c: &Command) -> String {
    let words = std::iter::once(c.get_program()).chain(c.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs it with the terminal as it is. A failure is an error that names the command.
pub(crate) fn run(c: &mut Command) -> Result<()> {
    let line = show(c);
    let status = c.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs it and gives what it printed; what it says on standard error goes to the terminal.
pub(crate) fn output(c: &mut Command) -> Result<String> {
    let line = show(c);
    let out = c.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run `{line}`"))?;
    if !out.status.success() {
        bail!("`{line}` failed ({})", out.status);
    }
    String::from_utf8(out.stdout).with_context(|| format!("`{line}` printed no text"))
}

/// Runs it and gives the JSON it printed.
pub(crate) fn json(c: &mut Command) -> Result<serde_json::Value> {
    let line = show(c);
    serde_json::from_str(&output(c)?).with_context(|| format!("`{line}` printed no JSON"))
}

/// Whether it runs and succeeds, quietly.
pub(crate) fn works(program: &str, args: &[&str]) -> bool {
    let mut c = Command::new(program);
    c.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    c.status().is_ok_and(|s| s.success())
}
