//! Running foreign code that may panic: the panic becomes an error and prints nothing.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught by [`quietly`].
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Prefix of the names of sled's own threads, whose panics surface as errors of the store.
const STORE_THREADS: &str = "sled-";

/// Puts a hook before the present one that drops the panics caught here and passes all others on.
pub(crate) fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let of_store = std::thread::current().name().is_some_and(|name| name.starts_with(STORE_THREADS));
            if !of_store && !QUIET.get() {
                others(info);
            }
        }));
    });
}

/// Runs `work`; a panic in it is an error with the panic's message. The state that `work` leaves behind
/// must not be used again.
pub(crate) fn quietly<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    result.map_err(|panic| format!("it failed inside: {}", message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        install_hook();
        assert_eq!(quietly(|| 3), Ok(3));
        assert!(quietly(|| panic!("row {}", 4)).unwrap_err().contains("row 4"));
        assert!(!QUIET.get());
    }
}
