//! A loaded program on the CPU: every op of it as an [`Exec`], run by all workers of the pool in step.
//!
//! One run is one dispatch to the pool. Every worker walks through all steps; each step gives it a share of the work
//! and ends at a barrier. Steps may have barriers of their own between phases. Nothing is allocated in a run.

#![allow(unsafe_code, reason = "workers take disjoint parts of the arena, see `shared`")]

mod build;
mod ops;
mod shared;

pub(crate) use crate::batch::{Layout, Span, Standing};
pub(crate) use build::{Loader, PackedWeights, PerBucket};
pub(crate) use ops::FAMILIES;
pub(crate) use ops::problems;
pub(crate) use shared::{Shared, SharedCell};

use super::kv_cache::KvCache;
use super::mat::{Mat, MatMut};
use super::pool::{Pool, Worker};
use super::simd::{Features, Isa};
use crate::Error;
use crate::device::{Executable, Footprint, Limits, LoadRequest, Segment, SlotId};
use crate::select::Selection;
use jet_codegen::memory::{self, MemoryPlan};
use jet_codegen::op::{BufId, StateId, View};
use jet_codegen::program::{Program, Rows};
use std::ops::Range;
use std::sync::Arc;

/// One op, loaded. All workers call `run` at the same time, each with its own [`Worker`].
pub(crate) trait Exec: Send + Sync {
    /// Does this worker's share. On return other workers may still be at theirs: the caller places the barrier.
    fn run(&self, cx: &Cx<'_>, w: &Worker<'_>);
    /// The state it carries, if any.
    fn state(&self) -> Option<&dyn Stateful> {
        None
    }
}

/// What an op with a state knows about its storage.
pub(crate) trait Stateful {
    /// A fresh state for sequences of up to `context` tokens.
    fn create(&self, context: usize) -> SlotState;
    /// Back to fresh, for a sequence whose first token has position `first`.
    fn reset(&self, state: &mut SlotState, first: usize);
    /// In the declared layout.
    fn export(&self, state: &mut SlotState) -> Vec<f32>;
    /// From the declared layout.
    fn import(&self, state: &mut SlotState, values: &[f32]) -> Result<(), String>;
}

/// Storage of one state of one sequence.
pub(crate) enum SlotState {
    Kv(SharedCell<KvCache>),
    Flat(Shared),
}

impl SlotState {
    /// The recurrent or convolution state.
    pub(crate) fn flat(&self) -> &Shared {
        match self {
            SlotState::Flat(s) => s,
            SlotState::Kv(_) => unreachable!("an op finds the kind of state it created"),
        }
    }

    /// The same, by its only holder.
    pub(crate) fn flat_mut(&mut self) -> &mut Shared {
        match self {
            SlotState::Flat(s) => s,
            SlotState::Kv(_) => unreachable!("an op finds the kind of state it created"),
        }
    }

    /// The KV cache, by its only holder.
    pub(crate) fn kv_mut(&mut self) -> &mut KvCache {
        match self {
            SlotState::Kv(c) => c.get_mut(),
            SlotState::Flat(_) => unreachable!("an op finds the kind of state it created"),
        }
    }

    /// The KV cache.
    pub(crate) fn kv(&self) -> &SharedCell<KvCache> {
        match self {
            SlotState::Kv(c) => c,
            SlotState::Flat(_) => unreachable!("an op finds the kind of state it created"),
        }
    }
}

/// A sequence's place.
struct Slot {
    open: bool,
    standing: Standing,
    states: Vec<SlotState>,
}

/// A view with its place in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    base: usize,
    stride: usize,
    pub(crate) width: usize,
    rows: Rows,
}

impl Operand {
    /// Whether the two are the same elements.
    pub(crate) fn same_place(self, other: Self) -> bool {
        (self.base, self.stride, self.width) == (other.base, other.stride, other.width)
    }

    fn new(program: &Program, plan: &MemoryPlan, v: View) -> Self {
        let b = program.buf(v.buf);
        Self { base: plan.offsets[v.buf.0 as usize] + v.col, stride: b.width, width: v.width, rows: b.rows }
    }
}

/// What a step sees of the run.
pub(crate) struct Cx<'a> {
    arena: &'a Shared,
    scratch: &'a [Shared],
    slots: &'a [Slot],
    /// Activations in the form that matrix kernels read; every projection fills it anew.
    pub(crate) prepared: &'a Shared,
    pub(crate) layout: &'a Layout,
    pub(crate) isa: Isa,
    pub(crate) features: Features,
}

impl Cx<'_> {
    /// Rows of `o` in this run.
    pub(crate) fn rows(&self, o: Operand) -> usize {
        match o.rows {
            Rows::Tokens => self.layout.tokens(),
            Rows::Outputs => self.layout.out_rows.len(),
        }
    }

    /// All rows, to read.
    ///
    /// # Safety
    /// Nobody writes to them in this phase.
    pub(crate) unsafe fn mat(&self, o: Operand) -> Mat<'_> {
        let rows = self.rows(o);
        // The last element must be inside the arena; an empty matrix touches none.
        let end = if rows == 0 { o.base } else { o.base + (rows - 1) * o.stride + o.width };
        assert!(end <= self.arena.len(), "an operand lies inside the arena");
        // SAFETY: in range, and the caller's promise.
        unsafe { Mat::from_raw(self.arena.ptr(o.base), rows, o.width, o.stride) }
    }

    /// Some rows and columns, to write.
    ///
    /// # Safety
    /// Nobody else touches these elements in this phase.
    pub(crate) unsafe fn mat_mut(&self, o: Operand, rows: Range<usize>, cols: Range<usize>) -> MatMut<'_> {
        assert!(rows.end <= self.rows(o) && cols.end <= o.width, "an operand lies inside its buffer");
        let at = o.base + rows.start * o.stride + cols.start;
        let end = if rows.is_empty() { at } else { at + (rows.len() - 1) * o.stride + cols.len() };
        assert!(end <= self.arena.len(), "an operand lies inside the arena");
        // SAFETY: in range, and the caller's promise.
        unsafe { MatMut::from_raw(self.arena.ptr(at), rows.len(), cols.len(), o.stride) }
    }

    /// This worker's own scratch.
    #[allow(clippy::mut_from_ref, reason = "each worker has scratch of its own")]
    pub(crate) fn scratch(&self, w: &Worker<'_>, len: usize) -> &mut [f32] {
        // SAFETY: scratch `id` belongs to worker `id` alone, and an op takes it once per phase.
        unsafe { self.scratch[w.id()].write(0..len) }
    }

    /// State `state` of the sequence in `slot`.
    pub(crate) fn state(&self, slot: usize, state: StateId) -> &SlotState {
        &self.slots[slot].states[state.0 as usize]
    }

    /// Where the sequence in `slot` stands before this run.
    pub(crate) fn standing(&self, slot: usize) -> Standing {
        self.slots[slot].standing
    }
}

/// A program with its weights, activations and sequences.
pub(crate) struct CpuExecutable {
    program: Program,
    plan: MemoryPlan,
    pool: Arc<Pool>,
    features: Features,
    limits: Limits,
    /// Runs before the steps: what depends on the batch only.
    prologue: Box<dyn Exec>,
    steps: Vec<Box<dyn Exec>>,
    /// The step that owns each state.
    owners: Vec<usize>,
    arena: Shared,
    prepared: Shared,
    scratch: Vec<Shared>,
    slots: Vec<Slot>,
    layout: Layout,
    selection: Selection,
    footprint: Footprint,
}

impl CpuExecutable {
    pub(crate) fn load(
        pool: Arc<Pool>,
        features: Features,
        footprint: Footprint,
        request: LoadRequest<'_>,
        packed: &mut PackedWeights,
    ) -> Result<Self, Error> {
        let limits = request.limits;
        let plan = memory::plan(&request.program, limits.max_tokens, limits.max_outputs);
        let mut loader = Loader::new(&request, &plan, &pool, features, packed);
        let mut steps = Vec::with_capacity(request.program.steps.len());
        for step in &request.program.steps {
            steps.push(ops::build(&mut loader, step)?);
        }
        let loaded = loader.finish();
        let prologue = ops::angles_step(loaded.angles);
        let program = request.program;
        let owners = (0..program.states.len())
            .map(|s| {
                let of = |step: &jet_codegen::program::Step| step.op.state() == Some(StateId(s as u32));
                program.steps.iter().position(of).expect("verified: every state belongs to an op")
            })
            .collect();
        Ok(Self {
            arena: Shared::new(plan.elements),
            prepared: Shared::new(loaded.prepared),
            scratch: (0..pool.workers()).map(|_| Shared::new(loaded.scratch)).collect(),
            slots: Vec::with_capacity(limits.max_sequences),
            layout: Layout::with_capacity(limits),
            program,
            plan,
            pool,
            features,
            limits,
            prologue,
            steps,
            owners,
            selection: loaded.selection,
            footprint,
        })
    }

    /// Sets how many tokens a sequence has, for benchmarks that run one place again and again.
    pub(crate) fn set_length(&mut self, slot: SlotId, len: usize) {
        self.slots[slot.0].standing.len = len;
    }

    /// Fills the first `len` values of an output with not-a-number, so that what a kernel leaves out is seen.
    pub(crate) fn poison(&mut self, buffer: BufId, len: usize) {
        let base = self.operand(buffer).base;
        self.arena.as_mut_slice()[base..base + len].fill(f32::NAN);
    }

    fn operand(&self, buffer: BufId) -> Operand {
        let width = self.program.buf(buffer).width;
        Operand::new(&self.program, &self.plan, View { buf: buffer, col: 0, width })
    }
}

impl Executable for CpuExecutable {
    fn program(&self) -> &Program {
        &self.program
    }

    fn selection(&self) -> &Selection {
        &self.selection
    }

    fn footprint(&self) -> Footprint {
        self.footprint
    }

    fn open_sequence(&mut self, position: usize) -> Result<SlotId, Error> {
        let standing = Standing { first: position, len: 0 };
        let owners: Vec<&dyn Stateful> = self
            .owners
            .iter()
            .map(|o| self.steps[*o].state().expect("the op of a state is stateful"))
            .collect();
        if let Some(i) = self.slots.iter().position(|s| !s.open) {
            let slot = &mut self.slots[i];
            for (state, owner) in slot.states.iter_mut().zip(owners) {
                owner.reset(state, position);
            }
            (slot.open, slot.standing) = (true, standing);
            return Ok(SlotId(i));
        }
        if self.slots.len() == self.limits.max_sequences {
            let n = self.limits.max_sequences;
            return Err(Error::Batch(format!(
                "{n} sequences are open and there is room for {n}; close one first"
            )));
        }
        let fresh = |owner: &&dyn Stateful| {
            let mut state = owner.create(self.limits.context);
            owner.reset(&mut state, position);
            state
        };
        let states = owners.iter().map(fresh).collect();
        self.slots.push(Slot { open: true, standing, states });
        Ok(SlotId(self.slots.len() - 1))
    }

    fn close_sequence(&mut self, slot: SlotId) {
        if let Some(s) = self.slots.get_mut(slot.0) {
            s.open = false;
        }
    }

    fn position(&self, slot: SlotId) -> usize {
        self.slots.get(slot.0).map_or(0, |s| s.standing.position())
    }

    fn run(&mut self, batch: &[Segment<'_>]) -> Result<(), Error> {
        let slots = &self.slots;
        let standing = |i: usize| slots.get(i).filter(|s| s.open).map(|s| s.standing);
        self.layout.fill(batch, self.limits, self.program.vocab, standing)?;
        let cx = Cx {
            arena: &self.arena,
            scratch: &self.scratch,
            slots: &self.slots,
            prepared: &self.prepared,
            layout: &self.layout,
            isa: self.features.isa,
            features: self.features,
        };
        let (prologue, steps) = (&self.prologue, &self.steps);
        self.pool.run(|w| {
            for step in std::iter::once(prologue).chain(steps) {
                step.run(&cx, w);
                w.barrier();
            }
        });
        for span in &self.layout.spans {
            self.slots[span.slot].standing.len += span.len;
        }
        Ok(())
    }

    fn write(&mut self, buffer: BufId, values: &[f32]) -> Result<(), Error> {
        let b = self.program.buf(buffer);
        let (width, name) = (b.width, b.name.clone());
        if !b.input || !values.len().is_multiple_of(width) || values.len() / width > self.limits.max_tokens {
            return Err(Error::Data(format!(
                "{} values for buffer `{name}`, which {} and takes up to {} rows of {width}",
                values.len(),
                if b.input { "is an input" } else { "is no input" },
                self.limits.max_tokens
            )));
        }
        let base = self.operand(buffer).base;
        self.arena.as_mut_slice()[base..base + values.len()].copy_from_slice(values);
        Ok(())
    }

    fn read(&self, buffer: BufId) -> &[f32] {
        let o = self.operand(buffer);
        let rows = match o.rows {
            Rows::Tokens => self.layout.tokens(),
            Rows::Outputs => self.layout.out_rows.len(),
        };
        &self.arena.as_slice()[o.base..o.base + rows * o.width]
    }

    fn read_state(&mut self, slot: SlotId, state: StateId) -> Vec<f32> {
        let owner = self.owners[state.0 as usize];
        let stateful = self.steps[owner].state().expect("the op of a state is stateful");
        stateful.export(&mut self.slots[slot.0].states[state.0 as usize])
    }

    fn write_state(&mut self, slot: SlotId, state: StateId, values: &[f32]) -> Result<(), Error> {
        let owner = self.owners[state.0 as usize];
        let stateful = self.steps[owner].state().expect("the op of a state is stateful");
        stateful
            .import(&mut self.slots[slot.0].states[state.0 as usize], values)
            .map_err(|e| Error::Data(format!("state `{}`: {e}", self.program.states[state.0 as usize].name)))
    }
}
