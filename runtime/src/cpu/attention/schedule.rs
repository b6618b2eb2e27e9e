//! What can be chosen about attention, and when a choice makes sense.

use super::Geometry;
use crate::cpu::kv_cache::KvType;
use jet_codegen::schedule;
use jet_codegen::schedule::{Family, Illegal, Param, Problem, Schedule, Values};

schedule! {
    /// How the new tokens of a prefill attend.
    pub struct AttentionPrefill = "attention" v1 {
        /// Tokens whose queries share a tile of keys and values while it is near.
        q_tile: [8, 16, 32, 64] = 32,
        /// Keys and values of a tile.
        kv_tile: [64, 128, 256] = 256,
    }
}

schedule! {
    /// How one new token attends.
    pub struct AttentionDecode = "attention_decode" v1 {
        /// Keys and values between two updates of the softmax.
        kv_tile: [64, 128, 256] = 256,
        /// Parts of the context per KV head, each one unit of work.
        splits: [1, 2, 4, 8, 16] = 2,
    }
}

/// The prefill family.
pub static PREFILL: &dyn Family = &Prefill;
/// The decode family.
pub static DECODE: &dyn Family = &Decode;

fn problem(family: &str, g: &Geometry, kind: KvType, sizes: &[(&str, usize)]) -> Problem {
    let mut dims = vec![("heads", g.heads), ("kv_heads", g.kv_heads), ("d_head", g.d_head)];
    if let Some(w) = g.window {
        dims.push(("window", w));
    }
    dims.extend(sizes);
    Problem::new(family, kind.name(), &dims)
}

/// The problem of `tokens` new tokens that end at position `context`.
pub fn prefill_problem(g: &Geometry, kind: KvType, tokens: usize, context: usize) -> Problem {
    problem(AttentionPrefill::FAMILY, g, kind, &[("tokens", tokens), ("context", context)])
}

/// The problem of one new token that sees `context` positions.
pub fn decode_problem(g: &Geometry, kind: KvType, context: usize) -> Problem {
    problem(AttentionDecode::FAMILY, g, kind, &[("tokens", 1), ("context", context)])
}

/// Keys that one query sees at most; zero where the problem does not say.
fn seen(problem: &Problem) -> usize {
    match (problem.dim("window"), problem.dim("context")) {
        (0, context) => context,
        (window, 0) => window,
        (window, context) => window.min(context),
    }
}

/// Whether some value below `value` already covers `size`, so that `value` would be the same work again.
fn covered(param: &Param, value: i64, size: usize) -> bool {
    size > 0 && param.values.iter().any(|v| *v < value && *v as usize >= size)
}

fn check_covered(params: &[Param], values: &Values, sizes: &[(&str, usize)]) -> Result<(), Illegal> {
    for (name, size) in sizes {
        let param = params.iter().find(|p| p.name == *name).expect("the name is one of the family's");
        let value = values.get(name).expect("the values were checked against the parameters");
        if covered(param, value, *size) {
            return Err(Illegal(format!(
                "`{name}` {value} is no other work than a smaller one that covers {size}"
            )));
        }
    }
    Ok(())
}

/// The defaults, lowered to the smallest value that covers the problem.
fn fitted(params: &[Param], sizes: &[(&str, usize)]) -> Values {
    let mut values = schedule::default_values(params);
    for (name, size) in sizes {
        let param = params.iter().find(|p| p.name == *name).expect("the name is one of the family's");
        if covered(param, param.default, *size) {
            let least = param.values.iter().filter(|v| **v as usize >= *size).min();
            values.0.insert((*name).to_owned(), *least.expect("a smaller value covers it"));
        }
    }
    values
}

struct Prefill;

impl Prefill {
    fn sizes(problem: &Problem) -> [(&'static str, usize); 2] {
        [("q_tile", problem.dim("tokens")), ("kv_tile", seen(problem))]
    }
}

impl Family for Prefill {
    fn name(&self) -> &'static str {
        AttentionPrefill::FAMILY
    }
    fn version(&self) -> u32 {
        AttentionPrefill::VERSION
    }
    fn params(&self) -> &'static [Param] {
        AttentionPrefill::PARAMS
    }
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        AttentionPrefill::from_values(values)?;
        check_covered(self.params(), values, &Self::sizes(problem))
    }
    /// Between two tiles of keys the running softmax is brought up to date, which is worth the products with some keys.
    fn cost(&self, problem: &Problem, values: &Values) -> Option<f64> {
        const UPDATE: f64 = 7.0;
        let s = AttentionPrefill::from_values(values).ok()?;
        let keys = seen(problem).max(problem.dim("tokens")).max(1);
        Some(keys as f64 + UPDATE * keys.div_ceil(s.kv_tile) as f64)
    }
    fn default_values(&self, problem: &Problem) -> Values {
        fitted(self.params(), &Self::sizes(problem))
    }
}

struct Decode;

impl Family for Decode {
    fn name(&self) -> &'static str {
        AttentionDecode::FAMILY
    }
    fn version(&self) -> u32 {
        AttentionDecode::VERSION
    }
    fn params(&self) -> &'static [Param] {
        AttentionDecode::PARAMS
    }
    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        let schedule = AttentionDecode::from_values(values)?;
        let groups = seen(problem).div_ceil(crate::cpu::kv_cache::GROUP);
        if groups > 0 && schedule.splits > 1 && schedule.splits > groups {
            return Err(Illegal(format!("`splits` {} for {groups} groups of 64 keys", schedule.splits)));
        }
        check_covered(self.params(), values, &[("kv_tile", seen(problem))])
    }
    /// As in a prefill; each part of the context has its own softmax to join in the end, and how many workers share the
    /// parts a problem does not say.
    fn cost(&self, problem: &Problem, values: &Values) -> Option<f64> {
        const UPDATE: f64 = 12.0;
        const JOIN: f64 = 16.0;
        let s = AttentionDecode::from_values(values).ok()?;
        let keys = seen(problem).max(1);
        let updates = keys.div_ceil(s.kv_tile).max(s.splits) as f64;
        Some(keys as f64 + UPDATE * updates + JOIN * s.splits as f64)
    }
    fn default_values(&self, problem: &Problem) -> Values {
        let mut values = fitted(self.params(), &[("kv_tile", seen(problem))]);
        if (1..=crate::cpu::kv_cache::GROUP).contains(&seen(problem)) {
            values.0.insert("splits".to_owned(), 1);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_legal_and_first_for_every_size() {
        for window in [None, Some(5), Some(100), Some(1152)] {
            let g = Geometry { heads: 8, kv_heads: 2, d_head: 64, scale: 1.0, window };
            for tokens in [1, 2, 9, 16, 33, 512] {
                for context in [1, 64, 65, 128, 200, 4096] {
                    for (family, problem) in [
                        (PREFILL, prefill_problem(&g, KvType::F16, tokens, context)),
                        (DECODE, decode_problem(&g, KvType::F32, context)),
                    ] {
                        let default = family.default_values(&problem);
                        assert_eq!(family.legal(&problem, &default), Ok(()), "{problem}: {default}");
                        assert!(family.candidates(&problem).contains(&default), "{problem}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_tile_larger_than_the_work_is_refused() {
        let g = Geometry { heads: 8, kv_heads: 2, d_head: 64, scale: 1.0, window: Some(100) };
        let problem = prefill_problem(&g, KvType::F16, 10, 4096);
        let all = PREFILL.candidates(&problem);
        assert_eq!(all.len(), 4, "{all:?}");
        let why =
            PREFILL.legal(&problem, &AttentionPrefill { q_tile: 32, kv_tile: 64 }.values()).unwrap_err();
        assert!(why.0.contains("covers 10"), "{why}");
        let why = DECODE
            .legal(&decode_problem(&g, KvType::F16, 9), &AttentionDecode { kv_tile: 64, splits: 2 }.values())
            .unwrap_err();
        assert!(why.0.contains("1 groups"), "{why}");
    }
}
