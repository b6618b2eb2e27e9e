//! Attention over KV caches: prefill, decode, append. One reference for all: plain softmax in f64 over the keys a query
//! sees, old ones as the cache holds them.

use crate::case::{self, Batch, Case, Content, Family, Operand, Segment, encode, round};
use crate::dice::Dice;
use crate::nvrtc;
use jet_codegen::arch;
use jet_codegen::kernel::{self, Elem, Formats};
use jet_codegen::nvrtc::Output;
use jet_codegen::schedule::Problem;
use std::collections::BTreeSet;

pub struct Attention;
pub struct AttentionDecode;
pub struct KvAppend;

/// Sizes of a random case.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    kv_heads: usize,
    group: usize,
    d_head: usize,
    align: usize,
    window: usize,
    page: usize,
    /// Places of a ring; of one page with pages.
    places: usize,
    slots: usize,
}

impl Sizes {
    fn heads(&self) -> usize {
        self.kv_heads * self.group
    }

    /// Those of a layer. Sequences of a decode step have `context` keys.
    fn of(p: &Problem, batch: &Batch) -> Self {
        let kv_heads = p.dim("kv_heads");
        let longest = batch.segments.iter().map(|s| s.past + s.len).max().unwrap_or(1);
        Self {
            kv_heads,
            group: (p.dim("heads") / kv_heads).max(1),
            d_head: p.dim("d_head"),
            align: p.dim("align"),
            window: p.dim("window"),
            page: p.dim("page"),
            places: if p.dim("window") > 0 { p.dim("window").min(longest) } else { longest },
            slots: batch.segments.len() + 1,
        }
    }

    fn dims(&self, tokens: usize) -> Vec<(&'static str, usize)> {
        vec![
            ("heads", self.heads()),
            ("kv_heads", self.kv_heads),
            ("d_head", self.d_head),
            ("align", self.align),
            ("window", self.window),
            ("page", self.page),
            ("tokens", tokens),
        ]
    }
}

/// Ragged sequences in shuffled slots. `longest` new tokens at most; one each for a decode step.
fn batch(d: &mut Dice, slots: usize, longest: usize, past: usize) -> Batch {
    let mut free: Vec<usize> = (0..slots).collect();
    let segments = (0..slots - 1)
        .map(|_| Segment {
            slot: free.swap_remove(d.below(free.len())),
            len: 1 + d.below(longest),
            past: if d.below(4) == 0 { 0 } else { d.below(past) },
            first: d.below(2) * 100_000,
        })
        .collect();
    Batch { segments, ..Batch::default() }
}

/// Sizes for heads that `elem` holds, and a cache that has room for the batch.
fn sizes(d: &mut Dice, elem: Elem, batch: &Batch, slots: usize) -> Sizes {
    let (kv_heads, group) = (1 + d.below(2), d.of(&[1, 2, 3, 6, 5, 9, 17]));
    let group = if kv_heads == 2 { group.min(6) } else { group };
    let d_head: usize =
        if elem == Elem::F32 { d.of(&[5, 12, 16, 40, 64]) } else { d.of(&[12, 16, 40, 64, 96]) };
    let align = 1 << usize::min(d_head.trailing_zeros() as usize, d.of(&[0, 1, 2, 3, 3, 3]));
    let longest = batch.segments.iter().map(|s| s.past + s.len).max().unwrap_or(1);
    // Tiles of 32 keys lie on one page.
    let window = 1 + d.below(40);
    let (window, page) = d.of(&[(0, 0), (window, 0), (window, 0), (0, 64)]);
    let places = if page > 0 {
        page
    } else if window > 0 && longest > window {
        window
    } else {
        longest + d.below(5)
    };
    Sizes { kv_heads, group, d_head, align, window, page, places, slots }
}

/// The caches of a batch with what they hold before the run, and where a token lies.
struct Caches {
    sizes: Sizes,
    elem: Elem,
    /// First page of each slot in `order`, where there are pages.
    starts: Vec<usize>,
    order: Vec<usize>,
    k: Operand,
    v: Operand,
    scales: Option<(Operand, Operand)>,
}

impl Caches {
    fn new(d: &mut Dice, sizes: Sizes, elem: Elem, batch: &Batch) -> Self {
        let longest = batch.segments.iter().map(|s| s.past + s.len).max().unwrap_or(1);
        let per_slot = if sizes.page > 0 { longest.div_ceil(sizes.page) } else { 1 };
        let parts = sizes.slots * per_slot;
        let mut free: Vec<usize> = (0..parts).collect();
        let order: Vec<usize> = (0..parts).map(|_| free.swap_remove(d.below(free.len()))).collect();
        let starts = (0..sizes.slots).map(|s| s * per_slot).collect();
        let rows = sizes.kv_heads * sizes.places;
        let mut cache = |role| {
            let one = Operand::random(d, role, elem, (rows, sizes.d_head), 1);
            let values = (0..parts * rows * sizes.d_head).map(|_| round(elem, d.unit())).collect();
            let slot = (rows * sizes.d_head).next_multiple_of(16) + 16 * d.below(2);
            Operand {
                stride: sizes.d_head,
                lead: 16 * d.below(2),
                slots: Some((slot, parts)),
                content: Content::Values(values),
                ..one
            }
        };
        let (k, v) = (cache("k_cache"), cache("v_cache"));
        let v = Operand { slots: k.slots, ..v };
        let mut scale = |role| {
            let values = (0..parts * rows).map(|_| round(Elem::F32, 0.6 + d.unit() / 2.0)).collect();
            Operand { content: Content::Values(values), ..Operand::vector(d, role, parts * rows) }
        };
        let scales = (elem == Elem::E4m3).then(|| (scale("k_scale"), scale("v_scale")));
        Self { sizes, elem, starts, order, k, v, scales }
    }

    /// Number of the row of a token, counted over all parts.
    fn row(&self, slot: usize, token: usize, head: usize) -> usize {
        let s = &self.sizes;
        let page = token.checked_div(s.page);
        let part = page.map_or(slot, |p| self.order[self.starts[slot] + p]);
        (part * s.kv_heads + head) * s.places + token % s.places
    }

    fn held(&self, values: bool, row: usize) -> Vec<f64> {
        let (o, scales) = if values {
            (&self.v, self.scales.as_ref().map(|s| &s.1))
        } else {
            (&self.k, self.scales.as_ref().map(|s| &s.0))
        };
        let scale = scales.map_or(1.0, |s| s.values()[row]);
        let d = self.sizes.d_head;
        o.values()[row * d..(row + 1) * d].iter().map(|x| x * scale).collect()
    }

    /// What no launch may touch: tokens that are not there yet, and those that a ring keeps no longer.
    fn poison(&mut self, batch: &Batch, new_too: bool) {
        let mut used =
            vec![false; self.sizes.kv_heads * self.sizes.places * self.order.len().max(self.sizes.slots)];
        for s in &batch.segments {
            for token in 0..s.past + if new_too { s.len } else { 0 } {
                for head in 0..self.sizes.kv_heads {
                    used[self.row(s.slot, token, head)] = true;
                }
            }
        }
        let garbage = if self.elem == Elem::E4m3 { 448.0 } else { f64::NAN };
        let d = self.sizes.d_head;
        for o in [&mut self.k, &mut self.v] {
            let Content::Values(values) = &mut o.content else { continue };
            for (i, x) in values.iter_mut().enumerate().filter(|(i, _)| !used[i / d]) {
                *x = if i % 2 == 0 { garbage } else { *x };
            }
        }
        if let Some((a, b)) = &mut self.scales {
            for o in [a, b] {
                let Content::Values(values) = &mut o.content else { continue };
                values.iter_mut().zip(&used).filter(|(_, used)| !**used).for_each(|(x, _)| *x = f64::NAN);
            }
        }
    }

    fn operands(&self) -> Vec<Operand> {
        let mut all = vec![self.k.clone(), self.v.clone()];
        if let Some((k, v)) = &self.scales {
            all.extend([k.clone(), v.clone()]);
        }
        if self.sizes.page > 0 {
            let begin = self.starts.iter().map(|s| self.starts.len() + s);
            let table = begin.chain(self.order.iter().copied());
            all.push(Operand::bytes("page_table", table.flat_map(|n| (n as i32).to_le_bytes()).collect()));
        }
        all
    }
}

/// Outputs of the batch's new tokens, row by row. New keys are those of `k` and `v`, or in the cache where there are none.
fn reference(
    c: &Caches,
    batch: &Batch,
    q: &Operand,
    new: Option<(&Operand, &Operand)>,
    scale: f64,
) -> Vec<f64> {
    let s = &c.sizes;
    let mut out = Vec::new();
    for (segment, start) in batch.segments.iter().zip(batch.starts()) {
        let total = segment.past + segment.len;
        let row = |token: usize, head: usize, values: bool| match new {
            Some((k, v)) if token >= segment.past => {
                let o = if values { v } else { k };
                o.row(start + token - segment.past)[head * s.d_head..(head + 1) * s.d_head].to_vec()
            }
            _ => c.held(values, c.row(segment.slot, token, head)),
        };
        for token in segment.past..total {
            let first = if s.window > 0 { (token + 1).saturating_sub(s.window) } else { 0 };
            for head in 0..s.heads() {
                let query = &q.row(start + token - segment.past)[head * s.d_head..(head + 1) * s.d_head];
                let dot = |k: Vec<f64>| query.iter().zip(k).map(|(a, b)| a * b).sum::<f64>() * scale;
                let scores: Vec<f64> = (first..=token).map(|t| dot(row(t, head / s.group, false))).collect();
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = scores.iter().map(|x| (x - top).exp()).sum();
                let mut sum = vec![0.0; s.d_head];
                for (t, score) in (first..=token).zip(&scores) {
                    let weight = (score - top).exp() / total;
                    let value = row(t, head / s.group, true);
                    sum.iter_mut().zip(value).for_each(|(o, v)| *o += weight * v);
                }
                out.extend(sum);
            }
        }
    }
    out
}

/// The softmax's scale: scores of a few units, so that weights differ.
fn score_scale(d_head: usize) -> f32 {
    4.0 / (d_head as f32).sqrt()
}

/// Sums of products of f32, some thousands long at most, and an exponential: a few units of 2^-24. With 16-bit operands
/// the weights are rounded to 2^-9 before they meet the values, and so is the result.
fn tolerance(main: Elem, exact: bool) -> f64 {
    match main {
        Elem::F32 => 4e-6,
        _ if exact => 4e-3,
        _ => 8e-3,
    }
}

/// The formats of a layer, in the order of [`formats`].
fn layer_formats(problem: &Problem) -> (Elem, Elem, Elem) {
    let f = Formats::of(problem).expect("the formats of a layer");
    (f.default, f.get("k_cache"), f.get("out"))
}

/// The formats of a case: what activations are, what the cache is, what comes out.
fn formats(d: &mut Dice) -> (Elem, Elem, Elem) {
    let main = d.of(&[Elem::F32, Elem::Bf16, Elem::Bf16, Elem::Bf16, Elem::F16]);
    let cache = match main {
        Elem::Bf16 => d.of(&[Elem::Bf16, Elem::Bf16, Elem::E4m3]),
        Elem::F32 => d.of(&[Elem::F32, Elem::F32, Elem::E4m3]),
        _ => main,
    };
    (main, cache, d.of(&[main, main, Elem::F32]))
}

impl Family for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cases(&self) -> usize {
        24
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        vec![
            ("jet", Problem::new("attention", "bf16", &model(12, 2, 128, 0, 512))),
            ("jet_window", Problem::new("attention", "bf16", &model(12, 2, 128, 1152, 512))),
            ("nemotron", Problem::new("attention", "bf16", &model(40, 8, 128, 0, 512))),
            ("smollm2_f32", Problem::new("attention", "f32", &model(9, 3, 64, 0, 64))),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let (main, cache, out_elem) = formats(d);
        let slots = 2 + d.below(3);
        let batch = batch(d, slots, 40, 60);
        let s = sizes(d, main, &batch, slots);
        let s = if s.page > 0 && d.flip() { Sizes { page: 0, places: 140, ..s } } else { s };
        let cached = s.window == 0 && d.flip();
        prefill(d, s, (main, cache, out_elem), batch, cached)
    }

    fn layer(&self, d: &mut Dice, problem: &Problem, batch: Batch) -> Option<Case> {
        Some(prefill(d, Sizes::of(problem, &batch), layer_formats(problem), batch, false))
    }
}

/// New tokens over what the caches hold, and over each other.
fn prefill(
    d: &mut Dice,
    s: Sizes,
    (main, cache, out_elem): (Elem, Elem, Elem),
    batch: Batch,
    cached: bool,
) -> Case {
    let rows = batch.tokens();
    let mut caches = Caches::new(d, s, cache, &batch);
    caches.poison(&batch, cached);
    let mut activation =
        |role, heads: usize| Operand::random(d, role, main, (rows, heads * s.d_head), s.align);
    let (q, k, v) = (activation("q", s.heads()), activation("k", s.kv_heads), activation("v", s.kv_heads));
    let out = Operand::unwritten(d, "out", out_elem, (rows, s.heads() * s.d_head), s.align);
    let scale = score_scale(s.d_head);
    let want = reference(&caches, &batch, &q, (!cached).then_some((&k, &v)), f64::from(scale));
    let mut dims = s.dims(rows);
    dims.push(("cached", usize::from(cached)));
    let formats = Formats::new(main, &[("k_cache", cache), ("v_cache", cache), ("out", out_elem)]);
    let mut operands = vec![q, k, v, out];
    operands.extend(caches.operands());
    Case {
        problem: Problem::new("attention", &formats.to_string(), &dims),
        batch,
        rows,
        operands,
        scalars: vec![("scale", scale)],
        expected: vec![("out", want)],
        // fp8 keys are widened, scaled and rounded once more before the products.
        tolerance: tolerance(main, cache != Elem::E4m3),
    }
}

impl Family for AttentionDecode {
    fn name(&self) -> &'static str {
        "attention_decode"
    }

    fn cases(&self) -> usize {
        24
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let fp8 = "bf16 k_cache=e4m3 v_cache=e4m3";
        let paged = [model(12, 2, 128, 0, 64), vec![("page", 64)]].concat();
        vec![
            ("jet", Problem::new("attention_decode", "bf16", &model(12, 2, 128, 0, 1))),
            ("jet_window", Problem::new("attention_decode", "bf16", &model(12, 2, 128, 1152, 64))),
            ("jet_fp8_paged", Problem::new("attention_decode", fp8, &paged)),
            ("nemotron", Problem::new("attention_decode", "bf16", &model(40, 8, 128, 0, 16))),
            ("smollm2_f32", Problem::new("attention_decode", "f32", &model(9, 3, 64, 0, 4))),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let (main, cache, out_elem) = formats(d);
        let slots = 2 + d.below(3);
        let batch = batch(d, slots, 1, 300);
        let s = sizes(d, main, &batch, slots);
        decode(d, s, (main, cache, out_elem), batch)
    }

    fn layer(&self, d: &mut Dice, problem: &Problem, batch: Batch) -> Option<Case> {
        Some(decode(d, Sizes::of(problem, &batch), layer_formats(problem), batch))
    }
}

/// One token a sequence over what the caches hold.
fn decode(d: &mut Dice, s: Sizes, (main, cache, out_elem): (Elem, Elem, Elem), batch: Batch) -> Case {
    let rows = batch.tokens();
    let mut caches = Caches::new(d, s, cache, &batch);
    caches.poison(&batch, true);
    let q = Operand::random(d, "q", main, (rows, s.heads() * s.d_head), s.align);
    let out = Operand::unwritten(d, "out", out_elem, (rows, s.heads() * s.d_head), s.align);
    let scale = score_scale(s.d_head);
    let want = reference(&caches, &batch, &q, None, f64::from(scale));
    let formats = Formats::new(main, &[("k_cache", cache), ("v_cache", cache), ("out", out_elem)]);
    let mut operands = vec![q, out];
    operands.extend(caches.operands());
    Case {
        problem: Problem::new("attention_decode", &formats.to_string(), &s.dims(rows)),
        batch,
        rows,
        operands,
        scalars: vec![("scale", scale)],
        expected: vec![("out", want)],
        // fp8 values are exact; the scales of their rows are multiplied into the weights before these are rounded.
        tolerance: tolerance(main, true),
    }
}

impl Family for KvAppend {
    fn name(&self) -> &'static str {
        "kv_append"
    }

    fn cases(&self) -> usize {
        16
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let sizes = |extra: &[(&'static str, usize)]| {
            [&[("kv_heads", 2), ("d_head", 128), ("align", 8), ("tokens", 64)], extra].concat()
        };
        let fp8 = "bf16 k_cache=e4m3 v_cache=e4m3";
        vec![
            ("jet", Problem::new("kv_append", "bf16", &sizes(&[]))),
            ("jet_rope", Problem::new("kv_append", "bf16", &sizes(&[("rope", 1)]))),
            ("jet_fp8_paged", Problem::new("kv_append", fp8, &sizes(&[("page", 64)]))),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let main = d.of(&[Elem::F32, Elem::Bf16]);
        let cache = d.of(&[main, main, Elem::E4m3]);
        let slots = 2 + d.below(3);
        let batch = batch(d, slots, 30, 50);
        let s = sizes(d, main, &batch, slots);
        let rope = s.d_head.is_multiple_of(2) && d.flip();
        let s = if rope {
            Sizes { align: s.align.min(1 << (s.d_head / 2).trailing_zeros().min(3)), ..s }
        } else {
            s
        };
        append(d, s, (main, cache), batch, rope)
    }

    fn layer(&self, d: &mut Dice, problem: &Problem, batch: Batch) -> Option<Case> {
        let (main, cache, _) = layer_formats(problem);
        Some(append(d, Sizes::of(problem, &batch), (main, cache), batch, problem.dim("rope") > 0))
    }
}

/// New keys and values into the caches.
fn append(d: &mut Dice, s: Sizes, (main, cache): (Elem, Elem), batch: Batch, rope: bool) -> Case {
    let rows = batch.tokens();
    let caches = Caches::new(d, s, cache, &batch);
    let mut activation = |role| Operand::random(d, role, main, (rows, s.kv_heads * s.d_head), s.align);
    let (k, v) = (activation("k"), activation("v"));
    let turns: Vec<u64> = (0..s.d_head / 2).map(|_| d.word() >> d.below(30)).collect();
    let mut expected = appended(&caches, &batch, (&k, &v), if rope { &turns } else { &[] });
    let mut dims = s.dims(rows);
    dims.retain(|(name, _)| !matches!(*name, "heads" | "window"));
    dims.push(("rope", usize::from(rope)));
    let formats = Formats::new(main, &[("k_cache", cache), ("v_cache", cache)]);
    let mut operands = vec![k, v];
    operands.extend(caches.operands());
    if rope {
        let table = turns.iter().flat_map(|t| t.to_le_bytes()).collect();
        operands.push(Operand::bytes("frequencies", table));
    }
    expected.retain(|(role, _)| operands.iter().any(|o| o.role == *role));
    Case {
        problem: Problem::new("kv_append", &formats.to_string(), &dims),
        batch,
        rows,
        operands,
        scalars: vec![],
        expected,
        // A value between two codes may go either way when the sine or the scale err in their last digit: a step
        // of the format for a few of many values.
        tolerance: match cache {
            Elem::F32 => 1e-6,
            Elem::E4m3 => 1e-2,
            _ => 1e-3,
        },
    }
}

/// What the caches hold after `k` and `v` have been appended: rows that later tokens of the run overwrite are theirs.
fn appended(
    c: &Caches,
    batch: &Batch,
    (k, v): (&Operand, &Operand),
    turns: &[u64],
) -> Vec<(&'static str, Vec<f64>)> {
    let s = &c.sizes;
    let d = s.d_head;
    let mut held = [c.k.values().to_vec(), c.v.values().to_vec()];
    let mut scales =
        c.scales.as_ref().map_or([vec![], vec![]], |(a, b)| [a.values().to_vec(), b.values().to_vec()]);
    for (segment, start) in batch.segments.iter().zip(batch.starts()) {
        for (i, head) in (0..segment.len).flat_map(|i| (0..s.kv_heads).map(move |h| (i, h))) {
            let row = c.row(segment.slot, segment.past + i, head);
            for (which, o) in [k, v].into_iter().enumerate() {
                let mut x = o.row(start + i)[head * d..(head + 1) * d].to_vec();
                if which == 0 {
                    turn(&mut x, (segment.first + segment.past + i) as u64, turns);
                }
                if c.elem == Elem::E4m3 {
                    let largest = x.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                    scales[which][row] = largest / 448.0;
                    x.iter_mut().for_each(|x| *x = *x * 448.0 / largest);
                }
                for (i, x) in x.iter().enumerate() {
                    held[which][row * d + i] = case::decode(c.elem, &encode(c.elem, *x));
                }
            }
        }
    }
    let [k, v] = held;
    let [k_scale, v_scale] = scales;
    vec![("k_cache", k), ("v_cache", v), ("k_scale", k_scale), ("v_scale", v_scale)]
}

/// Turns each pair by its part of a turn per token, of which whole turns are nothing.
fn turn(x: &mut [f64], position: u64, turns: &[u64]) {
    let half = x.len() / 2;
    for (i, per_token) in turns.iter().enumerate() {
        let part = position.wrapping_mul(*per_token) as f64 / 2f64.powi(64);
        let (sin, cos) = (part * std::f64::consts::TAU).sin_cos();
        let (a, b) = (x[i], x[i + half]);
        (x[i], x[i + half]) = (a * cos - b * sin, b * cos + a * sin);
    }
}

/// The sizes of a model's attention.
fn model(
    heads: usize,
    kv_heads: usize,
    d_head: usize,
    window: usize,
    tokens: usize,
) -> Vec<(&'static str, usize)> {
    vec![
        ("heads", heads),
        ("kv_heads", kv_heads),
        ("d_head", d_head),
        ("align", 8),
        ("window", window),
        ("tokens", tokens),
    ]
}

/// Tiles of the widest heads fill the shared memory of architectures that have 99 KB of it.
#[test]
fn the_widest_heads_have_tensor_instructions_on_every_architecture() {
    let Some(nvrtc) = nvrtc("wide heads") else { return };
    let fp8 = "bf16 k_cache=e4m3 v_cache=e4m3";
    for (family, formats) in
        [("attention", "bf16"), ("attention", fp8), ("attention_decode", "bf16"), ("attention_decode", fp8)]
    {
        for (group, tokens) in [(4, 512), (1, 1)] {
            let problem = Problem::new(family, formats, &model(4 * group, 4, 256, 0, tokens));
            let kernel = kernel::find(family).expect("it is a family");
            let mut seen = BTreeSet::new();
            for arch in arch::ALL {
                let values = kernel.default_for(&problem, arch).expect("it is served");
                assert_eq!(values.get("form"), Some(1), "{problem} on {arch}: {values}");
                // One architecture is compiled for per schedule.
                if arch.smem_per_cta > 100 << 10 || tokens == 1 || !seen.insert(values.to_string()) {
                    continue;
                }
                let source = kernel.emit(&problem, &values, arch).expect("it is legal");
                let compiled = nvrtc.compile(&source.text, arch, Output::Cubin).expect("it compiles");
                for entry in &source.entries {
                    let r = compiled.resources_of(&entry.name).expect("the log names every entry");
                    assert!(!r.spills(), "{} of {problem} on {arch} with {values}: {r:?}", entry.name);
                }
            }
        }
    }
}
