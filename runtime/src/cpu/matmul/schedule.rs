//! How a multiplication is done: the schedules of few tokens and of many, their problems and their families.

use super::NumberPath;
use jet_codegen::schedule::{Family, Illegal, Param, Problem, Schedule, Values};
use jet_numerics::DType;

jet_codegen::schedule! {
    /// Few tokens: every weight is read once, straight from its format.
    pub struct Gemv = "gemv" v1 {
        /// Row tiles that go through the kernel together: as many streams of weights.
        tiles: [1, 2, 4] = 1,
        /// Bytes by which software asks for weights ahead of their use; 0 leaves it to the machine.
        prefetch: [0, 1024, 2048, 4096] = 0,
    }
}

jet_codegen::schedule! {
    /// Many tokens: weights are unpacked once per block of tokens.
    pub struct Gemm = "gemm" v1 {
        /// Tokens that go through the kernel together.
        mt: [4, 6, 8, 12] = 8,
        /// Tokens of a block, for which an unpacked piece of the weights is used.
        token_block: [64, 128, 256, 512] = 256,
    }
}

/// Up to this many tokens are served by [`Gemv`].
pub const FEW: usize = 4;

/// What both schedules come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// See [`Gemm::mt`].
    pub mt: usize,
    /// See [`Gemm::token_block`].
    pub token_block: usize,
    /// See [`Gemv::tiles`].
    pub tiles: usize,
    /// See [`Gemv::prefetch`].
    pub prefetch: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Gemm::default().into()
    }
}

impl From<Gemv> for Tuning {
    fn from(s: Gemv) -> Self {
        Self { tiles: s.tiles, prefetch: s.prefetch, ..Self::default() }
    }
}

impl From<Gemm> for Tuning {
    fn from(s: Gemm) -> Self {
        let few = Gemv::default();
        Self { mt: s.mt, token_block: s.token_block, tiles: few.tiles, prefetch: few.prefetch }
    }
}

/// The problem of `tokens` rows of `k` values times a matrix of `n` rows stored as `dtype`, computed by `path`.
pub fn problem(n: usize, k: usize, tokens: usize, dtype: DType, path: NumberPath) -> Problem {
    let family = if tokens <= FEW { Gemv::FAMILY } else { Gemm::FAMILY };
    Problem::new(family, &format!("{dtype}/{}", path.name()), &[("n", n), ("k", k), ("tokens", tokens)])
}

/// The family of [`Gemv`].
pub static GEMV: &dyn Family = &GemvFamily;
/// The family of [`Gemm`].
pub static GEMM: &dyn Family = &GemmFamily;

struct GemvFamily;
struct GemmFamily;

impl Family for GemvFamily {
    fn name(&self) -> &'static str {
        Gemv::FAMILY
    }
    fn version(&self) -> u32 {
        Gemv::VERSION
    }
    fn params(&self) -> &'static [Param] {
        Gemv::PARAMS
    }
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        let s = Gemv::from_values(values)?;
        let int8 = problem.format.ends_with("/int8");
        if (s.tiles > 1 || s.prefetch > 0) && !(int8 && problem.dim("tokens") == 1) {
            return Err(Illegal("`tiles` and `prefetch` are for one token on the int8 path".into()));
        }
        if s.tiles > 1 && s.tiles * super::format::ROWS > problem.dim("n") {
            return Err(Illegal(format!(
                "{} row tiles are more than {} rows have",
                s.tiles,
                problem.dim("n")
            )));
        }
        Ok(())
    }
}

impl Family for GemmFamily {
    fn name(&self) -> &'static str {
        Gemm::FAMILY
    }
    fn version(&self) -> u32 {
        Gemm::VERSION
    }
    fn params(&self) -> &'static [Param] {
        Gemm::PARAMS
    }
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        let s = Gemm::from_values(values)?;
        let default = Gemm::default();
        let tokens = problem.dim("tokens");
        // Sizes beyond the tokens there are do what the smallest sufficient one does.
        if s.token_block != default.token_block && s.token_block / 2 >= tokens {
            return Err(Illegal(format!("a block of {} tokens for {tokens}", s.token_block)));
        }
        if s.mt != default.mt && tokens <= default.mt {
            return Err(Illegal(format!("{tokens} tokens are one group")));
        }
        Ok(())
    }

    /// A vector of weights is loaded once for the tokens of a group, and unpacked once for those of a block.
    fn cost(&self, problem: &Problem, values: &Values) -> Option<f64> {
        const LOAD: f64 = 2.0;
        const UNPACK: f64 = 4.0;
        let s = Gemm::from_values(values).ok()?;
        let tokens = problem.dim("tokens").max(1);
        let groups = |size: usize| tokens.div_ceil(size) as f64;
        Some(tokens as f64 + LOAD * groups(s.mt) + UNPACK * groups(s.token_block))
    }
}
