//! The pre-tokenizers that GGUF files call by name: how text is cut before byte pairs are merged.
//!
//! Each is a list of expressions; every piece that the ones before left is cut by the next, on its own.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

/// A named pre-tokenizer.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    /// What GGUF files call it, older spellings included.
    pub(super) names: &'static [&'static str],
    /// The expressions, in order.
    expressions: &'static [&'static str],
    /// A whole word that is a token is taken as it is, whatever the merges would make of it.
    pub(super) ignore_merges: bool,
    /// The sequence starts with BOS where the file does not say.
    pub(super) bos: bool,
    /// Text is brought to Unicode form NFC first.
    pub(super) nfc: bool,
}

/// The expression of GPT-2.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// GPT-4's way with letters and line ends, digits one by one.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with digits in threes.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Every pre-tokenizer jet knows.
const ALL: &[PreTokenizer] = &[
    PreTokenizer {
        names: &["gpt-2", "gpt2"],
        expressions: &[GPT2],
        ignore_merges: false,
        bos: false,
        nfc: false,
    },
    PreTokenizer {
        names: &["smollm"],
        expressions: &[r"\p{N}", GPT2],
        ignore_merges: false,
        bos: false,
        nfc: false,
    },
    PreTokenizer { names: &["qwen2"], expressions: &[QWEN2], ignore_merges: false, bos: false, nfc: true },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        expressions: &[LLAMA3],
        ignore_merges: true,
        bos: true,
        nfc: false,
    },
];

impl PreTokenizer {
    /// The one called `name`; the error lists those there are.
    pub(super) fn find(name: &str) -> Result<&'static Self, String> {
        ALL.iter().find(|p| p.names.contains(&name)).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(|p| p.names[0]).collect();
            format!("the pre-tokenizer `{name}` is not known; jet knows {}", known.join(", "))
        })
    }

    /// The cuts, then bytes to GPT-2's printable alphabet.
    pub(super) fn build(&self) -> PreTokenizerWrapper {
        let cut = |e: &&str| {
            let pattern = SplitPattern::Regex((*e).to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
            split.expect("the expressions above compile").into()
        };
        let mut steps: Vec<PreTokenizerWrapper> = self.expressions.iter().map(cut).collect();
        steps.push(ByteLevel::new(false, false, false).into());
        Sequence::new(steps).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

    fn pieces(name: &str, text: &str) -> Vec<String> {
        let mut cut = PreTokenizedString::from(text);
        PreTokenizer::find(name).unwrap().build().pre_tokenize(&mut cut).unwrap();
        let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (a, b), _)| text[a..b].to_owned()).collect()
    }

    #[test]
    fn every_expression_compiles() {
        ALL.iter().for_each(|p| drop(p.build()));
    }

    #[test]
    fn cuts_as_the_models_were_trained() {
        assert_eq!(pieces("gpt-2", "I'll pay  12345!"), ["I", "'ll", " pay", " ", " 12345", "!"]);
        assert_eq!(pieces("smollm", "a 123  4"), ["a", " ", "1", "2", "3", "  ", "4"]);
        assert_eq!(pieces("qwen2", "I'LL do 12\n\nx"), ["I", "'LL", " do", " ", "1", "2", "\n\n", "x"]);
        assert_eq!(pieces("llama-bpe", "12345 (ok)"), ["123", "45", " (", "ok", ")"]);
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let error = PreTokenizer::find("mystery").unwrap_err();
        assert!(error.contains("`mystery`") && error.contains("gpt-2, smollm, qwen2, llama-bpe"));
    }
}
