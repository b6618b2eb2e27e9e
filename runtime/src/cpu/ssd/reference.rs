//! The oracle of the scan.

/// The recurrence of nemotron-h section 2, one token, head and state element after the other, in float64.
///
/// `x` `[T, heads · d_head]`, `b` and `c` `[T, groups · d_state]`, `dt_raw` `[T, heads]`, `dt_bias`, `a_log`,
/// `d` `[heads]`, `state` `[heads, d_head, d_state]` (moved on), `y` `[T, heads · d_head]`.
pub fn reference(
    shape: &super::SsdShape,
    (dt_bias, a_log, d): (&[f32], &[f32], &[f32]),
    (lo, hi): (f32, f32),
    (x, b, c, dt_raw): (&[f32], &[f32], &[f32], &[f32]),
    state: &mut [f64],
    y: &mut [f32],
) {
    let (heads, p_len, groups, n_len) = (shape.heads, shape.d_head, shape.groups, shape.d_state);
    let tokens = dt_raw.len() / heads;
    for t in 0..tokens {
        for h in 0..heads {
            let raw = f64::from(dt_raw[t * heads + h]) + f64::from(dt_bias[h]);
            let softplus = if raw > 40.0 { raw } else { raw.exp().ln_1p() };
            let delta = softplus.clamp(f64::from(lo), f64::from(hi));
            let decay = (-f64::from(a_log[h]).exp() * delta).exp();
            let g = h / (heads / groups);
            for p in 0..p_len {
                let xv = f64::from(x[(t * heads + h) * p_len + p]);
                let mut sum = f64::from(d[h]) * xv;
                for n in 0..n_len {
                    let at = (t * groups + g) * n_len + n;
                    let s = &mut state[(h * p_len + p) * n_len + n];
                    *s = decay * *s + delta * xv * f64::from(b[at]);
                    sum += *s * f64::from(c[at]);
                }
                y[(t * heads + h) * p_len + p] = sum as f32;
            }
        }
    }
}
