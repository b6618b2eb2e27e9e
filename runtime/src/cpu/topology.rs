//! How many workers this process should have: cores it may use, and uses alone.

use std::collections::BTreeSet;
use std::path::Path;

/// Workers for a pool of this process: one for each physical core in the affinity mask, and no more than the
/// control group's quota pays for. A sibling thread of the same core would take issue slots while it waits.
pub fn default_workers() -> usize {
    let granted = std::thread::available_parallelism().map_or(1, |n| n.get());
    let cores = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| allowed_cpus(&status))
        .map(|cpus| physical_cores(&cpus, |cpu| siblings(Path::new("/sys/devices/system/cpu"), cpu)));
    cores.unwrap_or(granted).clamp(1, granted.max(1))
}

/// The list in the line `Cpus_allowed_list:` of a process status.
fn allowed_cpus(status: &str) -> Option<Vec<usize>> {
    status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).and_then(parse_list)
}

/// `0-3,8` as numbers; `None` where it is no such list, or an absurdly long one.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last > 65_535 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// The hardware threads of `cpu`'s core.
fn siblings(root: &Path, cpu: usize) -> Option<Vec<usize>> {
    let path = root.join(format!("cpu{cpu}/topology/thread_siblings_list"));
    parse_list(&std::fs::read_to_string(path).ok()?)
}

/// Distinct cores among `cpus`; a thread whose core is unknown counts as one.
fn physical_cores(cpus: &[usize], siblings: impl Fn(usize) -> Option<Vec<usize>>) -> usize {
    let first = |cpu| siblings(cpu).and_then(|s| s.into_iter().min()).unwrap_or(cpu);
    cpus.iter().map(|&cpu| first(cpu)).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_cores_and_not_their_threads() {
        let status = "Name:\tjet\nCpus_allowed:\tf0f\nCpus_allowed_list:\t0-3,8-11\nMems_allowed_list:\t0\n";
        let cpus = allowed_cpus(status).unwrap();
        assert_eq!(cpus, [0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(physical_cores(&cpus, |c| Some(vec![c % 8, c % 8 + 8])), 4);
        assert_eq!(physical_cores(&cpus, |_| None), 8);
        // The mask holds one thread of each of two cores whose first threads are not in it.
        assert_eq!(physical_cores(&[4, 5], |c| Some(vec![c - 4, c])), 2);
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        for text in ["", "a", "3-1", "1,,2", "0-99999999"] {
            assert_eq!(parse_list(text), None, "{text:?}");
        }
    }

    #[test]
    fn there_is_always_a_worker() {
        assert!((1..=std::thread::available_parallelism().unwrap().get()).contains(&default_workers()));
    }
}
