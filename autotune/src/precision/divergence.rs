//! Kullback–Leibler divergence of next-token distributions.

/// Logits of the reference, position by position, and what turns each row into logarithms of probabilities.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    vocab: usize,
    logits: Vec<f32>,
    log_sums: Vec<f64>,
}

impl Reference {
    /// Room for rows of `vocab` logits.
    pub fn new(vocab: usize) -> Self {
        Self { vocab, ..Self::default() }
    }

    /// Adds rows of logits, `[n, vocab]`.
    pub fn push(&mut self, rows: &[f32]) {
        self.logits.extend(rows);
        self.log_sums.extend(rows.chunks_exact(self.vocab.max(1)).map(log_sum));
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.log_sums.len()
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.log_sums.is_empty()
    }

    /// `KL(p ‖ q) = Σ p · ln(p / q)` in nats, where `p` is the distribution of row `position` and `q` that of `logits`.
    /// Logits that are no numbers are infinitely far away.
    ///
    /// # Panics
    /// There is no such row, or it is of another length.
    pub fn divergence(&self, position: usize, logits: &[f32]) -> f64 {
        let row = &self.logits[position * self.vocab..(position + 1) * self.vocab];
        assert_eq!(row.len(), logits.len(), "rows of one vocabulary");
        let (own, other) = (self.log_sums[position], log_sum(logits));
        let mut sum = 0.0;
        for (p, q) in row.iter().zip(logits) {
            let log_p = f64::from(*p) - own;
            sum += log_p.exp() * (log_p - (f64::from(*q) - other));
        }
        // Rounding can make the sum of equal rows a little less than nothing.
        if sum.is_nan() { f64::INFINITY } else { sum.max(0.0) }
    }
}

/// `ln Σ exp(x)`.
fn log_sum(row: &[f32]) -> f64 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let most = f64::from(most);
    most + row.iter().map(|x| (f64::from(*x) - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(rows: &[f32], vocab: usize) -> Reference {
        let mut all = Reference::new(vocab);
        all.push(rows);
        all
    }

    #[test]
    fn the_divergence_of_two_coins_is_the_textbooks() {
        // p = (1/2, 1/2), q = (3/4, 1/4): ½ ln(2/3) + ½ ln 2.
        let coins = reference(&[0.0, 0.0], 2);
        let want = 0.5 * (2.0f64 / 3.0).ln() + 0.5 * 2.0f64.ln();
        assert!((coins.divergence(0, &[3.0f32.ln(), 0.0]) - want).abs() < 1e-7);
    }

    #[test]
    fn equal_distributions_have_none_whatever_is_added_to_all_logits() {
        let row = [1.0, -3.0, 0.25, 80.0];
        let all = reference(&[[9.0, 9.0, 9.0, 9.0], row].concat(), 4);
        assert_eq!((all.len(), all.divergence(1, &row)), (2, 0.0));
        assert!(all.divergence(1, &row.map(|x| x + 16.0)) < 1e-12);
        assert!(all.divergence(0, &row) > 1.0);
    }

    #[test]
    fn what_is_no_number_is_infinitely_far_away() {
        let coins = reference(&[0.0, 0.0], 2);
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(coins.divergence(0, &[wrong, 0.0]), f64::INFINITY, "{wrong}");
        }
    }
}
