//! Logs, on stderr: what libraries tell by `tracing`.

use super::output;
use clap::Args;
use std::io;
use tracing_subscriber::EnvFilter;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Verbosity {
    /// Say more; twice for everything. JET_LOG takes precedence.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Verbosity {
    /// Whether notes and progress are wanted.
    pub(crate) fn notes(self) -> bool {
        !self.quiet
    }

    /// Sends events to stderr, filtered by `JET_LOG` where it is set, and by `usual` where nothing is said.
    pub(crate) fn install(self, usual: &str) {
        let usual = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (false, 0) => usual,
            (false, 1) => "info",
            (false, _) => "debug",
        };
        let wanted = std::env::var("JET_LOG").ok().filter(|v| !v.is_empty());
        let (filter, wrong) = match wanted.as_deref().map(EnvFilter::try_new) {
            Some(Ok(filter)) => (filter, None),
            Some(Err(e)) => (EnvFilter::new(usual), Some(e)),
            None => (EnvFilter::new(usual), None),
        };
        let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        let logs = logs.with_ansi(output::colours(&io::stderr())).with_target(false).without_time();
        // A second subscriber cannot be installed, and none is lost: only one command runs in a process.
        let _ = logs.try_init();
        if let Some(e) = wrong {
            output::complain(&format!("note: JET_LOG is not used: {e}"));
        }
    }
}
