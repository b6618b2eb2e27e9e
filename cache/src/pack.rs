//! A pack: many records in one read-only file, for shipping and for sessions to read.
//!
//! The file is a header, a manifest, two sorted indexes and a checksum over these, then the data. The indexes hold
//! the checksum of each record and attachment, so the one checksum stands for the whole file, and loading need
//! not touch the data: a record is verified and parsed when it is first asked for, and kept. Look-ups take no lock and
//! any number of processes can read the same file. `docs/format.md` draws the bytes.

use crate::bytes::{Reader, Sum, hex, sum};
use crate::entry::{Entry, OVERHEAD};
use crate::error::CacheError;
use crate::files;
use crate::key::StoreKey;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Format of the pack file. A file of a higher one is refused by name.
pub const FORMAT: u32 = 1;

/// First bytes of a pack.
pub const MAGIC: &[u8; 8] = b"JETPACK\n";

const HEADER: usize = 8 + 4 + 4 + 4 + 4 + 8;
const RECORD_ROW: usize = StoreKey::LEN + 8 + 4 + 32;
const ATTACHMENT_ROW: usize = 32 + 8 + 8;

/// What a pack says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Version of jet that wrote it.
    pub jet: String,
    /// Seconds since 1970, UTC.
    pub created: u64,
    /// The devices its records are for, as [`crate::Fingerprint`] prints them.
    pub devices: Vec<String>,
    /// For a person.
    pub note: String,
}

impl Manifest {
    /// A manifest for `entries`: their devices, and who writes them when (seconds since 1970).
    pub fn describe<'a>(entries: impl IntoIterator<Item = &'a Entry>, jet: &str, created: u64) -> Self {
        let mut devices: Vec<_> = entries.into_iter().map(|e| e.key.fields().device.to_string()).collect();
        devices.sort();
        devices.dedup();
        Self { jet: jet.to_owned(), created, devices, note: String::new() }
    }
}

/// One row of the record index.
struct Row {
    key: StoreKey,
    start: usize,
    length: usize,
    sum: Sum,
    /// The verified record, or what is wrong with it; filled by the first look-up.
    parsed: OnceLock<Result<Arc<Entry>, String>>,
}

/// A loaded pack.
pub struct Pack {
    name: String,
    bytes: Cow<'static, [u8]>,
    manifest: Manifest,
    digest: Sum,
    rows: Vec<Row>,
    attachments: BTreeMap<Sum, (usize, usize)>,
}

impl Pack {
    /// Reads a pack file; `None` where there is none.
    ///
    /// # Errors
    /// [`CacheError::NotReadable`], and those of [`Pack::from_bytes`].
    pub fn load(path: &Path) -> Result<Option<Self>, CacheError> {
        let bytes = files::read_if_there(path)?;
        bytes.map(|bytes| Self::from_bytes(bytes, &path.display().to_string())).transpose()
    }

    /// A pack from its bytes, owned or compiled into the program; `name` stands for it in errors.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where length, checksum or index are wrong; [`CacheError::NewerFormat`].
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>, name: &str) -> Result<Self, CacheError> {
        let bytes = bytes.into();
        let head = parse(&bytes, name)?;
        Ok(Self {
            name: name.to_owned(),
            manifest: head.manifest,
            digest: head.digest,
            rows: head.rows,
            attachments: head.attachments,
            bytes,
        })
    }

    /// What the pack says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How it is called in errors: its path, as a rule.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The checksum that stands for the whole content, in hexadecimal: equal packs, equal digests.
    pub fn digest(&self) -> String {
        hex(&self.digest)
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The record under `key`.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where its bytes are not those that the index vouches for.
    pub fn get(&self, key: &StoreKey) -> Result<Option<Arc<Entry>>, CacheError> {
        match self.rows.binary_search_by(|row| row.key.cmp(key)) {
            Ok(at) => self.record(&self.rows[at]).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The nearest stored buckets of the same task below and above the one of `key`, which need not be stored.
    pub fn neighbours(&self, key: &StoreKey) -> (Option<StoreKey>, Option<StoreKey>) {
        let below = self.rows.partition_point(|row| row.key < *key);
        let above = self.rows.partition_point(|row| row.key <= *key);
        let same = |row: Option<&Row>| row.map(|r| r.key).filter(|k| k.task() == key.task());
        (same(below.checked_sub(1).and_then(|at| self.rows.get(at))), same(self.rows.get(above)))
    }

    /// Every record in store order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = Result<Arc<Entry>, CacheError>> + '_ {
        self.rows.iter().map(|row| self.record(row))
    }

    /// A file that travels with the records, by its SHA-256.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where its bytes have another digest.
    pub fn attachment(&self, digest: &[u8; 32]) -> Result<Option<&[u8]>, CacheError> {
        let Some(&(start, length)) = self.attachments.get(digest) else { return Ok(None) };
        let bytes = &self.bytes[start..start + length];
        if sum(bytes) != *digest {
            return Err(CacheError::damaged(
                &self.name,
                format!("attachment {} has other bytes", hex(digest)),
            ));
        }
        Ok(Some(bytes))
    }

    /// Verifies every record and attachment.
    ///
    /// # Errors
    /// The first fault, as [`Pack::get`] and [`Pack::attachment`] report it.
    pub fn verify(&self) -> Result<(), CacheError> {
        self.entries().try_for_each(|entry| entry.map(drop))?;
        self.attachments.keys().try_for_each(|digest| self.attachment(digest).map(drop))
    }

    fn record(&self, row: &Row) -> Result<Arc<Entry>, CacheError> {
        let parsed = row.parsed.get_or_init(|| self.parse_record(row).map(Arc::new));
        parsed.clone().map_err(|reason| CacheError::Damaged { what: self.name.clone(), reason })
    }

    fn parse_record(&self, row: &Row) -> Result<Entry, String> {
        let bytes = &self.bytes[row.start..row.start + row.length];
        let what = format!("record {:?}", row.key);
        if bytes.last_chunk() != Some(&row.sum) {
            return Err(format!("{what} is not the one that the index names"));
        }
        let entry = Entry::decode(bytes, &what).map_err(|e| e.to_string())?;
        match *entry.key.store_key() == row.key {
            true => Ok(entry),
            false => Err(format!("{what} holds {}, another task", entry.key)),
        }
    }
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({}, {} records, {})", self.name, self.len(), &self.digest()[..12])
    }
}

/// What stands before the data.
struct Head {
    manifest: Manifest,
    digest: Sum,
    rows: Vec<Row>,
    attachments: BTreeMap<Sum, (usize, usize)>,
}

fn parse(bytes: &[u8], name: &str) -> Result<Head, CacheError> {
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
    let records = reader.u32().ok_or_else(short)? as usize;
    let attachments = reader.u32().ok_or_else(short)? as usize;
    let data_length = reader.u64().ok_or_else(short)?;
    // `take` refuses what is longer than the file, so a damaged count allocates nothing.
    let manifest = reader.take(manifest_length).ok_or_else(short)?;
    let record_index = reader.take(records.saturating_mul(RECORD_ROW)).ok_or_else(short)?;
    let attachment_index = reader.take(attachments.saturating_mul(ATTACHMENT_ROW)).ok_or_else(short)?;
    let head_length = HEADER + manifest.len() + record_index.len() + attachment_index.len();
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
    let rows = record_rows(record_index, &mut data)
        .ok_or_else(|| damaged("its index of records is not in order"))?;
    let attachments = attachment_rows(attachment_index, &mut data)
        .ok_or_else(|| damaged("its index of attachments is not in order"))?;
    if data.next != data.end {
        return Err(damaged("its data holds bytes that no index names"));
    }
    Ok(Head { manifest, digest, rows, attachments })
}

/// The data behind the head: items follow each other without a gap, in index order.
struct Region {
    next: usize,
    end: usize,
}

impl Region {
    /// The place of the next item, which must begin at `offset` from the start of the file.
    fn place(&mut self, offset: u64, length: u64) -> Option<(usize, usize)> {
        let length = usize::try_from(length).ok()?;
        let start = self.next;
        let fits = offset == start as u64 && length <= self.end - start;
        fits.then(|| self.next += length).map(|()| (start, length))
    }
}

fn record_rows(index: &[u8], data: &mut Region) -> Option<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::with_capacity(index.len() / RECORD_ROW);
    for row in index.chunks_exact(RECORD_ROW) {
        let mut reader = Reader::new(row);
        let key = StoreKey::from_bytes(reader.take(StoreKey::LEN)?)?;
        let (start, length) = data.place(reader.u64()?, u64::from(reader.u32()?))?;
        let in_order = rows.last().is_none_or(|last| last.key < key) && length >= OVERHEAD;
        in_order.then_some(())?;
        rows.push(Row { key, start, length, sum: reader.array()?, parsed: OnceLock::new() });
    }
    Some(rows)
}

fn attachment_rows(index: &[u8], data: &mut Region) -> Option<BTreeMap<Sum, (usize, usize)>> {
    let mut rows = BTreeMap::new();
    for row in index.chunks_exact(ATTACHMENT_ROW) {
        let mut reader = Reader::new(row);
        let digest: Sum = reader.array()?;
        rows.last_key_value().is_none_or(|(last, _)| *last < digest).then_some(())?;
        rows.insert(digest, data.place(reader.u64()?, reader.u64()?)?);
    }
    Some(rows)
}

/// The bytes of a pack with these records, one per task (a later one replaces an earlier), and attachments.
///
/// # Errors
/// [`CacheError::InvalidEntry`] for a record that must not be stored, or more than the counts can hold.
pub fn encode<'a>(
    manifest: &Manifest,
    entries: impl IntoIterator<Item = &'a Entry>,
    attachments: &[&[u8]],
) -> Result<Vec<u8>, CacheError> {
    let mut records = BTreeMap::new();
    for entry in entries {
        records.insert(*entry.key.store_key(), entry.encode()?);
    }
    let attachments: BTreeMap<Sum, &[u8]> = attachments.iter().map(|bytes| (sum(bytes), *bytes)).collect();
    let too_large =
        |_| CacheError::InvalidEntry { task: "a pack".into(), reason: "more than 2^32 of something".into() };
    let count = |n: usize| u32::try_from(n).map_err(too_large);
    let manifest = serde_json::to_vec(manifest).expect("a manifest is text and numbers");
    let data: usize = records.values().map(Vec::len).chain(attachments.values().map(|a| a.len())).sum();

    let mut out = MAGIC.to_vec();
    out.extend(FORMAT.to_be_bytes());
    out.extend(count(manifest.len())?.to_be_bytes());
    out.extend(count(records.len())?.to_be_bytes());
    out.extend(count(attachments.len())?.to_be_bytes());
    out.extend((data as u64).to_be_bytes());
    out.extend(&manifest);
    let mut offset =
        (out.len() + records.len() * RECORD_ROW + attachments.len() * ATTACHMENT_ROW + 32) as u64;
    for (key, record) in &records {
        out.extend(key.as_bytes());
        out.extend(offset.to_be_bytes());
        out.extend(count(record.len())?.to_be_bytes());
        out.extend(record.last_chunk::<32>().expect("a record ends with its checksum"));
        offset += record.len() as u64;
    }
    for (digest, bytes) in &attachments {
        out.extend(digest);
        out.extend(offset.to_be_bytes());
        out.extend((bytes.len() as u64).to_be_bytes());
        offset += bytes.len() as u64;
    }
    let digest = sum(&out);
    out.extend(digest);
    records.values().for_each(|record| out.extend(record));
    attachments.values().for_each(|bytes| out.extend(*bytes));
    Ok(out)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::sample;

    fn bytes() -> Vec<u8> {
        let entries = [sample(512, 8), sample(1, 4), sample(64, 16)];
        let manifest = Manifest::describe(&entries, "0.1.0", 1_700_000_000);
        encode(&manifest, &entries, &[b"second", b"first"]).unwrap()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let pack = Pack::from_bytes(bytes(), "p").unwrap();
        assert_eq!((pack.len(), pack.manifest().devices.len()), (3, 1));
        for entry in [sample(512, 8), sample(1, 4), sample(64, 16)] {
            assert_eq!(*pack.get(entry.key.store_key()).unwrap().unwrap(), entry);
        }
        assert!(pack.get(sample(2, 4).key.store_key()).unwrap().is_none());
        assert_eq!(pack.attachment(&sum(b"first")).unwrap(), Some(&b"first"[..]));
        assert_eq!(pack.attachment(&sum(b"third")).unwrap(), None);
        pack.verify().unwrap();
    }

    #[test]
    fn packing_the_unpacked_gives_the_same_bytes() {
        let pack = Pack::from_bytes(bytes(), "p").unwrap();
        let entries: Vec<_> = pack.entries().map(|e| (*e.unwrap()).clone()).rev().collect();
        assert_eq!(encode(pack.manifest(), &entries, &[b"first", b"second"]).unwrap(), bytes());
    }

    #[test]
    fn an_empty_pack_is_a_pack() {
        let pack = Pack::from_bytes(encode(&Manifest::default(), [], &[]).unwrap(), "p").unwrap();
        assert!(pack.is_empty() && pack.verify().is_ok());
        assert_eq!(pack.neighbours(sample(1, 1).key.store_key()), (None, None));
    }

    #[test]
    fn neighbours_are_the_nearest_buckets_of_the_same_task() {
        let pack = Pack::from_bytes(bytes(), "p").unwrap();
        let near = |tokens| {
            let (below, above) = pack.neighbours(sample(tokens, 1).key.store_key());
            (below.map(|k| k.bucket()), above.map(|k| k.bucket()))
        };
        assert_eq!(near(2), (Some(1), Some(64)));
        assert_eq!(near(64), (Some(1), Some(512)));
        assert_eq!(near(900), (Some(512), None));
        assert_eq!(near(0), (None, Some(1)));
        let other = crate::TaskKey::new(sample(64, 1).key.fields().clone().dim("n", 7));
        assert_eq!(pack.neighbours(other.store_key()), (None, None));
    }

    #[test]
    fn a_flipped_byte_anywhere_is_noticed() {
        let good = bytes();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            let noticed = Pack::from_bytes(bad, "p").and_then(|pack| pack.verify());
            assert!(noticed.is_err(), "byte {at} went unnoticed");
        }
    }

    #[test]
    fn a_truncated_or_longer_pack_is_refused_at_once() {
        let good = bytes();
        for length in 0..good.len() {
            assert!(Pack::from_bytes(good[..length].to_vec(), "p").is_err(), "{length} bytes were accepted");
        }
        assert!(Pack::from_bytes([good, vec![0]].concat(), "p").is_err());
    }

    #[test]
    fn a_damaged_record_spoils_only_itself() {
        let mut bad = bytes();
        let end = bad.len() - b"first".len() - b"second".len() - 40;
        bad[end] ^= 1;
        let pack = Pack::from_bytes(bad, "p").unwrap();
        let broken = pack.entries().filter(Result::is_err).count();
        assert_eq!(broken, 1);
        assert!(pack.get(sample(1, 4).key.store_key()).is_ok_and(|e| e.is_some()));
        let message = pack.get(sample(512, 8).key.store_key()).unwrap_err().to_string();
        assert!(message.contains("p is damaged") && message.contains("checksum"), "{message}");
    }

    #[test]
    fn a_record_under_another_tasks_key_is_refused() {
        // A forged pack whose checksums are right but whose index names another task.
        let (mut a, b) = (encode(&Manifest::default(), &[sample(64, 8)], &[]).unwrap(), sample(65, 8));
        let key_at = HEADER + serde_json::to_vec(&Manifest::default()).unwrap().len();
        a[key_at..key_at + 40].copy_from_slice(b.key.store_key().as_bytes());
        let head = key_at + RECORD_ROW;
        let digest = sum(&a[..head]);
        a[head..head + 32].copy_from_slice(&digest);
        let pack = Pack::from_bytes(a, "p").unwrap();
        assert!(pack.get(b.key.store_key()).unwrap_err().to_string().contains("another task"));
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut newer = bytes();
        newer[11] = 2;
        assert!(Pack::from_bytes(newer, "p").unwrap_err().to_string().contains("format 2"));
    }
}
