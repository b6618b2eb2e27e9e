//! Attention on the head shapes of released models: `cargo bench -p jet-runtime --bench attention [-- FILTER]`.
//!
//! One thread. Decode is one token behind a context, all KV heads of as many layers as make a cache of some
//! megabytes, in bytes of keys and values per second; prefill is a prompt from an empty cache, in multiply-adds
//! per second of what the causal mask leaves. Each name ends with the schedule that was run.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jet_codegen::schedule::Schedule;
use jet_runtime::cpu::attention::{
    AttentionDecode, AttentionPrefill, Geometry, Keys, decode, decode_scratch_len, merge, partial_len,
    prefill, prefill_scratch_len,
};
use jet_runtime::cpu::kv_cache::{KvCache, KvLayout, KvType};
use jet_runtime::cpu::mat::{Mat, MatMut};
use jet_runtime::cpu::simd::Isa;

const MODELS: [(&str, usize, usize, usize); 3] =
    [("smollm2-135m", 9, 3, 64), ("jet-nemotron-2b", 12, 2, 128), ("nemotron-nano-12b", 40, 8, 128)];

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

fn geometry(heads: usize, kv_heads: usize, d_head: usize) -> Geometry {
    Geometry { heads, kv_heads, d_head, scale: (d_head as f32).powf(-0.5), window: None }
}

/// A cache with `tokens` tokens of noise.
fn filled(g: &Geometry, kind: KvType, tokens: usize) -> KvCache {
    let width = g.kv_heads * g.d_head;
    let (k, v) = (noise(tokens * width), noise(tokens * width));
    let mut cache = KvCache::new(KvLayout { kv_heads: g.kv_heads, d_head: g.d_head, kind, window: None });
    cache.append(Mat::new(&k, tokens, width), Mat::new(&v, tokens, width));
    cache
}

fn decode_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention_decode");
    for (model, heads, kv_heads, d_head) in MODELS {
        let g = geometry(heads, kv_heads, d_head);
        let per_head = g.group() * d_head;
        let q = noise(heads * d_head);
        for (kind, context) in
            [(KvType::F16, 544), (KvType::F16, 4096), (KvType::Bf16, 544), (KvType::F32, 544)]
        {
            let cache_bytes = 2 * context * kv_heads * d_head * kind.bytes();
            let caches = vec![filled(&g, kind, context); (12_usize << 20).div_ceil(cache_bytes)];
            for kv_tile in [64, 128, 256] {
                let schedule = AttentionDecode { kv_tile, ..AttentionDecode::default() };
                let mut scratch = vec![0.0; decode_scratch_len(&g, &schedule)];
                let (mut partial, mut out) = (vec![0.0; partial_len(&g)], vec![0.0; per_head]);
                let id = BenchmarkId::new(
                    format!("{model}/{}/{context}", kind.name()),
                    format!("kv_tile={kv_tile}"),
                );
                group.throughput(Throughput::Bytes((caches.len() * cache_bytes) as u64));
                group.bench_function(id, |b| {
                    b.iter(|| {
                        for (cache, h) in caches.iter().flat_map(|c| (0..kv_heads).map(move |h| (c, h))) {
                            let q = Mat::new(&q[h * per_head..][..per_head], 1, per_head);
                            let (keys, last) = (Keys::of(cache), context - 1);
                            let seen = g.visible(last);
                            decode(
                                Isa::detect(),
                                &g,
                                &schedule,
                                keys,
                                h,
                                last,
                                seen,
                                q,
                                &mut partial,
                                &mut scratch,
                            );
                            merge(Isa::detect(), &g, &partial, &mut out);
                        }
                    });
                });
            }
        }
    }
}

fn prefill_prompt(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    group.sample_size(20);
    let tokens = 512;
    for (model, heads, kv_heads, d_head) in MODELS {
        let g = geometry(heads, kv_heads, d_head);
        let width = heads * d_head;
        let per_head = g.group() * d_head;
        let q = noise(tokens * width);
        let cache = filled(&g, KvType::F16, tokens);
        for (q_tile, kv_tile) in [(8, 256), (16, 256), (32, 64), (32, 128), (32, 256), (64, 256)] {
            let schedule = AttentionPrefill { q_tile, kv_tile };
            let mut scratch = vec![0.0; prefill_scratch_len(&g, &schedule)];
            let mut out = vec![0.0; tokens * width];
            let id = BenchmarkId::new(format!("{model}/f16/{tokens}"), schedule.values());
            group.throughput(Throughput::Elements((tokens * (tokens + 1) * width) as u64));
            group.bench_function(id, |b| {
                b.iter(|| {
                    let mut out = MatMut::new(&mut out, tokens, width);
                    for h in 0..kv_heads {
                        let columns = h * per_head..(h + 1) * per_head;
                        let q = Mat::new(&q, tokens, width).cols_range(columns.clone());
                        let out = out.cols_range(columns);
                        prefill(Isa::detect(), &g, &schedule, Keys::of(&cache), h, 0, q, out, &mut scratch);
                    }
                });
            });
        }
    }
}

criterion_group!(benches, decode_one, prefill_prompt);
criterion_main!(benches);
