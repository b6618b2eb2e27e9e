//! From an op to its schedule: what was tuned, else the family's default.

use crate::Error;
use jet_codegen::schedule::{Family, Problem, Values};
use serde::Serialize;

/// How a schedule was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hit {
    /// The very task was tuned.
    Exact,
    /// A neighbouring token bucket of the same task was.
    Bucket,
    /// Nothing was: the family's default.
    Default,
}

/// Answers with tuned schedules; [`NoSchedules`] has none.
pub trait ScheduleSource {
    /// The stored schedule for `problem`, if there is one. Whether it is legal is checked by the caller.
    fn lookup(&self, family: &dyn Family, problem: &Problem) -> Option<(Values, Hit)>;
    /// A compiled kernel that was stored with the schedule of `problem`, by the name of its source.
    fn kernel(&self, _family: &dyn Family, _problem: &Problem, _name: &str) -> Option<Vec<u8>> {
        None
    }
    /// Whether a miss is an error.
    fn frozen(&self) -> bool {
        false
    }
}

/// No tuned schedules: everything runs with its default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSchedules;

impl ScheduleSource for NoSchedules {
    fn lookup(&self, _family: &dyn Family, _problem: &Problem) -> Option<(Values, Hit)> {
        None
    }
}

/// One task's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Selected {
    /// What is computed.
    pub problem: Problem,
    /// How.
    pub values: Values,
    /// How it was found.
    pub hit: Hit,
}

/// All schedules of a loaded program.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Selection {
    /// One per distinct problem.
    pub tasks: Vec<Selected>,
}

impl Selection {
    /// Chooses for `problem`, remembering the choice; a problem seen before gets the same answer.
    pub fn choose(
        &mut self,
        family: &dyn Family,
        problem: &Problem,
        source: &dyn ScheduleSource,
    ) -> Result<Values, Error> {
        if let Some(s) = self.tasks.iter().find(|s| s.problem == *problem) {
            return Ok(s.values.clone());
        }
        let found = source.lookup(family, problem).filter(|(values, hit)| match family.legal(problem, values) {
            Ok(()) => true,
            Err(why) => {
                tracing::warn!(task = %problem, schedule = %values, ?hit, "stored schedule is not legal: {why}");
                false
            }
        });
        let (values, hit) = match found {
            Some(f) => f,
            None if source.frozen() => return Err(Error::Frozen { task: problem.to_string() }),
            None => (family.default_values(problem), Hit::Default),
        };
        self.tasks.push(Selected { problem: problem.clone(), values: values.clone(), hit });
        Ok(values)
    }

    /// How many tasks were found in this way.
    pub fn count(&self, hit: Hit) -> usize {
        self.tasks.iter().filter(|t| t.hit == hit).count()
    }

    /// `exact 38, bucket 4, default 0`.
    pub fn summary(&self) -> String {
        format!(
            "exact {}, bucket {}, default {}",
            self.count(Hit::Exact),
            self.count(Hit::Bucket),
            self.count(Hit::Default)
        )
    }
}
