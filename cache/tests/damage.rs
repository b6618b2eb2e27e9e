//! Flipped bytes and truncated files: the same winners, a rebuilt store or a clear error; never a wrong schedule and
//! never a panic.

#![allow(clippy::unwrap_used)] // A test helper may fail like a test.

mod common;

use common::{Random, copy_folder, entry};
use jet_cache::{Entry, Mode, Overlay, Rung, ScheduleCache};
use std::fs;
use std::path::{Path, PathBuf};

fn winners() -> Vec<Entry> {
    (0..40).map(|i| entry(576 + i / 4, 1 << (i % 4), 8 + i)).collect()
}

fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    for winner in winners() {
        overlay.commit(winner).unwrap();
    }
    drop(overlay);
    // Reopening makes the store write a snapshot file of its own.
    drop(Overlay::open(folder.path(), "0.1.0").unwrap());
    folder
}

/// The store's files with their sizes, in a fixed order.
fn store_files(root: &Path) -> Vec<(PathBuf, usize)> {
    let mut files: Vec<_> = fs::read_dir(root.join("schedules.sled"))
        .unwrap()
        .map(|f| f.unwrap())
        .filter(|f| f.file_type().unwrap().is_file())
        .map(|f| (f.path(), f.metadata().unwrap().len() as usize))
        .collect();
    files.sort();
    files
}

/// What is true of an overlay whose store was damaged and whose snapshot was not.
fn assert_whole(root: &Path, damage: &str) {
    let overlay = Overlay::open(root, "0.1.0").unwrap_or_else(|e| panic!("{damage}: {e}"));
    let found: Vec<_> = overlay.entries().cloned().collect();
    let mut wanted = winners();
    wanted.sort_by_key(|e| *e.key.store_key());
    assert!(
        found == wanted,
        "{damage}: {} of {} entries; {:?}",
        found.len(),
        wanted.len(),
        overlay.notices()
    );
}

#[test]
fn a_flipped_byte_in_the_store_loses_nothing() {
    const THREADS: usize = 4;
    let original = filled();
    let tries = std::env::var("JET_DAMAGE_TRIES").map_or(1000, |n| n.parse().unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let original = original.path();
            scope.spawn(move || {
                let mut random = Random(0x5eed + thread as u64);
                for number in (thread..tries).step_by(THREADS) {
                    flip_a_byte(original, number, &mut random);
                }
            });
        }
    });
}

/// Copies the overlay, flips a byte of one of the store's files, and opens it.
fn flip_a_byte(original: &Path, number: usize, random: &mut Random) {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(original, copy.path());
    let files = store_files(copy.path());
    // Each file in turn, so that the small ones are not forgotten beside the log.
    let (path, _) = &files[number % files.len()];
    let mut bytes = fs::read(path).unwrap();
    // Nearly all that is not zero, and some zeros: most of the log is not written yet.
    let used: Vec<_> = (0..bytes.len()).filter(|i| bytes[*i] != 0 || random.below(40) == 0).collect();
    let at = used.get(random.below(used.len())).copied().unwrap_or(0);
    let flip = 1 + random.below(255) as u8;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= flip;
    }
    fs::write(path, bytes).unwrap();
    assert_whole(copy.path(), &format!("byte {at} of {} ^ {flip:#x}", path.display()));
}

#[test]
fn a_truncated_store_loses_nothing() {
    let original = filled();
    let mut random = Random(0x7a11);
    for (number, cut) in [0, 1, 7, 4096, usize::MAX, usize::MAX, usize::MAX].into_iter().enumerate() {
        for (path, size) in store_files(original.path()) {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(original.path(), copy.path());
            let length = if cut == usize::MAX { random.below(size) } else { cut.min(size) };
            let path = copy.path().join("schedules.sled").join(path.file_name().unwrap());
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length as u64).unwrap();
            assert_whole(copy.path(), &format!("{} cut to {length} (try {number})", path.display()));
        }
    }
}

#[test]
fn a_leftover_of_a_snapshot_is_set_aside() {
    let folder = filled();
    let (snap, _) =
        store_files(folder.path()).into_iter().find(|(p, _)| p.to_string_lossy().contains("snap.")).unwrap();
    fs::write(folder.path().join("schedules.sled/snap.0000000000000001.generating"), b"half").unwrap();
    fs::write(snap, b"nonsense").unwrap();
    assert_whole(folder.path(), "broken snapshot files");
}

#[test]
fn a_damaged_store_and_a_lost_snapshot_begin_anew() {
    let folder = filled();
    fs::remove_file(folder.path().join("schedules.jetpack")).unwrap();
    for (path, _) in store_files(folder.path()) {
        fs::write(path, b"this is no store").unwrap();
    }
    let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    assert_eq!(overlay.entries().len(), 0);
    assert!(overlay.notices().iter().any(|n| n.contains(".corrupt-")), "{:?}", overlay.notices());
    overlay.commit(entry(1, 1, 1)).unwrap();
    drop(overlay);
    assert_eq!(Overlay::open(folder.path(), "0.1.0").unwrap().entries().len(), 1);
    let kept = fs::read_dir(folder.path())
        .unwrap()
        .filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().contains(".corrupt-"));
    assert_eq!(kept.count(), 1, "the damaged folder is kept for a look");
}

#[test]
fn a_damaged_snapshot_is_written_anew_from_the_store() {
    let folder = filled();
    let path = folder.path().join("schedules.jetpack");
    let good = fs::read(&path).unwrap();
    let mut random = Random(99);
    for _ in 0..30 {
        let mut bad = good.clone();
        if random.below(3) == 0 {
            bad.truncate(random.below(good.len()));
        } else {
            bad[random.below(good.len())] ^= 1 + random.below(255) as u8;
        }
        fs::write(&path, bad).unwrap();
        assert_whole(folder.path(), "a damaged snapshot");
        let cache = ScheduleCache::open(folder.path(), Mode::Frozen);
        assert!(winners().iter().all(|e| cache.lookup(&e.key, &|_| Ok(())).is_ok()));
    }
}

#[test]
fn a_session_never_gets_a_wrong_schedule_from_a_damaged_snapshot() {
    let folder = filled();
    let path = folder.path().join("schedules.jetpack");
    let good = fs::read(&path).unwrap();
    let mut random = Random(4242);
    for number in 0..1000 {
        let mut bad = good.clone();
        let at = random.below(good.len());
        bad[at] ^= 1 + random.below(255) as u8;
        fs::write(&path, bad).unwrap();
        let cache = ScheduleCache::open(folder.path(), Mode::Default);
        let mut exact = 0;
        for winner in winners() {
            let found = cache.lookup(&winner.key, &|_| Ok(())).unwrap();
            if found.rung == Rung::Exact {
                exact += 1;
                assert_eq!(found.schedule(), Some(&winner.schedule), "byte {at}, try {number}");
            }
        }
        assert!(exact < winners().len(), "byte {at} went unnoticed");
        assert!(exact >= winners().len() - 1 || !cache.notices().is_empty(), "byte {at}: {exact} exact");
    }
}
