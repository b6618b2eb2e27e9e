//! The tokenizer inside a GGUF file.

use super::pretokenize::PreTokenizer;
use super::{TextError, Tokenizer};
use crate::weights::Gguf;
use crate::weights::gguf::Value;
use std::collections::HashSet;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::{AddedToken, Tokenizer as Inner};

/// Token types in a GGUF file that are cut out of the text literally.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

impl Tokenizer {
    /// Builds the tokenizer from the vocabulary, the merges and the token types of a GGUF file.
    pub fn from_gguf(file: &Gguf) -> Result<Self, TextError> {
        build(file).map_err(|what| TextError::Tokenizer { path: file.path().to_owned(), what })
    }
}

fn build(file: &Gguf) -> Result<Tokenizer, String> {
    let model = need(file, "tokenizer.ggml.model", "a string", Value::as_str)?;
    if model != "gpt2" {
        return Err(format!("the tokenizer is of the kind `{model}`; jet reads byte-level BPE, `gpt2`"));
    }
    let pre = PreTokenizer::find(need(file, "tokenizer.ggml.pre", "a string", Value::as_str)?)?;
    let tokens = need(file, "tokenizer.ggml.tokens", "an array of strings", Value::as_strings)?;
    let vocab = vocabulary(tokens)?;
    let merges = need(file, "tokenizer.ggml.merges", "an array of strings", Value::as_strings)?;
    let merges = pairs(merges, &vocab)?;
    let bpe = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(pre.ignore_merges).build();
    let mut inner = Inner::new(bpe.map_err(|e| format!("the merges are damaged: {e}"))?);
    if pre.nfc {
        inner.with_normalizer(Some(NFC)).map_err(|e| e.to_string())?;
    }
    inner.with_pre_tokenizer(Some(pre.build())).with_decoder(Some(ByteLevel::default()));
    literal(file, tokens, &mut inner)?;
    let bos = bos(file, pre, tokens.len())?;
    Ok(Tokenizer::new(inner, bos))
}

fn need<'a, T>(
    file: &'a Gguf,
    key: &str,
    expected: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<T, String> {
    let value =
        file.get(key).ok_or_else(|| format!("`{key}` is missing; the file carries no usable tokenizer"))?;
    read(value).ok_or_else(|| format!("`{key}` is {}; expected {expected}", value.kind()))
}

fn vocabulary(tokens: &[String]) -> Result<Vocab, String> {
    let mut vocab = Vocab::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        let id = u32::try_from(id).map_err(|_| "the vocabulary has more tokens than ids".to_owned())?;
        if let Some(first) = vocab.insert(token.clone(), id) {
            return Err(format!("the token {token:?} has two ids, {first} and {id}"));
        }
    }
    Ok(vocab)
}

/// The merges as pairs. Each half and the whole must be tokens: the library relies on it.
fn pairs(merges: &[String], vocab: &Vocab) -> Result<Vec<(String, String)>, String> {
    let pair = |(i, merge): (usize, &String)| {
        // A token may itself start with a space in principle, so the search starts after the first character.
        let first = merge.chars().next().map_or(0, char::len_utf8);
        let at = merge[first..].find(' ').map(|at| at + first);
        let (a, b) = at
            .map(|at| (&merge[..at], &merge[at + 1..]))
            .ok_or_else(|| format!("merge {i}, {merge:?}, is not two tokens with a space between"))?;
        for part in [a, b, &format!("{a}{b}")] {
            if !vocab.contains_key(part) {
                return Err(format!("merge {i}, {merge:?}, speaks of {part:?}, which is no token"));
            }
        }
        Ok((a.to_owned(), b.to_owned()))
    };
    merges.iter().enumerate().map(pair).collect()
}

/// Marks the tokens that are recognised in the text as they are written.
fn literal(file: &Gguf, tokens: &[String], inner: &mut Inner) -> Result<(), String> {
    let key = "tokenizer.ggml.token_type";
    let Some(value) = file.get(key) else { return Ok(()) };
    let types =
        value.as_integers().ok_or_else(|| format!("`{key}` is {}; expected whole numbers", value.kind()))?;
    if types.len() != tokens.len() {
        return Err(format!("`{key}` has {} entries for {} tokens", types.len(), tokens.len()));
    }
    let of = |kind: i64, special: bool| {
        let named = tokens.iter().zip(&types).filter(move |(t, k)| **k == kind && !t.is_empty());
        named.map(|(t, _)| AddedToken::from(t.clone(), special).normalized(false)).collect::<Vec<_>>()
    };
    let before: HashSet<u32> = inner.get_vocab(true).into_values().collect();
    inner.add_special_tokens(of(CONTROL, true)).map_err(|e| e.to_string())?;
    inner.add_tokens(of(USER_DEFINED, false)).map_err(|e| e.to_string())?;
    debug_assert_eq!(before.len(), inner.get_vocab_size(true), "all of them are tokens already");
    Ok(())
}

/// The token that starts every prompt, where there is one.
fn bos(file: &Gguf, pre: &PreTokenizer, tokens: usize) -> Result<Option<u32>, String> {
    let key = "tokenizer.ggml.add_bos_token";
    let wanted = match file.get(key) {
        None => pre.bos,
        Some(v) => v.as_bool().ok_or_else(|| format!("`{key}` is {}; expected a boolean", v.kind()))?,
    };
    if !wanted {
        return Ok(None);
    }
    let id = need(file, "tokenizer.ggml.bos_token_id", "a token id", Value::as_u64)?;
    match u32::try_from(id) {
        Ok(id) if (id as usize) < tokens => Ok(Some(id)),
        _ => Err(format!("the start token {id} is not among the {tokens} tokens")),
    }
}
