//! What a session pays for tuned schedules: loading a pack of 10,000 entries (bound: 5 ms), and one look-up on each
//! rung of the ladder (bound: 1 us).
#![allow(clippy::unwrap_used, missing_docs)] // A bench that fails says where; its functions are named in its output.

#[path = "../tests/common/mod.rs"]
mod common;

use common::entry;
use criterion::{Criterion, criterion_group, criterion_main};
use jet_cache::{Entry, Manifest, Mode, Pack, ScheduleCache, pack};
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

const ENTRIES: i64 = 10_000;

/// Ten buckets of each of a thousand tasks; the buckets are the even powers of two.
fn entries() -> Vec<Entry> {
    (0..ENTRIES).map(|i| entry(64 + i / 10, 1 << (2 * (i % 10)), 8)).collect()
}

fn pack_file(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("bench.jetpack");
    let entries = entries();
    pack::write(&path, &Manifest::describe(&entries, "0.1.0", 0), &entries, &[]).unwrap();
    path
}

fn load(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let path = pack_file(&folder);
    c.bench_function("load a pack of 10,000 entries", |b| {
        b.iter(|| Pack::load(black_box(&path)).unwrap().unwrap().len());
    });
}

fn look_up(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let pack = Arc::new(Pack::load(&pack_file(&folder)).unwrap().unwrap());
    pack.verify().unwrap();
    let cache = ScheduleCache::empty(Mode::Default).over(pack);
    for (rung, tokens, n) in [("exact", 256, 500), ("bucket", 512, 500), ("default", 256, 5)] {
        let key = entry(n, tokens, 8).key;
        assert_eq!(cache.lookup(&key, &|_| Ok(())).unwrap().rung.to_string(), rung);
        c.bench_function(&format!("look up, {rung}"), |b| {
            b.iter(|| cache.lookup(black_box(&key), &|_| Ok(())).unwrap().rung);
        });
    }
}

criterion_group!(benches, load, look_up);
criterion_main!(benches);
