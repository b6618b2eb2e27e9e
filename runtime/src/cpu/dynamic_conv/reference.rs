//! The oracle of the dynamic convolution.

use super::Rows;
use half::{bf16, f16};

/// Taps of every token and channel in float64, applied to the history written out in full.
///
/// `w2` in any format `[channels · taps, hidden]`, `bias` `[channels · taps]`, `h` `[tokens, hidden]`, `u`
/// and `out` `[tokens, channels]`, `state` `[channels, taps]` as in a checkpoint.
pub fn reference(
    (channels, taps, hidden): (usize, usize, usize),
    w2: Rows<'_>,
    bias: &[f32],
    h: &[f32],
    u: &[f32],
    state: &mut [f32],
    out: &mut [f32],
) {
    let weight = |i: usize| match w2 {
        Rows::F32(w) => f64::from(w[i]),
        Rows::Bf16(w) => f64::from(bf16::from_bits(w[i])),
        Rows::F16(w) => f64::from(f16::from_bits(w[i])),
    };
    let tokens = u.len() / channels;
    for c in 0..channels {
        let past = &mut state[c * taps..(c + 1) * taps];
        let history: Vec<f32> =
            past.iter().copied().chain((0..tokens).map(|t| u[t * channels + c])).collect();
        for t in 0..tokens {
            let mut sum = 0.0;
            for w in 0..taps {
                let row = c * taps + w;
                let mut ker = f64::from(bias[row]);
                for r in 0..hidden {
                    ker += f64::from(h[t * hidden + r]) * weight(row * hidden + r);
                }
                sum += ker * f64::from(history[t + w + 1]);
            }
            out[t * channels + c] = (sum / (1.0 + (-sum).exp())) as f32;
        }
        past.copy_from_slice(&history[tokens..]);
    }
}
