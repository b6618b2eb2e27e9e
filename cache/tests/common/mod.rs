//! Records and folders that the integration tests share.
#![allow(dead_code, clippy::unwrap_used)] // Each test program uses its own part; a helper may fail like a test.

use jet_cache::{
    Entry, Evidence, Fingerprint, Grade, NamedIntegers, Origin, Provenance, RunnerUp, Search, Status,
    TaskFields, TaskKey, Timing,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A verified entry of a matrix product of `n` columns at `tokens`, won by `tile`.
pub(crate) fn entry(n: i64, tokens: i64, tile: i64) -> Entry {
    let device = Fingerprint::cpu("a processor", "avx2", [32 << 10, 1 << 20, 32 << 20], 2);
    let fields = TaskFields::new(device, "gemm", 1, "q4_1/int8", "cpu-1");
    let schedule = |tile: i64| NamedIntegers::from([("rows".to_owned(), 4), ("tile".to_owned(), tile)]);
    Entry {
        key: TaskKey::new(fields.dim("k", 576).dim("n", n).dim("tokens", tokens)),
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
            floor_flops: Some(1_769_472),
            bound_ns: Some(4_000.0),
            conditions: BTreeMap::new(),
        }),
        search: Search { effort: "quick".into(), candidates: 12, timed: 11, rejected: 1, complete: true },
        soft: BTreeMap::from([("os".to_owned(), "linux".to_owned())]),
        provenance: Provenance {
            jet: "0.1.0".into(),
            command: "jet-tune run tiny-hybrid".into(),
            time: 1_700_000_000,
            host: "ab12".into(),
            reason: String::new(),
        },
        cubins: Vec::new(),
        pinned: false,
    }
}

/// A generator for the tests' own choices.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }
}

/// Copies a folder with its subfolders.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_folder(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

/// The variable by which a test that plays two roles knows that it is the child.
pub(crate) const CHILD: &str = "JET_CACHE_TEST_CHILD";

/// This test program again, to run only the test `name`, in the role of a child that works in `folder`.
pub(crate) fn child(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(CHILD, folder);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}
