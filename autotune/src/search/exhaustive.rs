//! All candidates, in the order of enumeration.

use super::{Space, Strategy, Trial, untried};
use crate::stats::Random;

pub(super) struct Exhaustive;

impl Strategy for Exhaustive {
    fn propose(&mut self, space: &Space, trials: &[Trial], room: usize, _: &mut Random) -> Vec<usize> {
        let mut left = untried(space, trials);
        left.truncate(room);
        left
    }
}
