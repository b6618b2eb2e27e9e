//! The largest logit.

use super::simd::{Isa, Kernel, Simd, dispatch};

/// Values that are searched together for their maximum; only the piece that holds it is searched for its place.
const PIECE: usize = 1024;

/// The index of the largest value, the first of equals. What is not a number is never chosen; `None` where there
/// is nothing else.
pub fn argmax(isa: Isa, values: &[f32]) -> Option<usize> {
    let mut best: Option<(f32, usize)> = None;
    for (i, piece) in values.chunks(PIECE).enumerate() {
        let top = dispatch(isa, Top(piece));
        if top.is_some_and(|t| best.is_none_or(|(b, _)| t > b)) {
            best = top.map(|t| (t, i * PIECE));
        }
    }
    let (top, start) = best?;
    values[start..].iter().position(|v| *v == top).map(|i| start + i)
}

/// The largest of some values, if one of them is a number.
struct Top<'a>(&'a [f32]);

impl Kernel for Top<'_> {
    type Output = Option<f32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Option<f32> {
        // Where a value is not a number the maximum is its second operand: what was found before.
        let mut top = s.splat(f32::NEG_INFINITY);
        let (whole, rest) = self.0.as_chunks::<16>();
        for x in whole {
            top = s.max(s.load(x), top);
        }
        let mut best = s.top(top);
        for x in rest {
            best = best.max(*x);
        }
        // Minus infinity may be a value or the lack of any.
        (best > f32::NEG_INFINITY || self.0.contains(&f32::NEG_INFINITY)).then_some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::golden::noise;
    use proptest::prelude::*;

    /// One after the other.
    fn reference(values: &[f32]) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (i, v) in values.iter().enumerate() {
            if !v.is_nan() && best.is_none_or(|b| *v > values[b]) {
                best = Some(i);
            }
        }
        best
    }

    proptest! {
        #[test]
        fn agrees_with_one_after_the_other(n in 0usize..5000, seed in 0u64..1000, steps in 1u32..50) {
            // Few distinct values, so that there are ties.
            let mut x: Vec<f32> = noise(seed, n).iter().map(|v| (v * steps as f32).round()).collect();
            for i in (0..n).step_by(7) {
                x[i] = [f32::NAN, f32::NEG_INFINITY, x[i]][(seed as usize + i) % 3];
            }
            for isa in Isa::all_available() {
                prop_assert_eq!(argmax(isa, &x), reference(&x), "{:?}", isa);
            }
        }
    }

    #[test]
    fn nothing_but_infinities_and_not_a_number() {
        for isa in Isa::all_available() {
            assert_eq!(argmax(isa, &[]), None);
            assert_eq!(argmax(isa, &[f32::NAN; 40]), None);
            assert_eq!(argmax(isa, &[f32::NAN, f32::NEG_INFINITY, f32::NEG_INFINITY]), Some(1));
            assert_eq!(argmax(isa, &[0.0, f32::INFINITY, f32::INFINITY]), Some(1));
            assert_eq!(argmax(isa, &[-0.0, 0.0]), Some(0));
        }
    }
}
