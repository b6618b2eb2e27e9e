//! Files that older versions wrote must open for ever. A new format adds a folder here and leaves the others as they are.

#![allow(clippy::unwrap_used)] // A test helper may fail like a test.

mod common;

use common::entry;
use jet_cache::pack::{self, Manifest};
use jet_cache::{Entry, Pack};
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

/// `JET_BLESS=1` writes the fixture of the present format; never of an older one.
fn bless(version: &str, name: &str, bytes: &[u8]) {
    if std::env::var_os("JET_BLESS").is_some() {
        std::fs::write(fixture(version, name), bytes).unwrap();
    }
}

#[test]
fn v1_records_open() {
    let written = entry(1536, 64, 16);
    bless("v1", "entry.bin", &written.encode().unwrap());
    let stored = std::fs::read(fixture("v1", "entry.bin")).unwrap();
    assert_eq!(Entry::decode(&stored, "fixture").unwrap(), written);
    assert_eq!(jet_cache::entry::FORMAT, 1, "a new format needs fixtures of its own");
    assert_eq!(written.encode().unwrap(), stored, "the bytes of format 1 have changed");
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
