//! Time per token and head of the scans, and per token of the convolutions, on the shapes of released models:
//! `cargo bench -p jet-runtime --bench scans [-- FILTER]`. One thread; each name ends with the schedule that was run.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jet_codegen::schedule::Schedule;
use jet_runtime::cpu::conv::{self, ConvSchedule, ConvWeights};
use jet_runtime::cpu::dynamic_conv::{self, DynamicConvSchedule, Rows, Signal, TapWeights};
use jet_runtime::cpu::gated_delta::{self, GatedDeltaInput, GatedDeltaSchedule, GatedDeltaShape, Share};
use jet_runtime::cpu::mat::{Mat, MatMut};
use jet_runtime::cpu::simd::Isa;
use jet_runtime::cpu::ssd::{self, SsdInput, SsdSchedule, SsdShape, SsdWeights};

/// `n` numbers in -1..1 that repeat on every machine.
fn noise(n: usize) -> Vec<f32> {
    let mut x = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// A buffer that begins on a cache line.
struct Aligned(Vec<f32>, usize, usize);

impl Aligned {
    fn new(len: usize) -> Self {
        let data = vec![0.0; len + 16];
        let skip = data.as_ptr().align_offset(64).min(16);
        Self(data, skip, len)
    }

    fn get(&mut self) -> &mut [f32] {
        &mut self.0[self.1..self.1 + self.2]
    }
}

fn ssd(c: &mut Criterion) {
    let mut group = c.benchmark_group("ssd");
    // Mamba-2 130M, and the heads of Nemotron Nano.
    for (shape, tokens) in [
        (SsdShape { heads: 8, d_head: 64, groups: 1, d_state: 128 }, 256),
        (SsdShape { heads: 8, d_head: 80, groups: 1, d_state: 128 }, 256),
        (SsdShape { heads: 8, d_head: 64, groups: 1, d_state: 128 }, 1),
    ] {
        let SsdShape { heads, d_head, groups, d_state } = shape;
        let (x, b, cc) = (noise(tokens * heads * d_head), noise(tokens * d_state), noise(tokens * d_state));
        let dt = noise(tokens * heads);
        let limit = (0.0, f32::INFINITY);
        let weights = SsdWeights::new(heads, &noise(heads), &noise(heads), &noise(heads), limit)
            .expect("one parameter a head");
        let input = SsdInput {
            x: Mat::new(&x, tokens, heads * d_head),
            b: Mat::new(&b, tokens, groups * d_state),
            c: Mat::new(&cc, tokens, groups * d_state),
            dt_raw: Mat::new(&dt, tokens, heads),
        };
        let chunks = [8, 16, 32, 64, 128].map(|chunk| SsdSchedule { chunk, steps: 1, columns: 32 });
        let steps = [16, 32, 64].map(|columns| SsdSchedule { chunk: 32, steps: 1 << 20, columns });
        for schedule in steps.into_iter().chain(chunks.into_iter().filter(|_| tokens > 1)) {
            let mut state = Aligned::new(heads * ssd::state_len(d_head, d_state));
            let mut y = vec![0.0; x.len()];
            let mut scratch = Aligned::new(ssd::scratch_len(&shape, &schedule));
            let name = BenchmarkId::new(format!("T{tokens} P{d_head} N{d_state}"), schedule.values());
            group.throughput(Throughput::Elements((tokens * heads) as u64));
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let y = MatMut::new(&mut y, tokens, heads * d_head);
                    let (isa, all) = (Isa::detect(), 0..heads);
                    ssd::run(isa, &schedule, &shape, &weights, all, input, state.get(), y, scratch.get());
                });
            });
        }
    }
}

fn gated_delta(c: &mut Criterion) {
    let mut group = c.benchmark_group("gated_delta");
    for (d_key, d_value, tokens) in [(96, 256, 256), (128, 256, 256), (96, 256, 1)] {
        let heads = 4;
        let shape =
            GatedDeltaShape { heads, d_key, d_value, scale: (d_key as f32).sqrt().recip(), l2_eps: 1e-6 };
        let (q, k) = (noise(tokens * heads * d_key), noise(tokens * heads * d_key + 1));
        let v = noise(tokens * heads * d_value);
        let g: Vec<f32> = noise(tokens * heads).iter().map(|x| -0.1 * x.abs()).collect();
        let beta: Vec<f32> = noise(tokens * heads).iter().map(|x| x.abs()).collect();
        let input = GatedDeltaInput {
            q: Mat::new(&q, tokens, heads * d_key),
            k: Mat::new(&k[1..], tokens, heads * d_key),
            v: Mat::new(&v, tokens, heads * d_value),
            g: Mat::new(&g, tokens, heads),
            beta: Mat::new(&beta, tokens, heads),
        };
        let share = Share::heads(&shape, 0..heads);
        let chunks = [8, 16, 32, 64].map(|chunk| GatedDeltaSchedule { chunk, steps: 1, columns: 64 });
        let steps = [16, 32, 64].map(|columns| GatedDeltaSchedule { chunk: 32, steps: 1 << 20, columns });
        for schedule in steps.into_iter().chain(chunks.into_iter().filter(|_| tokens > 1)) {
            let mut state = Aligned::new(heads * gated_delta::state_len(d_key, d_value));
            let mut o = vec![0.0; v.len()];
            let mut scratch = Aligned::new(gated_delta::scratch_len(&shape, &schedule));
            let name = BenchmarkId::new(format!("T{tokens} K{d_key} V{d_value}"), schedule.values());
            group.throughput(Throughput::Elements((tokens * heads) as u64));
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let o = MatMut::new(&mut o, tokens, heads * d_value);
                    let (isa, state, scratch) = (Isa::detect(), state.get(), scratch.get());
                    gated_delta::run(isa, &schedule, &shape, &share, input, state, o, scratch);
                });
            });
        }
    }
}

fn causal_conv(c: &mut Criterion) {
    let mut group = c.benchmark_group("causal_conv");
    let (channels, taps) = (1792, 4);
    let weights =
        ConvWeights::new(channels, taps, &noise(channels * taps), Some(&noise(channels))).expect("sizes fit");
    for tokens in [1, 64] {
        let x = noise(tokens * channels);
        for schedule in [1, 2, 4].map(|vectors| ConvSchedule { vectors }) {
            let mut state = vec![0.0; (taps - 1) * channels];
            let mut out = vec![0.0; x.len()];
            group.throughput(Throughput::Elements(tokens as u64));
            group.bench_function(
                BenchmarkId::new(format!("T{tokens} C{channels}"), schedule.values()),
                |b| {
                    b.iter(|| {
                        let state = MatMut::new(&mut state, taps - 1, channels);
                        let out = MatMut::new(&mut out, tokens, channels);
                        let x = Mat::new(&x, tokens, channels);
                        conv::run(Isa::detect(), &schedule, &weights, 0..channels, true, x, state, out);
                    });
                },
            );
        }
    }
}

fn dynamic_conv(c: &mut Criterion) {
    let mut group = c.benchmark_group("dynamic_conv");
    // One layer of Jet-Nemotron 2B.
    let (channels, taps, hidden) = (3072, 4, 384);
    // The upper half of a float32 is a bfloat16.
    let w2: Vec<u16> = noise(channels * taps * hidden).iter().map(|x| (x.to_bits() >> 16) as u16).collect();
    let weights = TapWeights::pack(channels, taps, hidden, Rows::Bf16(&w2), &noise(channels * taps))
        .expect("sizes fit");
    for tokens in [1, 8, 64] {
        let (h, u) = (noise(tokens * hidden), noise(tokens * channels));
        for schedule in [1, 4].map(|tile| DynamicConvSchedule { tokens: tile }) {
            let mut state = vec![0.0; taps * channels];
            let mut out = vec![0.0; u.len()];
            group.throughput(Throughput::Elements(tokens as u64));
            let name = BenchmarkId::new(format!("T{tokens} C{channels} R{hidden} bf16"), schedule.values());
            group.bench_function(name, |b| {
                b.iter(|| {
                    let signal = Signal {
                        channels: 0..channels,
                        u: Mat::new(&u, tokens, channels),
                        state: MatMut::new(&mut state, taps, channels),
                        out: MatMut::new(&mut out, tokens, channels),
                    };
                    let h = Mat::new(&h, tokens, hidden);
                    dynamic_conv::run(Isa::detect(), &schedule, &weights, h, signal);
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(1));
    targets = ssd, gated_delta, causal_conv, dynamic_conv
}
criterion_main!(benches);
