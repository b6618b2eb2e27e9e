//! The schedule of the rule and its legality.

use crate::cpu::scan::cost;
use jet_codegen::schedule::{Family, Illegal, Param, Problem, Schedule, Values};

jet_codegen::schedule! {
    /// How the sequence is walked.
    pub struct GatedDeltaSchedule = "gated_delta" v1 {
        /// Tokens per chunk.
        chunk: [8, 16, 32, 64, 128] = 16,
        /// Segments and last chunks of at most this many tokens go token by token.
        steps: [1, 4, 8, 16, 32, 64, 1_048_576] = 8,
        /// Value columns whose states are held in the nearest cache while the tokens of a piece go by.
        columns: [16, 32, 64] = 64,
    }
}

/// The rule as the tuner sees it. Problems have `tokens`, `heads`, `d_key` and `d_value`.
#[derive(Clone, Copy, Debug)]
pub struct GatedDeltaFamily;

impl Family for GatedDeltaFamily {
    fn name(&self) -> &'static str {
        GatedDeltaSchedule::FAMILY
    }
    fn version(&self) -> u32 {
        GatedDeltaSchedule::VERSION
    }
    fn params(&self) -> &'static [Param] {
        GatedDeltaSchedule::PARAMS
    }
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        let (s, default) = (GatedDeltaSchedule::from_values(values)?, GatedDeltaSchedule::default());
        let (tokens, d_value) = (problem.dim("tokens"), problem.dim("d_value"));
        // What cannot differ from a smaller value is not offered again; the default always is.
        if s.chunk > default.chunk && s.chunk / 2 >= tokens {
            return Err(Illegal(format!("a chunk of {} is more than the {tokens} tokens", s.chunk)));
        }
        if s.columns > default.columns && s.columns / 2 >= d_value {
            return Err(Illegal(format!("{} columns are more than the {d_value} of a value", s.columns)));
        }
        if s.steps > default.steps && tokens <= default.steps {
            return Err(Illegal(format!("{tokens} tokens are steps already at {}", default.steps)));
        }
        Ok(())
    }

    /// Products of a head, as in the scan of Mamba-2: a chunk has three products with the state, reads and writes it once,
    /// compares its keys and queries, and solves for its errors. The factors are what one machine's times come to where keys
    /// and values have 64 columns.
    fn cost(&self, problem: &Problem, values: &Values) -> Option<f64> {
        const STEP: f64 = 4.0;
        const PRODUCTS: f64 = 3.0;
        const STATE: f64 = 10.6;
        const DECAY: f64 = 8.0;
        let s = GatedDeltaSchedule::from_values(values).ok()?;
        let (k, v) = (problem.dim("d_key") as f64, problem.dim("d_value") as f64);
        let chunk = |t: f64| t * PRODUCTS * k * v + STATE * k * v + t * t * (k + v + DECAY);
        Some(cost(problem.dim("tokens"), (s.chunk, s.steps), STEP * k * v, chunk))
    }
}

/// The problem of one rule, for the tuner and the cache key.
pub fn problem(tokens: usize, shape: &super::GatedDeltaShape) -> Problem {
    let dims =
        [("tokens", tokens), ("heads", shape.heads), ("d_key", shape.d_key), ("d_value", shape.d_value)];
    Problem::new(GatedDeltaSchedule::FAMILY, "f32", &dims)
}
