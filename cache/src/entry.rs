//! The stored record of one task: the schedule that won, and why it may be believed.
//!
//! A record is a small binary envelope (magic, format, length, checksum) around JSON, see `docs/format.md`. Fields
//! may be added to the JSON without a new format: a reader ignores what it does not know and defaults what is absent.

use crate::digest::Digest;
use crate::envelope::{Kind, Stored, first_unusable};
use crate::error::CacheError;
use crate::key::{StoreKey, TaskKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Format of the envelope and of its payload's meaning. A record of a higher one is refused by name. Format 2 knows
/// status and grade `assumed`, and the status `modelled` with the grade `emulated`; a record without these is written in
/// [`FIRST_FORMAT`].
pub const FORMAT: u32 = 2;

/// Format of a record that every jet can read.
pub const FIRST_FORMAT: u32 = 1;

/// First bytes of a record.
pub const MAGIC: &[u8; 4] = b"JETE";

/// A schedule as the cache sees it.
pub type NamedIntegers = BTreeMap<String, i64>;

/// A schedule for a person: `rows=4 tile=8`.
pub fn schedule_text(schedule: &NamedIntegers) -> String {
    let words: Vec<String> = schedule.iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.join(" ")
}

/// How far the times of an entry can be believed; never shown as a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Nothing was compiled, run or modelled.
    Assumed,
    /// The device's compiler accepted the kernel.
    Compiled,
    /// Right under emulation.
    Emulated,
    /// A time from the cost model.
    Modelled,
    /// Timed on the named device.
    Measured,
}

/// What stands behind an entry, from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The family's default, or what the task's neighbouring buckets use: nothing was found out about this task.
    Assumed,
    /// Chosen by the cost model. By the grade: nothing ran, or the kernels ran under emulation.
    Modelled,
    /// Verified elsewhere and brought here.
    Imported,
    /// The output was compared with the reference, and the time measured, on this device.
    Verified,
}

/// Where an entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// In a pack that a program shipped with.
    Shipped,
    /// Brought in from another store or pack.
    Imported,
    /// Tuned on this machine.
    Local,
}

macro_rules! show_as_stored {
    ($($kind:ty: $($variant:ident $word:literal),+);+ $(;)?) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }
    )+};
}
show_as_stored! {
    Grade: Assumed "assumed", Compiled "compiled", Emulated "emulated", Modelled "modelled", Measured "measured";
    Status: Assumed "assumed", Modelled "modelled", Imported "imported", Verified "verified";
    Origin: Shipped "shipped", Imported "imported", Local "local";
}

/// The comparison of the winner's output with the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which reference, as in `cpu-reference-f32 1`.
    pub reference: String,
    /// Largest absolute error over the whole output.
    pub max_abs: f64,
    /// Root mean square error over the reference's root mean square.
    pub rel_rms: f64,
    /// The bound that `rel_rms` had to keep.
    pub tolerance: f64,
    /// Mean absolute error; absent where it was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_abs: Option<f64>,
    /// Largest error in units of the last place of the output's format; absent where it was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ulp: Option<f64>,
    /// Seed of the synthetic inputs; absent where the device has one fixed set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs_seed: Option<u64>,
}

/// The fastest candidate that did not win.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunnerUp {
    /// Its schedule.
    pub schedule: NamedIntegers,
    /// Its median time in nanoseconds.
    pub median_ns: f64,
}

/// Times of the winner, in nanoseconds per run of the kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Samples of the winner.
    pub samples: u32,
    /// Median.
    pub median_ns: f64,
    /// Tenth percentile.
    pub p10_ns: f64,
    /// Ninetieth percentile.
    pub p90_ns: f64,
    /// Median of the default schedule, raced against the winner.
    pub default_ns: f64,
    /// The best of the others; absent where there was only one candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<RunnerUp>,
    /// Bytes that one run must move at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_bytes: Option<u64>,
    /// Floating-point operations that one run must do at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_flops: Option<u64>,
    /// Lower bound from the roofline; absent where the device has no model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_ns: Option<f64>,
    /// Under what conditions: `l2` (`flushed` or `hot`), `graph`, `sm_clock_mhz`, `temperature_c`, `power_limit_w`,
    /// `throttle`. Empty where the device says nothing of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<String, String>,
}

/// How thorough the search was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Search {
    /// `none`, `quick` or `full`.
    pub effort: String,
    /// Legal candidates of the task.
    pub candidates: u32,
    /// Candidates that were timed.
    pub timed: u32,
    /// Candidates that were rejected because their output was wrong or they failed.
    pub rejected: u32,
    /// Whether the search ended by itself, not by its budget or an interruption.
    pub complete: bool,
}

/// Who made the entry, when, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Version of jet.
    pub jet: String,
    /// The command line.
    pub command: String,
    /// Seconds since 1970, UTC.
    pub time: u64,
    /// The machine: a hash of its name, so that packs can be shared.
    pub host: String,
    /// Why this schedule, where the times alone do not say: what a modelled entry rests on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// One compiled kernel of an entry's schedule, bound by its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CubinRef {
    /// Which of the schedule's kernels.
    pub kernel: String,
    /// For which architecture, as in `sm_90a`.
    pub arch: String,
    /// SHA-256 of the file. What has another digest is not this kernel, whoever wrote it.
    pub digest: Digest,
}

/// The record of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Hard fields.
    pub key: TaskKey,
    /// The winner's values, never an index into a list.
    pub schedule: NamedIntegers,
    /// What stands behind it.
    pub status: Status,
    /// How its times were found.
    pub grade: Grade,
    /// Where it came from.
    pub origin: Origin,
    /// The comparison with the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// The race.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
    /// How thorough the search was.
    #[serde(default)]
    pub search: Search,
    /// Facts that may differ where the entry is used: `os`, `kernel`, `clock_mhz`, `jet`.
    #[serde(default)]
    pub soft: BTreeMap<String, String>,
    /// Who, when, with what.
    #[serde(default)]
    pub provenance: Provenance,
    /// The compiled kernels of the schedule; empty where the device has none, or where they were not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cubins: Vec<CubinRef>,
    /// Whether a person decided that this schedule stays: the tuner does not replace it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pinned: bool,
}

impl AsRef<Entry> for Entry {
    fn as_ref(&self) -> &Entry {
        self
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The signature is serde's.
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Entry {
    /// Checks what every stored record must keep.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`] with the rule that is broken: numbers are finite and not negative; a status of
    /// `verified` or `imported` comes with evidence inside its tolerance and with times; a modelled status goes with a
    /// modelled grade, or with an emulated one, evidence and times: outputs were right under emulation, and times are the
    /// model's. An assumed status and an assumed grade go together, without evidence, times and a finished search.
    pub fn check(&self) -> Result<(), CacheError> {
        self.check_rules()
    }

    /// The stored bytes.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`] where [`Entry::check`] refuses it.
    pub fn encode(&self) -> Result<Vec<u8>, CacheError> {
        self.seal()
    }

    /// Reads the bytes of one record, all of them; `what` names it in errors.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where the bytes are not those that were written, [`CacheError::NewerFormat`] where this
    /// build cannot know them.
    pub fn decode(bytes: &[u8], what: &str) -> Result<Self, CacheError> {
        Self::unseal(bytes, what)
    }

    /// The soft facts in which `here` differs, as `kernel: 6.1 then, 6.8 here`.
    pub fn soft_differences(&self, here: &BTreeMap<String, String>) -> Vec<String> {
        let differs = |(name, then): (&String, &String)| {
            let now = here.get(name)?;
            (now != then).then(|| format!("{name}: {then} then, {now} here"))
        };
        self.soft.iter().filter_map(differs).collect()
    }

    /// How many times faster than the default the winner was; 1 where nothing was timed.
    pub fn speedup(&self) -> f64 {
        match &self.timing {
            Some(t) if t.median_ns > 0.0 => t.default_ns / t.median_ns,
            _ => 1.0,
        }
    }
}

impl Stored for Entry {
    const KIND: Kind = Kind { magic: MAGIC, format: FORMAT };

    fn format(&self) -> u32 {
        match (self.status, self.grade) {
            (Status::Assumed, _) | (Status::Modelled, Grade::Emulated) => FORMAT,
            _ => FIRST_FORMAT,
        }
    }

    fn place(&self) -> StoreKey {
        *self.key.store_key()
    }

    fn subject(&self) -> String {
        self.key.label()
    }

    fn broken_rule(&self) -> Option<String> {
        let fields = self.key.fields();
        if let Some((name, size)) = fields.dims.iter().find(|(_, size)| **size < 0) {
            return Some(format!("the size {name} is {size}"));
        }
        let fit = match self.status {
            Status::Assumed => self.grade == Grade::Assumed,
            Status::Modelled => matches!(self.grade, Grade::Modelled | Grade::Emulated),
            Status::Imported | Status::Verified => !matches!(self.grade, Grade::Assumed | Grade::Modelled),
        };
        if !fit {
            return Some(format!("its status is {} and its grade {}", self.status, self.grade));
        }
        if self.status == Status::Assumed {
            let claims = self.evidence.is_some() || self.timing.is_some() || self.search.complete;
            return claims.then(|| "it is assumed, and has evidence, times or a finished search".to_owned());
        }
        if self.grade != Grade::Modelled && (self.evidence.is_none() || self.timing.is_none()) {
            let (status, grade) = (self.status, self.grade);
            return Some(format!(
                "its status is {status}, its grade {grade}, but evidence or times are missing"
            ));
        }
        if let Some(e) = &self.evidence {
            let figures = [Some(e.max_abs), Some(e.rel_rms), Some(e.tolerance), e.mean_abs, e.max_ulp];
            if let Some(bad) = first_unusable(&figures.into_iter().flatten().collect::<Vec<_>>()) {
                return Some(format!("{bad} is no error figure"));
            }
            if e.rel_rms > e.tolerance {
                return Some(format!("its error {:e} is above the tolerance {:e}", e.rel_rms, e.tolerance));
            }
        }
        let t = self.timing.as_ref()?;
        let mut times = vec![t.median_ns, t.p10_ns, t.p90_ns, t.default_ns];
        times.extend(t.bound_ns);
        times.extend(t.runner_up.as_ref().map(|r| r.median_ns));
        first_unusable(&times).map(|bad| format!("{bad} is no time"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::key::{Fingerprint, TaskFields};

    /// A record of [`sample`]'s task of which nothing is known but that the default is used.
    pub(crate) fn assumed(tokens: i64) -> Entry {
        let mut entry = sample(tokens, 2);
        (entry.status, entry.grade) = (Status::Assumed, Grade::Assumed);
        (entry.evidence, entry.timing, entry.search.complete) = (None, None, false);
        entry
    }

    /// A verified entry of a small matrix product at `tokens`, won by `tile`.
    pub(crate) fn sample(tokens: i64, tile: i64) -> Entry {
        let device = Fingerprint::cpu("a processor", "avx2", [32 << 10, 1 << 20, 32 << 20], 2);
        let key = TaskKey::new(
            TaskFields::new(device, "gemm", 1, "q4_1/int8", "cpu-1")
                .dim("k", 576)
                .dim("n", 1536)
                .dim("tokens", tokens),
        );
        let schedule = |tile: i64| NamedIntegers::from([("rows".to_owned(), 4), ("tile".to_owned(), tile)]);
        Entry {
            key,
            schedule: schedule(tile),
            status: Status::Verified,
            grade: Grade::Measured,
            origin: Origin::Local,
            evidence: Some(Evidence {
                reference: "cpu-reference 1".into(),
                max_abs: 1.25e-4,
                rel_rms: 3.5e-5,
                tolerance: 1e-3,
                mean_abs: None,
                max_ulp: None,
                inputs_seed: Some(7),
            }),
            timing: Some(Timing {
                samples: 21,
                median_ns: 10_250.5,
                p10_ns: 10_100.0,
                p90_ns: 11_000.0,
                default_ns: 12_500.0,
                runner_up: Some(RunnerUp { schedule: schedule(tile + 1), median_ns: 10_900.0 }),
                floor_bytes: Some(500_000),
                floor_flops: None,
                bound_ns: None,
                conditions: BTreeMap::new(),
            }),
            search: Search { effort: "quick".into(), candidates: 12, timed: 11, rejected: 1, complete: true },
            soft: BTreeMap::from([("os".to_owned(), "linux".to_owned())]),
            provenance: Provenance {
                jet: "0.1.0".into(),
                command: "jet-tune run".into(),
                time: 1_700_000_000,
                host: "ab12".into(),
                reason: String::new(),
            },
            cubins: Vec::new(),
            pinned: false,
        }
    }

    #[test]
    fn a_record_survives_its_stored_form() {
        let entry = sample(64, 8);
        let bytes = entry.encode().unwrap();
        assert_eq!(Entry::decode(&bytes, "it").unwrap(), entry);
        assert_eq!(entry.encode().unwrap(), bytes, "the same record has the same bytes");
    }

    #[test]
    fn only_what_the_older_format_cannot_say_needs_the_newer() {
        assert_eq!(sample(64, 8).encode().unwrap()[4..8], [0, 0, 0, 1]);
        let mut emulated = sample(64, 8);
        (emulated.status, emulated.grade) = (Status::Modelled, Grade::Emulated);
        for entry in [assumed(64), emulated] {
            let stored = entry.encode().unwrap();
            assert_eq!(stored[4..8], [0, 0, 0, 2]);
            assert_eq!(Entry::decode(&stored, "it").unwrap(), entry);
        }
    }

    #[test]
    fn any_flipped_byte_is_refused() {
        let bytes = sample(64, 8).encode().unwrap();
        for at in 0..bytes.len() {
            for bit in [0x01, 0x20, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= bit;
                assert!(Entry::decode(&bad, "it").is_err(), "byte {at} ^ {bit:#x} went unnoticed");
            }
        }
    }

    #[test]
    fn any_other_length_is_refused() {
        let bytes = sample(64, 8).encode().unwrap();
        for length in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..length], "it").is_err(), "{length} bytes were accepted");
        }
        let longer = [bytes.as_slice(), b"\0"].concat();
        assert!(Entry::decode(&longer, "it").unwrap_err().to_string().contains("1 bytes follow"));
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut bytes = sample(64, 8).encode().unwrap();
        bytes[7] = 9;
        let message = Entry::decode(&bytes, "the record").unwrap_err().to_string();
        assert!(message.contains("format 9") && message.contains("reads up to 2"), "{message}");
    }

    #[test]
    fn what_cannot_be_believed_is_not_stored() {
        let refused = |change: fn(&mut Entry), word: &str| {
            let mut entry = sample(64, 8);
            change(&mut entry);
            let message = entry.encode().unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        };
        refused(|e| e.evidence = None, "evidence or times are missing");
        refused(|e| e.timing = None, "evidence or times are missing");
        refused(|e| e.grade = Grade::Modelled, "grade modelled");
        refused(|e| e.grade = Grade::Assumed, "grade assumed");
        refused(|e| e.status = Status::Modelled, "grade measured");
        refused(
            |e| (e.status, e.grade, e.evidence) = (Status::Modelled, Grade::Emulated, None),
            "grade emulated, but evidence",
        );
        refused(|e| (e.status, e.grade) = (Status::Assumed, Grade::Assumed), "it is assumed, and has");
        refused(|e| e.evidence.as_mut().unwrap().rel_rms = f64::NAN, "no error figure");
        refused(|e| e.evidence.as_mut().unwrap().rel_rms = 0.5, "above the tolerance");
        refused(|e| e.evidence.as_mut().unwrap().max_ulp = Some(f64::INFINITY), "no error figure");
        refused(|e| e.timing.as_mut().unwrap().median_ns = -1.0, "no time");
        refused(|e| e.key = TaskKey::new(e.key.fields().clone().dim("n", -4)), "the size n is -4");
    }

    #[test]
    fn unknown_fields_of_a_later_writer_are_ignored() {
        let entry = sample(64, 8);
        let mut payload = serde_json::to_value(&entry).unwrap();
        payload["added_later"] = 1.into();
        payload.as_object_mut().unwrap().remove("search");
        let read: Entry = serde_json::from_value(payload).unwrap();
        assert_eq!(read, Entry { search: Search::default(), ..entry });
    }

    #[test]
    fn cubins_pins_and_conditions_survive_the_stored_form() {
        let mut entry = sample(64, 8);
        let digest = Digest::of(b"a kernel");
        entry.cubins = vec![CubinRef { kernel: "scan".into(), arch: "sm_90a".into(), digest }];
        entry.pinned = true;
        entry.timing.as_mut().unwrap().conditions.insert("l2".into(), "flushed".into());
        let bytes = entry.encode().unwrap();
        assert_eq!(Entry::decode(&bytes, "it").unwrap(), entry);
        assert!(String::from_utf8_lossy(&bytes).contains(&digest.to_string()));
    }

    #[test]
    fn soft_facts_that_differ_are_listed() {
        let here =
            BTreeMap::from([("os".to_owned(), "macos".to_owned()), ("clock".to_owned(), "3".to_owned())]);
        assert_eq!(sample(1, 1).soft_differences(&here), ["os: linux then, macos here"]);
    }
}
