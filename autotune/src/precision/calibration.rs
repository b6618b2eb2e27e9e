//! The tokens on which distributions are compared.

use crate::error::TuneError;
use jet_cache::Digest;
use jet_models::target::Target;
use jet_models::text::Text;

/// A few paragraphs of prose, code, numbers and other languages, written for this purpose.
pub const TEXT: &str = include_str!("calibration.txt");

/// Positions that are compared where nothing else is asked for. Sensitivities differ by orders of magnitude between parts,
/// and the mean over so many positions is steady to a few per cent of itself.
pub const POSITIONS: usize = 256;

/// Token ids, one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// The ids; a distribution is compared after each.
    pub tokens: Vec<u32>,
    /// Where they come from, for a person.
    pub origin: String,
}

impl Calibration {
    /// The first `positions` tokens of `text`, as the target's tokenizer reads it. A target without a tokenizer gets the
    /// text's bytes as ids, which stand for nothing, as its random weights do.
    ///
    /// # Errors
    /// The tokenizer cannot be read; the text has no token.
    pub fn of_text(target: &Target, text: &str, origin: &str, positions: usize) -> Result<Self, TuneError> {
        let refused = |what: String| TuneError::Calibration { origin: origin.to_owned(), what };
        let tokenizer: Option<Text> = target.text().map_err(|e| refused(e.to_string()))?;
        let vocab = target.spec().vocab;
        let (mut tokens, how) = match &tokenizer {
            Some(found) => {
                (found.tokenizer.encode(text).map_err(|e| refused(e.to_string()))?, "as tokens of the model")
            }
            None => (text.bytes().map(|byte| u32::from(byte) % vocab).collect(), "byte by byte"),
        };
        tokens.truncate(positions.min(target.spec().max_context as usize));
        if tokens.is_empty() {
            return Err(refused("it has no token; give a text of some paragraphs".to_owned()));
        }
        if let Some(id) = tokens.iter().find(|id| **id >= vocab) {
            return Err(refused(format!("its tokenizer gives id {id}, outside the vocabulary of {vocab}")));
        }
        let origin = format!("{} positions of {origin}, {how}", tokens.len());
        Ok(Self { tokens, origin })
    }

    /// SHA-256 of the ids, each in four big-endian bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.tokens.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<u8>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_a_tokenizer_reads_bytes_within_its_vocabulary() {
        let target = Target::resolve("tiny-hybrid").unwrap();
        let all = Calibration::of_text(&target, TEXT, "the built-in text", POSITIONS).unwrap();
        assert_eq!(all.tokens.len(), POSITIONS);
        assert_eq!(all.tokens[0], u32::from(b'T'));
        assert!(all.origin.contains("256 positions of the built-in text"), "{}", all.origin);
        let shorter = Calibration::of_text(&target, TEXT, "it", 8).unwrap();
        assert!(shorter.digest() != all.digest() && all.tokens.starts_with(&shorter.tokens));
    }

    #[test]
    fn a_text_without_tokens_is_refused() {
        let target = Target::resolve("tiny-hybrid").unwrap();
        let message = Calibration::of_text(&target, "", "empty.txt", 8).unwrap_err().to_string();
        assert!(message.contains("empty.txt") && message.contains("no token"), "{message}");
    }

    #[test]
    fn the_built_in_text_is_longer_than_what_is_read_of_it() {
        // Tokens of a large vocabulary hold four to five bytes of such a text.
        assert!(TEXT.len() > 6 * POSITIONS, "{} bytes", TEXT.len());
    }
}
