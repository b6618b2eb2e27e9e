//! Why a task misses: the stored records nearest to it, and the first field in which each differs.

use crate::entry::Entry;
use crate::key::TaskKey;
use std::fmt;
use std::sync::Arc;

/// A stored record near to a task.
#[derive(Clone, Debug)]
pub struct Near {
    /// The record.
    pub entry: Arc<Entry>,
    /// How many hard fields agree.
    pub agreement: usize,
    /// The first hard field that differs, with both values; `None` where the record is the task's own.
    pub difference: Option<String>,
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.difference {
            None => write!(f, "{} is stored", self.entry.key),
            Some(difference) => write!(f, "nearest is {}: {difference}", self.entry.key),
        }
    }
}

/// The `count` records that agree with `key` in most fields, the nearest first; of two that agree in equally many, the
/// first of `entries`.
pub fn nearest(key: &TaskKey, entries: impl IntoIterator<Item = Arc<Entry>>, count: usize) -> Vec<Near> {
    let mut all: Vec<(usize, Arc<Entry>)> =
        entries.into_iter().map(|entry| (key.agreement(&entry.key), entry)).collect();
    // The sort is stable, so the order of the layers decides between equals.
    all.sort_by_key(|(agreement, _)| std::cmp::Reverse(*agreement));
    let near = |(agreement, entry): (usize, Arc<Entry>)| Near {
        agreement,
        difference: key.first_difference(&entry.key),
        entry,
    };
    all.into_iter().take(count).map(near).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::sample;

    #[test]
    fn the_nearest_records_come_first_with_their_first_differing_field() {
        let key = sample(64, 1).key;
        let mut far = key.fields().clone().dim("n", 7);
        far.code = "cpu-0".into();
        let mut other = sample(1, 1);
        other.key = TaskKey::new(far);
        let all = [other, sample(16, 1), sample(64, 1)].map(Arc::new);
        let near = nearest(&key, all, 3);
        assert_eq!(near[0].difference, None);
        assert_eq!(near[1].difference.as_deref(), Some("dims.tokens is 64 here and 16 there"));
        assert_eq!(near[2].difference.as_deref(), Some("code is `cpu-1` here and `cpu-0` there"));
        assert!(
            near[0].to_string().ends_with("is stored") && near[1].to_string().starts_with("nearest is gemm")
        );
        assert_eq!(nearest(&key, [Arc::new(sample(1, 1))], 0).len(), 0);
    }
}
