//! The sixteen barriers of a CTA (ptx.md 2.3).

/// What a warp does at a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Waits.
    Sync,
    /// Goes on.
    Arrive,
    /// Waits, and combines a predicate.
    Reduce,
}

/// What a reduction gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reduced {
    /// Threads with the predicate true.
    pub count: u32,
    /// Threads that took part.
    pub threads: u32,
}

/// One barrier.
#[derive(Debug, Clone, Default)]
pub struct Barrier {
    /// Completed generations.
    pub generation: u64,
    /// Threads that a count asked for.
    counted: Option<u32>,
    arrived: u32,
    /// Warps that arrived in this generation, by number.
    warps: u64,
    kind: Option<bool>,
    pending: Reduced,
    /// What the last generation's reduction gave.
    pub result: Reduced,
}

/// A misuse, in words.
pub type Misuse = &'static str;

impl Barrier {
    /// A warp arrives. `expected_all` is what all warps that have not ended make up.
    pub fn arrive(
        &mut self,
        warp: u32,
        count: Option<u32>,
        expected_all: u32,
        arrival: Arrival,
        votes: (u32, u32),
    ) -> Result<u64, Misuse> {
        let generation = self.generation;
        let bit = 1u64 << (warp & 63);
        let reduce = arrival == Arrival::Reduce;
        if self.warps & bit != 0 {
            return Err("the warp arrives twice in one generation of the barrier");
        }
        if self.warps != 0 && self.counted != count {
            return Err("warps disagree about how many threads the barrier is for");
        }
        if self.kind.is_some_and(|k| k != reduce) {
            return Err("a reduction and a plain arrival meet in one generation of the barrier");
        }
        self.kind = Some(reduce);
        self.counted = count;
        self.warps |= bit;
        self.arrived += 32;
        self.pending.count += votes.0.count_ones();
        self.pending.threads += votes.1.count_ones();
        self.complete_if(count.unwrap_or(expected_all));
        Ok(generation)
    }

    /// A warp ended: barriers without a count no longer expect it.
    pub fn warp_ended(&mut self, expected_all: u32) {
        if self.warps != 0 && self.counted.is_none() {
            self.complete_if(expected_all);
        }
    }

    fn complete_if(&mut self, expected: u32) {
        if self.arrived >= expected {
            self.generation += 1;
            self.result = self.pending;
            self.pending = Reduced::default();
            self.arrived = 0;
            self.warps = 0;
            self.counted = None;
            self.kind = None;
        }
    }

    /// Arrived and expected threads of a generation that has begun.
    pub fn pending(&self) -> Option<(u32, Option<u32>)> {
        (self.warps != 0).then_some((self.arrived, self.counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_ends_when_all_warps_came_and_the_next_begins_empty() {
        let mut b = Barrier::default();
        for generation in 0..3 {
            assert_eq!(b.arrive(0, None, 64, Arrival::Reduce, (3, u32::MAX)), Ok(generation));
            assert_eq!(b.generation, generation);
            assert_eq!(b.arrive(1, None, 64, Arrival::Reduce, (1, u32::MAX)), Ok(generation));
            assert_eq!(b.generation, generation + 1);
            assert_eq!(b.result, Reduced { count: 3, threads: 64 });
        }
    }

    #[test]
    fn misuse_is_told() {
        let mut b = Barrier::default();
        b.arrive(0, Some(64), 128, Arrival::Arrive, (0, 0)).expect("the first");
        assert!(b.arrive(0, Some(64), 128, Arrival::Sync, (0, 0)).is_err());
        assert!(b.arrive(1, Some(96), 128, Arrival::Sync, (0, 0)).is_err());
        assert!(b.arrive(1, Some(64), 128, Arrival::Reduce, (0, 0)).is_err());
        b.arrive(1, Some(64), 128, Arrival::Sync, (0, 0)).expect("completes");
        assert_eq!(b.pending(), None);
    }
}
