//! Exit codes, and how an error is told.

use super::output;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// Something went wrong.
pub(crate) const FAILURE: u8 = 1;
/// The command line makes no sense; clap exits with the same code.
pub(crate) const USAGE: u8 = 2;
/// It works, but not as well as it could.
pub(crate) const DEGRADED: u8 = 3;
/// Ctrl-C, as shells number it.
pub(crate) const INTERRUPTED: u8 = 130;

/// The text that every `--help` ends with.
pub(crate) const HELP: &str = "\
Exit codes: 0 ok, 1 failure, 2 usage, 3 degraded, 130 interrupted.
Environment: JET_CACHE_DIR (tuned schedules), JET_LOG (log filter, as in `jet_runtime=debug`), NO_COLOR.";

/// A command line that clap accepts and that makes no sense all the same.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The exit code of a finished command, after its error, if any, was told on stderr. A reader that went away is no
/// error.
pub(crate) fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    if broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    let (red, plain) = if output::colours(&io::stderr()) { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    output::complain(&format!("{red}error{plain}: {error}"));
    ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILURE })
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|e| e.downcast_ref::<io::Error>().is_some_and(broken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(broken_pipe(&anyhow::Error::new(gone)));
        assert!(!broken_pipe(&anyhow::anyhow!("broken pipe")));
    }
}
