//! Normal values in bulk: sixteen random bits choose one of 65,536 equally likely quantiles, so a Philox block gives
//! eight values and no logarithm is taken. Box and Muller's way, exact but ten times slower, would dominate the
//! start of a session with billions of random weights.

use jet_numerics::philox::Stream;
use std::sync::LazyLock;

/// Quantiles of one half; the top bit of the sixteen is the sign.
const HALF: usize = 1 << 15;

/// `TABLE[i]` is the standard normal quantile at `0.5 + (i + 0.5) / 65536`.
static TABLE: LazyLock<Box<[f32]>> = LazyLock::new(quantiles);

/// Integrates the quantile function's own equation, `dx/dp = √(2π)·exp(x²/2)` with `x(1/2) = 0`, by fourth-order
/// Runge-Kutta steps between the table's points. Good to 1e-4 up to the last point, at 4.3.
fn quantiles() -> Box<[f32]> {
    const STEPS: usize = 32;
    let slope = |x: f64| std::f64::consts::TAU.sqrt() * (x * x / 2.0).exp();
    let h = 1.0 / (2 * HALF * STEPS) as f64;
    let mut x = 0.0f64;
    let mut advance = |steps: usize| {
        for _ in 0..steps {
            let a = slope(x);
            let b = slope(x + h / 2.0 * a);
            let c = slope(x + h / 2.0 * b);
            let d = slope(x + h * c);
            x += h / 6.0 * (a + 2.0 * b + 2.0 * c + d);
        }
        x as f32
    };
    // The first point lies half an interval from the middle.
    (0..HALF).map(|i| advance(if i == 0 { STEPS / 2 } else { STEPS })).collect()
}

/// Fills `out` with the elements `first ..` of a stream of normal values with mean 0; `first` is a multiple of 8.
pub(super) fn fill(stream: &Stream, first: u64, std: f32, out: &mut [f32]) {
    let table = &**TABLE;
    let value = |bits: u32| {
        let magnitude = table[bits as usize & (HALF - 1)] * std;
        if bits & HALF as u32 == 0 { magnitude } else { -magnitude }
    };
    for (j, out) in out.chunks_mut(8).enumerate() {
        let words = stream.block((first / 8) as u32 + j as u32);
        for (i, o) in out.iter_mut().enumerate() {
            *o = value(words[i / 2] >> (16 * (i % 2)) & 0xFFFF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_numerics::philox::Tag;

    #[test]
    fn quantiles_agree_with_published_ones() {
        // Φ(1), Φ(2) and Φ(3); beyond, the points lie too far apart to interpolate.
        for (x, p) in [(1.0f32, 0.841_344_746_1), (2.0, 0.977_249_868_1), (3.0, 0.998_650_102)] {
            let at: f64 = (p - 0.5) * 65536.0 - 0.5;
            let (i, part) = (at.floor() as usize, at.fract() as f32);
            let between = TABLE[i] + part * (TABLE[i + 1] - TABLE[i]);
            assert!((between - x).abs() < 1e-4, "{between} for {x}");
        }
        assert!((TABLE[0] - 1.912e-5).abs() < 1e-7);
        // The last point: 1 - Φ(4.3248) = 7.63e-6, half of 1/65536.
        assert!((TABLE[HALF - 1] - 4.325).abs() < 2e-3, "{}", TABLE[HALF - 1]);
    }

    #[test]
    fn moments_are_those_of_a_normal_distribution() {
        let stream = Stream::new(7, Tag::Init, 1, 2);
        let mut v = vec![0.0; 1 << 18];
        fill(&stream, 0, 1.0, &mut v);
        let mean = |f: fn(f64) -> f64| v.iter().map(|&x| f(f64::from(x))).sum::<f64>() / v.len() as f64;
        assert!(mean(|x| x).abs() < 0.01);
        assert!((mean(|x| x * x) - 1.0).abs() < 0.02);
        assert!((mean(|x| x * x * x * x) - 3.0).abs() < 0.15);
    }
}
