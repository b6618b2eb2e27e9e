//! Reading what stands before a pack's data, and judging it against the file.

use super::encode::{ATTACHMENT_ROW, ROW};
use super::{FORMAT, FORMAT_OF_ENTRIES, MAGIC, Manifest, Row};
use crate::bytes::{Reader, Sum, sum};
use crate::digest::Digest;
use crate::envelope::OVERHEAD;
use crate::error::CacheError;
use crate::key::StoreKey;
use std::collections::BTreeMap;
use std::ops::Range;

/// What stands before the data.
pub(super) struct Head {
    pub(super) manifest: Manifest,
    pub(super) digest: Digest,
    pub(super) format: u32,
    pub(super) entries: Vec<(StoreKey, Row)>,
    pub(super) extras: Vec<(StoreKey, Row)>,
    pub(super) attachments: BTreeMap<Digest, Range<usize>>,
}

pub(super) fn parse(bytes: &[u8], name: &str) -> Result<Head, CacheError> {
    let damaged = |reason: &str| CacheError::damaged(name, reason);
    let short = || damaged(&format!("its {} bytes end inside the head", bytes.len()));
    let mut reader = Reader::new(bytes);
    if reader.take(MAGIC.len()).ok_or_else(short)? != MAGIC {
        return Err(damaged("it does not begin as a jet pack"));
    }
    let format = reader.u32().ok_or_else(short)?;
    if format > FORMAT {
        return Err(CacheError::NewerFormat { what: name.to_owned(), found: format, known: FORMAT });
    }
    if format == 0 {
        return Err(damaged("its format is 0, and formats begin at 1"));
    }
    let manifest_length = reader.u32().ok_or_else(short)? as usize;
    let entries = reader.u32().ok_or_else(short)? as usize;
    let attachments = reader.u32().ok_or_else(short)? as usize;
    let data_length = reader.u64().ok_or_else(short)?;
    let extras = if format > FORMAT_OF_ENTRIES { reader.u32().ok_or_else(short)? as usize } else { 0 };
    // `take` refuses what is longer than the file, so a damaged count allocates nothing.
    let manifest = reader.take(manifest_length).ok_or_else(short)?;
    let entry_index = reader.take(entries.saturating_mul(ROW)).ok_or_else(short)?;
    let extra_index = reader.take(extras.saturating_mul(ROW)).ok_or_else(short)?;
    let attachment_index = reader.take(attachments.saturating_mul(ATTACHMENT_ROW)).ok_or_else(short)?;
    let head_length = bytes.len() - reader.rest().len();
    let digest: Sum = reader.array().ok_or_else(short)?;
    if sum(&bytes[..head_length]) != digest {
        return Err(damaged("the checksum of its head does not match"));
    }
    if reader.rest().len() as u64 != data_length {
        return Err(damaged(&format!(
            "{data_length} bytes of data should follow, {} do",
            reader.rest().len()
        )));
    }
    let manifest = serde_json::from_slice(manifest).map_err(|e| damaged(&format!("its manifest: {e}")))?;
    let mut data = Region { next: head_length + digest.len(), end: bytes.len() };
    let disorder = |what: &str| damaged(&format!("its index of {what} is not in order"));
    let entries = rows(entry_index, &mut data).ok_or_else(|| disorder("records"))?;
    let extras = rows(extra_index, &mut data).ok_or_else(|| disorder("extras"))?;
    let attachments = attachment_rows(attachment_index, &mut data).ok_or_else(|| disorder("attachments"))?;
    if data.next != data.end {
        return Err(damaged("its data holds bytes that no index names"));
    }
    Ok(Head { manifest, digest: Digest::from_bytes(digest), format, entries, extras, attachments })
}

/// The data behind the head: items follow each other without a gap, in index order.
struct Region {
    next: usize,
    end: usize,
}

impl Region {
    /// The place of the next item, which must begin at `offset` from the start of the file.
    fn place(&mut self, offset: u64, length: u64) -> Option<Range<usize>> {
        let length = usize::try_from(length).ok()?;
        let start = self.next;
        let fits = offset == start as u64 && length <= self.end - start;
        fits.then(|| self.next += length).map(|()| start..start + length)
    }
}

fn rows(index: &[u8], data: &mut Region) -> Option<Vec<(StoreKey, Row)>> {
    let mut rows: Vec<(StoreKey, Row)> = Vec::with_capacity(index.len() / ROW);
    for row in index.chunks_exact(ROW) {
        let mut reader = Reader::new(row);
        let key = StoreKey::from_bytes(reader.take(StoreKey::LEN)?)?;
        let place = data.place(reader.u64()?, u64::from(reader.u32()?))?;
        let in_order = rows.last().is_none_or(|(last, _)| *last < key) && place.len() >= OVERHEAD;
        in_order.then_some(())?;
        rows.push((key, Row { place, sum: reader.array()? }));
    }
    Some(rows)
}

fn attachment_rows(index: &[u8], data: &mut Region) -> Option<BTreeMap<Digest, Range<usize>>> {
    let mut rows = BTreeMap::new();
    for row in index.chunks_exact(ATTACHMENT_ROW) {
        let mut reader = Reader::new(row);
        let digest = Digest::from_bytes(reader.array()?);
        rows.last_key_value().is_none_or(|(last, _)| *last < digest).then_some(())?;
        rows.insert(digest, data.place(reader.u64()?, reader.u64()?)?);
    }
    Some(rows)
}
