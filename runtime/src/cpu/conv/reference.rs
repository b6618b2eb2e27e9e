//! The oracle of the convolution.

/// One channel and token after the other, in float64, over the history written out in full.
///
/// `weight` `[channels, taps]`, `bias` `[channels]`, `x` and `out` `[tokens, channels]`, `state` `[channels,
/// taps - 1]` as in a checkpoint.
pub fn reference(
    taps: usize,
    weight: &[f32],
    bias: Option<&[f32]>,
    apply_silu: bool,
    x: &[f32],
    state: &mut [f32],
    out: &mut [f32],
) {
    let channels = weight.len() / taps;
    let tokens = x.len() / channels;
    for c in 0..channels {
        let past = &mut state[c * (taps - 1)..(c + 1) * (taps - 1)];
        let history: Vec<f32> =
            past.iter().copied().chain((0..tokens).map(|t| x[t * channels + c])).collect();
        for t in 0..tokens {
            let mut sum = bias.map_or(0.0, |b| f64::from(b[c]));
            for k in 0..taps {
                sum += f64::from(weight[c * taps + k]) * f64::from(history[t + k]);
            }
            out[t * channels + c] = if apply_silu { sum / (1.0 + (-sum).exp()) } else { sum } as f32;
        }
        past.copy_from_slice(&history[tokens..]);
    }
}
