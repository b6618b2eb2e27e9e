//! The few statistics a race needs: median, quantiles, and the bootstrap interval of a median.

/// A small generator (xorshift64*), so that a decision is a function of the samples alone.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator from a seed; 0 is as good as any other.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`, which is not zero.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Puts `items` into any order, each as likely as another.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A number in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The `q` quantile (`0..=1`) of samples in any order, interpolated between neighbours; not-a-number without any.
pub fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = sorted[(low + 1).min(last)];
    sorted[low] + (high - sorted[low]) * part
}

/// The median of samples in any order; not-a-number without any.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// Where a median lies, with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// The median itself.
    pub median: f64,
    /// Upper end.
    pub high: f64,
}

/// Resamples of a bootstrap.
const RESAMPLES: usize = 500;

/// The percentile bootstrap interval of the median (Efron 1979) at `confidence` (0.95, say).
pub fn bootstrap_median(samples: &[f64], confidence: f64, seed: u64) -> Interval {
    let mut random = Random::new(seed);
    let mut medians = Vec::with_capacity(RESAMPLES);
    let mut drawn = vec![0.0; samples.len()];
    for _ in 0..RESAMPLES {
        drawn.iter_mut().for_each(|d| *d = samples[random.below(samples.len())]);
        medians.push(median(&drawn));
    }
    let tail = (1.0 - confidence) / 2.0;
    Interval { low: quantile(&medians, tail), median: median(samples), high: quantile(&medians, 1.0 - tail) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let samples = [4.0, 1.0, 3.0, 2.0];
        assert_eq!((quantile(&samples, 0.0), median(&samples), quantile(&samples, 1.0)), (1.0, 2.5, 4.0));
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_interval_holds_the_true_median_about_as_often_as_it_says() {
        let mut random = Random::new(11);
        let trials = 400;
        let held = (0..trials)
            .filter(|trial| {
                // The square of a uniform number has the median 1/4.
                let samples: Vec<_> = (0..21).map(|_| random.unit().powi(2)).collect();
                let i = bootstrap_median(&samples, 0.95, *trial);
                assert!(i.low <= i.median && i.median <= i.high);
                (i.low..=i.high).contains(&0.25)
            })
            .count();
        assert!((360..=400).contains(&held), "{held} of {trials}");
    }

    #[test]
    fn more_samples_make_a_narrower_interval() {
        let width = |n: usize| {
            let mut random = Random::new(3);
            let samples: Vec<_> = (0..n).map(|_| random.unit()).collect();
            let i = bootstrap_median(&samples, 0.95, 1);
            i.high - i.low
        };
        assert!(width(200) < width(10) / 2.0);
    }

    #[test]
    fn numbers_below_n_are_below_n_and_all_come() {
        let mut random = Random::new(0);
        let mut seen = [0; 7];
        (0..7000).for_each(|_| seen[random.below(7)] += 1);
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
    }
}
