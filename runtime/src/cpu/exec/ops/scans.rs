//! The recurrences: Mamba-2's SSD and the gated delta rule, split over heads.

use super::rows_of;
use super::state::check;
use crate::Error;
use crate::cpu::exec::{Cx, Exec, Loader, Operand, PerBucket, Shared, SlotState, Stateful};
use crate::cpu::gated_delta::{
    self, GateWeights, GatedDeltaFamily, GatedDeltaInput, GatedDeltaSchedule, GatedDeltaShape, Share,
};
use crate::cpu::pool::Worker;
use crate::cpu::scan::LANES;
use crate::cpu::ssd::{self, SsdFamily, SsdInput, SsdSchedule, SsdShape, SsdWeights};
use jet_codegen::op::{self, StateId, View};
use jet_codegen::schedule::Problem;
use jet_dsl::weight::WeightRef;
use std::ops::Range;

/// A recurrent state: one slice a head, in the kernel's own layout.
struct HeadStates {
    heads: usize,
    /// Floats of a head in the kernel's layout.
    len: usize,
    /// Floats of a head in the declared layout.
    exported: usize,
    export: Relayout,
    import: Relayout,
}

/// Brings one head's state from the first slice to the second, in another layout.
type Relayout = Box<dyn Fn(&[f32], &mut [f32]) + Send + Sync>;

impl Stateful for HeadStates {
    fn create(&self, _context: usize) -> SlotState {
        SlotState::Flat(Shared::new(self.heads * self.len))
    }

    fn reset(&self, state: &mut SlotState, _first: usize) {
        state.flat_mut().as_mut_slice().fill(0.0);
    }

    fn export(&self, state: &mut SlotState) -> Vec<f32> {
        let mut out = vec![0.0; self.heads * self.exported];
        let states = state.flat_mut().as_mut_slice().chunks(self.len);
        for (head, out) in states.zip(out.chunks_mut(self.exported)) {
            (self.export)(head, out);
        }
        out
    }

    fn import(&self, state: &mut SlotState, values: &[f32]) -> Result<(), String> {
        check(values.len(), self.heads * self.exported)?;
        let states = state.flat_mut().as_mut_slice().chunks_mut(self.len);
        for (head, values) in states.zip(values.chunks(self.exported)) {
            (self.import)(values, head);
        }
        Ok(())
    }
}

pub(super) struct Ssd {
    x: Operand,
    b: Operand,
    c: Operand,
    dt: Operand,
    out: Operand,
    shape: SsdShape,
    weights: SsdWeights,
    state: StateId,
    states: HeadStates,
    schedules: PerBucket<SsdSchedule>,
}

fn ssd_shape(s: &op::Ssd) -> SsdShape {
    SsdShape { heads: s.heads, d_head: s.d_head, groups: s.groups, d_state: s.d_state }
}

/// The tuning problem of a scan in runs of `tokens` tokens.
pub(super) fn ssd_problem(s: &op::Ssd, tokens: usize) -> Problem {
    ssd::problem(tokens, &ssd_shape(s))
}

impl Ssd {
    pub(super) fn build(l: &mut Loader<'_>, s: &op::Ssd) -> Result<Self, Error> {
        let shape = ssd_shape(s);
        let [dt_bias, a_log, d] = [s.dt_bias, s.a_log, s.d_skip].map(|w| l.vector(w, s.heads));
        let limit = (s.dt_min as f32, s.dt_max.map_or(f32::INFINITY, |x| x as f32));
        let weights = SsdWeights::new(s.heads, &dt_bias?, &a_log?, &d?, limit)
            .map_err(|e| Error::Weight { id: s.a_log, reason: e.to_string() })?;
        let schedules = l.per_bucket(l.all_tokens(), &SsdFamily, |tokens| ssd::problem(tokens, &shape))?;
        for schedule in schedules.all() {
            l.scratch(ssd::scratch_len(&shape, schedule));
        }
        let (d_head, d_state) = (s.d_head, s.d_state);
        let states = HeadStates {
            heads: s.heads,
            len: ssd::state_len(d_head, d_state),
            exported: d_head * d_state,
            export: Box::new(move |state, out| ssd::export_state(d_head, d_state, state, out)),
            import: Box::new(move |values, state| ssd::import_state(d_head, d_state, values, state)),
        };
        Ok(Self {
            x: l.operand(s.x),
            b: l.operand(s.b),
            c: l.operand(s.c),
            dt: l.operand(s.dt),
            out: l.operand(s.out),
            shape,
            weights,
            state: s.state,
            states,
            schedules,
        })
    }
}

impl Exec for Ssd {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let heads = w.share(self.shape.heads, 1);
        if heads.is_empty() {
            return;
        }
        let schedule = self.schedules.get(cx.layout.tokens());
        let p = self.shape.d_head;
        for span in &cx.layout.spans {
            let rows = span.start..span.start + span.len;
            let state = cx.state(span.slot, self.state).flat();
            // SAFETY: inputs are only read in this phase; output columns and states are split by heads.
            let (input, state, y) = unsafe {
                let input = SsdInput {
                    x: cx.mat(self.x).rows_range(rows.clone()),
                    b: cx.mat(self.b).rows_range(rows.clone()),
                    c: cx.mat(self.c).rows_range(rows.clone()),
                    dt_raw: cx.mat(self.dt).rows_range(rows.clone()),
                };
                let state = state.write(heads.start * self.states.len..heads.end * self.states.len);
                (input, state, cx.mat_mut(self.out, rows, heads.start * p..heads.end * p))
            };
            let scratch = cx.scratch(w, ssd::scratch_len(&self.shape, schedule));
            ssd::run(cx.isa, schedule, &self.shape, &self.weights, heads.clone(), input, state, y, scratch);
        }
    }

    fn state(&self) -> Option<&dyn Stateful> {
        Some(&self.states)
    }
}

/// JetBlock's gates, in place.
pub(super) struct JetGates {
    a: Operand,
    b: Operand,
    weights: GateWeights,
}

impl JetGates {
    pub(super) fn build(
        l: &mut Loader<'_>,
        a: View,
        b: View,
        a_log: WeightRef,
        dt_bias: WeightRef,
    ) -> Result<Self, Error> {
        let (decay, bias) = (l.vector(a_log, a.width)?, l.vector(dt_bias, a.width)?);
        let weights = GateWeights::new(a.width, &decay, &bias)
            .map_err(|e| Error::Weight { id: a_log, reason: e.to_string() })?;
        Ok(Self { a: l.operand(a), b: l.operand(b), weights })
    }
}

impl Exec for JetGates {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let rows = rows_of(cx, w, self.a);
        // SAFETY: each worker has rows of its own.
        let (a, b) = unsafe {
            (cx.mat_mut(self.a, rows.clone(), 0..self.a.width), cx.mat_mut(self.b, rows, 0..self.b.width))
        };
        gated_delta::jet_gates(cx.isa, &self.weights, a, b);
    }
}

pub(super) struct GatedDelta {
    q: Operand,
    k: Operand,
    v: Operand,
    g: Operand,
    beta: Operand,
    out: Operand,
    shape: GatedDeltaShape,
    state: StateId,
    states: HeadStates,
    schedules: PerBucket<GatedDeltaSchedule>,
}

fn delta_shape(d: &op::GatedDelta) -> GatedDeltaShape {
    GatedDeltaShape { heads: d.heads, d_key: d.d_key, d_value: d.d_value, scale: d.scale, l2_eps: d.l2_eps }
}

/// The tuning problem of a delta rule in runs of `tokens` tokens.
pub(super) fn delta_problem(d: &op::GatedDelta, tokens: usize) -> Problem {
    gated_delta::problem(tokens, &delta_shape(d))
}

impl GatedDelta {
    pub(super) fn build(l: &mut Loader<'_>, d: &op::GatedDelta) -> Result<Self, Error> {
        let shape = delta_shape(d);
        let schedules =
            l.per_bucket(l.all_tokens(), &GatedDeltaFamily, |tokens| gated_delta::problem(tokens, &shape))?;
        for schedule in schedules.all() {
            l.scratch(gated_delta::scratch_len(&shape, schedule));
        }
        let (k, v) = (d.d_key, d.d_value);
        let states = HeadStates {
            heads: d.heads,
            len: gated_delta::state_len(k, v),
            exported: k * v,
            export: Box::new(move |state, out| gated_delta::export_state(k, v, state, out)),
            import: Box::new(move |values, state| gated_delta::import_state(k, v, values, state)),
        };
        Ok(Self {
            q: l.operand(d.q),
            k: l.operand(d.k),
            v: l.operand(d.v),
            g: l.operand(d.g),
            beta: l.operand(d.beta),
            out: l.operand(d.out),
            shape,
            state: d.state,
            states,
            schedules,
        })
    }

    /// This worker's heads and value columns: whole heads, or columns of each where there are fewer heads than
    /// workers.
    fn share(&self, w: &Worker<'_>) -> (Range<usize>, Range<usize>) {
        if self.shape.heads < w.count() {
            (0..self.shape.heads, w.share(self.shape.d_value, LANES))
        } else {
            (w.share(self.shape.heads, 1), 0..self.shape.d_value)
        }
    }
}

impl Exec for GatedDelta {
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>) {
        let schedule = self.schedules.get(cx.layout.tokens());
        let (heads, columns) = self.share(w);
        if columns.is_empty() {
            return;
        }
        for span in &cx.layout.spans {
            let rows = span.start..span.start + span.len;
            // SAFETY: inputs are only read in this phase.
            let input = unsafe {
                GatedDeltaInput {
                    q: cx.mat(self.q).rows_range(rows.clone()),
                    k: cx.mat(self.k).rows_range(rows.clone()),
                    v: cx.mat(self.v).rows_range(rows.clone()),
                    g: cx.mat(self.g).rows_range(rows.clone()),
                    beta: cx.mat(self.beta).rows_range(rows.clone()),
                }
            };
            for head in heads.clone() {
                let share = Share { heads: head..head + 1, columns: columns.clone() };
                let base = head * self.shape.d_value;
                let columns = base + share.columns.start..base + share.columns.end;
                // SAFETY: output columns and states are split by heads and value columns.
                let (state, out) = unsafe {
                    let state = cx.state(span.slot, self.state).flat();
                    (state.write(share.state_range(&self.shape)), cx.mat_mut(self.out, rows.clone(), columns))
                };
                let scratch = cx.scratch(w, gated_delta::scratch_len(&self.shape, schedule));
                gated_delta::run(cx.isa, schedule, &self.shape, &share, input, state, out, scratch);
            }
        }
    }

    fn state(&self) -> Option<&dyn Stateful> {
        Some(&self.states)
    }
}
