//! Attention of a batch's segments over their KV caches.
//!
//! A run has up to four phases with barriers between them: new keys and values enter the caches (where a ring
//! would drop nothing that is still seen; else they wait in a second cache), queries attend, the partial results of
//! single tokens are joined, and what waited enters its ring.

use crate::Error;
use crate::cpu::attention::{
    self, AttentionDecode, AttentionPrefill, DECODE, Geometry, Keys, PREFILL, decode_problem, prefill_problem,
};
use crate::cpu::device::kv_type;
use crate::cpu::exec::{Cx, Exec, Loader, Operand, PerBucket, Shared, SharedCell, SlotState, Span, Stateful};
use crate::cpu::kv_cache::{KvCache, KvLayout, KvType};
use crate::cpu::pool::Worker;
use crate::recipe::Part;
use jet_codegen::op;
use jet_codegen::op::StateId;
use jet_codegen::schedule::Problem;

/// Contexts that decode schedules are tuned for: up to the first, and beyond.
const CONTEXTS: [usize; 2] = [512, 4096];

/// The KV cache as a state.
struct Kv(KvLayout);

impl Stateful for Kv {
    fn create(&self, context: usize) -> SlotState {
        let mut cache = KvCache::new(self.0);
        cache.reserve(self.0.window.map_or(context, |w| w.min(context)));
        SlotState::Kv(SharedCell::new(cache))
    }

    fn reset(&self, state: &mut SlotState, first: usize) {
        state.kv_mut().clear(first);
    }

    fn export(&self, state: &mut SlotState) -> Vec<f32> {
        let (mut k, v) = state.kv_mut().export();
        k.extend(v);
        k
    }

    fn import(&self, state: &mut SlotState, values: &[f32]) -> Result<(), String> {
        let (k, v) = values.split_at(values.len() / 2);
        let cache = state.kv_mut();
        let position = cache.end();
        cache.import(position, k, v).map_err(|e| e.to_string())
    }
}

pub(super) struct Attention {
    q: Operand,
    k: Operand,
    v: Operand,
    out: Operand,
    cache: StateId,
    geometry: Geometry,
    kv: Kv,
    prefill: PerBucket<AttentionPrefill>,
    decode: Vec<AttentionDecode>,
    /// New tokens that may not enter their ring before they attended, one cache per sequence of the batch.
    fresh: Vec<SharedCell<KvCache>>,
    /// `[sequences, kv_heads, splits, partial_len]`.
    partials: Shared,
    max_splits: usize,
}

/// Sizes of the layer as the kernels want them.
fn geometry(a: &op::Attention) -> Geometry {
    Geometry { heads: a.heads, kv_heads: a.kv_heads, d_head: a.d_head, scale: a.scale, window: a.window }
}

/// The tuning problem of a run of `tokens` tokens.
pub(super) fn problems(a: &op::Attention, kind: KvType, tokens: usize) -> Vec<Problem> {
    let g = geometry(a);
    if tokens == 1 {
        CONTEXTS.iter().map(|c| decode_problem(&g, kind, *c)).collect()
    } else {
        vec![prefill_problem(&g, kind, tokens, tokens)]
    }
}

impl Attention {
    pub(super) fn build(l: &mut Loader<'_>, a: &op::Attention) -> Result<Self, Error> {
        let g = geometry(a);
        let kind = kv_type(l.request.recipe.of(Part::Caches));
        let sequences = l.request.limits.max_sequences;
        let prefill =
            l.per_bucket(2..=l.max_tokens(), PREFILL, |tokens| prefill_problem(&g, kind, tokens, tokens))?;
        let decode = CONTEXTS
            .iter()
            .map(|c| l.choose(DECODE, &decode_problem(&g, kind, *c)))
            .collect::<Result<Vec<AttentionDecode>, _>>()?;
        for s in prefill.all() {
            l.scratch(attention::prefill_scratch_len(&g, s));
        }
        for s in &decode {
            l.scratch(attention::decode_scratch_len(&g, s));
        }
        let layout = KvLayout { kv_heads: a.kv_heads, d_head: a.d_head, window: a.window, kind };
        let waiting = KvLayout { window: None, ..layout };
        let fresh = if a.window.is_some() { sequences } else { 0 };
        let max_splits = decode.iter().map(|s| s.splits).max().unwrap_or(1);
        Ok(Self {
            q: l.operand(a.q),
            k: l.operand(a.k),
            v: l.operand(a.v),
            out: l.operand(a.out),
            cache: a.cache,
            partials: Shared::new(sequences * a.kv_heads * max_splits * attention::partial_len(&g)),
            fresh: (0..fresh).map(|_| SharedCell::new(KvCache::new(waiting))).collect(),
            kv: Kv(layout),
            geometry: g,
            prefill,
            decode,
            max_splits,
        })
    }

    /// Whether the new tokens may enter the cache before they attend: not where a ring would then have dropped keys
    /// that the first of them still sees. Depends on the batch alone, so all workers agree at any time.
    fn appends_first(&self, cx: &Cx<'_>, span: &Span) -> bool {
        let held = cx.standing(span.slot).len;
        self.geometry.window.is_none_or(|w| span.len == 1 || held.min(w) + span.len <= w)
    }

    /// New keys and values of the sequences of this worker into `target`.
    fn append(&self, cx: &Cx<'_>, span: &Span, target: &mut KvCache) {
        let rows = span.start..span.start + span.len;
        // SAFETY: keys and values are only read by this op.
        let (k, v) = unsafe { (cx.mat(self.k), cx.mat(self.v)) };
        target.append(k.rows_range(rows.clone()), v.rows_range(rows));
    }

    fn keys<'a>(&'a self, cx: &'a Cx<'_>, i: usize, span: &Span) -> Keys<'a> {
        // SAFETY: caches are only read while queries attend.
        unsafe {
            let past = cx.state(span.slot, self.cache).kv().read();
            let fresh = (!self.appends_first(cx, span)).then(|| self.fresh[i].read());
            Keys { past, fresh }
        }
    }

    fn decode_schedule(&self, position: usize) -> &AttentionDecode {
        &self.decode[usize::from(position + 1 > CONTEXTS[0])]
    }

    fn partial(&self, i: usize, kv_head: usize) -> std::ops::Range<usize> {
        let len = self.max_splits * attention::partial_len(&self.geometry);
        let at = (i * self.geometry.kv_heads + kv_head) * len;
        at..at + len
    }

    /// The queries of the columns of one KV head.
    fn columns(&self, kv_head: usize) -> std::ops::Range<usize> {
        let width = self.geometry.group() * self.geometry.d_head;
        kv_head * width..(kv_head + 1) * width
    }

    fn attend(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let g = &self.geometry;
        let mut unit = 0;
        // Units are dealt out in turn: with a causal mask, later tiles cost more.
        let mut mine = || {
            unit += 1;
            (unit - 1) % w.count() == w.id()
        };
        for (i, span) in cx.layout.spans.iter().enumerate() {
            let first = cx.standing(span.slot).position();
            for kv_head in 0..g.kv_heads {
                if span.len == 1 {
                    let splits = self.decode_schedule(first).splits;
                    for part in (0..splits).filter(|_| mine()) {
                        self.decode_part(cx, w, (i, span), kv_head, first, part);
                    }
                } else {
                    let tile = self.prefill.get(cx.layout.tokens()).q_tile;
                    for at in (0..span.len).step_by(tile).filter(|_| mine()) {
                        let rows = at..(at + tile).min(span.len);
                        self.prefill_tile(cx, w, (i, span), kv_head, first, rows);
                    }
                }
            }
        }
    }

    fn prefill_tile(
        &self,
        cx: &Cx<'_>,
        w: &Worker<'_>,
        (i, span): (usize, &Span),
        kv_head: usize,
        first: usize,
        tile: std::ops::Range<usize>,
    ) {
        let schedule = self.prefill.get(cx.layout.tokens());
        let rows = span.start + tile.start..span.start + tile.end;
        let columns = self.columns(kv_head);
        // SAFETY: queries are only read; each tile of rows and columns of the output is one worker's.
        let (q, out) = unsafe { (cx.mat(self.q), cx.mat_mut(self.out, rows.clone(), columns.clone())) };
        let q = q.rows_range(rows).cols_range(columns);
        let scratch = cx.scratch(w, attention::prefill_scratch_len(&self.geometry, schedule));
        let keys = self.keys(cx, i, span);
        attention::prefill(
            cx.isa,
            &self.geometry,
            schedule,
            keys,
            kv_head,
            first + tile.start,
            q,
            out,
            scratch,
        );
    }

    fn decode_part(
        &self,
        cx: &Cx<'_>,
        w: &Worker<'_>,
        (i, span): (usize, &Span),
        kv_head: usize,
        position: usize,
        part: usize,
    ) {
        let g = &self.geometry;
        let schedule = self.decode_schedule(position);
        let len = attention::partial_len(g);
        let at = self.partial(i, kv_head).start + part * len;
        // SAFETY: queries are only read; each part of the partial results is one worker's.
        let (q, partial) = unsafe { (cx.mat(self.q), self.partials.write(at..at + len)) };
        let q = q.rows_range(span.start..span.start + 1).cols_range(self.columns(kv_head));
        let scratch = cx.scratch(w, attention::decode_scratch_len(g, schedule));
        let range = attention::context_part(g, position, schedule.splits, part);
        let keys = self.keys(cx, i, span);
        attention::decode(cx.isa, g, schedule, keys, kv_head, position, range, q, partial, scratch);
    }

    fn join(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let g = &self.geometry;
        let singles = cx.layout.spans.iter().enumerate().filter(|(_, s)| s.len == 1);
        let units = singles.flat_map(|(i, s)| (0..g.kv_heads).map(move |h| (i, s, h)));
        for (_, (i, span, kv_head)) in units.enumerate().filter(|(u, _)| u % w.count() == w.id()) {
            let splits = self.decode_schedule(cx.standing(span.slot).position()).splits;
            let partial = self.partial(i, kv_head);
            let rows = span.start..span.start + 1;
            // SAFETY: the parts were written before the barrier; each head's columns are one worker's.
            let (parts, mut out) = unsafe {
                let used = splits * attention::partial_len(g);
                let parts = self.partials.read(partial.start..partial.start + used);
                (parts, cx.mat_mut(self.out, rows, self.columns(kv_head)))
            };
            attention::merge(cx.isa, g, parts, out.row_mut(0));
        }
    }
}

impl Exec for Attention {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let spans = &cx.layout.spans;
        let mine = |i: usize| i % w.count() == w.id();
        for (i, span) in spans.iter().enumerate().filter(|(i, _)| mine(*i)) {
            // SAFETY: each sequence's caches are one worker's until the barrier.
            unsafe {
                if self.appends_first(cx, span) {
                    self.append(cx, span, cx.state(span.slot, self.cache).kv().write());
                } else {
                    let fresh = self.fresh[i].write();
                    fresh.clear(cx.standing(span.slot).position());
                    self.append(cx, span, fresh);
                }
            }
        }
        w.barrier();
        self.attend(cx, w);
        if spans.iter().any(|s| s.len == 1) {
            w.barrier();
            self.join(cx, w);
        }
        if spans.iter().any(|s| !self.appends_first(cx, s)) {
            w.barrier();
            for (_, span) in spans.iter().enumerate().filter(|(i, s)| mine(*i) && !self.appends_first(cx, s))
            {
                // SAFETY: nobody attends any more, and each sequence's cache is one worker's.
                self.append(cx, span, unsafe { cx.state(span.slot, self.cache).kv().write() });
            }
        }
    }

    fn state(&self) -> Option<&dyn Stateful> {
        Some(&self.kv)
    }
}
