//! Several processes at one overlay, writers that are killed, and folders that cannot be written.

#![allow(clippy::unwrap_used)] // A test helper may fail like a test.

mod common;

use common::{CHILD, Random, child, entry};
use jet_cache::{
    CacheError, CandidateKey, CubinRef, Failure, FailureKind, Mode, Overlay, Pack, ScheduleCache,
};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

fn role() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// The kernel of the `i`th record of a writer.
fn kernel(i: i64) -> Vec<u8> {
    format!("kernel {i} ").repeat(500).into_bytes()
}

/// The candidate that failed before the `i`th record.
fn failure(i: i64) -> Failure {
    let loser = entry(i % 50, i / 50, i + 1);
    Failure {
        key: CandidateKey::new(&loser.key, "nvrtc 12.9", &loser.schedule),
        kind: FailureKind::Crashed,
        reason: format!("trap {i}"),
        provenance: loser.provenance,
    }
}

/// Waits for the line that a child prints when it has got somewhere.
fn wait_for(output: &mut BufReader<ChildStdout>, word: &str) {
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        if line.contains(word) {
            return;
        }
        line.clear();
    }
    panic!("the child ended before it said `{word}`");
}

fn start(name: &str, folder: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = child(name, folder).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

#[test]
fn a_second_writer_is_told_who_holds_the_store() {
    const NAME: &str = "a_second_writer_is_told_who_holds_the_store";
    if let Some(folder) = role() {
        let _overlay = Overlay::open(&folder, "0.1.0").unwrap();
        println!("holding");
        // Until the parent closes the pipe by ending this process.
        let _ = std::io::stdin().read(&mut [0]);
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    Overlay::open(folder.path(), "0.1.0").unwrap().commit(entry(1, 1, 1)).unwrap();
    let (mut holder, mut output) = start(NAME, folder.path());
    wait_for(&mut output, "holding");

    let begun = Instant::now();
    let busy = Overlay::open_within(folder.path(), "0.1.0", Duration::from_millis(200)).err().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    let message = busy.to_string();
    assert!(matches!(busy, CacheError::Busy { .. }), "{message}");
    assert!(message.contains(&format!("by process {}", holder.id())), "{message}");
    // Sessions are not disturbed.
    let cache = ScheduleCache::open(folder.path(), Mode::Frozen);
    assert!(cache.lookup(&entry(1, 1, 1).key, &|_| Ok(())).is_ok());

    // Who must go on all the same works on what the snapshot says, and leaves it as it is.
    let snapshot = || std::fs::read(folder.path().join("schedules.jetpack")).unwrap();
    let before = snapshot();
    let mut detached = Overlay::detached(folder.path(), "0.1.0").unwrap();
    detached.commit(entry(2, 1, 1)).unwrap();
    assert_eq!((detached.entries().len(), snapshot() == before), (2, true));

    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(
        Overlay::open(folder.path(), "0.1.0").unwrap().entries().len(),
        1,
        "the lock vanishes with its holder"
    );
}

#[test]
fn two_writers_at_once_lose_nothing() {
    const NAME: &str = "two_writers_at_once_lose_nothing";
    if let Some(folder) = role() {
        let first = i64::from(std::process::id());
        for i in 0..8 {
            // Opened anew each time, so that the two take turns.
            let mut overlay = Overlay::open_within(&folder, "0.1.0", Duration::from_secs(60)).unwrap();
            overlay.commit(entry(first, i, i)).unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..2).map(|_| child(NAME, folder.path()).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    assert_eq!((overlay.entries().len(), overlay.notices().len()), (16, 0));
}

#[test]
fn a_writer_killed_at_any_moment_leaves_whole_records() {
    const NAME: &str = "a_writer_killed_at_any_moment_leaves_whole_records";
    if let Some(folder) = role() {
        let mut overlay = Overlay::open(&folder, "0.1.0").unwrap();
        for i in 0.. {
            let mut winner = entry(i % 50, i / 50, i);
            let digest = overlay.keep_cubin(&kernel(i)).unwrap();
            winner.cubins = vec![CubinRef { kernel: "gemm".into(), arch: "sm_90a".into(), digest }];
            overlay.reject(&failure(i)).unwrap();
            overlay.commit(winner).unwrap();
            println!("committed {i}");
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let kills = std::env::var("JET_KILL_TRIES").map_or(100, |n| n.parse().unwrap());
    let mut random = Random(0xdead);
    for number in 0..kills {
        let (mut writer, mut output) = start(NAME, folder.path());
        // Every third writer may be killed while it opens the folder, the others while they commit.
        let opening = number % 3 == 2;
        if !opening {
            wait_for(&mut output, "committed 0");
        }
        std::thread::sleep(Duration::from_micros(random.below(60_000) as u64));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let mut said = String::new();
        output.read_to_string(&mut said).unwrap();
        // The last line may be cut short by the kill.
        let complete = said.rfind('\n').map_or("", |end| &said[..end]);
        let committed = complete
            .lines()
            .filter_map(|l| l.strip_prefix("committed ")?.parse().ok())
            .next_back()
            .unwrap_or(if opening { -1 } else { 0_i64 });

        // A session that starts now reads a whole pack with all that was said to be committed.
        let path = folder.path().join("schedules.jetpack");
        Pack::load(&path).unwrap().unwrap().verify().unwrap();
        let cache = ScheduleCache::open(folder.path(), Mode::Frozen);
        let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
        assert!(overlay.notices().is_empty(), "kill {number}: {:?}", overlay.notices());
        for i in 0..=committed {
            let wanted = entry(i % 50, i / 50, i);
            let stored = overlay.get(wanted.key.store_key());
            assert_eq!(stored.map(|e| &e.schedule), Some(&wanted.schedule), "kill {number} lost {i}");
            assert_eq!(
                overlay.rejection(&failure(i).key),
                Some(failure(i)),
                "kill {number} lost failure {i}"
            );
            let found = cache.lookup(&wanted.key, &|_| Ok(())).unwrap();
            let digest = found.entry.unwrap().cubins[0].digest;
            assert_eq!(cache.cubin(&digest).unwrap().unwrap(), kernel(i), "kill {number} lost kernel {i}");
        }
    }
    let files = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        ["cubins", "schedules.jetpack", "schedules.lock", "schedules.sled"],
        "no leftovers of killed writers"
    );
}

#[test]
#[cfg(unix)]
fn a_full_disk_is_an_error_and_loses_nothing_that_was_committed() {
    const NAME: &str = "a_full_disk_is_an_error_and_loses_nothing_that_was_committed";
    if let Some(folder) = role() {
        let written = Overlay::open(&folder, "0.1.0").and_then(|mut overlay| {
            for i in 0..2000 {
                overlay.commit(entry(i, 1, i))?;
                println!("committed {i}");
            }
            Ok(())
        });
        println!("ended: {}", written.err().unwrap());
        return;
    }
    // Files larger than so many blocks of 512 bytes cannot be written, and the signal that says so is ignored: writes
    // fail as on a full disk. The first limits stop the opening, the others a commit.
    for blocks in [8, 200, 1100, 1500, 2500] {
        let folder = tempfile::tempdir().unwrap();
        let command = child(NAME, folder.path());
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.env(CHILD, folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = shell.spawn().unwrap().wait_with_output().unwrap();
        let (said, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{blocks}: {said}{err}");
        assert!(!err.contains("panicked"), "{blocks}: {err}");
        let ended = said.lines().find_map(|line| line.split_once("ended: ")).unwrap().1;
        assert!(ended.contains("cannot be used") || ended.contains("cannot write"), "{blocks}: {ended}");
        // With room again, all that was said to be committed is there.
        let overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
        let committed = said.lines().filter(|line| line.contains("committed ")).count() as i64;
        for i in 0..committed {
            let wanted = entry(i, 1, i);
            assert_eq!(
                overlay.get(wanted.key.store_key()),
                Some(&wanted),
                "{blocks} lost {i} of {committed}"
            );
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_with_advice() {
    // Permissions do not stop the superuser, but a file where a folder should be stops everyone.
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    std::fs::write(&taken, b"a file").unwrap();
    for path in [taken.clone(), taken.join("below"), PathBuf::from("/proc/jet-cache-test")] {
        let error = Overlay::open(&path, "0.1.0").err().unwrap();
        let message = error.to_string();
        assert!(matches!(error, CacheError::NotWritable { .. }), "{message}");
        assert!(message.contains("set JET_CACHE_DIR"), "{message}");
    }
}

#[test]
#[cfg(unix)]
fn a_read_only_folder_serves_sessions() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    Overlay::open(folder.path(), "0.1.0").unwrap().commit(entry(1, 1, 1)).unwrap();
    let allow =
        |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    allow(0o555);
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    let cache = ScheduleCache::open(folder.path(), Mode::Frozen);
    assert!(cache.lookup(&entry(1, 1, 1).key, &|_| Ok(())).is_ok());
    assert!(cache.notices().is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before, "a session writes nothing");
    allow(0o755);
}

#[test]
fn a_missing_folder_is_an_empty_layer() {
    let folder = tempfile::tempdir().unwrap();
    let cache = ScheduleCache::open(&folder.path().join("none"), Mode::Default);
    assert!(cache.is_empty() && cache.notices().is_empty());
    assert!(!folder.path().join("none").exists(), "a session makes no folder");
}

#[test]
fn removed_records_stay_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    overlay.commit(entry(1, 1, 1)).unwrap();
    overlay.commit(entry(2, 1, 1)).unwrap();
    assert!(overlay.remove(entry(1, 1, 0).key.store_key()).unwrap());
    assert!(!overlay.remove(entry(1, 1, 0).key.store_key()).unwrap());
    drop(overlay);
    let overlay = Overlay::open(folder.path(), "0.1.0").unwrap();
    assert_eq!(overlay.entries().cloned().collect::<Vec<_>>(), [entry(2, 1, 1)]);
}

#[test]
fn a_newer_jets_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    Overlay::open(folder.path(), "0.1.0").unwrap().commit(entry(1, 1, 1)).unwrap();
    let path = folder.path().join("schedules.jetpack");
    let mut newer = std::fs::read(&path).unwrap();
    newer[11] = 7;
    std::fs::write(&path, &newer).unwrap();
    let error = Overlay::open(folder.path(), "0.1.0").err().unwrap();
    assert!(matches!(error, CacheError::NewerFormat { found: 7, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), newer);
}
