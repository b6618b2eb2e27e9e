//! The schedule of the scan and its legality.

use crate::cpu::scan::cost;
use jet_codegen::schedule::{Family, Illegal, Param, Problem, Schedule, Values};

jet_codegen::schedule! {
    /// How the sequence is scanned.
    pub struct SsdSchedule = "ssd" v1 {
        /// Tokens per chunk.
        chunk: [8, 16, 32, 64, 128, 256] = 16,
        /// Segments and last chunks of at most this many tokens go token by token.
        steps: [1, 4, 8, 16, 32, 1_048_576] = 4,
        /// Channels whose states the token loop holds in the nearest cache while it walks the tokens.
        columns: [16, 32, 64] = 64,
    }
}

/// The scan as the tuner sees it. Problems have `tokens`, `heads`, `d_head`, `groups` and `d_state`.
#[derive(Clone, Copy, Debug)]
pub struct SsdFamily;

impl Family for SsdFamily {
    fn name(&self) -> &'static str {
        SsdSchedule::FAMILY
    }
    fn version(&self) -> u32 {
        SsdSchedule::VERSION
    }
    fn params(&self) -> &'static [Param] {
        SsdSchedule::PARAMS
    }
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        let (s, default) = (SsdSchedule::from_values(values)?, SsdSchedule::default());
        let (tokens, d_head) = (problem.dim("tokens"), problem.dim("d_head"));
        // What cannot differ from a smaller value is not offered again; the default always is.
        if s.chunk > default.chunk && s.chunk / 2 >= tokens {
            return Err(Illegal(format!("a chunk of {} is more than the {tokens} tokens", s.chunk)));
        }
        if s.columns > default.columns && s.columns / 2 >= d_head {
            return Err(Illegal(format!("{} columns are more than the {d_head} channels", s.columns)));
        }
        if s.steps > default.steps && tokens <= default.steps {
            return Err(Illegal(format!("{tokens} tokens are steps already at {}", default.steps)));
        }
        Ok(())
    }

    /// Products of a head, in vector operations a channel: a token alone passes over the whole state; a chunk reads and writes it
    /// once, and has its scores (shared by a group's heads), their decays and their product with the inputs besides.
    /// The four factors are what one machine's times come to where a head has 64 channels and a state of 128.
    fn cost(&self, problem: &Problem, values: &Values) -> Option<f64> {
        const STEP: f64 = 5.2;
        const PRODUCTS: f64 = 2.0;
        const STATE: f64 = 7.5;
        const DECAY: f64 = 12.0;
        let s = SsdSchedule::from_values(values).ok()?;
        let size = |name| problem.dim(name) as f64;
        let (p, n) = (size("d_head"), size("d_state"));
        let shared = size("groups") / size("heads").max(1.0);
        let chunk =
            |t: f64| t * PRODUCTS * p * n + STATE * p * n + t * t * (n * shared / 2.0 + p / 2.0 + DECAY);
        Some(cost(problem.dim("tokens"), (s.chunk, s.steps), STEP * p * n, chunk))
    }
}

/// The problem of one scan, for the tuner and the cache key.
pub fn problem(tokens: usize, shape: &super::SsdShape) -> Problem {
    let dims = [
        ("tokens", tokens),
        ("heads", shape.heads),
        ("d_head", shape.d_head),
        ("groups", shape.groups),
        ("d_state", shape.d_state),
    ];
    Problem::new(SsdSchedule::FAMILY, "f32", &dims)
}
