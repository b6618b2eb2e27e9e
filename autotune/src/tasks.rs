//! Tasks: what has to be tuned.

use jet_cache::TaskKey;
use jet_codegen::schedule::Problem;

/// One thing to tune: a problem, and the key under which its winner is stored.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Task {
    /// What is computed.
    pub problem: Problem,
    /// Where the winner goes; built by the function that sessions use, too.
    pub key: TaskKey,
}

impl Task {
    /// A seed of the task's own: the same in every run.
    pub(crate) fn seed(&self) -> u64 {
        let digest = self.key.digest();
        u64::from_be_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
    }
}

/// Folds identical tasks of all layers, phases and buckets into one, in the order in which they first come.
pub fn fold(tasks: impl IntoIterator<Item = Task>) -> Vec<Task> {
    let mut seen = std::collections::BTreeSet::new();
    tasks.into_iter().filter(|task| seen.insert(*task.key.store_key())).collect()
}
