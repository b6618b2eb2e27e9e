//! Which parts are made cheaper: by time saved per divergence, as far as the bound reaches.
//!
//! The divergences of single parts add up to roughly that of all of them, so they order the parts; how far one can go is
//! found out by measuring whole recipes. Taken in this order, more parts mean more divergence up to noise, so the way along it
//! is halved again and again; what is behind the first part too many is then tried by itself.

use super::REFERENCE;
use jet_runtime::device::Precision;
use jet_runtime::recipe::{Part, Recipe};

/// One part in one cheaper precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The part.
    pub part: Part,
    /// Its precision.
    pub precision: Precision,
    /// Divergence of the model in which only this part is changed, in nats.
    pub kl: f64,
    /// Seconds that it saves against the reference; negative where it is slower.
    pub saved: f64,
}

/// One step of the order: a part goes from what it has to something faster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// The part.
    pub part: Part,
    /// What it gets.
    pub precision: Precision,
    /// Divergence that this adds, as the parts alone have it.
    pub kl: f64,
    /// Seconds that this saves.
    pub saved: f64,
}

impl Move {
    fn ratio(&self) -> f64 {
        if self.kl > 0.0 { self.saved / self.kl } else { f64::INFINITY }
    }
}

/// The moves worth making, the one that saves most per divergence first. Of each part only those choices count that no
/// mixture of others beats, so that a part's moves are in order, too.
pub fn moves(choices: &[Choice]) -> Vec<Move> {
    let mut parts: Vec<Part> = choices.iter().map(|c| c.part).collect();
    parts.sort();
    parts.dedup();
    let mut all: Vec<Move> = parts.into_iter().flat_map(|part| moves_of(part, choices)).collect();
    all.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
    all
}

/// The upper hull of one part's choices over divergence, as steps from one to the next.
fn moves_of(part: Part, choices: &[Choice]) -> Vec<Move> {
    let usable = |c: &&Choice| c.part == part && c.saved > 0.0 && c.kl.is_finite();
    let mut mine: Vec<&Choice> = choices.iter().filter(usable).collect();
    mine.sort_by(|a, b| a.kl.total_cmp(&b.kl).then(b.saved.total_cmp(&a.saved)));
    let mut hull: Vec<Move> = Vec::new();
    let (mut kl, mut saved) = (0.0, 0.0);
    for choice in mine {
        if choice.saved <= saved {
            continue;
        }
        let step = |kl: f64, saved: f64| Move {
            part,
            precision: choice.precision,
            kl: choice.kl - kl,
            saved: choice.saved - saved,
        };
        let mut next = step(kl, saved);
        while let Some(last) = hull.last().copied().filter(|last| last.ratio() <= next.ratio()) {
            hull.pop();
            (kl, saved) = (kl - last.kl, saved - last.saved);
            next = step(kl, saved);
        }
        hull.push(next);
        (kl, saved) = (choice.kl, choice.saved);
    }
    hull
}

/// A recipe that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What it is.
    pub recipe: Recipe,
    /// Its divergence, in nats.
    pub kl: f64,
    /// Seconds that it saves against the reference, as the parts alone have it.
    pub saved: f64,
}

/// What a search has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The recipe that saves most within the bound, of those measured.
    pub recipe: Recipe,
    /// Its divergence.
    pub kl: f64,
    /// Seconds that it saves.
    pub saved: f64,
    /// All recipes that were measured, the reference first.
    pub measured: Vec<Measured>,
}

/// A walk along the moves.
struct Walk<'a, E> {
    moves: &'a [Move],
    measured: Vec<Measured>,
    judge: &'a mut dyn FnMut(&Recipe) -> Result<f64, E>,
}

impl<E> Walk<'_, E> {
    /// The divergence of the recipe that these moves make.
    fn measure(&mut self, taken: &[usize]) -> Result<f64, E> {
        let mut recipe = Recipe::from(REFERENCE);
        let mut saved = 0.0;
        for at in taken {
            let step = &self.moves[*at];
            recipe = recipe.with(step.part, step.precision);
            saved += step.saved;
        }
        if let Some(known) = self.measured.iter().find(|m| m.recipe == recipe) {
            return Ok(known.kl);
        }
        let kl = (self.judge)(&recipe)?;
        self.measured.push(Measured { recipe, kl, saved });
        Ok(kl)
    }

    /// How many moves from the first on keep the bound.
    fn prefix(&mut self, max_kl: f64) -> Result<usize, E> {
        let (mut within, mut beyond) = (0, self.moves.len() + 1);
        // All of them first: with a wide bound that is the answer.
        let mut next = self.moves.len();
        while beyond - within > 1 {
            let taken: Vec<usize> = (0..next).collect();
            if self.measure(&taken)? <= max_kl {
                within = next;
            } else {
                beyond = next;
            }
            next = within + (beyond - within) / 2;
        }
        Ok(within)
    }

    /// Takes those moves behind the prefix, too, that would fit into what is left of the bound, and gives them back one by
    /// one until they do.
    fn fill(&mut self, prefix: usize, max_kl: f64) -> Result<(), E> {
        let mut taken: Vec<usize> = (0..prefix).collect();
        let mut kl = self.measure(&taken)?;
        for at in prefix..self.moves.len() {
            let step = self.moves[at];
            // A part's later move builds upon its earlier one.
            let mut earlier = (0..at).filter(|i| self.moves[*i].part == step.part);
            if earlier.all(|i| taken.contains(&i)) && kl + step.kl <= max_kl {
                kl += step.kl;
                taken.push(at);
            }
        }
        while taken.len() > prefix && self.measure(&taken)? > max_kl {
            taken.pop();
        }
        Ok(())
    }
}

impl Search {
    /// Searches along `moves` for the recipe that saves most with a divergence of at most `max_kl`, as `judge` measures it.
    /// The reference itself is always within the bound. `probes` more recipes, evenly along the moves, are measured for the
    /// front.
    ///
    /// # Errors
    /// Those of `judge`.
    pub fn run<E>(
        moves: &[Move],
        max_kl: f64,
        probes: usize,
        judge: &mut dyn FnMut(&Recipe) -> Result<f64, E>,
    ) -> Result<Self, E> {
        let reference = Measured { recipe: REFERENCE.into(), kl: 0.0, saved: 0.0 };
        let mut walk = Walk { moves, measured: vec![reference], judge };
        let prefix = walk.prefix(max_kl)?;
        walk.fill(prefix, max_kl)?;
        for at in 1..=probes {
            let taken: Vec<usize> = (0..moves.len() * at / (probes + 1)).collect();
            walk.measure(&taken)?;
        }
        let measured = walk.measured;
        let within = measured.iter().filter(|m| m.kl <= max_kl);
        let best = within.max_by(|a, b| a.saved.total_cmp(&b.saved).then(b.kl.total_cmp(&a.kl)));
        let Measured { recipe, kl, saved } = best.unwrap_or(&measured[0]).clone();
        Ok(Self { recipe, kl, saved, measured })
    }
}

/// Those of `points` (divergence, seconds) that no other one beats in both, by divergence; of equal ones the first.
pub fn front<T: Clone>(points: &[T], of: impl Fn(&T) -> (f64, f64)) -> Vec<T> {
    let mut sorted: Vec<&T> = points.iter().filter(|p| of(p).0.is_finite()).collect();
    sorted.sort_by(|a, b| of(a).0.total_cmp(&of(b).0).then(of(a).1.total_cmp(&of(b).1)));
    let mut best = f64::INFINITY;
    let mut kept = Vec::new();
    for point in sorted {
        if of(point).1 < best {
            best = of(point).1;
            kept.push(point.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests;
