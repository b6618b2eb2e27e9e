//! What differs between two sets of records: the winners, not the bytes. Times differ from run to run, and
//! that is no news; another schedule is.

use crate::entry::{Entry, NamedIntegers};
use crate::key::{StoreKey, TaskKey};
use serde::Serialize;
use std::collections::BTreeMap;

/// A task that both sides have, with different winners.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    /// The task's short name.
    pub id: String,
    /// Its label.
    pub task: String,
    /// The winner on the left.
    pub left: NamedIntegers,
    /// The winner on the right.
    pub right: NamedIntegers,
    /// Median time on the left, in nanoseconds.
    pub left_ns: Option<f64>,
    /// Median time on the right.
    pub right_ns: Option<f64>,
    /// Whether each time lies between the other's tenth and ninetieth percentile: the two may be a tie.
    pub inside_the_noise: bool,
}

/// A task that one side has alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alone {
    /// The task's short name.
    pub id: String,
    /// Its label.
    pub task: String,
    /// The side's winner.
    pub schedule: NamedIntegers,
}

/// The difference of two sets of records.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Tasks with the same winner on both sides.
    pub same: usize,
    /// Tasks with different winners, in store order.
    pub changed: Vec<Changed>,
    /// Tasks that only the left side has.
    pub only_left: Vec<Alone>,
    /// Tasks that only the right side has.
    pub only_right: Vec<Alone>,
}

impl Diff {
    /// Whether both sides have the same winners for the same tasks.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.only_left.is_empty() && self.only_right.is_empty()
    }
}

/// Compares the winners of two sets of records.
pub fn diff(left: &BTreeMap<StoreKey, Entry>, right: &BTreeMap<StoreKey, Entry>) -> Diff {
    let mut out = Diff::default();
    for (key, a) in left {
        match right.get(key) {
            None => out.only_left.push(alone(a)),
            Some(b) if a.schedule == b.schedule => out.same += 1,
            Some(b) => out.changed.push(changed(a, b)),
        }
    }
    out.only_right.extend(right.iter().filter(|(key, _)| !left.contains_key(*key)).map(|(_, e)| alone(e)));
    out
}

fn names(key: &TaskKey) -> (String, String) {
    (key.short_id(), key.label())
}

fn alone(entry: &Entry) -> Alone {
    let (id, task) = names(&entry.key);
    Alone { id, task, schedule: entry.schedule.clone() }
}

fn changed(a: &Entry, b: &Entry) -> Changed {
    let (id, task) = names(&a.key);
    let inside = match (&a.timing, &b.timing) {
        (Some(x), Some(y)) => {
            (y.p10_ns..=y.p90_ns).contains(&x.median_ns) && (x.p10_ns..=x.p90_ns).contains(&y.median_ns)
        }
        _ => false,
    };
    Changed {
        id,
        task,
        left: a.schedule.clone(),
        right: b.schedule.clone(),
        left_ns: a.timing.as_ref().map(|t| t.median_ns),
        right_ns: b.timing.as_ref().map(|t| t.median_ns),
        inside_the_noise: inside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::Contents;
    use crate::entry::tests::sample;

    fn entries(list: &[Entry]) -> BTreeMap<StoreKey, Entry> {
        Contents::of_entries(list.to_vec()).entries
    }

    #[test]
    fn winners_are_compared_and_times_are_not() {
        let mut slower = sample(1, 8);
        slower.timing.as_mut().unwrap().median_ns *= 3.0;
        let left = entries(&[sample(1, 8), sample(2, 8), sample(3, 8)]);
        let right = entries(&[slower, sample(2, 16), sample(4, 8)]);
        let found = diff(&left, &right);
        assert_eq!((found.same, found.changed.len()), (1, 1));
        assert_eq!((found.changed[0].left["tile"], found.changed[0].right["tile"]), (8, 16));
        assert!(found.changed[0].inside_the_noise);
        assert!(
            found.only_left[0].task.contains("tokens=3") && found.only_right[0].task.contains("tokens=4")
        );
        assert!(!found.is_empty() && diff(&left, &left).is_empty());
    }

    #[test]
    fn the_two_sides_are_mirror_images() {
        let (a, b) = (entries(&[sample(1, 8), sample(2, 4)]), entries(&[sample(1, 9)]));
        let (there, back) = (diff(&a, &b), diff(&b, &a));
        assert_eq!((there.only_left, there.only_right), (back.only_right, back.only_left));
        assert_eq!(there.changed[0].left, back.changed[0].right);
    }

    #[test]
    fn a_gap_outside_the_noise_is_no_tie() {
        let mut fast = sample(1, 9);
        let times = fast.timing.as_mut().unwrap();
        (times.median_ns, times.p10_ns, times.p90_ns) = (10.0, 9.0, 11.0);
        assert!(!diff(&entries(&[sample(1, 8)]), &entries(&[fast])).changed[0].inside_the_noise);
    }
}
