//! What a model's makers say about generation: end tokens and sampling.

use super::TextError;
use crate::weights::Gguf;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Suggestions for generation; what is not suggested is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Tokens that end an answer.
    pub eos: Vec<u32>,
    /// The token that starts a text.
    pub bos: Option<u32>,
    /// Sampling is meant, not greedy choice.
    pub sample: Option<bool>,
    /// Temperature.
    pub temperature: Option<f32>,
    /// Only the k most likely tokens.
    pub top_k: Option<usize>,
    /// Only the most likely tokens that together have this probability.
    pub top_p: Option<f32>,
    /// Only tokens at least this likely, relative to the most likely one.
    pub min_p: Option<f32>,
    /// Divisor of the logits of tokens that occurred already.
    pub repetition_penalty: Option<f32>,
}

impl GenerationDefaults {
    /// Reads `generation_config.json`; end tokens come from `config.json` where it has none. Both may be absent.
    pub fn from_folder(folder: &Path) -> Result<Self, TextError> {
        let config: Tokens = read_lenient(&folder.join("config.json"))?.unwrap_or_default();
        let raw: Raw = read_json(&folder.join("generation_config.json"))?.unwrap_or_default();
        let eos = raw.tokens.eos_token_id.or(config.eos_token_id);
        Ok(Self {
            eos: eos.map_or_else(Vec::new, Ids::list),
            bos: raw.tokens.bos_token_id.or(config.bos_token_id).and_then(|ids| ids.list().first().copied()),
            sample: raw.do_sample,
            temperature: raw.temperature,
            top_k: raw.top_k,
            top_p: raw.top_p,
            min_p: raw.min_p,
            repetition_penalty: raw.repetition_penalty,
        })
    }

    /// Reads the end tokens of a GGUF file: of the text, of a turn, and of a message.
    pub fn from_gguf(file: &Gguf) -> Result<Self, TextError> {
        let id = |name: &str| -> Result<Option<u32>, TextError> {
            let key = format!("tokenizer.ggml.{name}_token_id");
            let Some(value) = file.get(&key) else { return Ok(None) };
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            let what = || format!("`{key}` is {}; expected a token id", value.kind());
            id.map(Some).ok_or_else(|| TextError::Tokenizer { path: file.path().to_owned(), what: what() })
        };
        let mut eos = Vec::new();
        for name in ["eos", "eot", "eom"] {
            eos.extend(id(name)?.filter(|id| !eos.contains(id)));
        }
        Ok(Self { eos, bos: id("bos")?, ..Self::default() })
    }
}

/// A JSON file, `None` where it does not exist.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TextError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TextError::Io { path: path.to_owned(), source }),
    };
    let what = |e: serde_json::Error| format!("it is not the JSON it should be: {e}");
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| TextError::Settings { path: path.to_owned(), what: what(e) })
}

/// `config.json` may hold bare `Infinity`, which is not JSON; its own reader judges it. Here such a file says nothing.
fn read_lenient<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TextError> {
    match read_json(path) {
        Err(TextError::Settings { .. }) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| TextError::Io { path: path.to_owned(), source })?;
            Ok(serde_json::from_str(&without_infinities(&text)).ok())
        }
        other => other,
    }
}

/// The text with bare `Infinity` and `NaN` outside of strings replaced by `null`.
fn without_infinities(text: &str) -> String {
    let (mut out, mut rest, mut inside) = (String::with_capacity(text.len()), text, false);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|w| !inside && rest.starts_with(w));
        let taken = match (word, c) {
            (Some(w), _) => w.len(),
            (None, '\\') if inside => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, c) => c.len_utf8(),
        };
        inside ^= word.is_none() && c == '"';
        out.push_str(if word.is_some() { "null" } else { &rest[..taken] });
        rest = &rest[taken..];
    }
    out
}

#[derive(Default, Deserialize)]
struct Tokens {
    eos_token_id: Option<Ids>,
    bos_token_id: Option<Ids>,
}

/// One id or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

impl Ids {
    fn list(self) -> Vec<u32> {
        match self {
            Ids::One(id) => vec![id],
            Ids::Several(ids) => ids,
        }
    }
}

#[derive(Default, Deserialize)]
struct Raw {
    #[serde(flatten)]
    tokens: Tokens,
    do_sample: Option<bool>,
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_and_single_ids() {
        let dir = tempfile::tempdir().unwrap();
        let read = || GenerationDefaults::from_folder(dir.path());
        assert_eq!(read().unwrap(), GenerationDefaults::default());
        std::fs::write(
            dir.path().join("config.json"),
            r#"{"eos_token_id": 2, "time": [0.0, Infinity], "s": "NaN\""}"#,
        )
        .unwrap();
        assert_eq!(read().unwrap().eos, [2]);
        let json = r#"{"eos_token_id":[151645,151643],"bos_token_id":1,"do_sample":true,"temperature":0.7,"top_k":20,"top_p":0.8,
            "repetition_penalty":1.1,"transformers_version":"4"}"#;
        std::fs::write(dir.path().join("generation_config.json"), json).unwrap();
        let all = read().unwrap();
        assert_eq!((&all.eos[..], all.bos, all.top_k), (&[151_645, 151_643][..], Some(1), Some(20)));
        assert_eq!(
            (all.sample, all.temperature, all.top_p, all.min_p),
            (Some(true), Some(0.7), Some(0.8), None)
        );
        std::fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id":"x"}"#).unwrap();
        assert!(read().unwrap_err().to_string().contains("generation_config.json: it is not the JSON"));
    }

    #[test]
    fn bare_infinities_go_and_strings_stay() {
        assert_eq!(
            without_infinities(r#"{"a":-Infinity,"b":"Infinity \" NaN","c":[NaN]}"#),
            r#"{"a":null,"b":"Infinity \" NaN","c":[null]}"#
        );
        assert_eq!(without_infinities("\"\\"), "\"\\");
    }
}
