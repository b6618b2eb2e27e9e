//! What each fixture must give, in f64 and as directly as its definition reads.

use super::tensor::Tensor;
use serde_json::Value;

/// The expected values of the named reference.
pub fn reference(name: &str, params: &Value, of: &[&Tensor]) -> Vec<f64> {
    let number = |key: &str| params[key].as_f64().unwrap_or_else(|| panic!("`{name}` needs `{key}`"));
    match name {
        "chunk_sums" => of[0].values().chunks(number("chunk") as usize).map(|c| c.iter().sum()).collect(),
        "transpose" => transpose(of[0]),
        "matmul" => matmul(&matrix(of[0]), &matrix(of[1])),
        "matmul_nt" => matmul(&matrix(of[0]), &matrix(of[1]).turned()),
        "matmul_nt_e4m3" => matmul(&e4m3(of[0]), &e4m3(of[1]).turned()),
        "matmul_nt_nvfp4" => matmul(&nvfp4(of[0], of[2]), &nvfp4(of[1], of[3]).turned()),
        "matvec" => matmul(&matrix(of[0]), &Matrix { rows: of[1].shape[0], cols: 1, values: of[1].values() }),
        "dot" => vec![of[0].values().iter().zip(of[1].values()).map(|(x, y)| x * y).sum()],
        "causal_attention" => causal_attention(of[0], of[1], of[2]),
        "scaled_row_sums" => scaled_row_sums(&matrix(of[0]), number("copies") as usize),
        "twice_column_sums" => {
            let x = matrix(of[0]);
            (0..x.cols).map(|c| (0..x.rows).map(|r| 2.0 * x.at(r, c)).sum()).collect()
        }
        "collectives" => collectives(&of[0].words()),
        "scale_shift_relu_pairs" => scale_shift_relu_pairs(of[0], &params["scale"], &params["shift"]),
        "recursive_fold" => {
            let fold = |(i, &seed): (usize, &u32)| fold(i as u32 % 6, seed).into();
            of[0].words().iter().enumerate().map(fold).collect()
        }
        "softmax" => matrix(of[0]).rows().flat_map(softmax).collect(),
        "layer_norm" => layer_norm(&matrix(of[0]), &of[1].values(), &of[2].values(), number("eps")),
        "gated_delta_states" => gated_delta(of, number("chunk") as usize).states,
        "gated_delta_values" => gated_delta(of, number("chunk") as usize).values,
        "gated_delta_last_state" => gated_delta(of, number("chunk") as usize).last,
        _ => panic!("there is no reference `{name}`"),
    }
}

struct Matrix {
    rows: usize,
    cols: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn at(&self, row: usize, col: usize) -> f64 {
        self.values[row * self.cols + col]
    }

    fn turned(&self) -> Matrix {
        let values = (0..self.cols).flat_map(|c| (0..self.rows).map(move |r| self.at(r, c))).collect();
        Matrix { rows: self.cols, cols: self.rows, values }
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.cols)
    }
}

fn matrix(t: &Tensor) -> Matrix {
    Matrix { rows: t.shape[0], cols: t.shape[1], values: t.values() }
}

fn transpose(t: &Tensor) -> Vec<f64> {
    matrix(t).turned().values
}

fn matmul(a: &Matrix, b: &Matrix) -> Vec<f64> {
    assert_eq!(a.cols, b.rows);
    let element = |r, c| (0..a.cols).map(|k| a.at(r, k) * b.at(k, c)).sum();
    (0..a.rows).flat_map(|r| (0..b.cols).map(move |c| element(r, c))).collect()
}

/// The value of an 8-bit float with four exponent bits of bias 7 and three fraction bits.
fn e4m3_value(code: u8) -> f64 {
    let (exponent, digits) = (i32::from(code >> 3 & 15), f64::from(code & 7));
    assert!(code & 0x7F != 0x7F, "not a number");
    let size = if exponent == 0 {
        digits / 8.0 * 2f64.powi(-6)
    } else {
        (1.0 + digits / 8.0) * 2f64.powi(exponent - 7)
    };
    if code >> 7 == 1 { -size } else { size }
}

fn e4m3(t: &Tensor) -> Matrix {
    Matrix { rows: t.shape[0], cols: t.shape[1], values: t.bytes.iter().map(|&b| e4m3_value(b)).collect() }
}

/// Four-bit floats, low nibble first, with a scale for each 16 of a row.
fn nvfp4(codes: &Tensor, scales: &Tensor) -> Matrix {
    const SIZES: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let value =
        |code: u8| if code & 8 == 0 { SIZES[usize::from(code & 7)] } else { -SIZES[usize::from(code & 7)] };
    let plain = codes.bytes.iter().flat_map(|b| [value(b & 15), value(b >> 4)]);
    let values = plain.enumerate().map(|(i, x)| x * e4m3_value(scales.bytes[i / 16])).collect();
    Matrix { rows: codes.shape[0], cols: codes.shape[1] * 2, values }
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = row.iter().map(|x| (x - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

fn layer_norm(x: &Matrix, gain: &[f64], shift: &[f64], eps: f64) -> Vec<f64> {
    let n = x.cols as f64;
    let normal = |row: &[f64]| -> Vec<f64> {
        let mean = row.iter().sum::<f64>() / n;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        row.iter()
            .zip(gain)
            .zip(shift)
            .map(|((x, g), s)| (x - mean) / (variance + eps).sqrt() * g + s)
            .collect()
    };
    x.rows().flat_map(normal).collect()
}

/// `q`, `k`, `v`: [heads][length][width].
fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Vec<f64> {
    let [heads, length, width] = q.shape[..] else { panic!("three dimensions") };
    let (q, k, v) = (q.values(), k.values(), v.values());
    let row = |x: &[f64], head: usize, i: usize| x[(head * length + i) * width..][..width].to_vec();
    let mut out = Vec::new();
    for head in 0..heads {
        for i in 0..length {
            let query = row(&q, head, i);
            let score = |j| {
                query.iter().zip(row(&k, head, j)).map(|(x, y)| x * y).sum::<f64>() / (width as f64).sqrt()
            };
            let weights = softmax(&(0..=i).map(score).collect::<Vec<_>>());
            let values: Vec<Vec<f64>> = (0..=i).map(|j| row(&v, head, j)).collect();
            out.extend((0..width).map(|d| weights.iter().zip(&values).map(|(w, v)| w * v[d]).sum::<f64>()));
        }
    }
    out
}

fn scaled_row_sums(x: &Matrix, copies: usize) -> Vec<f64> {
    (1..=copies).flat_map(|copy| x.rows().map(move |r| r.iter().sum::<f64>() * copy as f64)).collect()
}

fn scale_shift_relu_pairs(x: &Tensor, scale: &Value, shift: &Value) -> Vec<f64> {
    let of = |pair: &Value, i: usize| pair[i % 2].as_f64().expect("two numbers");
    x.values().iter().enumerate().map(|(i, x)| (x * of(scale, i) + of(shift, i)).max(0.0)).collect()
}

/// The eight results of `collectives.cu`, one row each.
fn collectives(x: &[u32]) -> Vec<f64> {
    let mut rows = vec![Vec::new(); 8];
    for warp in x.chunks_exact(32) {
        let mask =
            |holds: &dyn Fn(u32) -> bool| (0..32).filter(|&l| holds(warp[l])).fold(0u32, |m, l| m | 1 << l);
        let whole = |holds: bool| if holds { u32::MAX } else { 7 };
        for (lane, &mine) in warp.iter().enumerate() {
            let any = u32::from(warp.contains(&77)) * 2;
            rows[0].push(mask(&|v| v & 1 == 1));
            rows[1].push(any + u32::from(warp.iter().all(|&v| v < 900)));
            rows[2].push(mask(&|v| v % 5 == mine % 5));
            rows[3].push(whole(warp.iter().all(|v| v / 1000 == mine / 1000)));
            rows[4].push(warp.iter().sum());
            rows[5].push(warp.iter().max().unwrap_or(&0) - warp.iter().min().unwrap_or(&0));
            rows[6].push(x.iter().filter(|&v| v & 2 == 2).count() as u32);
            rows[7].push(warp[..=lane].iter().sum());
        }
    }
    rows.concat().into_iter().map(f64::from).collect()
}

/// The recursion of `recursion.cu`, in 32-bit arithmetic.
fn fold(depth: u32, seed: u32) -> u32 {
    let digits: Vec<u32> = (0..8u32).map(|i| seed.wrapping_mul(i + 1).wrapping_add(depth)).collect();
    let mut sum = 0u32;
    if depth > 0 {
        let half = fold(depth / 2, seed.wrapping_add(1));
        sum = fold(depth - 1, digits[(seed & 7) as usize]).wrapping_add(half.wrapping_mul(3));
    }
    for i in 0..8u32 {
        sum = sum.wrapping_add(digits[(i.wrapping_add(sum) & 7) as usize] ^ i);
    }
    sum
}

struct GatedDelta {
    /// The state before each chunk, [batch][chunk][head][K][V].
    states: Vec<f64>,
    /// What the state does not know of the values yet, [batch][time][head][V].
    values: Vec<f64>,
    /// The state at the end, [batch][head][K][V].
    last: Vec<f64>,
}

/// The state pass of the gated delta rule in chunks: with `w` and `v` prepared and `g` the running sum of the logarithms
/// (to base 2) of the decays, v' = v - w S and S <- 2^g_last S + k^T (2^(g_last - g) v').
fn gated_delta(of: &[&Tensor], chunk: usize) -> GatedDelta {
    let [batch, length, heads, width] = of[0].shape[..] else { panic!("four dimensions") };
    let depth = of[1].shape[3];
    let (k, v, w, g) = (of[0].values(), of[1].values(), of[2].values(), of[3].values());
    let chunks = length.div_ceil(chunk);
    let mut out = GatedDelta {
        states: vec![0.0; batch * chunks * heads * width * depth],
        values: vec![0.0; v.len()],
        last: Vec::new(),
    };
    for (b, h) in (0..batch).flat_map(|b| (0..heads).map(move |h| (b, h))) {
        let row = |t: usize| (b * length + t) * heads + h;
        let mut state = vec![0.0; width * depth];
        for c in 0..chunks {
            out.states[((b * chunks + c) * heads + h) * width * depth..][..width * depth]
                .copy_from_slice(&state);
            let (first, end) = (c * chunk, ((c + 1) * chunk).min(length));
            let last = g[row(end - 1)];
            let mut next: Vec<f64> = state.iter().map(|s| s * last.exp2()).collect();
            for t in first..end {
                for j in 0..depth {
                    let known: f64 = (0..width).map(|i| w[row(t) * width + i] * state[i * depth + j]).sum();
                    let new = v[row(t) * depth + j] - known;
                    out.values[row(t) * depth + j] = new;
                    for i in 0..width {
                        next[i * depth + j] += k[row(t) * width + i] * new * (last - g[row(t)]).exp2();
                    }
                }
            }
            state = next;
        }
        out.last.extend(state);
    }
    out
}
