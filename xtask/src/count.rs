//! Counting tests: what `cargo test` prints, added up.
//!
//! A test that cannot run prints one line `skipped: <test>: <why>` and returns. `cargo test` calls it passed; here it
//! is counted as skipped, and so is an ignored one.

use std::fmt;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    /// One check that passed or failed.
    pub(crate) fn one(ok: bool) -> Self {
        Self { passed: usize::from(ok), failed: usize::from(!ok), skipped: 0 }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Reads the output of `cargo test -- --show-output` line by line.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    counts: Counts,
    /// In the part of a test program's output that repeats what failed tests printed.
    in_failures: bool,
    /// In the part that shows what passed tests printed.
    in_successes: bool,
    /// Passed tests of this program that said they could not run.
    skipped: usize,
    /// Whether the test whose output is being read has said so already.
    said: bool,
}

impl Reader {
    /// Takes one line; gives whether a person wants to see it.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        let text = line.trim();
        if let Some(result) = text.strip_prefix("test result:") {
            self.in_failures = false;
            self.in_successes = false;
            let mut counts = result_line(result);
            counts.passed = counts.passed.saturating_sub(self.skipped);
            counts.skipped += std::mem::take(&mut self.skipped);
            self.counts += counts;
            return true;
        }
        match text {
            "failures:" => (self.in_failures, self.in_successes) = (true, false),
            "successes:" => self.in_successes = true,
            _ => {}
        }
        if self.in_successes {
            self.said &= !text.starts_with("---- ");
            let new = text.starts_with("skipped: ") && !self.said;
            self.skipped += usize::from(new);
            self.said |= new;
            return new;
        }
        let passed = text.starts_with("test ") && (text.ends_with("... ok") || text.ends_with("... ignored"));
        self.in_failures || !(passed || text.is_empty() || text.starts_with("running "))
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

/// ` ok. 5 passed; 0 failed; 1 ignored; …`
fn result_line(text: &str) -> Counts {
    let number = |what: &str| {
        let part = text.split([';', '.']).map(str::trim).find(|p| p.ends_with(what));
        part.and_then(|p| p.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    Counts { passed: number(" passed"), failed: number(" failed"), skipped: number(" ignored") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 4 tests
test a ... ok
test b ... ok
test c ... ignored
test d ... FAILED

successes:

---- b stdout ----
skipped: b: there is no GPU
skipped: b: really

successes:
    a
    b

failures:

---- d stdout ----
left: 1, right: 2

failures:
    d

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests jet
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn results_are_added_up_and_skips_taken_off() {
        let mut reader = Reader::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|l| reader.line(l)).collect();
        assert_eq!(reader.counts(), Counts { passed: 4, failed: 1, skipped: 2 });
        assert!(shown.iter().any(|l| l.contains("left: 1")));
        assert!(shown.contains(&"skipped: b: there is no GPU"));
        assert!(!shown.contains(&"test a ... ok"));
        assert_eq!(reader.counts().to_string(), "4 passed, 1 failed, 2 skipped");
    }
}
