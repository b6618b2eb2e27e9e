//! Every form against the float64 reference and the golden files, whole and in pieces.

use super::reference::{self, Case};
use super::*;
use crate::cpu::golden::{self, Golden, noise};
use crate::cpu::kv_cache::{KvLayout, KvType};
use crate::cpu::rope::{RopeTable, rotate};
use jet_codegen::schedule::{Family, Schedule, candidates};
use jet_dsl::block::RopeScaling;
use proptest::prelude::*;

/// One sequence: queries, keys and values of `tokens` tokens.
struct Sequence {
    g: Geometry,
    tokens: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Sequence {
    fn random(g: Geometry, tokens: usize, seed: u64) -> Self {
        let (wq, wk) = (g.heads * g.d_head, g.kv_heads * g.d_head);
        let q = noise(seed, tokens * wq);
        Self { g, tokens, q, k: noise(seed + 1, tokens * wk), v: noise(seed + 2, tokens * wk) }
    }

    fn reference(&self) -> Vec<f64> {
        let positions: Vec<usize> = (0..self.tokens).collect();
        reference::attention(&Case {
            q: &self.q,
            k: &self.k,
            v: &self.v,
            q_positions: &positions,
            k_positions: &positions,
            heads: self.g.heads,
            kv_heads: self.g.kv_heads,
            d: self.g.d_head,
            scale: f64::from(self.g.scale),
            window: self.g.window,
        })
    }

    /// Rounds keys and values to what a cache of `kind` holds.
    fn rounded(mut self, kind: KvType) -> Self {
        let layout = KvLayout { kv_heads: self.g.kv_heads, d_head: self.g.d_head, kind, window: None };
        let mut cache = KvCache::new(layout);
        cache.import(0, &self.k, &self.v).unwrap();
        (self.k, self.v) = cache.export();
        self
    }

    /// The outputs of tokens `range`, for positions counted from `base`, through prefill or (one token) decode.
    fn run(&self, how: &How, cache: &mut KvCache, staging: &mut KvCache, range: Range<usize>) -> Vec<f32> {
        let g = &self.g;
        let (wq, wk, n) = (g.heads * g.d_head, g.kv_heads * g.d_head, range.len());
        let rows = |x: &'_ [f32], w: usize| x[range.start * w..range.end * w].to_vec();
        let (q, k, v) = (rows(&self.q, wq), rows(&self.k, wk), rows(&self.v, wk));
        let (q, k, v) = (Mat::new(&q, n, wq), Mat::new(&k, n, wk), Mat::new(&v, n, wk));
        let first = cache.end();
        let at_once = cache.append_first(n);
        if at_once {
            cache.append(k, v);
        } else {
            staging.clear(first);
            staging.append(k, v);
        }
        let keys = Keys { past: cache, fresh: (!at_once).then_some(&*staging) };
        let mut out = vec![f32::NAN; n * wq];
        let mut view = MatMut::new(&mut out, n, wq);
        let per_head = g.group() * g.d_head;
        for h in 0..g.kv_heads {
            let columns = h * per_head..(h + 1) * per_head;
            let (q, mut out) = (q.cols_range(columns.clone()), view.cols_range(columns));
            match how.decode {
                Some(schedule) if n == 1 => {
                    let mut scratch = vec![f32::NAN; decode_scratch_len(g, &schedule)];
                    let mut partials = vec![f32::NAN; schedule.splits * partial_len(g)];
                    for (i, partial) in partials.chunks_mut(partial_len(g)).enumerate() {
                        let part = context_part(g, first, schedule.splits, i);
                        decode(how.isa, g, &schedule, keys, h, first, part, q, partial, &mut scratch);
                    }
                    merge(how.isa, g, &partials, out.row_mut(0));
                }
                _ => {
                    let mut scratch = vec![f32::NAN; prefill_scratch_len(g, &how.prefill)];
                    prefill(how.isa, g, &how.prefill, keys, h, first, q, out, &mut scratch);
                }
            }
        }
        if !at_once {
            cache.append(k, v);
        }
        out
    }

    /// The outputs of all tokens, cut into `chunks`.
    fn chunked(&self, how: &How, kind: KvType, base: usize, chunks: &[usize]) -> Vec<f32> {
        let layout =
            KvLayout { kv_heads: self.g.kv_heads, d_head: self.g.d_head, kind, window: self.g.window };
        let mut cache = KvCache::new(layout);
        let mut staging = KvCache::new(KvLayout { window: None, ..layout });
        cache.clear(base);
        let mut out = Vec::new();
        let mut t = 0;
        for n in chunks {
            out.extend(self.run(how, &mut cache, &mut staging, t..t + n));
            t += n;
        }
        assert_eq!(t, self.tokens);
        out
    }
}

#[derive(Clone, Copy)]
struct How {
    isa: Isa,
    prefill: AttentionPrefill,
    decode: Option<AttentionDecode>,
}

fn geometry(heads: usize, kv_heads: usize, d_head: usize, window: Option<usize>) -> Geometry {
    Geometry { heads, kv_heads, d_head, scale: (d_head as f32).powf(-0.5), window }
}

fn worst(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    // `max` would drop not-a-number.
    got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, |m, e| if e <= m { m } else { e })
}

/// Cuts `tokens` by a list of lengths that is used round and round.
fn cut(tokens: usize, lengths: &[usize]) -> Vec<usize> {
    let mut chunks = Vec::new();
    let mut left = tokens;
    for n in lengths.iter().cycle() {
        if left == 0 {
            break;
        }
        chunks.push((*n).min(left));
        left -= (*n).min(left);
    }
    chunks
}

fn schedules<T: Schedule>(family: &dyn Family) -> Vec<T> {
    candidates(family.params()).iter().map(|v| T::from_values(v).unwrap()).collect()
}

#[test]
fn every_schedule_agrees_with_the_reference_on_every_instruction_set() {
    let prefills: Vec<AttentionPrefill> = schedules(PREFILL);
    let decodes: Vec<AttentionDecode> = schedules(DECODE);
    for (g, tokens) in [
        (geometry(6, 2, 64, None), 333),
        (geometry(5, 1, 24, Some(70)), 301),
        (geometry(14, 2, 80, Some(300)), 520),
    ] {
        let case = Sequence::random(g, tokens, 11);
        let want = case.reference();
        for isa in Isa::all_available() {
            for (i, prefill) in prefills.iter().enumerate() {
                let how = How { isa, prefill: *prefill, decode: None };
                let chunks = cut(tokens, if i % 2 == 0 { &[500] } else { &[37, 101] });
                let error = worst(&case.chunked(&how, KvType::F32, 0, &chunks), &want);
                assert!(error < 1e-5, "{isa:?} {g:?} {prefill:?} {chunks:?}: {error}");
            }
            for decode in &decodes {
                let how = How { isa, prefill: prefills[0], decode: Some(*decode) };
                let mut chunks = vec![tokens - 9];
                chunks.extend([1; 9]);
                let error = worst(&case.chunked(&how, KvType::F32, 0, &chunks), &want);
                assert!(error < 1e-5, "{isa:?} {g:?} {decode:?}: {error}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_sizes_and_chunks_agree_with_the_reference(
        kv_heads in 1usize..4, group in 1usize..9, half_d in 1usize..50,
        window in prop::option::of(1usize..200), tokens in 1usize..260,
        lengths in prop::collection::vec(1usize..80, 1..5), base in 0usize..500, seed in 0u64..1000,
    ) {
        let g = geometry(kv_heads * group, kv_heads, 2 * half_d, window);
        for (isa, (_, kind)) in Isa::all_available().zip(KvType::ALL.iter().cycle().skip(seed as usize % 3)) {
            // Against the reference on what the cache holds, the stored type is exact.
            let case = Sequence::random(g, tokens, seed).rounded(*kind);
            let how = How {
                isa,
                prefill: AttentionPrefill { q_tile: 8, kv_tile: 64 },
                decode: Some(AttentionDecode { kv_tile: 64, splits: 4 }),
            };
            let chunks = cut(tokens, &lengths);
            let error = worst(&case.chunked(&how, *kind, base, &chunks), &case.reference());
            prop_assert!(error < 1e-5, "{isa:?} {g:?} {kind:?} {chunks:?}: {error}");
        }
    }
}

#[test]
fn half_precision_caches_stay_within_their_tolerance() {
    // Rounding a key moves a score by about 2^-12 (2^-9) of its terms, rounding a value the output likewise.
    let g = geometry(9, 3, 64, None);
    let case = Sequence::random(g, 300, 5);
    let want = case.reference();
    let how = How { isa: Isa::detect(), prefill: AttentionPrefill::default(), decode: None };
    for (kind, tolerance) in [(KvType::F32, 1e-5), (KvType::F16, 1e-3), (KvType::Bf16, 8e-3)] {
        let error = worst(&case.chunked(&how, kind, 0, &[300]), &want);
        assert!(error < tolerance, "{kind:?}: {error}");
        assert!(kind == KvType::F32 || error > 1e-6, "{kind:?} did not round: {error}");
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let mut case = Sequence::random(geometry(4, 2, 32, None), 90, 8);
    case.q.iter_mut().for_each(|q| *q *= 60.0);
    let want = case.reference();
    for isa in Isa::all_available() {
        let decode = Some(AttentionDecode::default());
        let how = How { isa, prefill: AttentionPrefill::default(), decode };
        for chunks in [vec![90], vec![1; 90]] {
            // Scores are in the hundreds: their float32 rounding shows in the weights.
            let error = worst(&case.chunked(&how, KvType::F32, 0, &chunks), &want);
            assert!(error < 1e-3, "{isa:?}: {error}");
        }
    }
}

#[test]
fn not_a_number_in_queries_keys_or_values_reaches_the_output() {
    for isa in Isa::all_available() {
        for which in 0..3 {
            let g = geometry(3, 1, 16, None);
            let mut case = Sequence::random(g, 40, 9);
            [&mut case.q, &mut case.k, &mut case.v][which][if which == 0 { 39 * 48 } else { 5 * 16 }] =
                f32::NAN;
            for (decode, chunks) in [(None, vec![40]), (Some(AttentionDecode::default()), vec![39, 1])] {
                let how = How { isa, prefill: AttentionPrefill::default(), decode };
                let out = case.chunked(&how, KvType::F32, 0, &chunks);
                assert!(out[39 * 48].is_nan(), "{isa:?} {which} {}", decode.is_some());
            }
        }
    }
}

#[test]
fn parts_of_a_context_are_all_of_it() {
    for window in [None, Some(1), Some(64), Some(100), Some(1000)] {
        let g = geometry(1, 1, 8, window);
        for position in [0, 1, 63, 64, 65, 500, 1023] {
            for parts in [1, 2, 3, 8] {
                let cuts: Vec<_> = (0..parts).map(|i| context_part(&g, position, parts, i)).collect();
                assert_eq!(cuts[0].start, g.visible(position).start);
                assert_eq!(cuts[parts - 1].end, position + 1);
                assert!(cuts.windows(2).all(|c| c[0].end == c[1].start));
            }
        }
    }
}

fn golden_case(file: &Golden, sequence: usize) -> (Sequence, usize, Vec<f64>) {
    let (q, k) = (file.shape("q"), file.shape("k"));
    let (heads, d, kv_heads) = (q[2], q[3], k[2]);
    let g = Geometry {
        heads,
        kv_heads,
        d_head: d,
        scale: file.number("scale") as f32,
        window: file.meta("window").map(|w| w.parse().unwrap()),
    };
    let part = |x: &[f32], n: usize| x[sequence * n..(sequence + 1) * n].to_vec();
    let past = k[1] - q[1];
    // Rows of queries in front of the given ones stand for the tokens that are past.
    let mut all_q = vec![0.0; past * heads * d];
    all_q.extend(part(&file.f32("q"), q[1] * heads * d));
    let mut case = Sequence {
        g,
        tokens: k[1],
        q: all_q,
        k: part(&file.f32("k"), k[1] * kv_heads * d),
        v: part(&file.f32("v"), k[1] * kv_heads * d),
    };
    let positions: Vec<usize> = file.i64("k_positions").iter().map(|p| *p as usize).collect();
    assert!(positions.windows(2).all(|p| p[0] + 1 == p[1]), "{}", file.name);
    if file.meta("theta").is_some() {
        let table = RopeTable::new(file.number("theta"), d, &RopeScaling::None);
        let mut angles = vec![0.0; table.angles_len(k[1])];
        table.angles(positions[0], &mut angles);
        for (x, heads) in [(&mut case.q, heads), (&mut case.k, kv_heads)] {
            rotate(Isa::detect(), MatMut::new(x, k[1], heads * d), d, &angles);
        }
    }
    let n = q[1] * heads * d;
    (case, positions[0], file.f64("out")[sequence * n..(sequence + 1) * n].to_vec())
}

#[test]
fn golden_files_are_met_in_one_piece_and_in_many() {
    let files = golden::folder("attention", "attn_");
    assert!(files.len() >= 12);
    for file in &files {
        let tol = file.number("tol_abs");
        for sequence in 0..file.shape("q")[0] {
            let (case, base, want) = golden_case(file, sequence);
            let past = file.number("past") as usize;
            let new = case.tokens - past;
            for isa in Isa::all_available() {
                for lengths in [&[1000][..], &[1], &[3, 1, 7]] {
                    let how = How {
                        isa,
                        prefill: AttentionPrefill::default(),
                        decode: Some(AttentionDecode::default()),
                    };
                    let mut chunks = cut(past, lengths);
                    chunks.extend(cut(new, lengths));
                    let out = case.chunked(&how, KvType::F32, base, &chunks);
                    let error = worst(&out[out.len() - want.len()..], &want);
                    assert!(error <= tol, "{} on {isa:?} in {lengths:?}: {error}", file.name);
                }
            }
        }
    }
}
