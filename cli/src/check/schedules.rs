//! Forcing schedules: every value of every schedule parameter is tried at least once.

use jet_codegen::program::Program;
use jet_codegen::schedule::{Family, Problem, Values};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use jet_runtime::device::{Device, Precision};
use jet_runtime::select::{Hit, ScheduleSource};

/// One parameter of one family held at one value; everything else runs with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forced {
    family: &'static str,
    param: &'static str,
    value: i64,
}

impl Forced {
    /// As in reports: `ssd chunk=64`.
    pub fn label(&self) -> String {
        format!("{} {}={}", self.family, self.param, self.value)
    }

    /// The legal candidate for `problem` with the wanted value that is nearest to the default.
    fn values(&self, family: &dyn Family, problem: &Problem) -> Option<Values> {
        let default = family.default_values(problem);
        let distance = |v: &Values| v.0.iter().filter(|(k, x)| default.get(k) != Some(**x)).count();
        family
            .candidates(problem)
            .into_iter()
            .filter(|v| v.get(self.param) == Some(self.value))
            .min_by_key(distance)
    }
}

impl ScheduleSource for Forced {
    fn lookup(&self, family: &dyn Family, problem: &Problem) -> Option<(Values, Hit)> {
        (family.name() == self.family)
            .then(|| self.values(family, problem))
            .flatten()
            .map(|v| (v, Hit::Exact))
    }
}

/// Every forced schedule that changes something for `program` at one of the token counts `tokens`.
pub fn all(
    device: &dyn Device,
    program: &Program,
    dtype: &dyn Fn(WeightRef) -> Option<DType>,
    precision: Precision,
    tokens: &[usize],
) -> Vec<Forced> {
    let problems = device.problems(program, dtype, &precision.into(), tokens);
    let mut forced = Vec::new();
    for family in device.families() {
        for param in family.params() {
            for value in param.values {
                let f = Forced { family: family.name(), param: param.name, value: *value };
                let of_family = problems.iter().filter(|p| p.family == f.family);
                let changes =
                    |p: &Problem| f.values(*family, p).is_some_and(|v| v != family.default_values(p));
                if of_family.into_iter().any(changes) {
                    forced.push(f);
                }
            }
        }
    }
    forced
}
