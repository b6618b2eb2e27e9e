//! Rotary embedding.

use crate::kernel::Formats;
use crate::launch::{Call, Choice, Cx, Operand};
use crate::op::{RopeSpec, View};
use crate::schedule::Problem;
use jet_dsl::block::RopeScaling;
use std::f64::consts::TAU;

pub(super) fn lower(cx: &Cx<'_>, x: View, heads: usize, rope: &RopeSpec) -> Vec<Vec<Choice>> {
    let head = x.width / heads.max(1);
    // The second half of a head is as well aligned as its offset allows.
    let align = cx.align(&[x]).min(1 << (head / 2).trailing_zeros().min(3));
    let dims = [("width", x.width / 2), ("head", head), ("align", align), ("rope", 1)];
    let format = Formats::new(cx.main(), &[("x", cx.elem(x))]);
    let problem = Problem::new("elementwise", &format.to_string(), &dims);
    let table = Operand::Constant(frequencies(rope, head).into());
    vec![Call::new(problem, cx.rows(x)).view("x", x).with("frequencies", table).always()]
}

/// For each pair of a head the part of a turn that one token adds, in units of 2^-64 turns, as `u64`s.
pub(super) fn frequencies(rope: &RopeSpec, head: usize) -> Vec<u8> {
    let turn = |i: usize| rescaled(rope.theta.powf(-2.0 * i as f64 / head as f64), &rope.scaling) / TAU;
    // A turn is less than one, so the product is below 2^64.
    let fixed = |t: f64| (t * 2f64.powi(64)) as u64;
    (0..head / 2).flat_map(|i| fixed(turn(i)).to_le_bytes()).collect()
}

/// Radians per token after the scaling. Llama 3: by its wavelength in tokens a frequency is divided, kept or blended.
fn rescaled(frequency: f64, scaling: &RopeScaling) -> f64 {
    let RopeScaling::Llama3 { factor, low_freq, high_freq, original_context } = *scaling else {
        return frequency;
    };
    let turns_in_context = f64::from(original_context) * frequency / TAU;
    let keep = ((turns_in_context - low_freq) / (high_freq - low_freq)).clamp(0.0, 1.0);
    keep * frequency + (1.0 - keep) * frequency / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(rope: &RopeSpec, head: usize) -> Vec<f64> {
        let bytes = frequencies(rope, head);
        let (words, _) = bytes.as_chunks::<8>();
        words.iter().map(|w| u64::from_le_bytes(*w) as f64 / 2f64.powi(64)).collect()
    }

    #[test]
    fn the_first_pair_turns_by_one_radian_a_token() {
        let t = turns(&RopeSpec { theta: 10_000.0, scaling: RopeScaling::None }, 8);
        for (i, want) in [1.0, 0.1, 0.01, 0.001].iter().enumerate() {
            assert!((t[i] * TAU - want).abs() < 1e-15 * want.max(1e-3), "{t:?}");
        }
    }

    #[test]
    fn long_wavelengths_are_divided_and_short_ones_kept() {
        let scaling =
            RopeScaling::Llama3 { factor: 8.0, low_freq: 1.0, high_freq: 4.0, original_context: 64 };
        let plain = turns(&RopeSpec { theta: 10_000.0, scaling: RopeScaling::None }, 32);
        let scaled = turns(&RopeSpec { theta: 10_000.0, scaling }, 32);
        assert!((scaled[0] / plain[0] - 1.0).abs() < 1e-12);
        assert!((scaled[15] / plain[15] - 0.125).abs() < 1e-12);
        assert!(scaled.iter().zip(&plain).any(|(s, p)| s / p > 0.13 && s / p < 0.99));
    }
}
