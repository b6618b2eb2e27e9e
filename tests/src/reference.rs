//! A whole program in plain f64: the oracle of the parity tests.
//!
//! One sequence, all its tokens at once, op by op, in the order the mathematics is written down; no tiles, no chunks,
//! no state carried from call to call. It shares no code with any device and knows nothing of schedules. Sections are
//! those of the papers: Mamba-2 (arXiv 2405.21060), gated delta rule (arXiv 2412.06464), JetBlock (arXiv 2508.15884).

use jet_codegen::op::{
    Activation, Attention, Experts, GateOrder, GatedDelta, Linear, Op, RopeSpec, Ssd, Unary, View,
};
use jet_codegen::program::{Program, Rows};
use jet_dsl::block::{Act, RopeScaling};
use jet_dsl::weight::WeightRef;
use jet_runtime::weights::WeightSource;
use std::collections::HashMap;

/// What a program computes for one sequence.
pub struct Reference<'a> {
    program: &'a Program,
    source: &'a dyn WeightSource,
    weights: HashMap<WeightRef, Vec<f64>>,
    /// One row of the buffer's width per token.
    buffers: Vec<Vec<f64>>,
    tokens: usize,
}

impl<'a> Reference<'a> {
    /// Runs `program` on `ids`, the first of them at position `position`. Outputs are asked for at every token.
    pub fn run(program: &'a Program, source: &'a dyn WeightSource, ids: &[u32], position: usize) -> Self {
        let buffers = program.buffers.iter().map(|b| vec![0.0; b.width * ids.len()]).collect();
        let mut run = Self { program, source, weights: HashMap::new(), buffers, tokens: ids.len() };
        for step in &program.steps {
            run.op(&step.op, ids, position);
        }
        run
    }

    /// The rows of the buffer `name`.
    pub fn read(&self, name: &str) -> &[f64] {
        let id = self.program.find_buffer(name).expect("the caller knows the program's buffers");
        debug_assert!(matches!(self.program.buf(id).rows, Rows::Tokens | Rows::Outputs));
        &self.buffers[id.0 as usize]
    }

    fn weight(&mut self, id: WeightRef) -> Vec<f64> {
        let source = self.source;
        let values = self.weights.entry(id).or_insert_with(|| {
            let weight = source.weight(id).expect("the tests give every weight");
            weight.to_f32().expect("the tests give sound weights").into_iter().map(f64::from).collect()
        });
        values.clone()
    }

    fn get(&self, v: View, t: usize) -> Vec<f64> {
        let width = self.program.buf(v.buf).width;
        self.buffers[v.buf.0 as usize][t * width + v.col..][..v.width].to_vec()
    }

    fn put(&mut self, v: View, t: usize, values: &[f64]) {
        let width = self.program.buf(v.buf).width;
        self.buffers[v.buf.0 as usize][t * width + v.col..][..v.width].copy_from_slice(values);
    }

    /// `f` of each row of `x` becomes the row of `out`.
    fn rows(&mut self, x: View, out: View, f: impl Fn(Vec<f64>) -> Vec<f64>) {
        for t in 0..self.tokens {
            let row = f(self.get(x, t));
            self.put(out, t, &row);
        }
    }

    fn op(&mut self, op: &Op, ids: &[u32], position: usize) {
        match op {
            Op::Embed { table, out, .. } => {
                let table = self.weight(*table);
                for (t, id) in ids.iter().enumerate() {
                    let row = table[*id as usize * out.width..][..out.width].to_vec();
                    self.put(*out, t, &row);
                }
            }
            Op::RmsNorm { x, weight, eps, out } => {
                let w = self.weight(*weight);
                self.rows(*x, *out, |row| normed(&row, &w, *eps));
            }
            Op::HeadNorm { x, heads, weight, eps } => {
                let w = self.weight(*weight);
                let d = x.width / heads;
                self.rows(*x, *x, |row| row.chunks(d).flat_map(|h| normed(h, &w, *eps)).collect());
            }
            Op::Rope { x, heads, rope } => {
                let d = x.width / heads;
                for t in 0..self.tokens {
                    let row = self.get(*x, t);
                    let turned: Vec<f64> =
                        row.chunks(d).flat_map(|h| rotated(h, rope, position + t)).collect();
                    self.put(*x, t, &turned);
                }
            }
            Op::Linear(l) => self.linear(l),
            Op::Attention(a) => self.attention(a),
            Op::CausalConv { x, weight, bias, out, taps, silu: with_silu, .. } => {
                let w = self.weight(*weight);
                let bias = bias.map_or_else(|| vec![0.0; x.width], |b| self.weight(b));
                for t in 0..self.tokens {
                    let mut sums = bias.clone();
                    for back in 0..(*taps).min(t + 1) {
                        let row = self.get(*x, t - back);
                        for c in 0..x.width {
                            sums[c] += w[c * taps + taps - 1 - back] * row[c];
                        }
                    }
                    let values: Vec<f64> =
                        if *with_silu { sums.into_iter().map(silu).collect() } else { sums };
                    self.put(*out, t, &values);
                }
            }
            Op::Ssd(s) => self.ssd(s),
            Op::DynamicConv { u, h, w2, bias, out, taps, .. } => {
                let (w2, bias) = (self.weight(*w2), self.weight(*bias));
                for t in 0..self.tokens {
                    let hidden = self.get(*h, t);
                    let mut values = vec![0.0; u.width];
                    for back in 0..(*taps).min(t + 1) {
                        let row = self.get(*u, t - back);
                        for c in 0..u.width {
                            let tap = c * taps + taps - 1 - back;
                            values[c] += (dot(&w2[tap * hidden.len()..][..hidden.len()], &hidden)
                                + bias[tap])
                                * row[c];
                        }
                    }
                    let values: Vec<f64> = values.into_iter().map(silu).collect();
                    self.put(*out, t, &values);
                }
            }
            Op::JetGates { a, b, a_log, dt_bias } => {
                let (a_log, dt_bias) = (self.weight(*a_log), self.weight(*dt_bias));
                let decay = |row: Vec<f64>| {
                    row.iter().enumerate().map(|(h, x)| -a_log[h].exp() * softplus(x + dt_bias[h])).collect()
                };
                self.rows(*a, *a, decay);
                self.rows(*b, *b, |row| row.into_iter().map(sigmoid).collect());
            }
            Op::GatedDelta(d) => self.gated_delta(d),
            Op::GatedNorm { x, z, weight, groups, eps, order, out } => {
                let w = self.weight(*weight);
                let d = x.width / groups;
                for t in 0..self.tokens {
                    let (x, gate) =
                        (self.get(*x, t), self.get(*z, t).into_iter().map(silu).collect::<Vec<_>>());
                    let times =
                        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
                    let values: Vec<f64> = match order {
                        GateOrder::GateFirst => times(&x, &gate)
                            .chunks(d)
                            .zip(w.chunks(d))
                            .flat_map(|(g, w)| normed(g, w, *eps))
                            .collect(),
                        GateOrder::NormFirst => {
                            let heads: Vec<f64> = x.chunks(d).flat_map(|g| normed(g, &w, *eps)).collect();
                            times(&heads, &gate)
                        }
                    };
                    self.put(*out, t, &values);
                }
            }
            Op::Unary { f, x, out } => {
                let f = unary(*f);
                self.rows(*x, *out, |row| row.into_iter().map(f).collect());
            }
            Op::Glu { gate, up, act, out } => {
                for t in 0..self.tokens {
                    let values = activated(*act, &self.get(*gate, t), &self.get(*up, t));
                    self.put(*out, t, &values);
                }
            }
            Op::Add { x, out } => {
                for t in 0..self.tokens {
                    let sum: Vec<f64> =
                        self.get(*x, t).iter().zip(self.get(*out, t)).map(|(a, b)| a + b).collect();
                    self.put(*out, t, &sum);
                }
            }
            Op::Route { logits, bias, ids, gates, n_group, topk_group, normalise, scale } => {
                let bias = self.weight(*bias);
                for t in 0..self.tokens {
                    let scores: Vec<f64> = self.get(*logits, t).into_iter().map(sigmoid).collect();
                    let chosen = chosen_experts(&scores, &bias, *n_group, *topk_group, ids.width);
                    let sum: f64 =
                        if *normalise { chosen.iter().map(|e| scores[*e]).sum::<f64>() + 1e-20 } else { 1.0 };
                    let weights: Vec<f64> =
                        chosen.iter().map(|e| scores[*e] / sum * f64::from(*scale)).collect();
                    self.put(*ids, t, &chosen.iter().map(|e| *e as f64).collect::<Vec<_>>());
                    self.put(*gates, t, &weights);
                }
            }
            Op::Experts(e) => self.experts(e),
            Op::Gather { x, out } | Op::Copy { x, out } => self.rows(*x, *out, |row| row),
        }
    }

    fn linear(&mut self, l: &Linear) {
        let parts: Vec<(Vec<f64>, Vec<f64>)> = l
            .parts
            .iter()
            .map(|p| (self.weight(p.weight), p.bias.map_or_else(|| vec![0.0; p.rows], |b| self.weight(b))))
            .collect();
        for t in 0..self.tokens {
            let x = self.get(l.x, t);
            let mut values: Vec<f64> = Vec::with_capacity(l.out.width);
            for (w, b) in &parts {
                values.extend(w.chunks(x.len()).zip(b).map(|(row, b)| dot(row, &x) + b));
            }
            if l.accumulate {
                values.iter_mut().zip(self.get(l.out, t)).for_each(|(v, old)| *v += old);
            }
            match l.act {
                Some(Activation::Unary(f)) => values.iter_mut().for_each(|v| *v = unary(f)(*v)),
                Some(Activation::Glu(act)) => {
                    let (gate, up) = values.split_at(values.len() / 2);
                    let gated = activated(act, gate, up);
                    values[..gated.len()].copy_from_slice(&gated);
                }
                None => {}
            }
            self.put(l.out, t, &values);
        }
    }

    fn attention(&mut self, a: &Attention) {
        let per_kv = a.heads / a.kv_heads;
        for t in 0..self.tokens {
            let q = self.get(a.q, t);
            let first = a.window.map_or(0, |w| (t + 1).saturating_sub(w));
            let mut out = Vec::with_capacity(a.out.width);
            for h in 0..a.heads {
                let (query, at) = (&q[h * a.d_head..][..a.d_head], h / per_kv * a.d_head);
                let scores: Vec<f64> = (first..=t)
                    .map(|s| dot(query, &self.get(a.k, s)[at..at + a.d_head]) * f64::from(a.scale))
                    .collect();
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let shares: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
                let sum: f64 = shares.iter().sum();
                let mut mixed = vec![0.0; a.d_head];
                for (s, share) in (first..=t).zip(&shares) {
                    let v = self.get(a.v, s);
                    (0..a.d_head).for_each(|i| mixed[i] += share / sum * v[at + i]);
                }
                out.extend(mixed);
            }
            self.put(a.out, t, &out);
        }
    }

    /// Mamba-2, equation 6: `h = exp(Δ·A)·h + Δ·B·x`, `y = C·h + D·x`, per head.
    fn ssd(&mut self, s: &Ssd) {
        let (bias, a_log, d) = (self.weight(s.dt_bias), self.weight(s.a_log), self.weight(s.d_skip));
        let (p, n) = (s.d_head, s.d_state);
        let mut state = vec![0.0; s.heads * p * n];
        for t in 0..self.tokens {
            let (x, b, c, raw) = (self.get(s.x, t), self.get(s.b, t), self.get(s.c, t), self.get(s.dt, t));
            let mut y = vec![0.0; s.heads * p];
            for h in 0..s.heads {
                let group = h / (s.heads / s.groups) * n;
                let dt = softplus(raw[h] + bias[h]).clamp(s.dt_min, s.dt_max.unwrap_or(f64::INFINITY));
                let decay = (-dt * a_log[h].exp()).exp();
                for i in 0..p {
                    let row = &mut state[(h * p + i) * n..][..n];
                    for j in 0..n {
                        row[j] = decay * row[j] + dt * b[group + j] * x[h * p + i];
                    }
                    y[h * p + i] = dot(row, &c[group..group + n]) + d[h] * x[h * p + i];
                }
            }
            self.put(s.out, t, &y);
        }
    }

    /// Decay, read the error, write it, read out: `S = e^g S`, `S += k (β (v - Sᵀk))ᵀ`, `o = Sᵀq`.
    fn gated_delta(&mut self, d: &GatedDelta) {
        let (dk, dv) = (d.d_key, d.d_value);
        let unit = |x: &[f64]| {
            let norm = (dot(x, x) + f64::from(d.l2_eps)).sqrt();
            x.iter().map(|v| v / norm).collect::<Vec<_>>()
        };
        let mut state = vec![0.0; d.heads * dk * dv];
        for t in 0..self.tokens {
            let (q, k, v) = (self.get(d.q, t), self.get(d.k, t), self.get(d.v, t));
            let (g, beta) = (self.get(d.g, t), self.get(d.beta, t));
            let mut out = vec![0.0; d.heads * dv];
            for h in 0..d.heads {
                let (q, k) = (unit(&q[h * dk..][..dk]), unit(&k[h * dk..][..dk]));
                let s = &mut state[h * dk * dv..][..dk * dv];
                s.iter_mut().for_each(|x| *x *= g[h].exp());
                for j in 0..dv {
                    let read: f64 = (0..dk).map(|i| s[i * dv + j] * k[i]).sum();
                    let write = beta[h] * (v[h * dv + j] - read);
                    (0..dk).for_each(|i| s[i * dv + j] += k[i] * write);
                    let sum: f64 = (0..dk).map(|i| s[i * dv + j] * q[i]).sum();
                    out[h * dv + j] = sum * f64::from(d.scale);
                }
            }
            self.put(d.out, t, &out);
        }
    }

    fn experts(&mut self, e: &Experts) {
        for t in 0..self.tokens {
            let x = self.get(e.x, t);
            let (ids, gates) = (self.get(e.ids, t), self.get(e.gates, t));
            let mut sum = if e.accumulate { self.get(e.out, t) } else { vec![0.0; e.out.width] };
            for (id, share) in ids.iter().map(|i| *i as usize).zip(gates) {
                let times =
                    |w: Vec<f64>, x: &[f64]| w.chunks(x.len()).map(|row| dot(row, x)).collect::<Vec<_>>();
                let up = times(self.weight(e.up[id]), &x);
                let inner = match e.gate.get(id) {
                    Some(gate) => activated(e.act, &times(self.weight(*gate), &x), &up),
                    None => up.into_iter().map(relu2).collect(),
                };
                let down = times(self.weight(e.down[id]), &inner);
                sum.iter_mut().zip(down).for_each(|(s, d)| *s += share * d);
            }
            self.put(e.out, t, &sum);
        }
    }
}

/// The experts with the largest `score + bias` among the kept groups; of equal ones the first.
fn chosen_experts(scores: &[f64], bias: &[f64], groups: usize, kept: usize, k: usize) -> Vec<usize> {
    let choice: Vec<f64> = scores.iter().zip(bias).map(|(s, b)| s + b).collect();
    let size = choice.len() / groups;
    let largest_two = |g: usize| {
        let mut of_group = choice[g * size..(g + 1) * size].to_vec();
        of_group.sort_by(|a, b| b.total_cmp(a));
        of_group.iter().take(2).sum::<f64>()
    };
    let mut order: Vec<usize> = (0..groups).collect();
    order.sort_by(|a, b| largest_two(*b).total_cmp(&largest_two(*a)).then(a.cmp(b)));
    order.truncate(kept.min(groups));
    let mut experts: Vec<usize> = (0..choice.len()).filter(|e| order.contains(&(e / size))).collect();
    experts.sort_by(|a, b| choice[*b].total_cmp(&choice[*a]).then(a.cmp(b)));
    experts.truncate(k);
    experts
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

fn relu2(x: f64) -> f64 {
    x.max(0.0).powi(2)
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn unary(f: Unary) -> fn(f64) -> f64 {
    match f {
        Unary::Silu => silu,
        Unary::Relu2 => relu2,
    }
}

fn activated(act: Act, gate: &[f64], up: &[f64]) -> Vec<f64> {
    let f: fn(f64) -> f64 = match act {
        Act::Relu2 => relu2,
        Act::Swiglu => silu,
        Act::Geglu => |x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        },
    };
    gate.iter().zip(up).map(|(g, u)| f(*g) * u).collect()
}

fn normed(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let scale = (dot(x, x) / x.len() as f64 + eps).sqrt();
    x.iter().zip(weight).map(|(x, w)| x / scale * w).collect()
}

/// Half-split rotation of one head at `position`.
fn rotated(head: &[f64], rope: &RopeSpec, position: usize) -> Vec<f64> {
    let half = head.len() / 2;
    let mut out = vec![0.0; head.len()];
    for i in 0..half {
        let plain = rope.theta.powf(-2.0 * i as f64 / head.len() as f64);
        let angle = position as f64 * rescaled(plain, &rope.scaling);
        out[i] = head[i] * angle.cos() - head[half + i] * angle.sin();
        out[half + i] = head[half + i] * angle.cos() + head[i] * angle.sin();
    }
    out
}

/// Llama 3's rescaling: long wavelengths are stretched by the factor, short ones kept, a ramp between.
fn rescaled(frequency: f64, scaling: &RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Llama3 { factor, low_freq, high_freq, original_context } => {
            let turns = f64::from(*original_context) * frequency / (2.0 * std::f64::consts::PI);
            let ramp = ((turns - low_freq) / (high_freq - low_freq)).clamp(0.0, 1.0);
            frequency * (ramp + (1.0 - ramp) / factor)
        }
    }
}
