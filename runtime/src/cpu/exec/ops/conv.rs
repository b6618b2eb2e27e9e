//! Convolutions along the sequence: causal, and dynamic.

use super::state::{ConvState, flat_rows};
use crate::Error;
use crate::cpu::conv::{self, ConvFamily, ConvSchedule, ConvWeights};
use crate::cpu::dynamic_conv::{self, DynamicConvFamily, DynamicConvSchedule, Signal, TapWeights};
use crate::cpu::exec::{Cx, Exec, Loader, Operand, PerBucket, Stateful};
use crate::cpu::pool::Worker;
use crate::cpu::scan::LANES;
use jet_codegen::op::{StateId, View};
use jet_codegen::schedule::Problem;
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;

pub(super) struct CausalConv {
    x: Operand,
    out: Operand,
    weights: ConvWeights,
    silu: bool,
    state: StateId,
    shape: ConvState,
    schedules: PerBucket<ConvSchedule>,
}

impl CausalConv {
    pub(super) fn build(
        l: &mut Loader<'_>,
        (x, out): (View, View),
        weight: WeightRef,
        bias: Option<WeightRef>,
        state: StateId,
        taps: usize,
        silu: bool,
    ) -> Result<Self, Error> {
        let channels = x.width;
        let values = l.vector(weight, channels * taps)?;
        let bias = bias.map(|b| l.vector(b, channels)).transpose()?;
        let weights = ConvWeights::new(channels, taps, &values, bias.as_deref())
            .map_err(|e| Error::Weight { id: weight, reason: e.to_string() })?;
        let schedules =
            l.per_bucket(l.all_tokens(), &ConvFamily, |tokens| conv::problem(tokens, channels, taps))?;
        let shape = ConvState { channels, columns: taps - 1 };
        Ok(Self { x: l.operand(x), out: l.operand(out), weights, silu, state, shape, schedules })
    }
}

impl Exec for CausalConv {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let channels = w.share(self.x.width, LANES);
        if channels.is_empty() {
            return;
        }
        let schedule = self.schedules.get(cx.layout.tokens());
        for span in &cx.layout.spans {
            let rows = span.start..span.start + span.len;
            let state = cx.state(span.slot, self.state).flat();
            // SAFETY: nobody writes the input in this phase; output and state are split by channels.
            let (x, out, state) = unsafe {
                (
                    cx.mat(self.x).rows_range(rows.clone()).cols_range(channels.clone()),
                    cx.mat_mut(self.out, rows, channels.clone()),
                    flat_rows(state, self.shape.columns, self.shape.channels, channels.clone()),
                )
            };
            conv::run(cx.isa, schedule, &self.weights, channels.clone(), self.silu, x, state, out);
        }
    }

    fn state(&self) -> Option<&dyn Stateful> {
        Some(&self.shape)
    }
}

/// The dynamic convolution. Its taps are generated inside the kernel.
pub(super) struct DynamicConv {
    u: Operand,
    h: Operand,
    out: Operand,
    weights: TapWeights,
    state: StateId,
    shape: ConvState,
    schedules: PerBucket<DynamicConvSchedule>,
}

/// The formats the tap generator's matrix is kept in; any other is widened to float32.
fn tap_format(dtype: Option<DType>) -> DType {
    match dtype {
        Some(d @ (DType::Bf16 | DType::F16)) => d,
        _ => DType::F32,
    }
}

/// The tuning problems of a dynamic convolution.
pub(super) fn dynamic_problems(
    channels: usize,
    hidden: usize,
    taps: usize,
    dtype: Option<DType>,
    tokens: usize,
) -> Vec<Problem> {
    vec![dynamic_conv::problem(tokens, channels, taps, hidden, tap_format(dtype).name())]
}

impl DynamicConv {
    pub(super) fn build(
        l: &mut Loader<'_>,
        (u, h, out): (View, View, View),
        w2: WeightRef,
        bias: WeightRef,
        state: StateId,
        taps: usize,
    ) -> Result<Self, Error> {
        let (channels, hidden) = (u.width, h.width);
        let bias = l.vector(bias, channels * taps)?;
        let weight = l.weight(w2)?;
        let fault = |reason: String| Error::Weight { id: w2, reason };
        let format = tap_format(Some(weight.dtype));
        let sizes = (channels, taps, hidden);
        let weights = if format == DType::F32 {
            let values = weight.to_f32().map_err(fault)?;
            TapWeights::pack(channels, taps, hidden, dynamic_conv::Rows::F32(&values), &bias)
        } else {
            // The bytes of a mapped file need not be aligned, so 16-bit values are copied.
            let bits: Vec<u16> =
                weight.bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
            let rows = if format == DType::Bf16 {
                dynamic_conv::Rows::Bf16(&bits)
            } else {
                dynamic_conv::Rows::F16(&bits)
            };
            TapWeights::pack(sizes.0, sizes.1, sizes.2, rows, &bias)
        }
        .map_err(|e| fault(e.to_string()))?;
        let problem = |tokens| dynamic_conv::problem(tokens, channels, taps, hidden, format.name());
        let schedules = l.per_bucket(l.all_tokens(), &DynamicConvFamily, problem)?;
        let shape = ConvState { channels, columns: taps };
        Ok(Self { u: l.operand(u), h: l.operand(h), out: l.operand(out), weights, state, shape, schedules })
    }
}

impl Exec for DynamicConv {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let channels = w.share(self.u.width, LANES);
        if channels.is_empty() {
            return;
        }
        let schedule = self.schedules.get(cx.layout.tokens());
        for span in &cx.layout.spans {
            let rows = span.start..span.start + span.len;
            let state = cx.state(span.slot, self.state).flat();
            // SAFETY: nobody writes signal or generator in this phase; output and state are split by channels.
            let (u, h, out, state) = unsafe {
                (
                    cx.mat(self.u).rows_range(rows.clone()).cols_range(channels.clone()),
                    cx.mat(self.h).rows_range(rows.clone()),
                    cx.mat_mut(self.out, rows, channels.clone()),
                    flat_rows(state, self.shape.columns, self.shape.channels, channels.clone()),
                )
            };
            let signal = Signal { channels: channels.clone(), u, state, out };
            dynamic_conv::run(cx.isa, schedule, &self.weights, h, signal);
        }
    }

    fn state(&self) -> Option<&dyn Stateful> {
        Some(&self.shape)
    }
}
