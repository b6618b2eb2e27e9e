//! A Gaussian process over a task's candidates (Rasmussen and Williams 2006, chapter 2), small enough to be solved anew with
//! each trial.

use super::Space;

/// Standard deviation of the log time of one sample.
const NOISE: f64 = 0.05;

/// Least standard deviation of what the cost model gets wrong.
const LEAST_AMPLITUDE: f64 = 0.15;

/// How far the cost model's scale may be off, as the standard deviation of the exponent that its answers should have.
const SCALE: f64 = 0.7;

/// Distance in the space, each parameter from 0 to 1, over which times stay alike.
const REACH: f64 = 0.5;

/// Difference of the log cost over which times stay alike.
const COST_REACH: f64 = 0.3;

pub(super) struct Process<'s> {
    space: &'s Space,
    levels: Vec<Vec<f64>>,
    /// Candidate, what the cost model got wrong, and samples behind that.
    seen: Vec<(usize, f64, usize)>,
    variance: f64,
    /// The factor of Cholesky, rows of the lower triangle.
    factor: Vec<Vec<f64>>,
    /// The inverse covariance times what was seen.
    weights: Vec<f64>,
}

impl<'s> Process<'s> {
    /// A process through `seen`.
    pub(super) fn new(space: &'s Space, seen: Vec<(usize, f64, usize)>) -> Self {
        let levels = (0..space.candidates.len()).map(|at| space.levels(at)).collect();
        let squares = seen.iter().map(|(_, y, _)| y * y).sum::<f64>() / seen.len().max(1) as f64;
        let variance = squares.max(LEAST_AMPLITUDE * LEAST_AMPLITUDE);
        let mut process = Self { space, levels, seen, variance, factor: Vec::new(), weights: Vec::new() };
        process.solve();
        process
    }

    /// Adds a candidate whose residual is (taken to be) `residual`.
    pub(super) fn add(&mut self, at: usize, residual: f64, samples: usize) {
        self.seen.push((at, residual, samples));
        self.solve();
    }

    /// Mean and standard deviation of a candidate's residual.
    pub(super) fn expect(&self, at: usize) -> (f64, f64) {
        let along: Vec<f64> = self.seen.iter().map(|(other, ..)| self.covariance(at, *other)).collect();
        let mean = along.iter().zip(&self.weights).map(|(k, w)| k * w).sum();
        let part = forward(&self.factor, &along);
        let explained: f64 = part.iter().map(|v| v * v).sum();
        (mean, (self.covariance(at, at) - explained).max(0.0).sqrt())
    }

    /// Alike are candidates whose parameters are near each other and that cost the same by the model; and where the model
    /// is off by its scale, it is off for all alike.
    fn covariance(&self, a: usize, b: usize) -> f64 {
        let apart: f64 = self.levels[a].iter().zip(&self.levels[b]).map(|(x, y)| (x - y).abs()).sum();
        let [cost_a, cost_b] = [a, b].map(|at| self.space.costs[at].ln());
        let near = (-apart / REACH - (cost_a - cost_b).abs() / COST_REACH).exp();
        self.variance * near + SCALE * SCALE * cost_a * cost_b
    }

    fn solve(&mut self) {
        let n = self.seen.len();
        let mut factor: Vec<Vec<f64>> = Vec::with_capacity(n);
        for i in 0..n {
            let mut row = vec![0.0; i + 1];
            for j in 0..=i {
                let mut sum = self.covariance(self.seen[i].0, self.seen[j].0);
                if i == j {
                    sum += NOISE * NOISE / self.seen[i].2.max(1) as f64;
                }
                let above = if i == j { &row } else { &factor[j] };
                sum -= row[..j].iter().zip(&above[..j]).map(|(x, y)| x * y).sum::<f64>();
                row[j] = if i == j { sum.max(1e-12).sqrt() } else { sum / factor[j][j] };
            }
            factor.push(row);
        }
        let seen: Vec<f64> = self.seen.iter().map(|(_, y, _)| *y).collect();
        let half = forward(&factor, &seen);
        let mut weights = half;
        for i in (0..n).rev() {
            let below: f64 = (i + 1..n).map(|j| factor[j][i] * weights[j]).sum();
            weights[i] = (weights[i] - below) / factor[i][i];
        }
        (self.factor, self.weights) = (factor, weights);
    }
}

/// Solves `L x = b`.
fn forward(factor: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let mut x: Vec<f64> = Vec::with_capacity(b.len());
    for (i, row) in factor.iter().enumerate() {
        let sum: f64 = row[..i].iter().zip(&x).map(|(l, x)| l * x).sum();
        x.push((b[i] - sum) / row[i]);
    }
    x
}
