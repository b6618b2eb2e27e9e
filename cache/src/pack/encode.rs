//! Writing a pack.

use super::{FORMAT, FORMAT_OF_ENTRIES, FORMAT_OF_EXTRAS, MAGIC, Manifest};
use crate::bytes::sum;
use crate::digest::Digest;
use crate::entry::Entry;
use crate::envelope::magic_of;
use crate::error::CacheError;
use crate::files;
use crate::key::StoreKey;
use crate::recipe;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of one row of the index of entries and of that of extras.
pub(super) const ROW: usize = StoreKey::LEN + 8 + 4 + 32;
/// Bytes of one row of the index of attachments.
pub(super) const ATTACHMENT_ROW: usize = 32 + 8 + 8;

/// The bytes of a pack with these entries, one per task (a later one replaces an earlier), and attachments.
///
/// # Errors
/// [`CacheError::InvalidEntry`] for a record that must not be stored, or more than the counts can hold.
pub fn encode<'a>(
    manifest: &Manifest,
    entries: impl IntoIterator<Item = &'a Entry>,
    attachments: &[&[u8]],
) -> Result<Vec<u8>, CacheError> {
    encode_with_extras(manifest, entries, &BTreeMap::new(), attachments)
}

/// [`encode`] with side records, failures and recipes, sealed already.
pub(crate) fn encode_with_extras<'a>(
    manifest: &Manifest,
    entries: impl IntoIterator<Item = &'a Entry>,
    extras: &BTreeMap<StoreKey, Vec<u8>>,
    attachments: &[&[u8]],
) -> Result<Vec<u8>, CacheError> {
    let mut records = BTreeMap::new();
    for entry in entries {
        records.insert(*entry.key.store_key(), entry.encode()?);
    }
    let attachments: BTreeMap<Digest, &[u8]> =
        attachments.iter().map(|bytes| (Digest::of(bytes), *bytes)).collect();
    let manifest = serde_json::to_vec(manifest).expect("a manifest is text and numbers");
    let sizes = records.values().chain(extras.values()).map(Vec::len);
    let data: usize = sizes.chain(attachments.values().map(|a| a.len())).sum();
    let format = format_for(extras);

    let mut out = MAGIC.to_vec();
    out.extend(format.to_be_bytes());
    out.extend(count(manifest.len())?.to_be_bytes());
    out.extend(count(records.len())?.to_be_bytes());
    out.extend(count(attachments.len())?.to_be_bytes());
    out.extend((data as u64).to_be_bytes());
    if format > FORMAT_OF_ENTRIES {
        out.extend(count(extras.len())?.to_be_bytes());
    }
    out.extend(&manifest);
    let index = (records.len() + extras.len()) * ROW + attachments.len() * ATTACHMENT_ROW;
    let mut offset = (out.len() + index + 32) as u64;
    for (key, record) in records.iter().chain(extras) {
        out.extend(key.as_bytes());
        out.extend(offset.to_be_bytes());
        out.extend(count(record.len())?.to_be_bytes());
        out.extend(record.last_chunk::<32>().expect("a record ends with its checksum"));
        offset += record.len() as u64;
    }
    for (digest, bytes) in &attachments {
        out.extend(digest.as_bytes());
        out.extend(offset.to_be_bytes());
        out.extend((bytes.len() as u64).to_be_bytes());
        offset += bytes.len() as u64;
    }
    let digest = sum(&out);
    out.reserve(digest.len() + data);
    out.extend(digest);
    records.values().chain(extras.values()).for_each(|record| out.extend(record));
    attachments.values().for_each(|bytes| out.extend(*bytes));
    Ok(out)
}

/// The lowest format that has room for these extras.
fn format_for(extras: &BTreeMap<StoreKey, Vec<u8>>) -> u32 {
    let recipe = |bytes: &Vec<u8>| magic_of(bytes) == Some(recipe::MAGIC);
    if extras.is_empty() {
        FORMAT_OF_ENTRIES
    } else if extras.values().any(recipe) {
        FORMAT
    } else {
        FORMAT_OF_EXTRAS
    }
}

fn count(n: usize) -> Result<u32, CacheError> {
    let too_many = |_| CacheError::InvalidEntry {
        task: "a pack".into(),
        reason: format!("{n} are more of something than the 4,294,967,295 that a pack can count"),
    };
    u32::try_from(n).map_err(too_many)
}

/// Writes a pack file, whole or not at all.
///
/// # Errors
/// Those of [`encode`], and [`CacheError::NotWritable`].
pub fn write<'a>(
    path: &Path,
    manifest: &Manifest,
    entries: impl IntoIterator<Item = &'a Entry>,
    attachments: &[&[u8]],
) -> Result<(), CacheError> {
    files::write_atomically(path, &encode(manifest, entries, attachments)?)
}
