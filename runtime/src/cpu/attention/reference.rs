//! Attention in plain float64, one query and one key at a time.

/// What [`attention`] works on: one sequence, dense.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Queries, `[q_positions.len(), heads, d]`.
    pub q: &'a [f32],
    /// Keys, `[k_positions.len(), kv_heads, d]`.
    pub k: &'a [f32],
    /// Values, like the keys.
    pub v: &'a [f32],
    /// Positions of the queries.
    pub q_positions: &'a [usize],
    /// Positions of the keys, in any order.
    pub k_positions: &'a [usize],
    /// Query heads.
    pub heads: usize,
    /// KV heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub d: usize,
    /// Factor on the scores.
    pub scale: f64,
    /// Window, if there is one.
    pub window: Option<usize>,
}

/// The outputs, `[q_positions.len(), heads, d]`.
pub fn attention(case: &Case<'_>) -> Vec<f64> {
    let Case { q, k, v, heads, kv_heads, d, .. } = *case;
    let mut out = Vec::with_capacity(q.len());
    for (t, q_position) in case.q_positions.iter().enumerate() {
        for h in 0..heads {
            let query = &q[(t * heads + h) * d..][..d];
            let kv_head = h / (heads / kv_heads);
            let row = |x: &'_ [f32], s: usize, i: usize| f64::from(x[(s * kv_heads + kv_head) * d + i]);
            let mut weights = Vec::new();
            for (s, k_position) in case.k_positions.iter().enumerate() {
                let before = k_position <= q_position;
                let near = case.window.is_none_or(|w| k_position + w > *q_position);
                if before && near {
                    let dot: f64 = (0..d).map(|i| f64::from(query[i]) * row(k, s, i)).sum();
                    weights.push((s, dot * case.scale));
                }
            }
            let top = weights.iter().map(|w| w.1).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = weights.iter().map(|w| (w.1 - top).exp()).sum();
            for i in 0..d {
                out.push(weights.iter().map(|(s, w)| (w - top).exp() / total * row(v, *s, i)).sum());
            }
        }
    }
    out
}
