//! From ids to text, byte by byte: GPT-2's printable alphabet inverted, and a decoder for streams that never gives
//! half a character.

use super::{Special, TextError, Tokenizer};

/// The bytes of every token, in one allocation.
#[derive(Debug)]
pub(super) struct ByteTable {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl ByteTable {
    /// A table of tokens by id: each with whether its text is meant literally.
    pub(super) fn new(tokens: impl Iterator<Item = (bool, String)>) -> Self {
        let mut this = Self { bytes: Vec::new(), ends: Vec::new() };
        let inverse = inverse();
        for (literal, token) in tokens {
            let byte = |c: char| inverse.get(c as usize).copied().flatten();
            match token.chars().map(byte).collect::<Option<Vec<u8>>>() {
                Some(bytes) if !literal => this.bytes.extend(bytes),
                // A token outside the alphabet stands for itself.
                _ => this.bytes.extend(token.as_bytes()),
            }
            this.ends.push(this.bytes.len());
        }
        this
    }

    /// The bytes of `id`; none where there is no such token.
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let Some(&end) = self.ends.get(id as usize) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id as usize - 1] };
        &self.bytes[start..end]
    }
}

/// The byte that each character of GPT-2's alphabet stands for: printable Latin-1 characters for themselves, the other
/// bytes, in order, for the characters from U+0100 on.
fn inverse() -> [Option<u8>; 0x144] {
    let mut table = [None; 0x144];
    let mut next = 0x100;
    for byte in 0..=255u8 {
        let itself = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        let at = if itself { byte as usize } else { next };
        next += usize::from(!itself);
        table[at] = Some(byte);
    }
    table
}

/// Turns ids into text as they come. What it gives, together with what [`StreamDecoder::finish`] gives, is exactly
/// the text of all ids at once; a character whose bytes are spread over tokens comes with its last one.
#[derive(Debug)]
pub struct StreamDecoder<'t> {
    tokenizer: &'t Tokenizer,
    special: Special,
    /// Bytes of an unfinished character.
    pending: Vec<u8>,
    /// For tokenizers whose tokens are not bytes: ids since the last clean cut, and how much of their text is out.
    ids: Vec<u32>,
    out: usize,
}

impl<'t> StreamDecoder<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer, special: Special) -> Self {
        Self { tokenizer, special, pending: Vec::new(), ids: Vec::new(), out: 0 }
    }

    /// The text that `id` completes, possibly none.
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
        let Some(table) = self.tokenizer.table() else { return self.push_general(id) };
        if self.tokenizer.shows(id, self.special) {
            self.pending.extend_from_slice(table.get(id));
        }
        Ok(complete(&mut self.pending))
    }

    /// What is left: an unfinished character, as the replacement character.
    pub fn finish(mut self) -> Result<String, TextError> {
        if self.tokenizer.table().is_some() {
            return Ok(String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned());
        }
        let text = self.tokenizer.decode(&self.ids, self.special)?;
        Ok(text.get(self.out..).unwrap_or_default().to_owned())
    }

    /// Other tokenizers (with word-start marks, say) need the neighbours of a token: the whole text since the last cut
    /// is decoded again, and what is new is given unless it ends inside a character.
    fn push_general(&mut self, id: u32) -> Result<String, TextError> {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids, self.special)?;
        if text.ends_with('\u{FFFD}') {
            return Ok(String::new());
        }
        let new = text.get(self.out..).unwrap_or_default().to_owned();
        self.out = text.len();
        // Keep the last token as the left neighbour of the next, so that the window stays short.
        if self.ids.len() > 64 {
            let keep = self.ids[self.ids.len() - 1];
            self.ids = vec![keep];
            self.out = self.tokenizer.decode(&self.ids, self.special)?.len();
        }
        Ok(new)
    }
}

/// Takes the complete characters off the front; bytes that can never become one become U+FFFD, as in
/// [`String::from_utf8_lossy`].
fn complete(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut at = 0;
    loop {
        match std::str::from_utf8(&pending[at..]) {
            Ok(rest) => {
                text.push_str(rest);
                at = pending.len();
                break;
            }
            Err(e) => {
                let good = at + e.valid_up_to();
                text.push_str(std::str::from_utf8(&pending[at..good]).expect("valid up to there"));
                let Some(bad) = e.error_len() else {
                    at = good;
                    break;
                };
                text.push('\u{FFFD}');
                at = good + bad;
            }
        }
    }
    pending.drain(..at);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_alphabet_is_complete() {
        let mut bytes: Vec<u8> = inverse().into_iter().flatten().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        // A space is written as U+0120, a line feed as U+010A.
        assert_eq!((inverse()[0x120], inverse()[0x10A]), (Some(b' '), Some(b'\n')));
    }

    proptest! {
        #[test]
        fn pieces_make_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..60), cuts in prop::collection::vec(0usize..5, 1..20)) {
            let (mut pending, mut text, mut at, mut cut) = (Vec::new(), String::new(), 0, cuts.iter().cycle());
            while at < bytes.len() {
                let n = (*cut.next().unwrap()).clamp(1, bytes.len() - at);
                pending.extend_from_slice(&bytes[at..at + n]);
                text.push_str(&complete(&mut pending));
                prop_assert!(pending.len() < 4);
                at += n;
            }
            text.push_str(&String::from_utf8_lossy(&pending));
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}
