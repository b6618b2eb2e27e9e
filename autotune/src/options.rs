//! How thorough and how long: effort and budget.

use crate::TuneError;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How thorough a search is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Only the default, validated and timed.
    None,
    /// A sample of the candidates: the default's neighbours and some at random.
    #[default]
    Quick,
    /// Every legal candidate.
    Full,
}

impl Effort {
    /// As on the command line and in stored entries.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }

    /// How many candidates are tried at most, the default among them.
    pub fn candidates(self) -> usize {
        match self {
            Self::None => 1,
            Self::Quick => 24,
            Self::Full => usize::MAX,
        }
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Effort {
    type Err = TuneError;

    fn from_str(text: &str) -> Result<Self, TuneError> {
        let all = [Self::None, Self::Quick, Self::Full];
        let found = all.into_iter().find(|effort| effort.name() == text);
        found.ok_or_else(|| TuneError::BadEffort { found: text.to_owned() })
    }
}

/// What a run of the tuner is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How thorough.
    pub effort: Effort,
    /// Wall-clock time for all tasks together; `None` is as long as it takes.
    pub budget: Option<Duration>,
    /// Tune what is stored already, too.
    pub again: bool,
    /// Try candidates again that an earlier run found to fail.
    pub retry_failed: bool,
    /// A task's search ends when its best is within this part of its roofline bound, as in 0.05.
    pub stop_within: Option<f64>,
    /// How candidates are chosen; `None` is the effort's own way.
    pub strategy: Option<crate::search::Kind>,
    /// The command line, for provenance.
    pub command: String,
    /// Version of the program, for provenance.
    pub jet: String,
    /// The machine: [`host_hash`].
    pub host: String,
    /// Facts of this machine that may differ where an entry is used.
    pub soft: std::collections::BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            effort: Effort::default(),
            budget: None,
            again: false,
            retry_failed: false,
            stop_within: None,
            strategy: None,
            command: String::new(),
            jet: env!("CARGO_PKG_VERSION").to_owned(),
            host: host_hash(),
            soft: std::collections::BTreeMap::new(),
        }
    }
}

/// A hash of this machine's name: enough to see that two entries come from one machine, and not to say which.
pub fn host_hash() -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let from_system = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = |variable| std::env::var(variable).ok();
    let name = from_system().or_else(|| named("HOSTNAME")).or_else(|| named("COMPUTERNAME"));
    let mut hasher = DefaultHasher::new();
    name.map(|name| name.trim().to_owned()).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Reads `90s`, `3m`, `1.5h`; a bare number is seconds.
///
/// # Errors
/// [`TuneError::BadBudget`].
pub fn parse_budget(text: &str) -> Result<Duration, TuneError> {
    let bad = || TuneError::BadBudget { found: text.to_owned() };
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let factor = match unit {
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(bad()),
    };
    let number: f64 = number.parse().map_err(|_| bad())?;
    Duration::try_from_secs_f64(number * factor).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_as_people_write_them() {
        let seconds = |text| parse_budget(text).unwrap().as_secs_f64();
        assert_eq!(
            [seconds("90"), seconds("90s"), seconds("3m"), seconds("0.5h")],
            [90.0, 90.0, 180.0, 1800.0]
        );
        for wrong in ["", "m", "3 weeks", "-1s", "nan", "inf", "1e300h", "s3"] {
            assert!(parse_budget(wrong).unwrap_err().to_string().contains("90s"), "{wrong}");
        }
    }

    #[test]
    fn efforts_are_known_by_name_and_in_order() {
        assert_eq!("full".parse::<Effort>().unwrap(), Effort::Full);
        assert!("much".parse::<Effort>().unwrap_err().to_string().contains("none, quick, full"));
        assert!(Effort::None < Effort::Quick && Effort::Quick < Effort::Full);
        // The stored names rank in the same order.
        assert!(jet_cache::merge::effort_rank("quick") < jet_cache::merge::effort_rank("full"));
    }
}
