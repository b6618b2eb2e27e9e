//! Candidates by chance: what every other strategy must beat.

use super::{Space, Strategy, Trial, untried};
use crate::stats::Random;

pub(super) struct AtRandom;

impl Strategy for AtRandom {
    fn propose(&mut self, space: &Space, trials: &[Trial], room: usize, random: &mut Random) -> Vec<usize> {
        let mut left = untried(space, trials);
        random.shuffle(&mut left);
        left.truncate(room);
        left
    }
}
