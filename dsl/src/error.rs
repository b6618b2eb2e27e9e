//! Errors of this crate.

use crate::check::Fault;
use std::fmt;

/// A model that breaks the rules, with every rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The model's name.
    pub name: String,
    /// Every violated rule.
    pub faults: Vec<Fault>,
}

impl std::error::Error for SpecError {}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the model {:?} cannot be built:", self.name)?;
        for fault in &self.faults {
            // Continuation lines (a pattern and its carets) keep their columns relative to each other.
            write!(f, "\n  - {}", fault.to_string().replace('\n', "\n    "))?;
        }
        Ok(())
    }
}
