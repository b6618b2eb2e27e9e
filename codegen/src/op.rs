//! The ops: a closed set, each one thing worth a kernel.
//!
//! An op reads and writes [`View`]s of named buffers. Activations are packed: a buffer has one row per token of
//! the batch, the sequences one after the other, and the ops that look along a sequence find its bounds in the
//! batch. Prefill, decode and anything between are therefore the same program over different row counts.

use jet_dsl::block::{Act, RopeScaling};
use jet_dsl::weight::WeightRef;
use serde::Serialize;

/// A buffer of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BufId(pub u32);

/// A state of the program: what one sequence carries through one op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StateId(pub u32);

/// Columns `col..col + width` of every row of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct View {
    /// The buffer.
    pub buf: BufId,
    /// First column.
    pub col: usize,
    /// Number of columns.
    pub width: usize,
}

impl View {
    /// Columns `start..start + width` of this view.
    pub fn slice(self, start: usize, width: usize) -> View {
        debug_assert!(start + width <= self.width);
        View { buf: self.buf, col: self.col + start, width }
    }

    /// Whether the two have a column in common.
    pub fn overlaps(self, other: View) -> bool {
        self.buf == other.buf && self.col < other.col + other.width && other.col < self.col + self.width
    }
}

/// An elementwise function of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Unary {
    /// `x · sigmoid(x)`.
    Silu,
    /// `max(x, 0)²`.
    Relu2,
}

/// One stacked part of a [`Linear`]: `rows` outputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinearPart {
    /// The matrix, `[rows, k]`.
    pub weight: WeightRef,
    /// Its bias, `[rows]`.
    pub bias: Option<WeightRef>,
    /// Rows.
    pub rows: usize,
}

/// What a projection's results pass last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Activation {
    /// A function of each.
    Unary(Unary),
    /// `act(gate) · up`: of two parts of one width, the first is the gate.
    Glu(Act),
}

/// `out (+)= x · Wᵀ + b`, with the parts' outputs side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Linear {
    /// `[rows, k]`.
    pub x: View,
    /// The matrices that share the input.
    pub parts: Vec<LinearPart>,
    /// `[rows, Σ part rows]`.
    pub out: View,
    /// Add to what `out` holds (the residual stream) instead of replacing it.
    pub accumulate: bool,
    /// Always in float32, whatever the model's precision (the router of a mixture of experts).
    pub exact: bool,
    /// Applied to the results, which then do not accumulate. With a gate they are in the first half of `out`, and what
    /// its second half holds afterwards is anything.
    pub act: Option<Activation>,
}

impl Linear {
    /// Where the results are.
    pub fn results(&self) -> View {
        let rows: usize = self.parts.iter().map(|p| p.rows).sum();
        let halves = if matches!(self.act, Some(Activation::Glu(_))) { 2 } else { 1 };
        View { width: rows / halves, ..self.out }
    }
}

/// Which comes first in a gated norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum GateOrder {
    /// `norm(x · silu(z))`, a group is `d / groups` wide, one weight per channel (Mamba-2).
    GateFirst,
    /// `norm(x) · silu(z)`, a group is a head, its weight shared by all heads (JetBlock).
    NormFirst,
}

/// Rotary embedding as an op sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RopeSpec {
    /// Base of the frequencies.
    pub theta: f64,
    /// Their rescaling.
    pub scaling: RopeScaling,
}

/// Causal attention of the batch's new tokens over each sequence's cached and new keys; the new keys and
/// values are in the KV cache afterwards.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attention {
    /// `[tokens, heads · d_head]`.
    pub q: View,
    /// `[tokens, kv_heads · d_head]`.
    pub k: View,
    /// `[tokens, kv_heads · d_head]`.
    pub v: View,
    /// `[tokens, heads · d_head]`.
    pub out: View,
    /// The KV cache.
    pub cache: StateId,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// A key is visible to a query iff it is at most `window - 1` tokens back.
    pub window: Option<usize>,
}

/// The state-space scan of Mamba-2 (nemotron-h: Δ, decay, update, read-out and the D skip).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ssd {
    /// `[tokens, heads · d_head]`.
    pub x: View,
    /// `[tokens, groups · d_state]`.
    pub b: View,
    /// `[tokens, groups · d_state]`.
    pub c: View,
    /// Raw Δ, `[tokens, heads]`.
    pub dt: View,
    /// `[tokens, heads · d_head]`.
    pub out: View,
    /// `[heads]`, added to the raw Δ.
    pub dt_bias: WeightRef,
    /// `[heads]`.
    pub a_log: WeightRef,
    /// `[heads]`.
    pub d_skip: WeightRef,
    /// `[heads, d_head, d_state]` per sequence.
    pub state: StateId,
    /// Heads.
    pub heads: usize,
    /// Channels per head.
    pub d_head: usize,
    /// Groups that share B and C.
    pub groups: usize,
    /// State size.
    pub d_state: usize,
    /// Clamp of Δ.
    pub dt_min: f64,
    /// Clamp of Δ; `None` is infinity.
    pub dt_max: Option<f64>,
    /// Chunk length the checkpoint suggests.
    pub chunk_hint: usize,
}

/// The gated delta rule (Jet-Nemotron section "gated delta rule"): l2-normalised keys and queries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GatedDelta {
    /// `[tokens, heads · d_key]`.
    pub q: View,
    /// `[tokens, heads · d_key]`.
    pub k: View,
    /// `[tokens, heads · d_value]`.
    pub v: View,
    /// Log decay, at most 0, `[tokens, heads]`.
    pub g: View,
    /// Write strength, `[tokens, heads]`.
    pub beta: View,
    /// `[tokens, heads · d_value]`.
    pub out: View,
    /// `[heads, d_key, d_value]` per sequence.
    pub state: StateId,
    /// Heads.
    pub heads: usize,
    /// Key width.
    pub d_key: usize,
    /// Value width.
    pub d_value: usize,
    /// Factor on the normalised queries.
    pub scale: f32,
    /// Inside the root of the l2 norms.
    pub l2_eps: f32,
}

/// Routed experts of one block: for each token the chosen experts' outputs, weighted and summed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experts {
    /// `[tokens, width]`.
    pub x: View,
    /// `[tokens, top_k]`: expert ids as exact small floats.
    pub ids: View,
    /// `[tokens, top_k]`.
    pub gates: View,
    /// `[tokens, width]`.
    pub out: View,
    /// Add to `out`.
    pub accumulate: bool,
    /// Gate matrices `[hidden, width]`, one an expert; empty without a gate.
    pub gate: Vec<WeightRef>,
    /// Up matrices `[hidden, width]`.
    pub up: Vec<WeightRef>,
    /// Down matrices `[width, hidden]`.
    pub down: Vec<WeightRef>,
    /// Inner width.
    pub hidden: usize,
    /// Experts per token.
    pub top_k: usize,
    /// Activation.
    pub act: Act,
}

/// One thing worth a kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Op {
    /// Rows of the embedding for the batch's token ids.
    Embed {
        /// `[vocab, width]`.
        table: WeightRef,
        /// Rows of the table.
        vocab: usize,
        /// `[tokens, width]`.
        out: View,
    },
    /// `w · x / sqrt(mean(x²) + eps)` over each row.
    RmsNorm {
        /// Input.
        x: View,
        /// `[width]`.
        weight: WeightRef,
        /// Inside the root.
        eps: f64,
        /// Output.
        out: View,
    },
    /// RMSNorm over each head of each row, one weight for all heads, in place (q/k norm).
    HeadNorm {
        /// `[tokens, heads · d_head]`, in place.
        x: View,
        /// Heads.
        heads: usize,
        /// `[d_head]`.
        weight: WeightRef,
        /// Inside the root.
        eps: f64,
    },
    /// Rotary embedding of every head of `x`, half-split, in place, by the tokens' positions.
    Rope {
        /// `[tokens, heads · d_head]`, in place.
        x: View,
        /// Heads.
        heads: usize,
        /// Frequencies.
        rope: RopeSpec,
    },
    /// Projections.
    Linear(Linear),
    /// Attention.
    Attention(Attention),
    /// Causal depthwise convolution along the sequence, then silu.
    CausalConv {
        /// `[tokens, channels]`.
        x: View,
        /// `[channels, 1, taps]`.
        weight: WeightRef,
        /// `[channels]`.
        bias: Option<WeightRef>,
        /// `[tokens, channels]`; another buffer than `x`.
        out: View,
        /// Last `taps - 1` raw columns.
        state: StateId,
        /// Taps.
        taps: usize,
        /// Apply silu to the sum.
        silu: bool,
    },
    /// The SSD scan.
    Ssd(Ssd),
    /// Dynamic convolution: taps generated per token from `h`, applied to `u`, then silu.
    DynamicConv {
        /// The signal, `[tokens, channels]`.
        u: View,
        /// Hidden layer of the generator after its activation, `[tokens, hidden]`.
        h: View,
        /// `[channels · taps, hidden]`.
        w2: WeightRef,
        /// `[channels · taps]`.
        bias: WeightRef,
        /// `[tokens, channels]`; another buffer than `u`.
        out: View,
        /// Last `taps` columns of `u`.
        state: StateId,
        /// Taps.
        taps: usize,
    },
    /// JetBlock's gates: `g = -exp(A_log) · softplus(a + dt_bias)` and `beta = sigmoid(b)`, in place.
    JetGates {
        /// `[tokens, heads]`: raw decay in, `g` out.
        a: View,
        /// `[tokens, heads]`: raw strength in, `beta` out.
        b: View,
        /// `[heads]`.
        a_log: WeightRef,
        /// `[heads]`.
        dt_bias: WeightRef,
    },
    /// The gated delta rule.
    GatedDelta(GatedDelta),
    /// A norm with a gate, grouped.
    GatedNorm {
        /// `[tokens, width]`.
        x: View,
        /// `[tokens, width]`.
        z: View,
        /// `[width]`, or `[width / groups]` where the norm comes first.
        weight: WeightRef,
        /// Groups of equal width.
        groups: usize,
        /// Inside the root.
        eps: f64,
        /// Which comes first.
        order: GateOrder,
        /// `[tokens, width]`; may be `x`.
        out: View,
    },
    /// An elementwise function; `out` may be `x`.
    Unary {
        /// Function.
        f: Unary,
        /// Input.
        x: View,
        /// Output.
        out: View,
    },
    /// `act(gate) · up`.
    Glu {
        /// Gate.
        gate: View,
        /// Up.
        up: View,
        /// A gated activation.
        act: Act,
        /// Output; may be `gate`.
        out: View,
    },
    /// `out = out + x`.
    Add {
        /// Addend.
        x: View,
        /// Sum, in place.
        out: View,
    },
    /// From router logits to the chosen experts and their weights.
    Route {
        /// `[tokens, experts]`.
        logits: View,
        /// `[experts]`, added for the choice only.
        bias: WeightRef,
        /// Chosen ids, `[tokens, top_k]`.
        ids: View,
        /// Their weights, `[tokens, top_k]`.
        gates: View,
        /// Router groups.
        n_group: usize,
        /// Groups kept.
        topk_group: usize,
        /// Divide by the sum.
        normalise: bool,
        /// Factor on the weights.
        scale: f32,
    },
    /// The experts.
    Experts(Experts),
    /// The rows the caller asked outputs for, from one row per token to one row per output.
    Gather {
        /// `[tokens, width]`.
        x: View,
        /// `[outputs, width]`.
        out: View,
    },
    /// A copy, for a caller that wants to see inside (`jet check`).
    Copy {
        /// From.
        x: View,
        /// To.
        out: View,
    },
}

impl Op {
    /// The op's name, as in plans, tasks and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Embed { .. } => "embed",
            Op::RmsNorm { .. } => "rms_norm",
            Op::HeadNorm { .. } => "head_norm",
            Op::Rope { .. } => "rope",
            Op::Linear(_) => "linear",
            Op::Attention(_) => "attention",
            Op::CausalConv { .. } => "causal_conv",
            Op::Ssd(_) => "ssd",
            Op::DynamicConv { .. } => "dynamic_conv",
            Op::JetGates { .. } => "jet_gates",
            Op::GatedDelta(_) => "gated_delta",
            Op::GatedNorm { .. } => "gated_norm",
            Op::Unary { .. } => "unary",
            Op::Glu { .. } => "glu",
            Op::Add { .. } => "add",
            Op::Route { .. } => "route",
            Op::Experts(_) => "experts",
            Op::Gather { .. } => "gather",
            Op::Copy { .. } => "copy",
        }
    }

    /// What it reads. An in-place or accumulating operand is in both lists.
    pub fn reads(&self) -> Vec<View> {
        match self {
            Op::Embed { .. } => vec![],
            Op::RmsNorm { x, .. } | Op::HeadNorm { x, .. } | Op::Rope { x, .. } => vec![*x],
            Op::CausalConv { x, .. } | Op::Unary { x, .. } | Op::Gather { x, .. } | Op::Copy { x, .. } => {
                vec![*x]
            }
            Op::Linear(l) => with_accumulator(vec![l.x], l.accumulate, l.out),
            Op::Attention(a) => vec![a.q, a.k, a.v],
            Op::Ssd(s) => vec![s.x, s.b, s.c, s.dt],
            Op::DynamicConv { u, h, .. } => vec![*u, *h],
            Op::JetGates { a, b, .. } => vec![*a, *b],
            Op::GatedDelta(d) => vec![d.q, d.k, d.v, d.g, d.beta],
            Op::GatedNorm { x, z, .. } => vec![*x, *z],
            Op::Glu { gate, up, .. } => vec![*gate, *up],
            Op::Add { x, out } => vec![*x, *out],
            Op::Route { logits, .. } => vec![*logits],
            Op::Experts(e) => with_accumulator(vec![e.x, e.ids, e.gates], e.accumulate, e.out),
        }
    }

    /// What it writes.
    pub fn writes(&self) -> Vec<View> {
        match self {
            Op::HeadNorm { x, .. } | Op::Rope { x, .. } => vec![*x],
            Op::Embed { out, .. }
            | Op::RmsNorm { out, .. }
            | Op::CausalConv { out, .. }
            | Op::DynamicConv { out, .. }
            | Op::GatedNorm { out, .. }
            | Op::Unary { out, .. }
            | Op::Glu { out, .. }
            | Op::Add { out, .. }
            | Op::Gather { out, .. }
            | Op::Copy { out, .. } => vec![*out],
            Op::Linear(l) => vec![l.out],
            Op::Attention(a) => vec![a.out],
            Op::Ssd(s) => vec![s.out],
            Op::JetGates { a, b, .. } => vec![*a, *b],
            Op::GatedDelta(d) => vec![d.out],
            Op::Route { ids, gates, .. } => vec![*ids, *gates],
            Op::Experts(e) => vec![e.out],
        }
    }

    /// Lets `f` replace every view, reads and writes alike.
    pub fn for_each_view(&mut self, mut f: impl FnMut(&mut View)) {
        let views: &mut [&mut View] = match self {
            Op::Embed { out, .. } => &mut [out],
            Op::HeadNorm { x, .. } | Op::Rope { x, .. } => &mut [x],
            Op::RmsNorm { x, out, .. }
            | Op::CausalConv { x, out, .. }
            | Op::Unary { x, out, .. }
            | Op::Add { x, out }
            | Op::Gather { x, out }
            | Op::Copy { x, out } => &mut [x, out],
            Op::Linear(l) => &mut [&mut l.x, &mut l.out],
            Op::Attention(a) => &mut [&mut a.q, &mut a.k, &mut a.v, &mut a.out],
            Op::Ssd(s) => &mut [&mut s.x, &mut s.b, &mut s.c, &mut s.dt, &mut s.out],
            Op::DynamicConv { u, h, out, .. } => &mut [u, h, out],
            Op::JetGates { a, b, .. } => &mut [a, b],
            Op::GatedDelta(d) => &mut [&mut d.q, &mut d.k, &mut d.v, &mut d.g, &mut d.beta, &mut d.out],
            Op::GatedNorm { x, z, out, .. } => &mut [x, z, out],
            Op::Glu { gate, up, out, .. } => &mut [gate, up, out],
            Op::Route { logits, ids, gates, .. } => &mut [logits, ids, gates],
            Op::Experts(e) => &mut [&mut e.x, &mut e.ids, &mut e.gates, &mut e.out],
        };
        for v in views {
            f(v);
        }
    }

    /// The weights it uses.
    pub fn weights(&self) -> Vec<WeightRef> {
        match self {
            Op::Embed { table, .. } => vec![*table],
            Op::RmsNorm { weight, .. } | Op::HeadNorm { weight, .. } | Op::GatedNorm { weight, .. } => {
                vec![*weight]
            }
            Op::Linear(l) => l.parts.iter().flat_map(|p| std::iter::once(p.weight).chain(p.bias)).collect(),
            Op::CausalConv { weight, bias, .. } => std::iter::once(*weight).chain(*bias).collect(),
            Op::Ssd(s) => vec![s.dt_bias, s.a_log, s.d_skip],
            Op::DynamicConv { w2, bias, .. } => vec![*w2, *bias],
            Op::JetGates { a_log, dt_bias, .. } => vec![*a_log, *dt_bias],
            Op::Route { bias, .. } => vec![*bias],
            Op::Experts(e) => e.gate.iter().chain(&e.up).chain(&e.down).copied().collect(),
            Op::Rope { .. }
            | Op::Attention(_)
            | Op::GatedDelta(_)
            | Op::Unary { .. }
            | Op::Glu { .. }
            | Op::Add { .. }
            | Op::Gather { .. }
            | Op::Copy { .. } => vec![],
        }
    }

    /// The weights it uses, each with its number of values.
    pub fn weight_elements(&self) -> Vec<(WeightRef, usize)> {
        match self {
            Op::Embed { table, vocab, out } => vec![(*table, vocab * out.width)],
            Op::RmsNorm { x, weight, .. } => vec![(*weight, x.width)],
            Op::HeadNorm { x, heads, weight, .. } => vec![(*weight, x.width / (*heads).max(1))],
            Op::GatedNorm { x, weight, groups, order, .. } => vec![match order {
                GateOrder::GateFirst => (*weight, x.width),
                GateOrder::NormFirst => (*weight, x.width / (*groups).max(1)),
            }],
            Op::Linear(l) => {
                let bias = |p: &LinearPart| p.bias.map(|b| (b, p.rows));
                l.parts
                    .iter()
                    .flat_map(|p| std::iter::once((p.weight, p.rows * l.x.width)).chain(bias(p)))
                    .collect()
            }
            Op::CausalConv { x, weight, bias, taps, .. } => {
                std::iter::once((*weight, x.width * taps)).chain(bias.map(|b| (b, x.width))).collect()
            }
            Op::DynamicConv { u, h, w2, bias, taps, .. } => {
                vec![(*w2, u.width * taps * h.width), (*bias, u.width * taps)]
            }
            Op::Experts(e) => {
                let n = e.hidden * e.x.width;
                e.gate.iter().chain(&e.up).chain(&e.down).map(|w| (*w, n)).collect()
            }
            Op::Ssd(_) | Op::JetGates { .. } | Op::Route { .. } => {
                self.weights().into_iter().map(|w| (w, self.reads().last().map_or(0, |v| v.width))).collect()
            }
            Op::Rope { .. }
            | Op::Attention(_)
            | Op::GatedDelta(_)
            | Op::Unary { .. }
            | Op::Glu { .. }
            | Op::Add { .. }
            | Op::Gather { .. }
            | Op::Copy { .. } => vec![],
        }
    }

    /// The state it carries along a sequence.
    pub fn state(&self) -> Option<StateId> {
        match self {
            Op::Attention(a) => Some(a.cache),
            Op::CausalConv { state, .. } | Op::DynamicConv { state, .. } => Some(*state),
            Op::Ssd(s) => Some(s.state),
            Op::GatedDelta(d) => Some(d.state),
            _ => None,
        }
    }
}

fn with_accumulator(mut views: Vec<View>, accumulate: bool, out: View) -> Vec<View> {
    if accumulate {
        views.push(out);
    }
    views
}
