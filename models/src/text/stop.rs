//! When to stop: at a token, or at a string that may be spread over several tokens.

/// Token ids that end a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopTokens(Vec<u32>);

impl StopTokens {
    /// A set of ids.
    pub fn new(ids: impl IntoIterator<Item = u32>) -> Self {
        let mut ids: Vec<u32> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }

    /// Whether `id` ends the generation.
    pub fn contains(&self, id: u32) -> bool {
        self.0.binary_search(&id).is_ok()
    }
}

/// Looks for stop strings in text that comes in pieces. Text that may be the start of a stop string is held back
/// until it is clear; neither a stop string nor anything after it is ever given out.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
    done: bool,
}

impl StopStrings {
    /// A set of strings; empty ones are ignored.
    pub fn new<S: Into<String>>(strings: impl IntoIterator<Item = S>) -> Self {
        let strings = strings.into_iter().map(Into::into).filter(|s: &String| !s.is_empty()).collect();
        Self { strings, held: String::new(), done: false }
    }

    /// The text that is safe to show once `piece` has come. Nothing after a stop string was found.
    pub fn push(&mut self, piece: &str) -> String {
        if self.done {
            return String::new();
        }
        self.held.push_str(piece);
        if let Some(at) = self.strings.iter().filter_map(|s| self.held.find(s.as_str())).min() {
            self.done = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let rest = self.held.split_off(self.held.len() - self.possible_start());
        std::mem::replace(&mut self.held, rest)
    }

    /// Whether a stop string was found.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What was held back, at the end of the text.
    pub fn finish(self) -> String {
        self.held
    }

    /// Length of the longest end of the held text that a stop string starts with.
    fn possible_start(&self) -> usize {
        let longest = |s: &String| {
            let ends = (1..s.len().min(self.held.len() + 1)).rev();
            ends.filter(|&n| s.is_char_boundary(n)).find(|&n| self.held.ends_with(&s[..n])).unwrap_or(0)
        };
        self.strings.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holds_back_what_may_become_a_stop_string() {
        let mut stop = StopStrings::new(["\nUser:", "END"]);
        assert_eq!(stop.push("Hello\nUs"), "Hello");
        assert_eq!(stop.push("a\nUser"), "\nUsa");
        assert_eq!(stop.push(": more END"), "");
        assert!(stop.is_done());
        assert_eq!(stop.push("x"), "");
        assert_eq!(stop.finish(), "");
        let mut stop = StopStrings::new(["END"]);
        assert_eq!(
            (stop.push("theE"), stop.push("EN"), stop.is_done()),
            ("the".to_owned(), "E".to_owned(), false)
        );
        assert_eq!(stop.finish(), "EN");
    }

    #[test]
    fn the_earliest_stop_string_wins() {
        let mut stop = StopStrings::new(["cd", "bcde", ""]);
        assert_eq!(stop.push("abcde"), "a");
        assert!(StopTokens::new([7, 2, 7]).contains(2) && !StopTokens::new([7, 2]).contains(3));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[ab\u{e9}]{0,30}", stops in prop::collection::vec("[ab\u{e9}]{1,4}", 0..3), cut in 1usize..4) {
            let mut stop = StopStrings::new(stops.clone());
            let chars: Vec<char> = text.chars().collect();
            let mut out: String = chars.chunks(cut).map(|c| stop.push(&c.iter().collect::<String>())).collect();
            let done = stop.is_done();
            out.push_str(&stop.finish());
            // A stop string that ends earlier may hide one that starts earlier but ends later; whichever is found
            // first in the stream, the text before it holds none.
            let found = stops.iter().any(|s| text.contains(s.as_str()));
            prop_assert_eq!(done, found);
            prop_assert!(text.starts_with(&out));
            prop_assert!(stops.iter().all(|s| !out.contains(s.as_str())));
            prop_assert!(found || out == text);
        }
    }
}
