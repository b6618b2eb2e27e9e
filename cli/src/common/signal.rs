//! Ctrl-C: ends the program, or what it is at, where that has a place to stop.

use super::{exit, output};
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);
static GRACEFUL: AtomicBool = AtomicBool::new(false);

/// Catches Ctrl-C from now on. Outside a [`Graceful`] part, and when it is pressed twice inside, the program ends at
/// once: files are written by rename, so nothing is left half-written, and the terminal is never in another mode.
pub(crate) fn install() {
    let caught = ctrlc::set_handler(|| {
        if GRACEFUL.load(Ordering::SeqCst) && !STOP.swap(true, Ordering::SeqCst) {
            return;
        }
        output::complain("");
        std::process::exit(i32::from(exit::INTERRUPTED));
    });
    if let Err(e) = caught {
        tracing::debug!("Ctrl-C is not caught: {e}");
    }
}

/// As long as it lives, the first Ctrl-C only raises [`Graceful::flag`].
pub(crate) struct Graceful(());

impl Graceful {
    pub(crate) fn new() -> Self {
        STOP.store(false, Ordering::SeqCst);
        GRACEFUL.store(true, Ordering::SeqCst);
        Self(())
    }

    /// Raised by Ctrl-C.
    pub(crate) fn flag(&self) -> &'static AtomicBool {
        &STOP
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn stopped(&self) -> bool {
        STOP.load(Ordering::SeqCst)
    }
}

impl Drop for Graceful {
    fn drop(&mut self) {
        GRACEFUL.store(false, Ordering::SeqCst);
    }
}
