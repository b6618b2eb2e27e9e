//! What the checks know about memory.

/// State of the checks of a launch.
#[derive(Debug, Default)]
pub struct Watch {}
