//! What the operating system says of this machine. Whatever it does not say is empty: nothing here can fail.

use std::fs;

/// Identity and sizes of the processor.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    /// Name of the processor.
    pub(super) model: String,
    /// Instruction-set extensions that kernels have a use for.
    pub(super) features: Vec<String>,
    /// Cache sizes by level, as in `l2` → `1024K`.
    pub(super) caches: Vec<(String, String)>,
    /// Release of the operating system's kernel.
    pub(super) kernel: String,
}

/// Extensions worth telling apart, as `/proc/cpuinfo` spells them.
const FEATURES: &[&str] = &[
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_tile",
    "asimd",
];

impl Machine {
    /// Reads them.
    pub(super) fn read() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |names: &[&str]| {
            info.lines()
                .filter_map(|l| l.split_once(':'))
                .find(|(k, _)| names.contains(&k.trim()))
                .map(|(_, v)| v.trim().to_owned())
        };
        let flags = field(&["flags", "Features"]).unwrap_or_default();
        // A hypervisor may hide the marketing name; family, model and stepping tell the generations apart.
        let numbers: Vec<_> =
            ["cpu family", "model", "stepping"].iter().filter_map(|f| field(&[f])).collect();
        let name = field(&["model name", "Processor"]).unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        Self {
            model: format!("{name} ({})", numbers.join("/")),
            features: FEATURES
                .iter()
                .filter(|f| flags.split_whitespace().any(|x| x == **f))
                .map(|f| (*f).to_owned())
                .collect(),
            caches: caches(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        }
    }

    /// Bytes that may be allocated now without swapping: what the system has, or the control group leaves.
    pub(super) fn memory_available() -> Option<u64> {
        let info = fs::read_to_string("/proc/meminfo").ok()?;
        let line = info.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
        let system = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
        let read = |name: &str| {
            fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok()
        };
        let group =
            read("memory.max").zip(read("memory.current")).map(|(max, used)| max.saturating_sub(used));
        Some(group.map_or(system, |g| g.min(system)))
    }
}

fn caches() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for index in 0..8 {
        let read = |name: &str| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}");
            fs::read_to_string(path).map(|s| s.trim().to_owned()).unwrap_or_default()
        };
        let (level, kind, size) = (read("level"), read("type"), read("size"));
        if !size.is_empty() && kind != "Instruction" {
            found.push((format!("l{level}"), size));
        }
    }
    found
}
