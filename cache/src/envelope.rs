//! What every stored record has around it: four letters, a format, a length, JSON, and a SHA-256 over all of it.

use crate::bytes::{Reader, Sum, sum};
use crate::error::CacheError;
use crate::key::StoreKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes around the payload: letters, format and length in front, the checksum behind.
pub(crate) const OVERHEAD: usize = 4 + 4 + 4 + 32;

/// One kind of record.
pub(crate) struct Kind {
    /// Its first four bytes.
    pub(crate) magic: &'static [u8; 4],
    /// The highest format that this build reads and writes.
    pub(crate) format: u32,
}

/// A record of one kind: it can be checked, has a place in a store, and is JSON inside.
pub(crate) trait Stored: Serialize + DeserializeOwned {
    const KIND: Kind;

    /// The format that this record is written in: the lowest that has all it needs, so that as many readers as can be know it.
    fn format(&self) -> u32 {
        Self::KIND.format
    }

    /// Where it stands.
    fn place(&self) -> StoreKey;

    /// What it is about, for errors.
    fn subject(&self) -> String;

    /// The rule that it breaks, if any.
    fn broken_rule(&self) -> Option<String>;

    fn check_rules(&self) -> Result<(), CacheError> {
        let broken = self.broken_rule();
        broken.map_or(Ok(()), |reason| Err(CacheError::InvalidEntry { task: self.subject(), reason }))
    }

    fn seal(&self) -> Result<Vec<u8>, CacheError> {
        self.check_rules()?;
        let invalid = |reason: String| CacheError::InvalidEntry { task: self.subject(), reason };
        let payload = serde_json::to_vec(self).map_err(|e| invalid(e.to_string()))?;
        let length =
            u32::try_from(payload.len()).map_err(|_| invalid("it is larger than 4 GiB".to_owned()))?;
        let mut out = Vec::with_capacity(payload.len() + OVERHEAD);
        out.extend(Self::KIND.magic);
        out.extend(self.format().to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(payload);
        let check = sum(&out);
        out.extend(check);
        Ok(out)
    }

    fn unseal(bytes: &[u8], what: &str) -> Result<Self, CacheError> {
        let payload = open(&Self::KIND, bytes, what)?;
        let record: Self = serde_json::from_slice(payload)
            .map_err(|e| CacheError::damaged(what, format!("its payload is not a record: {e}")))?;
        record.check_rules().map_err(|e| CacheError::damaged(what, e.to_string()))?;
        Ok(record)
    }
}

/// The four letters that a record begins with.
pub(crate) fn magic_of(bytes: &[u8]) -> Option<&[u8; 4]> {
    bytes.first_chunk()
}

/// Checks letters, format, length and checksum, and gives the payload.
fn open<'a>(kind: &Kind, bytes: &'a [u8], what: &str) -> Result<&'a [u8], CacheError> {
    let short = || CacheError::damaged(what, format!("{} bytes are too few for a record", bytes.len()));
    let mut reader = Reader::new(bytes);
    if reader.take(4).ok_or_else(short)? != kind.magic {
        let letters = String::from_utf8_lossy(kind.magic);
        return Err(CacheError::damaged(what, format!("it does not begin with {letters}")));
    }
    let format = reader.u32().ok_or_else(short)?;
    if format > kind.format {
        return Err(CacheError::NewerFormat { what: what.to_owned(), found: format, known: kind.format });
    }
    if format == 0 {
        return Err(CacheError::damaged(what, "its format is 0, and formats begin at 1"));
    }
    let length = reader.u32().ok_or_else(short)? as usize;
    let payload = reader.take(length).ok_or_else(short)?;
    let stored: Sum = reader.array().ok_or_else(short)?;
    if !reader.rest().is_empty() {
        return Err(CacheError::damaged(what, format!("{} bytes follow its end", reader.rest().len())));
    }
    if sum(&bytes[..bytes.len() - stored.len()]) != stored {
        return Err(CacheError::damaged(what, "its checksum does not match"));
    }
    Ok(payload)
}

/// The first number that is no size, time or error.
pub(crate) fn first_unusable(numbers: &[f64]) -> Option<f64> {
    numbers.iter().copied().find(|n| !n.is_finite() || *n < 0.0)
}
