//! A pack: many records in one read-only file, for shipping and for sessions to read.
//!
//! The file is a header, a manifest, sorted indexes and a checksum over these, then the data. The indexes hold
//! the checksum of each record and attachment, so the one checksum stands for the whole file, and loading need
//! not touch the data: a record is verified and parsed when it is first asked for, and kept. Look-ups take no lock and
//! any number of processes can read the same file. `docs/format.md` draws the bytes.
//!
//! Sessions ask for entries, and for the recipe of their model. A pack may also carry the *extras* that only tuners want,
//! side records and failures (format 2; recipes among them, format 3), and as attachments the compiled kernels that entries
//! name, each once.

mod encode;
mod parse;

pub(crate) use encode::encode_with_extras;
pub use encode::{encode, write};

use crate::bytes::Sum;
use crate::digest::Digest;
use crate::entry::Entry;
use crate::envelope::{Stored, magic_of};
use crate::error::CacheError;
use crate::failure::Failure;
use crate::files;
use crate::key::StoreKey;
use crate::recipe::{RecipeKey, StoredRecipe};
use crate::trials::Trials;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The highest format of the pack file. A file of a higher one is refused by name. A pack without recipes is written as
/// [`FORMAT_OF_EXTRAS`], one without extras as [`FORMAT_OF_ENTRIES`], which every jet reads.
pub const FORMAT: u32 = 3;

/// The format of a pack whose extras are side records and failures.
pub const FORMAT_OF_EXTRAS: u32 = 2;

/// The format of a pack that holds entries and attachments only.
pub const FORMAT_OF_ENTRIES: u32 = 1;

/// First bytes of a pack.
pub const MAGIC: &[u8; 8] = b"JETPACK\n";

/// Whether `bytes` begin as a pack does; [`Pack::from_bytes`] says the rest. A `const fn`, so that a program which
/// embeds another file does not compile.
pub const fn begins_as_pack(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < MAGIC.len() {
        if at >= bytes.len() || bytes[at] != MAGIC[at] {
            return false;
        }
        at += 1;
    }
    true
}

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

/// Where a record stands, and what its checksum is.
struct Row {
    place: Range<usize>,
    sum: Sum,
}

/// An entry's row.
struct EntryRow {
    row: Row,
    /// The verified entry, or what is wrong with it; filled by the first look-up.
    parsed: OnceLock<Result<Arc<Entry>, String>>,
}

/// A loaded pack.
pub struct Pack {
    name: String,
    bytes: Cow<'static, [u8]>,
    manifest: Manifest,
    digest: Digest,
    format: u32,
    /// The first eight bytes of each key: where a search begins, since it is small enough to stay in a cache.
    prefixes: Vec<u64>,
    /// In order, apart from the rows: a search touches nothing else.
    keys: Vec<StoreKey>,
    entries: Vec<EntryRow>,
    extras: Vec<(StoreKey, Row)>,
    attachments: BTreeMap<Digest, Range<usize>>,
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
        let head = parse::parse(&bytes, name)?;
        let (keys, rows): (Vec<_>, Vec<_>) = head.entries.into_iter().unzip();
        Ok(Self {
            name: name.to_owned(),
            manifest: head.manifest,
            digest: head.digest,
            format: head.format,
            prefixes: keys.iter().map(StoreKey::prefix).collect(),
            keys,
            entries: rows.into_iter().map(|row| EntryRow { row, parsed: OnceLock::new() }).collect(),
            extras: head.extras,
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

    /// The format it was written in.
    pub fn format(&self) -> u32 {
        self.format
    }

    /// The checksum that stands for the whole content: equal packs, equal digests. Ranks of one job compare it before they
    /// start.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry under `key`.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where its bytes are not those that the index vouches for.
    pub fn get(&self, key: &StoreKey) -> Result<Option<Arc<Entry>>, CacheError> {
        self.search(key).ok().map(|at| self.entry(at)).transpose()
    }

    /// The nearest stored buckets of the same task below and above the one of `key`, which need not be stored.
    pub fn neighbours(&self, key: &StoreKey) -> (Option<StoreKey>, Option<StoreKey>) {
        let (below, above) = match self.search(key) {
            Ok(at) => (at, at + 1),
            Err(at) => (at, at),
        };
        let same = |key_there: Option<&StoreKey>| key_there.copied().filter(|k| k.task() == key.task());
        (same(below.checked_sub(1).and_then(|at| self.keys.get(at))), same(self.keys.get(above)))
    }

    /// Every entry in store order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = Result<Arc<Entry>, CacheError>> + '_ {
        (0..self.entries.len()).map(|at| self.entry(at))
    }

    /// Every side record in store order.
    pub fn trials(&self) -> impl Iterator<Item = Result<Trials, CacheError>> + '_ {
        self.extras_of()
    }

    /// Every failed candidate in store order.
    pub fn failures(&self) -> impl Iterator<Item = Result<Failure, CacheError>> + '_ {
        self.extras_of()
    }

    /// Every recipe in store order.
    pub fn recipes(&self) -> impl Iterator<Item = Result<StoredRecipe, CacheError>> + '_ {
        self.extras_of()
    }

    /// The recipe under `key`.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where its bytes are not those that the index vouches for.
    pub fn recipe(&self, key: &RecipeKey) -> Result<Option<StoredRecipe>, CacheError> {
        let key = key.store_key();
        let Ok(at) = self.extras.binary_search_by_key(&key, |(there, _)| *there) else { return Ok(None) };
        let read = self.read_record(&key, &self.extras[at].1);
        read.map(Some).map_err(|reason| CacheError::Damaged { what: self.name.clone(), reason })
    }

    /// The digests of the files that travel with the records, in order.
    pub fn attachments(&self) -> impl ExactSizeIterator<Item = Digest> + '_ {
        self.attachments.keys().copied()
    }

    /// A file that travels with the records.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where its bytes have another digest.
    pub fn attachment(&self, digest: &Digest) -> Result<Option<&[u8]>, CacheError> {
        let Some(place) = self.attachments.get(digest) else { return Ok(None) };
        let bytes = &self.bytes[place.clone()];
        if Digest::of(bytes) != *digest {
            return Err(CacheError::damaged(&self.name, format!("attachment {digest} has other bytes")));
        }
        Ok(Some(bytes))
    }

    /// Verifies every record and attachment.
    ///
    /// # Errors
    /// The first fault, as [`Pack::get`] and [`Pack::attachment`] report it.
    pub fn verify(&self) -> Result<(), CacheError> {
        self.entries().try_for_each(|entry| entry.map(drop))?;
        self.trials().try_for_each(|trials| trials.map(drop))?;
        self.failures().try_for_each(|failure| failure.map(drop))?;
        self.recipes().try_for_each(|recipe| recipe.map(drop))?;
        self.check_kinds()?;
        self.attachments.keys().try_for_each(|digest| self.attachment(digest).map(drop))
    }

    /// Where `key` is in the index, or where it would be.
    fn search(&self, key: &StoreKey) -> Result<usize, usize> {
        let prefix = key.prefix();
        let start = self.prefixes.partition_point(|p| *p < prefix);
        // A task has few buckets, and two tasks of one prefix are unlikely.
        let length = self.prefixes[start..].iter().take_while(|p| **p == prefix).count();
        let found = self.keys[start..start + length].binary_search(key);
        found.map(|at| start + at).map_err(|at| start + at)
    }

    /// That every extra is of a kind that this build knows: a new kind comes with a new format of the pack.
    pub(crate) fn check_kinds(&self) -> Result<(), CacheError> {
        let known = [Trials::KIND.magic, Failure::KIND.magic, StoredRecipe::KIND.magic];
        let stranger =
            |row: &Row| magic_of(&self.bytes[row.place.clone()]).is_none_or(|magic| !known.contains(&magic));
        match self.extras.iter().find(|(_, row)| stranger(row)) {
            None => Ok(()),
            Some((key, _)) => {
                Err(CacheError::damaged(&self.name, format!("record {key:?} is of no known kind")))
            }
        }
    }

    fn entry(&self, at: usize) -> Result<Arc<Entry>, CacheError> {
        let (key, row) = (&self.keys[at], &self.entries[at]);
        let parsed = row.parsed.get_or_init(|| self.read_record(key, &row.row).map(Arc::new));
        parsed.clone().map_err(|reason| CacheError::Damaged { what: self.name.clone(), reason })
    }

    fn extras_of<T: Stored>(&self) -> impl Iterator<Item = Result<T, CacheError>> + '_ {
        let of_kind = |row: &Row| magic_of(&self.bytes[row.place.clone()]) == Some(T::KIND.magic);
        self.extras.iter().filter(move |(_, row)| of_kind(row)).map(|(key, row)| {
            self.read_record(key, row)
                .map_err(|reason| CacheError::Damaged { what: self.name.clone(), reason })
        })
    }

    fn read_record<T: Stored>(&self, key: &StoreKey, row: &Row) -> Result<T, String> {
        let bytes = &self.bytes[row.place.clone()];
        let what = format!("record {key:?}");
        if bytes.last_chunk() != Some(&row.sum) {
            return Err(format!("{what} is not the one that the index names"));
        }
        let record = T::unseal(bytes, &what).map_err(|e| e.to_string())?;
        match record.place() == *key {
            true => Ok(record),
            false => Err(format!("{what} holds {}, another task", record.subject())),
        }
    }
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({}, {} records, {:?})", self.name, self.len(), self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::sum;
    use crate::entry::tests::sample;
    use encode::ROW;

    /// Bytes of the header of a pack without extras.
    const HEADER_OF_ENTRIES: usize = 8 + 4 + 4 + 4 + 4 + 8;

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
        assert_eq!(pack.attachment(&Digest::of(b"first")).unwrap(), Some(&b"first"[..]));
        assert_eq!(pack.attachment(&Digest::of(b"third")).unwrap(), None);
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
        let key_at = HEADER_OF_ENTRIES + serde_json::to_vec(&Manifest::default()).unwrap().len();
        a[key_at..key_at + 40].copy_from_slice(b.key.store_key().as_bytes());
        let head = key_at + ROW;
        let digest = sum(&a[..head]);
        a[head..head + 32].copy_from_slice(&digest);
        let pack = Pack::from_bytes(a, "p").unwrap();
        assert!(pack.get(b.key.store_key()).unwrap_err().to_string().contains("another task"));
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut newer = bytes();
        newer[11] = 4;
        assert!(Pack::from_bytes(newer, "p").unwrap_err().to_string().contains("format 4"));
    }

    #[test]
    fn what_begins_as_a_pack_is_known_while_compiling() {
        const YES: bool = begins_as_pack(b"JETPACK\nand more");
        const NO: bool = begins_as_pack(b"JETPACK");
        assert!(YES && !NO && begins_as_pack(&bytes()));
    }
}
