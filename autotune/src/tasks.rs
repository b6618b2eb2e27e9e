//! Tasks: what has to be tuned, and which candidates each has.

use crate::options::Effort;
use crate::stats::Random;
use jet_cache::TaskKey;
use jet_codegen::schedule::{Family, Problem, Values};

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

/// The candidates of `problem` that `effort` tries, the default first, then `known` (an earlier winner), where it is
/// legal. A quick search takes the default's neighbours, which differ in one parameter, and fills up with others at
/// random.
pub fn candidates(
    family: &dyn Family,
    problem: &Problem,
    effort: Effort,
    known: Option<&Values>,
    seed: u64,
) -> Vec<Values> {
    let default = family.default_values(problem);
    let mut rest = family.candidates(problem);
    rest.retain(|v| *v != default);
    let mut chosen = vec![default];
    let legal = |v: &&Values| **v != chosen[0] && family.legal(problem, v).is_ok();
    if let Some(known) = known.filter(legal).filter(|_| effort > Effort::None) {
        rest.retain(|v| v != known);
        chosen.push(known.clone());
    }
    let room = effort.candidates().saturating_sub(chosen.len());
    if rest.len() > room {
        // Shuffled first and sorted by a stable sort after: neighbours lead, chance orders the rest.
        let mut random = Random::new(seed);
        for i in (1..rest.len()).rev() {
            rest.swap(i, random.below(i + 1));
        }
        rest.sort_by_key(|v| differences(v, &chosen[0]) > 1);
        rest.truncate(room);
    }
    chosen.extend(rest);
    chosen
}

/// In how many parameters two schedules of one family differ.
pub(crate) fn differences(a: &Values, b: &Values) -> usize {
    a.0.iter().filter(|(name, value)| b.get(name) != Some(**value)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_codegen::schedule::{Illegal, Param, Schedule, check_values};

    jet_codegen::schedule! {
        /// Three parameters, 150 candidates.
        struct Wide = "wide" v1 {
            /// A.
            a: [1, 2, 3, 4, 5] = 3,
            /// B.
            b: [1, 2, 3, 4, 5] = 1,
            /// C.
            c: [1, 2, 3, 4, 5, 6] = 2,
        }
    }

    struct Demo;
    impl Family for Demo {
        fn name(&self) -> &'static str {
            Wide::FAMILY
        }
        fn version(&self) -> u32 {
            Wide::VERSION
        }
        fn params(&self) -> &'static [Param] {
            Wide::PARAMS
        }
        fn legal(&self, _: &Problem, v: &Values) -> Result<(), Illegal> {
            check_values(Wide::PARAMS, v)?;
            if v.get("a") == Some(5) { Err(Illegal("five".into())) } else { Ok(()) }
        }
        fn default_values(&self, problem: &Problem) -> Values {
            Wide { a: if problem.dim("small") > 0 { 1 } else { 3 }, ..Wide::default() }.values()
        }
    }

    fn pick(problem: &Problem, effort: Effort, known: Option<&Values>) -> Vec<Values> {
        candidates(&Demo, problem, effort, known, 9)
    }

    #[test]
    fn the_problems_own_default_comes_first_and_once() {
        for small in [0, 1] {
            let problem = Problem::new("wide", "f32", &[("small", small)]);
            let all = pick(&problem, Effort::Full, None);
            assert_eq!(all.len(), 4 * 5 * 6);
            assert_eq!(all[0], Demo.default_values(&problem));
            assert!(all[1..].iter().all(|v| *v != all[0] && v.get("a") != Some(5)));
            assert_eq!(pick(&problem, Effort::None, None), all[..1]);
        }
    }

    #[test]
    fn a_quick_search_has_all_neighbours_and_some_others_the_same_each_time() {
        let problem = Problem::new("wide", "f32", &[]);
        let quick = pick(&problem, Effort::Quick, None);
        assert_eq!(quick.len(), Effort::Quick.candidates());
        let near = quick.iter().filter(|v| differences(v, &quick[0]) == 1).count();
        assert_eq!(near, 3 + 4 + 5);
        assert_eq!(quick, pick(&problem, Effort::Quick, None));
        let mut unique = quick.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), quick.len());
    }

    #[test]
    fn an_earlier_winner_is_tried_second_if_it_is_legal() {
        let problem = Problem::new("wide", "f32", &[]);
        let known = Wide { a: 4, b: 5, c: 6 }.values();
        let quick = pick(&problem, Effort::Quick, Some(&known));
        assert_eq!((&quick[1], quick.len()), (&known, Effort::Quick.candidates()));
        let illegal = Wide { a: 5, b: 5, c: 6 }.values();
        assert!(!pick(&problem, Effort::Full, Some(&illegal)).contains(&illegal));
    }
}
