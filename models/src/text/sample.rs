//! The choice of the next token.
//!
//! Order of the rules, as in the usual Python stack: repetition penalty, temperature, top-k, top-p, min-p, draw.
//! Draws come from a Philox stream, so a seed and a step name a draw whatever was drawn before.

use super::SampleError;
use jet_numerics::philox::{Stream, Tag};

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerOptions {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Only the k most likely tokens; 0 is all.
    pub top_k: usize,
    /// Only the most likely tokens that together have this probability; 1 is all.
    pub top_p: f32,
    /// Only tokens at least this likely, relative to the most likely; 0 is all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens that occurred; 1 is none.
    pub repetition_penalty: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl SamplerOptions {
    /// The most likely token, always.
    pub const GREEDY: Self =
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 };

    fn check(&self) -> Result<(), SampleError> {
        let fault = |option, found: f32, expected| {
            Err(SampleError::Option { option, found: found.to_string(), expected })
        };
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return fault("temperature", self.temperature, "a number from 0 (greedy) up");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return fault("top-p", self.top_p, "a number above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return fault("min-p", self.min_p, "a number from 0 to 1");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return fault("repetition penalty", self.repetition_penalty, "a number above 0; 1 is none");
        }
        Ok(())
    }
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self::GREEDY
    }
}

/// Chooses tokens for one sequence. Allocates when made, and never again.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplerOptions,
    stream: Stream,
    step: u64,
    /// Tokens that occurred, by id.
    seen: Vec<bool>,
    /// Likelihoods relative to the most likely token, by id.
    weights: Vec<f32>,
    /// Ids still in the choice.
    kept: Vec<u32>,
}

impl Sampler {
    /// A sampler for a vocabulary of `vocab` tokens. Fails for options outside their ranges.
    pub fn new(options: &SamplerOptions, vocab: usize) -> Result<Self, SampleError> {
        options.check()?;
        let sampling = options.temperature > 0.0;
        Ok(Self {
            options: options.clone(),
            stream: Stream::new(options.seed, Tag::Data, 0, 1),
            step: 0,
            seen: vec![false; vocab],
            weights: vec![0.0; if sampling { vocab } else { 0 }],
            kept: Vec::with_capacity(if sampling { vocab } else { 0 }),
        })
    }

    /// Marks tokens of the prompt as having occurred; ids outside the vocabulary are ignored.
    pub fn observe(&mut self, ids: &[u32]) {
        for &id in ids {
            if let Some(seen) = self.seen.get_mut(id as usize) {
                *seen = true;
            }
        }
    }

    /// The next token, which has then occurred. Logits that are NaN are never chosen; among equals the lowest id wins.
    pub fn next(&mut self, logits: &[f32]) -> Result<u32, SampleError> {
        if logits.len() != self.seen.len() {
            return Err(SampleError::Vocabulary { found: logits.len(), expected: self.seen.len() });
        }
        let id = if self.options.temperature == 0.0 { self.best(logits)?.0 } else { self.draw(logits)? };
        self.seen[id as usize] = true;
        self.step += 1;
        Ok(id)
    }

    fn penalised(&self, id: usize, logit: f32) -> f32 {
        match self.options.repetition_penalty {
            1.0 => logit,
            _ if !self.seen[id] => logit,
            p if logit > 0.0 => logit / p,
            p => logit * p,
        }
    }

    /// The most likely token and its logit.
    fn best(&self, logits: &[f32]) -> Result<(u32, f32), SampleError> {
        let mut best = None;
        for (id, &logit) in logits.iter().enumerate() {
            let logit = self.penalised(id, logit);
            if logit > best.map_or(f32::NEG_INFINITY, |(_, b)| b) {
                best = Some((id as u32, logit));
            }
        }
        best.filter(|(_, b)| b.is_finite()).ok_or(SampleError::NoNumbers { count: logits.len() })
    }

    fn draw(&mut self, logits: &[f32]) -> Result<u32, SampleError> {
        let (top, max) = self.best(logits)?;
        let inverse = 1.0 / self.options.temperature;
        self.kept.clear();
        for (id, &logit) in logits.iter().enumerate() {
            // A temperature near 0 makes the difference infinite, and infinity times 0 no number.
            let weight = ((self.penalised(id, logit) - max) * inverse).exp();
            let weight = if id as u32 == top { 1.0 } else { weight };
            self.weights[id] = if weight > 0.0 { weight } else { 0.0 };
            if weight > 0.0 {
                self.kept.push(id as u32);
            }
        }
        if self.options.top_k > 0 {
            self.keep_likeliest(self.options.top_k);
        }
        if self.options.top_p < 1.0 {
            self.keep_mass();
        }
        if self.options.min_p > 0.0 {
            let (weights, least) = (&self.weights, self.options.min_p);
            self.kept.retain(|&id| weights[id as usize] >= least);
        }
        Ok(self.pick())
    }

    fn total(&self, ids: &[u32]) -> f64 {
        ids.iter().map(|&id| f64::from(self.weights[id as usize])).sum()
    }

    /// Keeps the `k` likeliest, in no particular order.
    fn keep_likeliest(&mut self, k: usize) {
        if k < self.kept.len() {
            let weights = &self.weights;
            self.kept.select_nth_unstable_by(k - 1, |a, b| likelier(weights, *a, *b));
            self.kept.truncate(k);
        }
    }

    /// Keeps the smallest set of likeliest tokens that has the mass `top_p`. Sorts no more of the vocabulary than it
    /// must: the front is found by selection and doubled until it holds the mass.
    fn keep_mass(&mut self) {
        let wanted = f64::from(self.options.top_p) * self.total(&self.kept);
        let weights = &self.weights;
        let mut front = 64;
        loop {
            let n = front.min(self.kept.len());
            if n < self.kept.len() {
                self.kept.select_nth_unstable_by(n, |a, b| likelier(weights, *a, *b));
            }
            if n == self.kept.len() || self.total(&self.kept[..n]) >= wanted {
                self.kept[..n].sort_unstable_by(|a, b| likelier(weights, *a, *b));
                let mut mass = 0.0;
                let reached = self.kept[..n].iter().position(|&id| {
                    mass += f64::from(weights[id as usize]);
                    mass >= wanted
                });
                self.kept.truncate(reached.map_or(n, |i| i + 1));
                return;
            }
            front *= 4;
        }
    }

    /// Draws among the kept tokens; at least one is there.
    fn pick(&mut self) -> u32 {
        // By id, so that a draw does not depend on how the set was found.
        self.kept.sort_unstable();
        let target = f64::from(self.stream.uniform(self.step)) * self.total(&self.kept);
        let mut mass = 0.0;
        let hit = self.kept.iter().find(|&&id| {
            mass += f64::from(self.weights[id as usize]);
            mass > target
        });
        *hit.or(self.kept.last()).expect("the most likely token is always kept")
    }
}

/// More likely first, then the lower id.
fn likelier(weights: &[f32], a: u32, b: u32) -> std::cmp::Ordering {
    weights[b as usize].total_cmp(&weights[a as usize]).then(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampler(options: SamplerOptions, vocab: usize) -> Sampler {
        Sampler::new(&options, vocab).unwrap()
    }

    fn counts(options: SamplerOptions, logits: &[f32], n: usize) -> Vec<usize> {
        let mut counts = vec![0; logits.len()];
        let mut s = sampler(options, logits.len());
        (0..n).for_each(|_| counts[s.next(logits).unwrap() as usize] += 1);
        counts
    }

    const HOT: SamplerOptions = SamplerOptions { temperature: 1.0, ..SamplerOptions::GREEDY };

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        let mut s = sampler(SamplerOptions::GREEDY, 5);
        assert_eq!(s.next(&[0.0, 3.0, f32::NAN, 3.0, f32::NEG_INFINITY]), Ok(1));
        assert_eq!(s.next(&[f32::NAN; 5]), Err(SampleError::NoNumbers { count: 5 }));
        assert_eq!(s.next(&[f32::NEG_INFINITY; 5]), Err(SampleError::NoNumbers { count: 5 }));
        assert_eq!(s.next(&[1.0, f32::INFINITY, 0.0, 0.0, 0.0]), Err(SampleError::NoNumbers { count: 5 }));
        assert_eq!(s.next(&[1.0]), Err(SampleError::Vocabulary { found: 1, expected: 5 }));
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let p = [0.5f32, 0.25, 0.15, 0.1];
        let counts = counts(HOT, &p.map(f32::ln), 20_000);
        for (count, p) in counts.iter().zip(p) {
            assert!((*count as f32 / 20_000.0 - p).abs() < 0.015, "{counts:?}");
        }
    }

    #[test]
    fn temperature_sharpens() {
        let logits = [0.0, 1.0];
        let at =
            |temperature| counts(SamplerOptions { temperature, ..HOT }, &logits, 4000)[1] as f32 / 4000.0;
        // 1 / (1 + exp(-1/T))
        assert!((at(0.5) - 0.881).abs() < 0.03 && (at(2.0) - 0.622).abs() < 0.03);
        assert_eq!(at(1e-30), 1.0);
    }

    #[test]
    fn cuts_keep_exactly_their_set() {
        let logits = [0.4f32, 0.3, 0.2, 0.1].map(f32::ln);
        let support =
            |options| counts(options, &logits, 3000).iter().map(|c| usize::from(*c > 0)).collect::<Vec<_>>();
        assert_eq!(support(SamplerOptions { top_k: 2, ..HOT }), [1, 1, 0, 0]);
        assert_eq!(support(SamplerOptions { top_p: 0.65, ..HOT }), [1, 1, 0, 0]);
        assert_eq!(support(SamplerOptions { top_p: 0.75, ..HOT }), [1, 1, 1, 0]);
        assert_eq!(support(SamplerOptions { top_p: 1e-6, ..HOT }), [1, 0, 0, 0]);
        assert_eq!(support(SamplerOptions { min_p: 0.45, ..HOT }), [1, 1, 1, 0]);
        assert_eq!(support(SamplerOptions { min_p: 1.0, ..HOT }), [1, 0, 0, 0]);
        // Top-p counts what top-k left: 0.4 of 0.7 is enough for 0.5.
        assert_eq!(support(SamplerOptions { top_k: 2, top_p: 0.5, ..HOT }), [1, 0, 0, 0]);
    }

    #[test]
    fn what_occurred_is_penalised() {
        let options = SamplerOptions { repetition_penalty: 2.0, ..SamplerOptions::GREEDY };
        let mut s = sampler(options, 3);
        s.observe(&[0, 99]);
        let logits = [3.0, 2.0, 1.2];
        assert_eq!([0; 3].map(|_| s.next(&logits).unwrap()), [1, 0, 0]);
        let mut s = sampler(SamplerOptions { repetition_penalty: 2.0, ..SamplerOptions::GREEDY }, 2);
        s.observe(&[0]);
        assert_eq!(s.next(&[-1.0, -1.5]), Ok(1));
    }

    #[test]
    fn a_seed_names_its_draws() {
        let logits: Vec<f32> = (0..100).map(|i| (i % 7) as f32 * 0.3).collect();
        let run = |seed| {
            let mut s = sampler(SamplerOptions { seed, top_p: 0.9, ..HOT }, 100);
            (0..50).map(|_| s.next(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn options_outside_their_ranges_are_named() {
        let error = |o: SamplerOptions| Sampler::new(&o, 1).unwrap_err().to_string();
        assert_eq!(
            error(SamplerOptions { temperature: -1.0, ..HOT }),
            "temperature is -1; expected a number from 0 (greedy) up"
        );
        assert!(error(SamplerOptions { top_p: 0.0, ..HOT }).starts_with("top-p is 0"));
        assert!(error(SamplerOptions { min_p: f32::NAN, ..HOT }).starts_with("min-p is NaN"));
        assert!(error(SamplerOptions { repetition_penalty: 0.0, ..HOT }).contains("1 is none"));
    }

    proptest! {
        // The set that top-p keeps, against a plain sort of everything.
        #[test]
        fn mass_by_selection_is_mass_by_sorting(seed in any::<u64>(), n in 1usize..700, top_p in 0.01f32..0.999, scale in 0.1f32..6.0) {
            let mut logits = vec![0.0; n];
            Stream::new(seed, Tag::Data, 9, 9).normals_at(0, &mut logits);
            logits.iter_mut().for_each(|l| *l *= scale);
            let mut s = sampler(SamplerOptions { top_p, seed, ..HOT }, n);
            s.next(&logits).unwrap();
            let max = logits.iter().copied().fold(f32::MIN, f32::max);
            let mut all: Vec<(u32, f64)> = logits.iter().enumerate().map(|(i, l)| (i as u32, f64::from((l - max).exp()))).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let wanted = f64::from(top_p) * all.iter().map(|x| x.1).sum::<f64>();
            let mut mass = 0.0;
            let mut kept: Vec<u32> = Vec::new();
            for (id, w) in all {
                kept.push(id);
                mass += w;
                if mass >= wanted * (1.0 + 1e-12) { break }
            }
            kept.sort_unstable();
            // The two sums run in different orders, so a set at the very edge may differ by its last member.
            prop_assert!(s.kept.len().abs_diff(kept.len()) <= 1);
            prop_assert!(s.kept.iter().filter(|id| !kept.contains(id)).count() <= 1);
        }
    }
}
