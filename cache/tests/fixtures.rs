//! Files that older versions wrote must open for ever. A new format adds a folder here and leaves the others as they are.

#![allow(clippy::unwrap_used)] // A test helper may fail like a test.

mod common;

use common::entry;
use jet_cache::failure::{CandidateKey, Failure, FailureKind};
use jet_cache::pack::{self, Manifest};
use jet_cache::recipe::{self, FrontPoint, RecipeEvidence, RecipeKey, StoredRecipe};
use jet_cache::trials::{Outcome, Trial, Trials};
use jet_cache::{Contents, CubinRef, Digest, Entry, Fingerprint, Grade, Pack, Status, TaskFields, TaskKey};
use std::path::PathBuf;

fn fixture(version: &str, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version).join(name)
}

fn v1_entries() -> Vec<Entry> {
    vec![entry(1536, 1, 8), entry(1536, 64, 16), entry(49_152, 1, 4)]
}

fn v1_pack() -> Vec<u8> {
    let manifest = Manifest {
        note: "the first format".into(),
        ..Manifest::describe(&v1_entries(), "0.1.0", 1_700_000_000)
    };
    pack::encode(&manifest, &v1_entries(), &[b"an attachment"]).unwrap()
}

/// `JET_BLESS=v2` writes the fixtures of that folder, once: when its format is new.
fn bless(version: &str, name: &str, bytes: &[u8]) {
    if std::env::var_os("JET_BLESS").is_some_and(|wanted| wanted == version) {
        std::fs::write(fixture(version, name), bytes).unwrap();
    }
}

#[test]
fn v1_records_open() {
    let written = entry(1536, 64, 16);
    bless("v1", "entry.bin", &written.encode().unwrap());
    let stored = std::fs::read(fixture("v1", "entry.bin")).unwrap();
    assert_eq!(Entry::decode(&stored, "fixture").unwrap(), written);
    assert_eq!(written.encode().unwrap(), stored, "the bytes of format 1 have changed");
}

/// What format 2 of the entry brought: a record of which nothing is known, and one that only an emulator has run.
fn v3_entries() -> [(&'static str, Entry); 2] {
    let (mut assumed, mut emulated) = (entry(1536, 64, 16), entry(1536, 64, 16));
    (assumed.status, assumed.grade) = (Status::Assumed, Grade::Assumed);
    (assumed.evidence, assumed.timing, assumed.search.complete) = (None, None, false);
    (emulated.status, emulated.grade) = (Status::Modelled, Grade::Emulated);
    [("entry.bin", assumed), ("emulated.bin", emulated)]
}

#[test]
fn v2_records_open() {
    for (name, written) in v3_entries() {
        bless("v3", name, &written.encode().unwrap());
        let stored = std::fs::read(fixture("v3", name)).unwrap();
        assert_eq!(Entry::decode(&stored, "fixture").unwrap(), written);
        assert_eq!(written.encode().unwrap(), stored, "the bytes of format 2 have changed");
    }
    assert_eq!(jet_cache::entry::FORMAT, 2, "a new format needs fixtures of its own");
}

#[test]
fn v1_packs_open() {
    bless("v1", "pack.jetpack", &v1_pack());
    let loaded = Pack::load(&fixture("v1", "pack.jetpack")).unwrap().unwrap();
    loaded.verify().unwrap();
    assert_eq!(loaded.manifest().note, "the first format");
    for entry in v1_entries() {
        assert_eq!(*loaded.get(entry.key.store_key()).unwrap().unwrap(), entry);
    }
    assert_eq!(
        std::fs::read(fixture("v1", "pack.jetpack")).unwrap(),
        v1_pack(),
        "the bytes of format 1 have changed"
    );
}

#[test]
fn v1_keys_keep_their_digest() {
    let key = entry(1536, 64, 16).key;
    assert_eq!(key.short_id(), V1_SHORT_ID, "stored entries would miss: raise KEY_SCHEMA instead");
}

const V1_SHORT_ID: &str = "dd3ff4213497";

/// What format 2 of the pack brought: extras beside entries; and with it kernels, pins and conditions in the record.
fn v2_contents() -> Contents {
    let device = Fingerprint::cuda("9.0", 132, 232_448, 233_472, 65_536);
    let fields =
        TaskFields::new(device, "ssd_scan", 3, "bf16/bf16", "a5f1").dim("chunk", 128).dim("tokens", 64);
    let kernel = b"not a real kernel, but its digest is".to_vec();
    let mut bound = entry(1536, 64, 16);
    bound.key = TaskKey::new(fields);
    bound.cubins =
        vec![CubinRef { kernel: "ssd_scan".into(), arch: "sm_90a".into(), digest: Digest::of(&kernel) }];
    bound.pinned = true;
    let timing = bound.timing.as_mut().unwrap();
    timing.conditions = [("l2", "flushed"), ("graph", "yes")].map(|(k, v)| (k.into(), v.into())).into();
    let evidence = bound.evidence.as_mut().unwrap();
    (evidence.mean_abs, evidence.max_ulp) = (Some(2e-5), Some(1.5));
    let trials = v2_trials(&bound);
    let failure = v2_failure(&bound);
    let mut all = Contents::of_entries([bound.clone(), entry(1536, 1, 8)]);
    all.trials.insert(Trials::store_key(&bound.key), trials);
    all.failures.insert(failure.key.store_key(), failure);
    all.cubins.insert(Digest::of(&kernel), kernel);
    all
}

fn v2_trials(bound: &Entry) -> Trials {
    let outcomes = [
        Outcome::Timed { samples: 21, median_ns: 10_250.5, p10_ns: 10_100.0, p90_ns: 11_000.0 },
        Outcome::Pruned { reason: "232448 bytes of shared memory are too few".into() },
        Outcome::Failed { kind: FailureKind::WrongOutput, reason: "rms 0.3 of 0.001 allowed".into() },
    ];
    let trial = |outcome| Trial { schedule: bound.schedule.clone(), outcome };
    Trials {
        key: bound.key.clone(),
        trials: outcomes.into_iter().map(trial).collect(),
        provenance: bound.provenance.clone(),
    }
}

fn v2_failure(bound: &Entry) -> Failure {
    Failure {
        key: CandidateKey::new(&bound.key, "nvrtc 12.9", &bound.schedule).at_every_size(),
        kind: FailureKind::DoesNotCompile,
        reason: "error: too many resources".into(),
        provenance: bound.provenance.clone(),
    }
}

#[test]
fn v2_packs_open() {
    let manifest = Manifest {
        note: "the second format".into(),
        ..Manifest::describe(v2_contents().entries.values(), "0.1.0", 1_700_000_000)
    };
    let written = v2_contents().encode(&manifest).unwrap();
    bless("v2", "pack.jetpack", &written);
    let stored = std::fs::read(fixture("v2", "pack.jetpack")).unwrap();
    let loaded = Pack::from_bytes(stored.clone(), "fixture").unwrap();
    loaded.verify().unwrap();
    assert_eq!((loaded.format(), loaded.manifest()), (2, &manifest));
    assert_eq!(pack::FORMAT_OF_EXTRAS, 2);
    assert_eq!(Contents::of_pack(&loaded).unwrap(), v2_contents());
    assert_eq!(stored, written, "the bytes of format 2 have changed");
}

#[test]
fn a_pack_without_extras_is_written_so_that_every_jet_reads_it() {
    let loaded = Pack::from_bytes(v1_pack(), "p").unwrap();
    assert_eq!((loaded.format(), pack::FORMAT_OF_ENTRIES), (1, 1));
}

#[test]
fn v1_records_of_trials_and_failures_open() {
    let bound = v2_contents().entries.into_values().find(|e| e.pinned).unwrap();
    let (trials, failure) = (v2_trials(&bound), v2_failure(&bound));
    bless("v2", "trials.bin", &trials.encode().unwrap());
    bless("v2", "failure.bin", &failure.encode().unwrap());
    bless("v2", "entry.bin", &bound.encode().unwrap());
    let stored = |name| std::fs::read(fixture("v2", name)).unwrap();
    assert_eq!(Trials::decode(&stored("trials.bin"), "fixture").unwrap(), trials);
    assert_eq!(Failure::decode(&stored("failure.bin"), "fixture").unwrap(), failure);
    assert_eq!(Entry::decode(&stored("entry.bin"), "fixture").unwrap(), bound);
    assert_eq!(
        (jet_cache::trials::FORMAT, jet_cache::failure::FORMAT),
        (1, 1),
        "new formats need new fixtures"
    );
}

/// What format 3 of the pack brought: recipes among the extras.
fn v3_recipe() -> StoredRecipe {
    let fields = entry(1536, 1, 8).key;
    StoredRecipe {
        key: RecipeKey {
            device: fields.fields().device.clone(),
            model: "5b".repeat(32),
            weights: "c4".repeat(32),
            code: "cpu-1".into(),
        },
        name: "small".into(),
        default: "f32".into(),
        parts: [("0", "native"), ("11", "bf16"), ("head", "native"), ("caches", "bf16")]
            .map(|(part, precision)| (part.to_owned(), precision.to_owned()))
            .into(),
        evidence: RecipeEvidence {
            kl: 1.75e-3,
            max_kl: 2e-3,
            max_rel_err: 0.02,
            calibration: "a0".repeat(32),
            positions: 256,
            tokens: 1,
            time_ns: 1.25e6,
            reference_ns: 4.5e6,
        },
        front: vec![
            FrontPoint { kl: 0.0, time_ns: 4.5e6, recipe: "f32".into() },
            FrontPoint { kl: 1.75e-3, time_ns: 1.25e6, recipe: "f32, 11+caches bf16, 0+head native".into() },
        ],
        provenance: entry(1536, 1, 8).provenance,
    }
}

#[test]
fn v3_packs_and_v1_recipes_open() {
    let recipe = v3_recipe();
    let mut all = v2_contents();
    all.recipes.insert(recipe.key.store_key(), recipe.clone());
    let manifest = Manifest {
        note: "the third format".into(),
        ..Manifest::describe(all.entries.values(), "0.1.0", 1_700_000_000)
    };
    let written = all.encode(&manifest).unwrap();
    bless("v3", "pack.jetpack", &written);
    bless("v3", "recipe.bin", &recipe.encode().unwrap());
    let stored = std::fs::read(fixture("v3", "pack.jetpack")).unwrap();
    let loaded = Pack::from_bytes(stored.clone(), "fixture").unwrap();
    loaded.verify().unwrap();
    assert_eq!((loaded.format(), loaded.recipe(&recipe.key).unwrap()), (3, Some(recipe.clone())));
    assert_eq!(Contents::of_pack(&loaded).unwrap(), all);
    assert_eq!(stored, written, "the bytes of format 3 have changed");
    let record = std::fs::read(fixture("v3", "recipe.bin")).unwrap();
    assert_eq!(StoredRecipe::decode(&record, "fixture").unwrap(), recipe);
    assert_eq!((pack::FORMAT, recipe::FORMAT), (3, 1), "new formats need fixtures of their own");
}
