//! Many tuners for one model: which tasks are whose, and whether all of them mean the same plan.
//!
//! Each rank takes every *n*th task and writes a store of its own; `jet-tune merge` makes one of them. Nothing is sent
//! between ranks. Where they share a folder, each leaves its plan's hash there and looks at the others' before it begins:
//! ranks with different programs or models would tune what the others do not know.

use crate::error::TuneError;
use crate::options::Effort;
use crate::tasks::Task;
use jet_cache::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// One of `count` parts of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which part, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

/// Where launchers say which rank a process is: the variables of its number and of how many there are. More specific
/// ones first.
const LAUNCHERS: [(&str, &str); 4] = [
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("RANK", "WORLD_SIZE"),
];

/// The variable of an indexed job, whose launcher does not say how many there are.
const INDEXED: &str = "JOB_COMPLETION_INDEX";

impl Shard {
    /// All of the work.
    pub const ALL: Self = Self { index: 0, count: 1 };

    fn checked(index: usize, count: usize, from: &str) -> Result<Self, TuneError> {
        if index < count {
            return Ok(Self { index, count });
        }
        let reason =
            format!("{from} says part {index} of {count}; parts are numbered from 0 to {}", count.max(1) - 1);
        Err(TuneError::Fleet { reason })
    }

    /// What the launcher of this process says, and in which variable; `None` where there is no launcher. `count` is how many
    /// processes there are, where only the user knows.
    ///
    /// # Errors
    /// [`TuneError::Fleet`] where a variable makes no sense, or the count is missing.
    pub fn from_environment(
        get: &dyn Fn(&str) -> Option<String>,
        count: Option<usize>,
    ) -> Result<Option<(Self, &'static str)>, TuneError> {
        let number = |name: &str| -> Result<Option<usize>, TuneError> {
            let Some(text) = get(name) else { return Ok(None) };
            let bad =
                |_| TuneError::Fleet { reason: format!("{name} is `{text}`, and a number was expected") };
            text.trim().parse().map(Some).map_err(bad)
        };
        for (rank, size) in LAUNCHERS {
            // One without the other is no launcher.
            if let (Some(_), Some(_)) = (get(rank), get(size))
                && let (Some(index), Some(count)) = (number(rank)?, number(size)?)
            {
                return Self::checked(index, count, rank).map(|shard| Some((shard, rank)));
            }
        }
        match (number(INDEXED)?, count) {
            (None, _) => Ok(None),
            (Some(index), Some(count)) => Self::checked(index, count, INDEXED).map(|s| Some((s, INDEXED))),
            (Some(index), None) => {
                let reason = format!(
                    "{INDEXED} is {index}, and nothing says how many there are: give --shards N, the job's completions, \
                     or --shard 0/1 for all tasks"
                );
                Err(TuneError::Fleet { reason })
            }
        }
    }

    /// The tasks of this part, in order.
    pub fn of(self, tasks: &[Task]) -> Vec<Task> {
        tasks.iter().skip(self.index).step_by(self.count).cloned().collect()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = TuneError;

    /// `2/8`: the third of eight.
    fn from_str(text: &str) -> Result<Self, TuneError> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let bad =
            || TuneError::Fleet { reason: format!("`{text}` is no shard; write 0/4 to 3/4 for four parts") };
        let (index, count) = parts.ok_or_else(bad)?;
        Self::checked(index, count, "--shard")
    }
}

/// What all ranks must agree on: the whole list of tasks, in order, and the effort.
pub fn plan_hash(tasks: &[Task], effort: Effort) -> Digest {
    let mut bytes = format!("jetplan {effort}\n").into_bytes();
    tasks.iter().for_each(|task| bytes.extend(task.key.digest()));
    Digest::of(&bytes)
}

/// What a rank leaves in the shared folder.
#[derive(Serialize, Deserialize)]
struct Card {
    shard: Shard,
    plan: String,
    jet: String,
}

fn card_path(folder: &Path, index: usize, count: usize) -> PathBuf {
    folder.join(format!("jet-plan-{index}-of-{count}.json"))
}

/// Leaves this rank's plan in `folder` and waits until all ranks have left the same.
///
/// # Errors
/// [`TuneError::Fleet`] with the ranks that did not come within `patience`, or that have another plan then. One that is
/// left from an earlier run may still be replaced, so it is believed only at the end.
pub fn meet(folder: &Path, shard: Shard, plan: &Digest, patience: Duration) -> Result<(), TuneError> {
    let own = Card { shard, plan: plan.to_string(), jet: env!("CARGO_PKG_VERSION").to_owned() };
    let path = card_path(folder, shard.index, shard.count);
    let bytes = serde_json::to_vec_pretty(&own).expect("numbers and text");
    let made = std::fs::create_dir_all(folder).map_err(|e| e.to_string());
    let left =
        made.and_then(|()| jet_cache::files::write_atomically(&path, &bytes).map_err(|e| e.to_string()));
    left.map_err(|e| TuneError::Fleet { reason: format!("the fleet's folder cannot be used: {e}") })?;
    let begun = Instant::now();
    loop {
        let (mut absent, mut others) = (Vec::new(), Vec::new());
        for index in (0..shard.count).filter(|index| *index != shard.index) {
            // One that is being written, or is damaged, is not there yet.
            let read = std::fs::read(card_path(folder, index, shard.count)).ok();
            match read.and_then(|bytes| serde_json::from_slice::<Card>(&bytes).ok()) {
                None => absent.push(index.to_string()),
                Some(card) if card.plan != own.plan => others.push((index, card)),
                Some(_) => {}
            }
        }
        if absent.is_empty() && others.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= patience {
            let place = folder.display();
            let reason = match others.first() {
                Some((index, card)) => format!(
                    "rank {index} has plan {}… (jet {}), and rank {} plan {}… (jet {}): start the same jet-tune on the \
                     same target everywhere, or empty {place} where that is left from an earlier run",
                    short(&card.plan),
                    card.jet,
                    shard.index,
                    short(&own.plan),
                    own.jet
                ),
                None => format!(
                    "of {} ranks these have not come to {place} within {} s: {}",
                    shard.count,
                    patience.as_secs_f64(),
                    absent.join(", ")
                ),
            };
            return Err(TuneError::Fleet { reason });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The beginning of a hash, for a person.
pub fn short(plan: &str) -> &str {
    plan.get(..12).unwrap_or(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_cache::{Fingerprint, TaskFields, TaskKey};
    use jet_codegen::schedule::Problem;

    fn tasks(count: usize) -> Vec<Task> {
        let task = |n: usize| {
            let problem = Problem::new("gemm", "f32", &[("n", n)]);
            let fields = TaskFields::new(Fingerprint::new("invented"), "gemm", 1, "f32", "1");
            Task { key: TaskKey::new(fields.dims(problem.dims.clone())), problem }
        };
        (1..=count).map(task).collect()
    }

    fn environment(
        variables: &[(&str, &str)],
        count: Option<usize>,
    ) -> Result<Option<(Shard, &'static str)>, String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Shard::from_environment(&get, count).map_err(|e| e.to_string())
    }

    #[test]
    fn every_task_is_in_exactly_one_shard() {
        let all = tasks(10);
        for count in 1..13 {
            let mut seen: Vec<Task> = (0..count).flat_map(|index| Shard { index, count }.of(&all)).collect();
            seen.sort_by_key(|task| task.problem.dim("n"));
            assert_eq!(seen, all, "{count} shards");
        }
    }

    #[test]
    fn launchers_say_who_a_process_is() {
        let shard = |index, count| Shard { index, count };
        let slurm = [("SLURM_PROCID", "2"), ("SLURM_NTASKS", "8")];
        assert_eq!(environment(&slurm, None), Ok(Some((shard(2, 8), "SLURM_PROCID"))));
        let torch = [("RANK", "1"), ("WORLD_SIZE", "4")];
        assert_eq!(environment(&torch, None), Ok(Some((shard(1, 4), "RANK"))));
        let mpi = [
            ("OMPI_COMM_WORLD_RANK", "0"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("SLURM_PROCID", "0"),
            ("SLURM_NTASKS", "1"),
        ];
        assert_eq!(environment(&mpi, None), Ok(Some((shard(0, 2), "OMPI_COMM_WORLD_RANK"))));
        assert_eq!(
            environment(&[("PMI_RANK", "3"), ("PMI_SIZE", "4")], None),
            Ok(Some((shard(3, 4), "PMI_RANK")))
        );
        let indexed = [("JOB_COMPLETION_INDEX", "5")];
        assert_eq!(environment(&indexed, Some(6)), Ok(Some((shard(5, 6), "JOB_COMPLETION_INDEX"))));
        assert!(environment(&indexed, None).unwrap_err().contains("--shards N"));
        assert_eq!(environment(&[], Some(4)), Ok(None));
        assert_eq!(environment(&[("RANK", "1")], None), Ok(None), "a rank of nothing is no launcher");
        assert!(environment(&[("RANK", "one"), ("WORLD_SIZE", "4")], None).unwrap_err().contains("`one`"));
        assert!(
            environment(&[("RANK", "4"), ("WORLD_SIZE", "4")], None).unwrap_err().contains("from 0 to 3")
        );
    }

    #[test]
    fn shards_are_read_as_they_are_printed() {
        let shard: Shard = "2/8".parse().expect("a shard");
        assert_eq!((shard, shard.to_string()), (Shard { index: 2, count: 8 }, "2/8".to_owned()));
        for wrong in ["", "2", "8/8", "0/0", "a/b", "-1/2", "1/2/3"] {
            let message = wrong.parse::<Shard>().unwrap_err().to_string();
            assert!(message.contains("0/4") || message.contains("numbered from 0"), "{wrong}: {message}");
        }
    }

    #[test]
    fn the_plan_hash_knows_tasks_their_order_and_the_effort() {
        let mut all = tasks(3);
        let hash = plan_hash(&all, Effort::Quick);
        assert_eq!(hash, plan_hash(&tasks(3), Effort::Quick));
        assert_ne!(hash, plan_hash(&all, Effort::Full));
        assert_ne!(hash, plan_hash(&all[1..], Effort::Quick));
        all.swap(0, 1);
        assert_ne!(hash, plan_hash(&all, Effort::Quick));
    }

    #[test]
    fn ranks_with_one_plan_meet_and_others_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, theirs) = (Digest::of(b"ours"), Digest::of(b"theirs"));
        let shard = |index| Shard { index, count: 3 };
        let join = |index, plan: &Digest, seconds| {
            meet(folder.path(), shard(index), plan, Duration::from_secs_f64(seconds))
                .map_err(|e| e.to_string())
        };
        let alone = join(0, &ours, 0.0).unwrap_err();
        assert!(alone.contains("1, 2") && alone.contains("of 3 ranks"), "{alone}");
        join(1, &theirs, 0.0).unwrap_err();
        let other = join(2, &ours, 0.0).unwrap_err();
        assert!(other.contains("rank 1 has plan ") && other.contains(short(&theirs.to_string())), "{other}");
        // The stale card of rank 1 is replaced while the others wait.
        std::thread::scope(|scope| {
            let waiting = [0, 2].map(|index| scope.spawn(move || join(index, &ours, 20.0)));
            std::thread::sleep(Duration::from_millis(50));
            join(1, &ours, 20.0).expect("it meets the others");
            for rank in waiting {
                rank.join().expect("no panic").expect("it meets the others");
            }
        });
    }
}
