//! The pattern grammar: one character a block, groups and repeats.
//!
//! ```text
//! pattern := item*            item := (symbol | '(' pattern ')') count?        count := [0-9]+
//! ```
//!
//! Whitespace is ignored everywhere. `"(M-)4 *-"` and `"M-M-M-M-*-"` are the same pattern; the second is the
//! *flat* form. Parsing never fails: it returns what it understood and a [`Diagnostic`] for each fault.

use crate::block::KINDS;
use crate::diagnostic::Diagnostic;
use std::ops::Range;

/// Blocks a pattern may have after its repeats are written out.
pub const MAX_BLOCKS: usize = 4096;

/// Faults reported for one pattern; more would only be noise.
const MAX_FAULTS: usize = 16;

/// One block of a flat pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its character.
    pub symbol: char,
    /// Byte offset of that character in the text it was written in.
    pub at: usize,
}

impl Placed {
    /// Bytes of the character in the text.
    pub fn range(self) -> Range<usize> {
        self.at..self.at + self.symbol.len_utf8()
    }
}

/// A pattern with its repeats written out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// The blocks in order.
    pub blocks: Vec<Placed>,
}

impl Pattern {
    /// The flat string, one character a block.
    pub fn flat(&self) -> String {
        self.blocks.iter().map(|b| b.symbol).collect()
    }

    /// One fault for each character of `text` that is not among `known`, which are pairs of a bound symbol
    /// and the name of its block kind.
    pub fn unknown_symbols(&self, known: &[(char, &str)]) -> Vec<Diagnostic> {
        let mut unknown: Vec<(char, Vec<Range<usize>>)> = Vec::new();
        for block in self.blocks.iter().filter(|b| !known.iter().any(|(k, _)| *k == b.symbol)) {
            let places = match unknown.iter().position(|(c, _)| *c == block.symbol) {
                Some(i) => &mut unknown[i].1,
                None if unknown.len() == MAX_FAULTS => continue,
                None => {
                    unknown.push((block.symbol, Vec::new()));
                    &mut unknown.last_mut().expect("one was just pushed").1
                }
            };
            // A repeated group names the same place of the text again and again.
            if !places.contains(&block.range()) {
                places.push(block.range());
            }
        }
        unknown.into_iter().map(|(symbol, places)| unknown_symbol(symbol, places, known)).collect()
    }
}

/// Reads a pattern. Never fails and never panics; without diagnostics the pattern is well-formed and has
/// between 1 and [`MAX_BLOCKS`] blocks. Whether its characters mean anything is for
/// [`Pattern::unknown_symbols`] to say.
pub fn parse(text: &str) -> (Pattern, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c.is_whitespace() => {}
            '(' => reader.open(at),
            ')' => reader.close(at),
            '0'..='9' => {
                let (mut end, mut count) = (at + 1, c as usize - '0' as usize);
                while let Some((next, digit)) = chars.next_if(|(_, d)| d.is_ascii_digit()) {
                    (end, count) =
                        (next + 1, count.saturating_mul(10).saturating_add(digit as usize - '0' as usize));
                }
                reader.repeat(at..end, count);
            }
            '|' => reader.fault(
                Diagnostic::new(at..at + 1, "`|` is Megatron's pipeline cut and no part of a model")
                    .help("leave it out"),
            ),
            '/' => reader.fault(
                Diagnostic::new(at..at + 1, "`/` starts a multi-token-prediction pattern, which is not run")
                    .help("end the pattern before it"),
            ),
            '[' | ']' | '{' | '}' => {
                reader.fault(
                    Diagnostic::new(at..at + 1, format!("`{c}` has no meaning in a pattern")).help(
                        "a group is written with round brackets and the count behind them, as in `(M-)4`",
                    ),
                );
            }
            _ => reader.symbol(Placed { symbol: c, at }),
        }
    }
    reader.finish(text)
}

/// Whether a character can be bound to a block: anything visible that the grammar does not use itself.
pub fn can_bind(c: char) -> bool {
    !(c.is_whitespace() || c.is_control() || c.is_ascii_digit() || "()[]{}|/\"'\\".contains(c))
}

/// What Megatron writes into a pattern besides the blocks, taken away: pipeline cuts `|` are dropped, and the
/// pattern ends at the first `/`, where the multi-token-prediction layers begin.
pub fn without_megatron_marks(text: &str) -> String {
    text.split('/').next().unwrap_or_default().replace('|', "")
}

/// The parser's state: a stack of open groups, so that deep nesting costs memory and not stack.
#[derive(Default)]
struct Reader {
    /// Blocks of the groups that are open, outermost first, in one list.
    blocks: Vec<Placed>,
    /// Where each open group began: offset of its bracket, and its first block.
    groups: Vec<(usize, usize)>,
    /// First block of the item that a count would repeat.
    last: Option<usize>,
    /// A count that stood directly before.
    counted: bool,
    too_long: bool,
    faults: Vec<Diagnostic>,
}

impl Reader {
    fn fault(&mut self, fault: Diagnostic) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    fn symbol(&mut self, block: Placed) {
        self.counted = false;
        self.last = Some(self.blocks.len());
        if self.fits(1, block.range()) {
            self.blocks.push(block);
        }
    }

    fn open(&mut self, at: usize) {
        self.groups.push((at, self.blocks.len()));
        (self.last, self.counted) = (None, false);
    }

    fn close(&mut self, at: usize) {
        self.counted = false;
        let Some((open, first)) = self.groups.pop() else {
            self.last = None;
            self.fault(
                Diagnostic::new(at..at + 1, "`)` closes a group that was never opened")
                    .help("there is no `(` before it"),
            );
            return;
        };
        if first == self.blocks.len() && !self.too_long {
            self.fault(
                Diagnostic::new(open..at + 1, "an empty group").help("put blocks between the brackets"),
            );
        }
        self.last = Some(first);
    }

    fn repeat(&mut self, range: Range<usize>, count: usize) {
        let Some(first) = self.last.take() else {
            let fault = if self.counted {
                Diagnostic::new(range, "a second repeat count").help("one count per block or group")
            } else {
                Diagnostic::new(range, "a repeat count with nothing to repeat")
                    .help("a count stands behind its block or group, as in `M3` or `(M-)4`")
            };
            self.fault(fault);
            return;
        };
        self.counted = true;
        if count == 0 {
            self.fault(
                Diagnostic::new(range, "a repeat count of 0").help("1 or more; or leave the item out"),
            );
            return;
        }
        let item = self.blocks.len() - first;
        if self.fits(item.saturating_mul(count - 1), range) {
            for _ in 1..count {
                self.blocks.extend_from_within(first..first + item);
            }
        }
    }

    /// Whether `more` blocks still fit; reports the first that do not.
    fn fits(&mut self, more: usize, range: Range<usize>) -> bool {
        let fits = self.blocks.len().saturating_add(more) <= MAX_BLOCKS;
        if !fits && !self.too_long {
            self.too_long = true;
            self.fault(Diagnostic::new(range, format!("more than {MAX_BLOCKS} blocks")));
        }
        fits
    }

    fn finish(mut self, text: &str) -> (Pattern, Vec<Diagnostic>) {
        for (open, _) in std::mem::take(&mut self.groups) {
            self.fault(
                Diagnostic::new(open..open + 1, "`(` opens a group that is never closed")
                    .help("add `)` behind its last block"),
            );
        }
        if self.blocks.is_empty() && self.faults.is_empty() {
            self.fault(
                Diagnostic::new(text.len()..text.len(), "an empty pattern").help("at least one block"),
            );
        }
        (Pattern { blocks: self.blocks }, self.faults)
    }
}

fn unknown_symbol(symbol: char, mut places: Vec<Range<usize>>, known: &[(char, &str)]) -> Diagnostic {
    let shown: String = if symbol == '`' { "'`'".into() } else { symbol.escape_debug().collect() };
    let listed: Vec<String> = known.iter().map(|(c, kind)| format!("{c} ({kind})")).collect();
    let listed = match listed.len() {
        0 => "no symbol is bound to a block".to_owned(),
        _ => format!("one of: {}", listed.join("  ")),
    };
    let customary = KINDS.iter().find(|k| k.symbol == symbol);
    let help = match (meant(symbol, known), customary) {
        (Some(meant), _) => format!("did you mean `{meant}`? {listed}"),
        (None, Some(kind)) => format!("bind it with `'{symbol}' => {} {{ … }}`, or {listed}", kind.name),
        (None, None) => listed,
    };
    places.sort_by_key(|r| r.start);
    let range = places.remove(0);
    Diagnostic { message: format!("unknown block symbol `{shown}`"), range, others: places, help: Some(help) }
}

/// The bound symbol that a wrong one was probably meant to be: the other case, or a look-alike.
fn meant(symbol: char, known: &[(char, &str)]) -> Option<char> {
    /// What is typed or pasted in place of a symbol.
    const LOOK_ALIKES: &[(char, &str)] = &[
        ('*', "xX×✱∗＊⁎⋆★✕·•A"),
        ('-', "–—−‐‑‒―﹣－_~=F"),
        ('M', "Мｍ"),
        ('J', "Ј"),
        ('E', "Е"),
        ('W', "Ｗ"),
    ];
    let bound = |c: char| known.iter().any(|(k, _)| *k == c);
    let mut swapped: Vec<char> = symbol.to_uppercase().chain(symbol.to_lowercase()).collect();
    swapped.extend(LOOK_ALIKES.iter().filter(|(_, like)| like.contains(symbol)).map(|(right, _)| *right));
    swapped.into_iter().find(|c| *c != symbol && bound(*c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &[(char, &str)] =
        &[('M', "mamba2"), ('*', "attention"), ('-', "mlp"), ('J', "jet_block"), ('E', "moe")];

    fn flat(text: &str) -> String {
        let (pattern, faults) = parse(text);
        assert_eq!(faults, [], "{text}");
        pattern.flat()
    }

    fn faults(text: &str) -> Vec<String> {
        let (pattern, mut faults) = parse(text);
        faults.extend(pattern.unknown_symbols(KNOWN));
        faults.iter().map(|f| f.render(text)).collect()
    }

    #[test]
    fn writes_out_groups_and_repeats() {
        assert_eq!(flat("MM*M-J*"), "MM*M-J*");
        assert_eq!(flat("(M-)4*-"), "M-M-M-M-*-");
        assert_eq!(flat("(M-)4 *-"), "M-M-M-M-*-");
        assert_eq!(flat("M3-"), "MMM-");
        assert_eq!(flat("((M-)2*)2 E1"), "M-M-*M-M-*E");
        assert_eq!(flat("(M)(-)"), "M-");
        assert_eq!(flat(" M \t-\n 2 "), "M--");
        assert_eq!(flat("(ж層)2"), "ж層ж層");
    }

    #[test]
    fn keeps_the_place_of_every_block() {
        let (pattern, _) = parse("(M –)2*");
        let at: Vec<usize> = pattern.blocks.iter().map(|b| b.at).collect();
        assert_eq!(at, [1, 3, 1, 3, 8]);
    }

    #[test]
    fn points_at_unknown_symbols() {
        assert_eq!(
            faults("MM*K-J*"),
            ["unknown block symbol `K`\n\"MM*K-J*\"\n    ^ one of: \
              M (mamba2)  * (attention)  - (mlp)  J (jet_block)  E (moe)"]
        );
    }

    #[test]
    fn reports_one_symbol_once_with_all_its_places() {
        let all = faults("K(MK)3Q");
        assert_eq!(all.len(), 2);
        assert!(all[0].contains("\"K(MK)3Q\"\n ^  ^ one of"), "{}", all[0]);
        assert!(all[1].starts_with("unknown block symbol `Q`"), "{}", all[1]);
    }

    #[test]
    fn suggests_what_was_meant() {
        for (wrong, right) in
            [("m", 'M'), ("x", '*'), ("×", '*'), ("–", '-'), ("—", '-'), ("−", '-'), ("j", 'J'), ("М", 'M')]
        {
            let all = faults(wrong);
            assert!(all[0].contains(&format!("did you mean `{right}`?")), "{wrong}: {}", all[0]);
        }
        assert!(faults("W")[0].contains("bind it with `'W' => window_attention { … }`"));
    }

    #[test]
    fn names_megatrons_marks() {
        let all = faults("M-|*-/M");
        assert!(all[0].starts_with("`|` is Megatron's pipeline cut"), "{}", all[0]);
        assert!(all[1].starts_with("`/` starts a multi-token-prediction pattern"), "{}", all[1]);
        assert_eq!(without_megatron_marks("M-|*-/M-/"), "M-*-");
        assert_eq!(without_megatron_marks(""), "");
    }

    #[test]
    fn reports_every_malformed_item() {
        for (text, message, caret) in [
            ("", "an empty pattern", " ^"),
            ("  ", "an empty pattern", "   ^"),
            ("()M", "an empty group", " ^^"),
            ("(M", "`(` opens a group that is never closed", " ^"),
            ("M)", "`)` closes a group that was never opened", "  ^"),
            ("3M", "a repeat count with nothing to repeat", " ^"),
            ("(3M)", "a repeat count with nothing to repeat", "  ^"),
            ("M3 4", "a second repeat count", "    ^"),
            ("M0", "a repeat count of 0", "  ^"),
            ("[M-]4", "`[` has no meaning in a pattern", " ^"),
            ("M99999999999999999999999999", "more than 4096 blocks", "  ^^^^"),
        ] {
            let all = faults(text);
            assert!(all[0].starts_with(message), "{text}: {all:?}");
            assert!(all[0].lines().nth(2).is_some_and(|l| l.starts_with(caret)), "{text}: {}", all[0]);
        }
    }

    #[test]
    fn bounds_the_length_however_it_is_reached() {
        assert_eq!(parse("M4096").0.blocks.len(), MAX_BLOCKS);
        for text in ["M4097", "((((M99)99)99)99)99", "(M4096)4096", &"M".repeat(5000), &"(M-)2048*".repeat(9)]
        {
            let (pattern, faults) = parse(text);
            assert!(pattern.blocks.len() <= MAX_BLOCKS);
            assert_eq!(faults.iter().filter(|f| f.message.contains("4096 blocks")).count(), 1, "{text}");
        }
    }

    #[test]
    fn survives_deep_nesting() {
        let text = format!("{}M{}", "(".repeat(200_000), ")2".repeat(200_000));
        let (pattern, faults) = parse(&text);
        assert!(pattern.blocks.len() <= MAX_BLOCKS);
        assert!(!faults.is_empty());
    }

    /// Whatever the text: at least one block or one fault, and every fault has a place in the text.
    fn holds(text: &str) {
        let (pattern, mut faults) = parse(text);
        assert!(pattern.blocks.len() <= MAX_BLOCKS);
        assert!(!pattern.blocks.is_empty() || !faults.is_empty());
        assert!(pattern.blocks.iter().all(|b| text[b.at..].starts_with(b.symbol)));
        faults.extend(pattern.unknown_symbols(KNOWN));
        for fault in &faults {
            assert!(fault.range.end <= text.len());
            assert!((1..=text.chars().count() + 1).contains(&fault.column(text)));
            let shown = fault.render(text);
            assert_eq!(shown.lines().count(), 3, "{shown}");
            assert!(shown.lines().nth(2).is_some_and(|l| l.contains('^')), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_always_gives_a_column(text in "\\PC{0,60}") {
            holds(&text);
        }

        #[test]
        fn never_panics_on_nearly_right_patterns(text in "[M*\\-J()0-9 K|/–]{0,80}") {
            holds(&text);
        }

        #[test]
        fn reads_its_own_flat_form(text in "[M*\\-JE()2 ]{1,40}") {
            let (pattern, faults) = parse(&text);
            if faults.is_empty() {
                prop_assert_eq!(parse(&pattern.flat()).0.flat(), pattern.flat());
            }
        }
    }

    /// The fuzz target of this parser, run for one second on seeded bytes.
    #[test]
    fn survives_a_second_of_random_bytes() {
        let alphabet = "MM**--JEW()()0123456789 |/[]kx–é層\u{301}\n\t\"\\\u{0}";
        let letters: Vec<char> = alphabet.chars().collect();
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 1000 {
            let length = (next() % 64) as usize;
            if next() % 4 == 0 {
                let bytes: Vec<u8> = (0..length).map(|_| next() as u8).collect();
                holds(&String::from_utf8_lossy(&bytes));
            } else {
                let text: String =
                    (0..length).map(|_| letters[(next() % letters.len() as u64) as usize]).collect();
                holds(&text);
            }
        }
    }
}
