//! No text makes the reader panic, run away or eat memory.

use std::time::{Duration, Instant};

use jet_emu::ptx::{parse, print_instruction};
use proptest::prelude::*;

use super::fixtures;

/// A small generator (splitmix64), so that a failure comes again from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Words that are likely to reach a corner of the grammar.
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ";",
    ",",
    ":",
    "|",
    "!",
    "-",
    "+",
    "@",
    "<",
    ">",
    "_",
    "\"",
    "/*",
    "//",
    "%r<4294967295>",
    "18446744073709551615",
    "-1",
    "0f3F800000",
    "0x",
    "1e",
    ".5",
    "%tid",
    ".x",
    ".v4",
    ".reg",
    ".param",
    ".align",
    "call",
    "bra",
    "generic(",
    ".branchtargets",
    ".callprototype",
    "= {",
    "[]",
    "[18446744073709551615]",
    ".global .b8 x",
    ".loc",
    ".section",
    ".alias",
    "WARP_SZ",
    "?",
    "é",
    "\0",
    "%",
    ".",
    "::",
];

/// One change of a text: a byte flipped, a piece left out, doubled or moved, a word put in.
fn mutate(text: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(text.len());
    let length = 1 + random.below(40);
    let end = (at + length).min(text.len());
    match random.below(6) {
        0 if !text.is_empty() => text[at] ^= 1 << random.below(8),
        1 => drop(text.drain(at..end)),
        2 => {
            let piece = text[at..end].to_vec();
            text.splice(at..at, piece);
        }
        3 => {
            let piece: Vec<u8> = text.drain(at..end).collect();
            let to = random.below(text.len() + 1);
            text.splice(to..to, piece);
        }
        4 => text.truncate(at),
        _ => {
            let word = WORDS[random.below(WORDS.len())];
            text.splice(at..at, word.bytes());
        }
    }
}

/// Reads a text and prints what was read; errors must point into the text.
fn try_read(text: &str) {
    match parse(text) {
        Ok(module) => {
            for function in &module.functions {
                for instruction in function.body.iter().flatten() {
                    assert!(print_instruction(&module, function, instruction).ends_with(';'));
                }
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(error.line as usize <= text.split('\n').count(), "{error}");
                assert!(error.show(text).contains('^'));
            }
        }
    }
}

#[test]
fn mutated_texts_of_compilers_never_panic() {
    let texts = fixtures::all();
    let start = Instant::now();
    // One second in the tests; as many as one likes by hand.
    let seconds =
        std::env::var("JET_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(1);
    let mut seed = 0;
    while start.elapsed() < Duration::from_secs(seconds) || seed < 20 {
        let mut random = Random(seed);
        let (_, text) = &texts[random.below(texts.len())];
        // A window, so that many texts are tried in the time; it begins with a header, so that it is read at all.
        let bytes = text.as_bytes();
        let from = random.below(bytes.len());
        let to = (from + 200 + random.below(8000)).min(bytes.len());
        let mut mutated = bytes[..bytes.len().min(1500)].to_vec();
        mutated.extend_from_slice(&bytes[from..to]);
        for _ in 0..1 + random.below(12) {
            mutate(&mut mutated, &mut random);
        }
        let mutated = String::from_utf8_lossy(&mutated);
        let read = std::panic::catch_unwind(|| try_read(&mutated));
        assert!(read.is_ok(), "seed {seed} of this text:\n{mutated}");
        seed += 1;
    }
}

#[test]
fn a_long_text_is_read_in_linear_time() {
    // Of a text 16 times as long, a square would take 256 times as long; a busy machine is allowed for.
    let text = |blocks: usize| {
        let mut text =
            ".version 8.8\n.target sm_90a\n.entry k() { .reg .pred %p<4>; .reg .b32 %r<9999>;\n".to_owned();
        for block in 0..blocks {
            text.push_str(&format!(
                "L{block}: {{ .reg .b32 %x{block}; add.s32 %x{block}, %r{}, 1; @%p1 bra L{}; bra N{block}; N{block}: }}\n",
                block % 9999,
                (block * 7) % blocks
            ));
        }
        text.push_str("ret; }");
        text
    };
    let time = |text: &str| {
        let best = |_| {
            let start = Instant::now();
            assert!(parse(text).is_ok());
            start.elapsed()
        };
        (0..3).map(best).min().expect("three times")
    };
    let (short, long) = (text(1_000), text(16_000));
    let (before, after) = (time(&short), time(&long));
    assert!(after < 100 * before.max(Duration::from_millis(1)), "{before:?} {after:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_texts_never_panic(text in any::<String>()) {
        try_read(&text);
        try_read(&format!(".version 8.8 .target sm_90 .entry k() {{ .reg .b32 %r<4>; {text} }}"));
    }

    #[test]
    fn texts_of_the_words_of_ptx_never_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        let text = words.join(" ");
        try_read(&format!(".version 8.8 .target sm_90 {text}"));
        try_read(&format!(".version 8.8 .target sm_90 .entry k() {{ .reg .b32 %r<4>; mov.b32 %r1, {text}; }}"));
        try_read(&format!(".version 8.8 .target sm_90 .global .b32 x[4] = {text};"));
    }
}
