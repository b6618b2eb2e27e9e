//! The oracle of the rule.

/// The recurrence of jet_nemotron section 3, one token, head and state element after the other, in float64.
///
/// `q` and `k` `[T, heads · d_key]` raw, `v` `[T, heads · d_value]`, `g` and `beta` `[T, heads]`, `state`
/// `[heads, d_key, d_value]` (moved on), `o` `[T, heads · d_value]`.
pub fn reference(
    shape: &super::GatedDeltaShape,
    (q, k, v): (&[f32], &[f32], &[f32]),
    (g, beta): (&[f32], &[f32]),
    state: &mut [f64],
    o: &mut [f32],
) {
    let (heads, d_key, d_value) = (shape.heads, shape.d_key, shape.d_value);
    let unit = |x: &[f32], scale: f64| -> Vec<f64> {
        let square: f64 = x.iter().map(|v| f64::from(*v).powi(2)).sum();
        let norm = (square + f64::from(shape.l2_eps)).sqrt();
        x.iter().map(|v| f64::from(*v) / norm * scale).collect()
    };
    for t in 0..g.len() / heads {
        for h in 0..heads {
            let th = t * heads + h;
            let q = unit(&q[th * d_key..(th + 1) * d_key], f64::from(shape.scale));
            let k = unit(&k[th * d_key..(th + 1) * d_key], 1.0);
            let s = &mut state[h * d_key * d_value..(h + 1) * d_key * d_value];
            let decay = f64::from(g[th]).exp();
            s.iter_mut().for_each(|x| *x *= decay);
            for c in 0..d_value {
                let seen: f64 = (0..d_key).map(|r| s[r * d_value + c] * k[r]).sum();
                let error = f64::from(beta[th]) * (f64::from(v[th * d_value + c]) - seen);
                let mut sum = 0.0;
                for r in 0..d_key {
                    s[r * d_value + c] += k[r] * error;
                    sum += s[r * d_value + c] * q[r];
                }
                o[th * d_value + c] = sum as f32;
            }
        }
    }
}
