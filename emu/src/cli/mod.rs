//! The command `jet-emu`: one launch of a kernel of a PTX file, tensors in and out.
//!
//! ```text
//!  options    the command line                     tensors   safetensors in and out
//!  arguments  ARGS.json                            summary   what is printed
//!  launch     buffers, arguments, the launch       files     whole files or none
//! ```

mod arguments;
mod files;
mod launch;
mod options;
mod summary;
mod tensors;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

/// What the command ends with; `--help` documents the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The kernel ran to its end and nothing was found.
    Clean,
    /// Something could not be read, launched or written, or the launch was ended by a fault.
    Failed,
    /// The kernel ran to its end and something was found.
    Findings,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(match outcome {
            Outcome::Clean => 0,
            Outcome::Failed => 1,
            Outcome::Findings => 3,
        })
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let options = match options::Options::try_parse() {
        Ok(options) => options,
        Err(e) => {
            let _ = e.print();
            let asked = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { 0 } else { 2 });
        }
    };
    match launch::run(&options) {
        Ok(outcome) => outcome.into(),
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "error: {e:#}");
            Outcome::Failed.into()
        }
    }
}
