//! The schedule of the scan and its legality.

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
