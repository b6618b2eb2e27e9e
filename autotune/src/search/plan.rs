//! How much is measured of a task.

use crate::decide::LEAST_SAMPLES;
use crate::measure;
use crate::options::Effort;
use crate::race;
use crate::search::Kind;

/// How a task is searched.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How candidates are chosen.
    pub strategy: Kind,
    /// Candidates at most, the default among them.
    pub candidates: usize,
    /// Candidates of one batch: the next is chosen when these were measured.
    pub batch: usize,
    /// Samples of each newcomer.
    pub screen: usize,
    /// The best so many run against the default in the end.
    pub finalists: usize,
    /// The race: of all at once where they are one batch, of the finalists otherwise.
    pub race: race::Rules,
    /// How often those that noise does not tell apart may run the race's rounds again.
    pub extra: usize,
    /// Samples of a winner and of the default in one race more, which confirms it.
    pub confirm: usize,
}

/// Samples of each candidate in a search of everything.
pub const FULL_ROUNDS: usize = 25;

impl Plan {
    /// What an effort makes of a space of `size` candidates, with a strategy that was asked for or the effort's own.
    pub fn of(effort: Effort, asked: Option<Kind>, size: usize) -> Self {
        let race = race::Rules::default();
        let candidates = effort.candidates().min(size);
        let sample_seconds = if effort == Effort::Full { 1e-3 } else { race.sample.sample_seconds };
        let sample = measure::Rules { sample_seconds, ..race.sample };
        let race = race::Rules { sample, ..race };
        let (confirm, extra) = if effort == Effort::Full { (FULL_ROUNDS, 5) } else { (race.rounds, 3) };
        // What fits is raced as a whole: that costs no more than choosing from it.
        let strategy = asked.unwrap_or(if candidates == size { Kind::Exhaustive } else { Kind::default() });
        let (batch, screen) = if strategy == Kind::Exhaustive { (size, 0) } else { (6, 3) };
        Self { strategy, candidates, batch, screen, finalists: 4, race, extra, confirm }
    }

    /// The same on a device whose times are a model's, which says the same each time: as many samples as a decision wants.
    #[must_use]
    pub fn without_noise(self) -> Self {
        let sample = measure::Rules { sample_seconds: 0.0, ..self.race.sample };
        let race = race::Rules { rounds: LEAST_SAMPLES, sample, ..self.race };
        Self { race, screen: self.screen.min(1), confirm: LEAST_SAMPLES, extra: 0, ..self }
    }

    /// The race of a winner against the default.
    pub fn confirmation(&self) -> race::Rules {
        race::Rules { rounds: self.confirm, drops: &[], ..self.race.clone() }
    }

    /// At most a tenth of the samples that a search of everything takes, [`FULL_ROUNDS`] of each of `size` candidates, and
    /// a tenth of the candidates, but eight where there are as many. `None` where that is too little to choose with.
    pub fn tenth(size: usize) -> Option<Self> {
        if size < 2 {
            return None;
        }
        let samples = size * FULL_ROUNDS / 10;
        let candidates = size.min((size / 10).max(8));
        let finalists = 2;
        let (batch, batches) = (4, (candidates - 1).div_ceil(4));
        let least = LEAST_SAMPLES * (1 + finalists);
        let screening = |screen: usize| screen * (candidates - 1 + batches);
        let screen = (1..=3).rev().find(|screen| screening(*screen) + least <= samples)?;
        let rounds = ((samples - screening(screen)) / (1 + finalists)).min(FULL_ROUNDS);
        let race = race::Rules { rounds, drops: &[], ..race::Rules::default() };
        Some(Self {
            strategy: Kind::default(),
            candidates,
            batch,
            screen,
            finalists,
            race,
            extra: 0,
            confirm: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_a_tenth() {
        for size in 0..400 {
            let Some(plan) = Plan::tenth(size) else {
                assert!(size < 11, "{size}");
                continue;
            };
            let newcomers = plan.candidates - 1;
            let batches = newcomers.div_ceil(plan.batch);
            let samples = plan.screen * (newcomers + batches) + plan.race.rounds * (1 + plan.finalists);
            assert!(samples <= size * FULL_ROUNDS / 10, "{size}: {plan:?}");
            assert!(
                plan.candidates <= (size / 10).max(8) && plan.race.rounds >= LEAST_SAMPLES,
                "{size}: {plan:?}"
            );
        }
    }

    #[test]
    fn a_full_search_is_one_race_of_all() {
        let plan = Plan::of(Effort::Full, None, 500);
        assert_eq!((plan.candidates, plan.batch), (500, 500));
        assert_eq!(Plan::of(Effort::None, None, 500).candidates, 1);
        let quick = Plan::of(Effort::Quick, None, 500);
        assert!(quick.candidates < 50 && quick.batch < quick.candidates);
        assert_eq!((plan.strategy, quick.strategy), (Kind::Exhaustive, Kind::Guided));
        assert_eq!(Plan::of(Effort::Quick, Some(Kind::Evolve), 12).strategy, Kind::Evolve);
    }
}
