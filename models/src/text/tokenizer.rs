//! [`Tokenizer`]: text to ids and back.

use super::TextError;
use super::bytes::{ByteTable, StreamDecoder};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use tokenizers::Tokenizer as Inner;
use tokenizers::decoders::DecoderWrapper;

/// What to do with special tokens (`<|im_end|>` and the like) when ids become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Write them out.
    Show,
    /// Leave them out.
    Hide,
}

/// Text to token ids and back.
#[derive(Debug)]
pub struct Tokenizer {
    inner: Inner,
    /// The bytes of each token, where tokens are bytes; the decoder of the library serves all other kinds.
    table: Option<ByteTable>,
    special: HashSet<u32>,
    /// Put before every prompt, besides what the tokenizer's own rules put there.
    bos: Option<u32>,
    size: usize,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn from_file(path: &Path) -> Result<Self, TextError> {
        let json = std::fs::read(path).map_err(|source| TextError::Io { path: path.to_owned(), source })?;
        Self::from_json(path, &json)
    }

    /// Reads the text of a `tokenizer.json`; `path` is what errors call it.
    pub fn from_json(path: &Path, json: &[u8]) -> Result<Self, TextError> {
        let fault = |what: String| TextError::Tokenizer { path: path.to_owned(), what };
        check_merges(json).map_err(fault)?;
        let mut inner =
            Inner::from_bytes(json).map_err(|e| fault(format!("it is no tokenizer jet can read: {e}")))?;
        // A prompt is neither cut nor filled up behind the user's back.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| fault(e.to_string()))?;
        Ok(Self::new(inner, None))
    }

    pub(super) fn new(inner: Inner, bos: Option<u32>) -> Self {
        let added = inner.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
        let size = inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        let bytewise = matches!(inner.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        let table = bytewise.then(|| {
            ByteTable::new((0..size as u32).map(|id| {
                let literal = added.get(&id).map(|t| t.content.clone());
                (literal.is_some(), literal.or_else(|| inner.id_to_token(id)).unwrap_or_default())
            }))
        });
        Self { inner, table, special, bos, size }
    }

    /// The ids of a plain prompt, with the tokens that the model expects every text to start with.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let ids = self.ids(text, true)?;
        Ok(self.bos.into_iter().filter(|bos| ids.first() != Some(bos)).chain(ids.iter().copied()).collect())
    }

    /// The ids of a text that a chat template has rendered: nothing is put before it.
    pub fn encode_rendered(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.ids(text, false)
    }

    fn ids(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TextError> {
        let encoding = self.inner.encode_fast(text, add_special);
        Ok(encoding.map_err(|e| TextError::Encoding { what: e.to_string() })?.get_ids().to_vec())
    }

    /// The text of `ids`; broken UTF-8 becomes the replacement character, and ids without a token become nothing.
    pub fn decode(&self, ids: &[u32], special: Special) -> Result<String, TextError> {
        match &self.table {
            Some(table) => {
                let shown = ids.iter().filter(|&&id| self.shows(id, special));
                let bytes: Vec<u8> = shown.flat_map(|&id| table.get(id)).copied().collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            None => self
                .inner
                .decode(ids, special == Special::Hide)
                .map_err(|e| TextError::Encoding { what: e.to_string() }),
        }
    }

    /// A decoder that takes ids one by one.
    pub fn stream(&self, special: Special) -> StreamDecoder<'_> {
        StreamDecoder::new(self, special)
    }

    /// The id of a token by its name in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The name of a token in the vocabulary, in the printable alphabet where tokens are bytes.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether `id` is a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// One more than the highest id; a model's vocabulary may be padded beyond it.
    pub fn vocab_size(&self) -> usize {
        self.size
    }

    pub(super) fn table(&self) -> Option<&ByteTable> {
        self.table.as_ref()
    }

    pub(super) fn shows(&self, id: u32, special: Special) -> bool {
        special == Special::Show || !self.special.contains(&id)
    }
}

/// The part of a `tokenizer.json` that the library trusts.
#[derive(Deserialize)]
struct Parts {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    merges: Vec<Merge>,
    /// Only looked at together with merges; a list in other kinds of model.
    #[serde(default)]
    vocab: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

/// Each merge must speak of tokens: the library makes a buffer as long as the longest token and trusts that what a
/// merge makes fits into it.
fn check_merges(json: &[u8]) -> Result<(), String> {
    let Parts { model } =
        serde_json::from_slice(json).map_err(|e| format!("it is not the JSON it should be: {e}"))?;
    if model.merges.is_empty() {
        return Ok(());
    }
    let kind = model.kind.unwrap_or_default();
    let vocab = serde_json::from_value::<HashMap<String, u32>>(model.vocab);
    let vocab = vocab.map_err(|e| format!("the vocabulary of its {kind} model is damaged: {e}"))?;
    for (i, merge) in model.merges.iter().enumerate() {
        let (a, b) = match merge {
            Merge::Pair(a, b) => (a.as_str(), b.as_str()),
            Merge::Line(line) => line
                .split_once(' ')
                .ok_or_else(|| format!("merge {i}, {line:?}, is not two tokens with a space between"))?,
        };
        let longest = [a.to_owned(), b.to_owned(), format!("{a}{b}")];
        if let Some(part) = longest.iter().find(|p| !vocab.contains_key(*p)) {
            return Err(format!("merge {i}, {a:?} and {b:?}, speaks of {part:?}, which is no token"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte-level tokenizer over a few letters.
    pub(crate) fn tiny(merges: &str) -> String {
        format!(
            r#"{{"version":"1.0","truncation":null,"padding":null,
            "added_tokens":[{{"id":5,"content":"<|end|>","single_word":false,"lstrip":false,"rstrip":false,
                "normalized":false,"special":true}}],
            "normalizer":null,
            "pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}},
            "post_processor":null,
            "decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}},
            "model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
                "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,
                "vocab":{{"a":0,"b":1,"ab":2,"Ã":3,"©":4}},"merges":{merges}}}}}"#
        )
    }

    fn load(merges: &str) -> Result<Tokenizer, TextError> {
        Tokenizer::from_json(Path::new("tokenizer.json"), tiny(merges).as_bytes())
    }

    #[test]
    fn encodes_and_decodes_both_ways() {
        for merges in [r#"["a b"]"#, r#"[["a","b"]]"#] {
            let t = load(merges).unwrap();
            let ids = t.encode("abb\u{e9}<|end|>a?").unwrap();
            // `?` has no token and is dropped.
            assert_eq!(ids, [2, 1, 3, 4, 5, 0]);
            assert_eq!(t.decode(&ids, Special::Show).unwrap(), "abb\u{e9}<|end|>a");
            assert_eq!(t.decode(&ids, Special::Hide).unwrap(), "abb\u{e9}a");
            assert_eq!(t.decode(&[3, 77, 0], Special::Show).unwrap(), "\u{FFFD}a");
            assert_eq!((t.vocab_size(), t.id("ab"), t.is_special(5)), (6, Some(2), true));
        }
    }

    #[test]
    fn merges_of_unknown_tokens_are_an_error() {
        for merges in [r#"[["ab","ab"]]"#, r#"[["a","zzzzzz"]]"#, r#"["ab ab"]"#] {
            let error = load(merges).unwrap_err().to_string();
            assert!(
                error.starts_with("tokenizer.json: merge 0") && error.contains("which is no token"),
                "{error}"
            );
        }
        assert!(load(r#"["ab"]"#).unwrap_err().to_string().contains("not two tokens"));
        assert!(load("7").unwrap_err().to_string().contains("not the JSON"));
    }

    #[test]
    fn every_prefix_of_the_file_is_an_error() {
        let json = tiny(r#"["a b"]"#);
        for n in (0..json.len()).filter(|&n| json.is_char_boundary(n)) {
            assert!(Tokenizer::from_json(Path::new("t"), &json.as_bytes()[..n]).is_err());
        }
    }
}
