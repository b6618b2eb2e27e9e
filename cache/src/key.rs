//! What identifies a task: device × kernel family × sizes × format, and the versions that give an entry its
//! meaning.
//!
//! Every field of a [`TaskKey`] is *hard*: where one differs, a stored entry is another task's. What may differ
//! without making an entry useless (operating system, clock, jet's version) is *soft* and stands beside the key in
//! [`crate::Entry::soft`]. No file time, path or build number of the user's program is in here.

use crate::bytes::{Sum, hex, sum};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Version of the canonical bytes below. Raised when a hard field is added or its encoding changes.
pub const KEY_SCHEMA: u32 = 1;

/// Version of the way candidates are measured and the winner is decided. Raised by whoever changes either, so
/// that entries found in the old way are measured again.
pub const MEASURING_PROTOCOL: u32 = 1;

/// The size whose value is a bucket's upper end; every other size is exact.
pub const TOKENS: &str = "tokens";

/// Named sizes of a task.
pub type Dims = BTreeMap<String, i64>;

/// Device identity as far as it decides which schedule is fast: for a CPU its model, instruction sets, cache
/// sizes and the number of workers; for a GPU its architecture, SM count and limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Kind of device, as in `cpu`.
    pub kind: String,
    /// Named facts, as in `workers` → `8`.
    pub facts: BTreeMap<String, String>,
}

impl Fingerprint {
    /// A device of `kind`, without facts as yet.
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), facts: BTreeMap::new() }
    }

    /// Adds one fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.facts.insert(name.to_owned(), value.to_string());
        self
    }

    /// A CPU: its model name, its instruction sets as one word (`avx512vnni`), the sizes of its caches in bytes as seen
    /// by one core (0 where unknown), and the number of worker threads that run a kernel.
    pub fn cpu(model: &str, isa: &str, cache_bytes: [u64; 3], workers: usize) -> Self {
        let [l1d, l2, l3] = cache_bytes;
        Self::new("cpu")
            .with("model", model)
            .with("isa", isa)
            .with("l1d", l1d)
            .with("l2", l2)
            .with("l3", l3)
            .with("workers", workers)
    }

    /// A GPU by what decides which schedules are legal and fast on it: compute capability (`9.0`), number of SMs, bytes
    /// of shared memory for one CTA and for one SM, and 32-bit registers of an SM. The marketing name, the driver and the
    /// power limit are soft.
    pub fn cuda(compute_capability: &str, sms: u32, smem_cta: u64, smem_sm: u64, registers: u64) -> Self {
        Self::new("cuda")
            .with("cc", compute_capability)
            .with("sms", sms)
            .with("smem_cta", smem_cta)
            .with("smem_sm", smem_sm)
            .with("registers", registers)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        self.facts.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// The hard fields of a task, as plain data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskFields {
    /// [`KEY_SCHEMA`] of the writer.
    pub schema: u32,
    /// The device.
    pub device: Fingerprint,
    /// Kernel family, as in `gemm`.
    pub family: String,
    /// Version of the family's schedule.
    pub family_version: u32,
    /// Sizes: exact, but for [`TOKENS`], which is the upper end of a bucket.
    pub dims: Dims,
    /// Number format of the stored operand and of the arithmetic, as in `q4_1/int8`.
    pub format: String,
    /// Version or content hash of the kernels' source or generator.
    pub code: String,
    /// [`MEASURING_PROTOCOL`] of the writer.
    pub protocol: u32,
}

impl TaskFields {
    /// A task without sizes as yet, under this build's schema and protocol.
    pub fn new(device: Fingerprint, family: &str, family_version: u32, format: &str, code: &str) -> Self {
        Self {
            schema: KEY_SCHEMA,
            device,
            family: family.to_owned(),
            family_version,
            dims: Dims::new(),
            format: format.to_owned(),
            code: code.to_owned(),
            protocol: MEASURING_PROTOCOL,
        }
    }

    /// Adds one size.
    #[must_use]
    pub fn dim(mut self, name: &str, value: i64) -> Self {
        self.dims.insert(name.to_owned(), value);
        self
    }

    /// Replaces all sizes.
    #[must_use]
    pub fn dims(mut self, dims: Dims) -> Self {
        self.dims = dims;
        self
    }

    /// Every field by its dotted name, in the order of the canonical bytes; the basis of both the bytes and
    /// [`TaskKey::first_difference`].
    fn list(&self) -> Vec<(String, Field<'_>)> {
        let mut list = vec![
            ("schema".to_owned(), Field::Number(i64::from(self.schema))),
            ("protocol".to_owned(), Field::Number(i64::from(self.protocol))),
            ("device".to_owned(), Field::Text(&self.device.kind)),
        ];
        list.extend(self.device.facts.iter().map(|(k, v)| (format!("device.{k}"), Field::Text(v))));
        list.extend([
            ("family".to_owned(), Field::Text(&self.family)),
            ("family_version".to_owned(), Field::Number(i64::from(self.family_version))),
            ("format".to_owned(), Field::Text(&self.format)),
            ("code".to_owned(), Field::Text(&self.code)),
        ]);
        list.extend(self.dims.iter().map(|(k, v)| (format!("dims.{k}"), Field::Number(*v))));
        list
    }
}

/// One hard field's value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field<'a> {
    Text(&'a str),
    Number(i64),
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Text(text) => write!(f, "`{text}`"),
            Field::Number(number) => write!(f, "{number}"),
        }
    }
}

/// Where a record stands in a store or pack: the SHA-256 of the canonical bytes without the token bucket, then the
/// bucket as eight big-endian bytes. In this order the buckets of one task are neighbours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey([u8; StoreKey::LEN]);

impl StoreKey {
    /// Bytes of a store key.
    pub const LEN: usize = 40;

    /// The place of what has a digest of its own and no token bucket.
    pub(crate) fn of_digest(digest: Sum) -> Self {
        let mut key = Self([0; Self::LEN]);
        key.0[..32].copy_from_slice(&digest);
        key
    }

    /// From stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The stored bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The first eight bytes as a number: in the order of the keys.
    pub(crate) fn prefix(&self) -> u64 {
        u64::from_be_bytes(self.0[..8].try_into().expect("the first eight of forty bytes"))
    }

    /// The part that all buckets of one task share.
    pub fn task(&self) -> &[u8] {
        &self.0[..32]
    }

    /// The token bucket; zero where the task has none.
    pub fn bucket(&self) -> u64 {
        u64::from_be_bytes(self.0[32..].try_into().expect("the last eight of forty bytes"))
    }

    /// The same task at another token bucket.
    #[must_use]
    pub fn with_bucket(mut self, bucket: u64) -> Self {
        self.0[32..].copy_from_slice(&bucket.to_be_bytes());
        self
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", hex(&self.0[..8]), self.bucket())
    }
}

/// A task's identity with its [`StoreKey`], which is computed once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "TaskFields", into = "TaskFields")]
pub struct TaskKey {
    fields: TaskFields,
    store_key: StoreKey,
}

impl TaskKey {
    /// The identity of the task with these fields.
    pub fn new(fields: TaskFields) -> Self {
        let tokens = fields.dims.get(TOKENS).copied();
        let store_key = StoreKey::of_digest(sum(&canonical(&fields, Bucket::Outside)));
        Self { store_key: store_key.with_bucket(tokens.unwrap_or(0) as u64), fields }
    }

    /// The hard fields.
    pub fn fields(&self) -> &TaskFields {
        &self.fields
    }

    /// Where the task's record stands.
    pub fn store_key(&self) -> &StoreKey {
        &self.store_key
    }

    /// The canonical bytes of all hard fields, as `docs/format.md` draws them.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        canonical(&self.fields, Bucket::Inside)
    }

    /// SHA-256 of the canonical bytes.
    pub fn digest(&self) -> [u8; 32] {
        let digest: Sum = sum(&self.canonical_bytes());
        digest
    }

    /// The first twelve hexadecimal digits of the digest: the name of a task on the command line.
    pub fn short_id(&self) -> String {
        hex(&self.digest()[..6])
    }

    /// What a person calls the task: `gemm[k=576 n=1536 tokens=64] q4_1/int8 on cpu`.
    pub fn label(&self) -> String {
        self.to_string()
    }

    /// The first hard field in which `other` differs, with both values; `None` where the two are the same task.
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (self.fields.list(), other.fields.list());
        let lookup = |list: &[(String, Field<'_>)], name: &str| {
            list.iter().find(|(n, _)| n == name).map_or_else(|| "absent".to_owned(), |(_, v)| v.to_string())
        };
        let different = |name: &str| {
            let (a, b) = (lookup(&ours, name), lookup(&theirs, name));
            (a != b).then(|| format!("{name} is {a} here and {b} there"))
        };
        ours.iter().chain(&theirs).find_map(|(name, _)| different(name))
    }

    /// How many hard fields agree with `other`'s: what "nearest" means when a miss is explained.
    pub fn agreement(&self, other: &Self) -> usize {
        let theirs = other.fields.list();
        self.fields.list().iter().filter(|field| theirs.contains(field)).count()
    }
}

impl From<TaskFields> for TaskKey {
    fn from(fields: TaskFields) -> Self {
        Self::new(fields)
    }
}

impl From<TaskKey> for TaskFields {
    fn from(key: TaskKey) -> Self {
        key.fields
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.fields;
        write!(f, "{}[", t.family)?;
        for (i, (name, value)) in t.dims.iter().enumerate() {
            write!(f, "{}{name}={value}", if i == 0 { "" } else { " " })?;
        }
        write!(f, "] {} on {}", t.format, t.device.kind)
    }
}

/// Whether the token bucket's value is part of the canonical bytes. Its presence always is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bucket {
    Inside,
    Outside,
}

/// Canonical bytes: `jetkey` and for each field, in order, its name and value with their lengths and a type byte.
/// Lengths in front make the encoding injective: no two different tasks have the same bytes.
fn canonical(fields: &TaskFields, bucket: Bucket) -> Vec<u8> {
    let mut out = b"jetkey".to_vec();
    let tokens = format!("dims.{TOKENS}");
    for (name, value) in fields.list() {
        push_text(&mut out, &name);
        match value {
            Field::Number(_) if bucket == Bucket::Outside && name == tokens => out.push(b'b'),
            Field::Number(number) => {
                out.push(b'n');
                out.extend(number.to_be_bytes());
            }
            Field::Text(text) => {
                out.push(b't');
                push_text(&mut out, text);
            }
        }
    }
    out
}

/// Length as eight big-endian bytes, then the bytes.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gemm(tokens: i64) -> TaskFields {
        let device = Fingerprint::cpu("a processor", "avx2", [32 << 10, 1 << 20, 32 << 20], 2);
        TaskFields::new(device, "gemm", 1, "q4_1/int8", "cpu-1")
            .dim("k", 576)
            .dim("n", 1536)
            .dim("tokens", tokens)
    }

    #[test]
    fn buckets_of_one_task_are_neighbours_in_order() {
        let keys: Vec<_> = [64, 1, 512].map(|t| *TaskKey::new(gemm(t)).store_key()).to_vec();
        let mut sorted = keys.clone();
        sorted.sort();
        assert_eq!(sorted.iter().map(StoreKey::bucket).collect::<Vec<_>>(), [1, 64, 512]);
        assert!(keys.iter().all(|k| k.task() == keys[0].task()));
        let other = TaskKey::new(gemm(64).dim("n", 1537));
        assert_ne!(other.store_key().task(), keys[0].task());
        assert_ne!(TaskKey::new(gemm(1)).digest(), TaskKey::new(gemm(64)).digest());
    }

    #[test]
    fn a_task_without_tokens_is_not_one_with_zero_tokens() {
        let mut without = gemm(0);
        without.dims.remove("tokens");
        assert_ne!(TaskKey::new(without).store_key(), TaskKey::new(gemm(0)).store_key());
    }

    #[test]
    fn the_label_says_what_a_person_needs() {
        assert_eq!(TaskKey::new(gemm(64)).label(), "gemm[k=576 n=1536 tokens=64] q4_1/int8 on cpu");
    }

    #[test]
    fn the_first_difference_names_field_and_both_values() {
        let a = TaskKey::new(gemm(64));
        let mut fields = gemm(64);
        fields.device = fields.device.with("workers", 4);
        let b = TaskKey::new(fields);
        assert_eq!(a.first_difference(&b).unwrap(), "device.workers is `2` here and `4` there");
        assert_eq!(a.first_difference(&a), None);
        let c = TaskKey::new(gemm(64).dim("groups", 2));
        assert_eq!(a.first_difference(&c).unwrap(), "dims.groups is absent here and 2 there");
        assert!(a.agreement(&b) < a.agreement(&a));
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-c=.]{0,3}", any::<String>().prop_map(|s| s.chars().take(6).collect())]
    }

    fn fields() -> impl Strategy<Value = TaskFields> {
        let map = prop::collection::btree_map(text(), text(), 0..4);
        let dims = prop::collection::btree_map(prop_oneof![text(), Just(TOKENS.to_owned())], 0_i64..4, 0..4);
        (text(), map, text(), 0_u32..3, dims, text(), text()).prop_map(
            |(kind, facts, family, version, dims, format, code)| {
                TaskFields::new(Fingerprint { kind, facts }, &family, version, &format, &code).dims(dims)
            },
        )
    }

    proptest! {
        #[test]
        fn canonical_bytes_are_equal_only_for_equal_tasks(a in fields(), b in fields()) {
            let (ka, kb) = (TaskKey::new(a.clone()), TaskKey::new(b.clone()));
            prop_assert_eq!(a == b, ka.canonical_bytes() == kb.canonical_bytes());
            prop_assert_eq!(a == b, ka.store_key() == kb.store_key());
            prop_assert_eq!(a == b, ka.first_difference(&kb).is_none());
        }

        #[test]
        fn every_changed_field_changes_the_key(a in fields(), which in 0_usize..8) {
            let mut b = a.clone();
            match which {
                0 => b.schema += 1,
                1 => b.device.kind.push('x'),
                2 => { b.device.facts.insert("zz".into(), "1".into()); }
                3 => b.family.push('x'),
                4 => b.family_version += 1,
                5 => { b.dims.insert("zz".into(), 9); }
                6 => b.format.push('x'),
                _ => b.protocol += 1,
            }
            prop_assert_ne!(*TaskKey::new(a).store_key(), *TaskKey::new(b).store_key());
        }

        #[test]
        fn a_key_survives_its_stored_form(a in fields()) {
            let key = TaskKey::new(a);
            let text = serde_json::to_string(&key).unwrap();
            prop_assert_eq!(serde_json::from_str::<TaskKey>(&text).unwrap(), key);
        }
    }
}
