//! A loaded program on a GPU: tables uploaded, steps launched, outputs fetched.

mod alone;

use super::backend::{Backend, LaunchSpec, Place, Value};
use super::build::{Builder, Loaded, LoadedCall, decode, encode};
use super::fault;
use super::place::Storage;
use super::state::{held, rolled, transposed, unrolled};
use crate::Error;
use crate::batch::{Layout, Standing};
use crate::device::{Executable, Footprint, KernelTime, Limits, LoadRequest, Segment, SlotId};
use crate::select::Selection;
use jet_codegen::kernel::{Arg, Elem, Entry, Size, Table, find};
use jet_codegen::launch::{Plan, When, row_stride};
use jet_codegen::nvrtc::CubinStore;
use jet_codegen::op::{BufId, StateId};
use jet_codegen::program::{Program, Rows, StateShape};

/// A sequence's place.
#[derive(Clone, Copy)]
struct Slot {
    open: bool,
    standing: Standing,
}

/// The sizes of one run.
#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    outputs: usize,
    sequences: usize,
    longest: usize,
    longest_total: usize,
}

impl Sizes {
    fn rows(&self, rows: Rows) -> usize {
        match rows {
            Rows::Tokens => self.tokens,
            Rows::Outputs => self.outputs,
        }
    }

    fn get(&self, rows: Rows, size: Size) -> usize {
        match size {
            Size::Rows => self.rows(rows),
            Size::Sequences => self.sequences,
            Size::Longest => self.longest,
            Size::LongestTotal => self.longest_total,
        }
    }

    /// Whether a call is for this run.
    fn suits(&self, call: &LoadedCall) -> bool {
        match call.when {
            When::Always => true,
            When::Steps => self.longest == 1,
            When::RowsAtMost(n) => self.rows(call.rows) <= n,
        }
    }
}

pub(super) struct GpuExecutable {
    device: String,
    backend: Box<dyn Backend>,
    /// The program as it was given: callers know its buffers.
    program: Program,
    plan: Plan,
    storage: Storage,
    loaded: Loaded,
    limits: Limits,
    slots: Vec<Slot>,
    layout: Layout,
    /// Outputs of the last run; nothing for other buffers.
    fetched: Vec<Vec<f32>>,
    footprint: Footprint,
}

impl GpuExecutable {
    pub(super) fn load(
        device: String,
        mut backend: Box<dyn Backend>,
        plan: Plan,
        footprint: Footprint,
        request: LoadRequest<'_>,
        store: Option<&CubinStore>,
    ) -> Result<Self, Error> {
        let storage = Storage::new(&mut *backend, &plan, request.limits)?;
        let builder = Builder {
            device: &device,
            backend: &mut *backend,
            schedules: request.schedules,
            limits: request.limits,
            plan: &plan,
            storage: &storage,
            store,
        };
        let loaded = builder.load(request.weights)?;
        Ok(Self {
            fetched: vec![Vec::new(); request.program.buffers.len()],
            layout: Layout::with_capacity(request.limits),
            slots: Vec::new(),
            limits: request.limits,
            program: request.program,
            device,
            backend,
            plan,
            storage,
            loaded,
            footprint,
        })
    }

    fn sizes(&self) -> Sizes {
        let spans = &self.layout.spans;
        let total = |s: &crate::batch::Span| self.slots[s.slot].standing.len + s.len;
        Sizes {
            tokens: self.layout.tokens(),
            outputs: self.layout.out_rows.len(),
            sequences: spans.len(),
            longest: spans.iter().map(|s| s.len).max().unwrap_or(0),
            longest_total: spans.iter().map(total).max().unwrap_or(0),
        }
    }

    /// Brings the batch to the device.
    fn upload_tables(&mut self) -> Result<(), Error> {
        let layout = &self.layout;
        let int = |n: usize| n as i32;
        let segments = layout.spans.iter().flat_map(|s| {
            let at = self.slots[s.slot].standing;
            [int(s.slot), int(s.start), int(s.len), int(at.len), int(at.first), 0, 0, 0]
        });
        let rows = layout.spans.iter().enumerate().flat_map(|(i, s)| std::iter::repeat_n(int(i), s.len));
        let tables: [(Table, Vec<i32>); 5] = [
            (Table::TokenIds, layout.ids.iter().map(|id| id.cast_signed()).collect()),
            (Table::Positions, layout.positions.iter().copied().map(int).collect()),
            (Table::OutRows, layout.out_rows.iter().copied().map(int).collect()),
            (Table::RowSegments, rows.collect()),
            (Table::Segments, segments.collect()),
        ];
        for (table, ints) in tables {
            self.backend.upload(self.storage.table(table), bytemuck::cast_slice(&ints))?;
        }
        Ok(())
    }

    /// Takes in a batch: its sizes.
    fn begin(&mut self, batch: &[Segment<'_>]) -> Result<Sizes, Error> {
        let slots = &self.slots;
        let standing = |i: usize| slots.get(i).filter(|s| s.open).map(|s| s.standing);
        self.layout.fill(batch, self.limits, self.program.vocab, standing)?;
        self.upload_tables()?;
        Ok(self.sizes())
    }

    /// Brings the outputs and counts the tokens of the batch as past.
    fn end(&mut self, sizes: Sizes) -> Result<(), Error> {
        self.fetch(sizes)?;
        for span in &self.layout.spans {
            self.slots[span.slot].standing.len += span.len;
        }
        Ok(())
    }

    /// The choice of a step that suits a run.
    fn call(&self, step: usize, sizes: Sizes) -> &LoadedCall {
        self.loaded.steps[step].iter().find(|c| sizes.suits(c)).expect("the last choice always suits")
    }

    /// What a step that was launched took; `None` where it had no rows.
    fn share(&self, step: usize, sizes: Sizes, seconds: Option<f64>) -> Option<KernelTime> {
        let call = self.call(step, sizes);
        let rows = sizes.rows(call.rows);
        if rows == 0 {
            return None;
        }
        let mut problem = call.problem.clone();
        problem.dims.insert("tokens".to_owned(), rows as i64);
        let floor = find(&problem.family).map(|k| k.floor(&problem)).unwrap_or_default();
        Some(KernelTime {
            op: self.plan.op(&self.plan.steps[step]).name(),
            values: call.bucket(rows).values.clone(),
            problem,
            bytes: floor.bytes,
            flops: floor.flops,
            seconds,
        })
    }

    fn launch_step(&mut self, step: usize, sizes: Sizes) -> Result<(), Error> {
        let call =
            self.loaded.steps[step].iter().find(|c| sizes.suits(c)).expect("the last choice always suits");
        let rows = sizes.rows(call.rows);
        if rows == 0 {
            return Ok(());
        }
        let ready = &call.bucket(rows).ready;
        for s in ready.source.scratch.iter().filter(|s| s.zeroed) {
            let bytes = s.bytes.value(|size| sizes.get(call.rows, size) as u64);
            let memory = self.loaded.scratch(&s.role).expect("scratch is allocated with its source");
            self.backend.zero(Place { memory, offset: 0 }, bytes)?;
        }
        for entry in &ready.source.entries {
            let grid =
                [0, 1, 2].map(|d| entry.grid[d].value(|size| sizes.get(call.rows, size) as u64) as u32);
            if grid.contains(&0) {
                continue;
            }
            let args: Vec<Value> =
                entry.args.iter().map(|a| self.value(call, entry, a, sizes)).collect::<Result<_, _>>()?;
            let (block, cluster, smem) = (entry.block, entry.cluster, entry.smem);
            let spec = LaunchSpec {
                module: ready.module,
                entry: &entry.name,
                grid,
                block,
                cluster,
                smem,
                args: &args,
            };
            self.backend.launch(&spec)?;
        }
        Ok(())
    }

    fn value(&self, call: &LoadedCall, entry: &Entry, arg: &Arg, sizes: Sizes) -> Result<Value, Error> {
        let unbound =
            |what: &str| fault(&self.device, format!("`{}` wants {what}, which nothing binds", entry.name));
        let operand = |role: &String| call.operand(role).ok_or_else(|| unbound(role));
        Ok(match arg {
            Arg::Pointer(role) => match (self.loaded.scratch(role), call.operand(role)) {
                (_, Some(bound)) => Value::Address(bound.place),
                (Some(memory), None) => Value::Address(Place { memory, offset: 0 }),
                (None, None) => Value::Null,
            },
            Arg::Stride(role) => Value::Int(operand(role)?.stride as i32),
            Arg::Rows(role) => {
                let rows = operand(role)?.rows.unwrap_or_else(|| sizes.rows(call.rows));
                Value::Int(rows as i32)
            }
            Arg::Slot(role) => Value::Long(operand(role)?.slot as i64),
            Arg::Size(size) => Value::Int(sizes.get(call.rows, *size) as i32),
            Arg::Table(table) => Value::Address(self.storage.table(*table)),
            Arg::Scalar(name) => {
                let found = call.scalars.iter().find(|(n, _)| n == name);
                Value::Float(found.ok_or_else(|| unbound(name))?.1)
            }
            Arg::Map(role) => {
                let map = entry.maps.iter().find(|m| m.role == *role).ok_or_else(|| unbound(role))?;
                let bound = operand(role)?;
                Value::Map {
                    base: bound.place,
                    elem: bound.elem,
                    shape: [bound.rows.unwrap_or_else(|| sizes.rows(call.rows)), bound.cols],
                    stride: bound.stride,
                    tile: [map.box_rows, map.box_cols],
                    swizzle: map.swizzle,
                }
            }
        })
    }

    /// Brings the outputs to the host.
    fn fetch(&mut self, sizes: Sizes) -> Result<(), Error> {
        for (i, b) in self.program.buffers.iter().enumerate().filter(|(_, b)| b.output) {
            let (rows, stride) = (sizes.rows(b.rows), row_stride(b.width));
            let mut bytes = vec![0; rows.max(1).strict_mul(stride) * 4];
            self.fetched[i].clear();
            if rows == 0 {
                continue;
            }
            // The gap after the last row is nobody's.
            let used = ((rows - 1) * stride + b.width) * 4;
            self.backend.download(self.storage.buffers[i], &mut bytes[..used])?;
            let values = decode(Elem::F32, &bytes);
            self.fetched[i].extend(values.chunks(stride).take(rows).flat_map(|r| &r[..b.width]));
        }
        Ok(())
    }

    /// The first byte of a sequence's part of a state.
    fn slot_place(&self, slot: SlotId, state: StateId, part: usize) -> Place {
        let (layout, memories) = &self.storage.states[state.0 as usize];
        Place { memory: memories[part], offset: 0 }.after(slot.0 * layout.slot * layout.bytes)
    }

    fn download_state(&mut self, slot: SlotId, state: StateId, part: usize) -> Result<Vec<f32>, Error> {
        let layout = self.storage.states[state.0 as usize].0;
        let mut bytes = vec![0; layout.slot * layout.bytes];
        let place = self.slot_place(slot, state, part);
        self.backend.download(place, &mut bytes)?;
        Ok(decode(if layout.bytes == 2 { self.plan.numbers.elem() } else { Elem::F32 }, &bytes))
    }
}

impl Executable for GpuExecutable {
    fn program(&self) -> &Program {
        &self.program
    }

    fn selection(&self) -> &Selection {
        &self.loaded.selection
    }

    fn footprint(&self) -> Footprint {
        self.footprint
    }

    fn open_sequence(&mut self, position: usize) -> Result<SlotId, Error> {
        let slot = match self.slots.iter().position(|s| !s.open) {
            Some(i) => i,
            None if self.slots.len() < self.limits.max_sequences => self.slots.len(),
            None => {
                let n = self.limits.max_sequences;
                return Err(Error::Batch(format!(
                    "{n} sequences are open and there is room for {n}; close one first"
                )));
            }
        };
        // A KV cache needs no reset: what it holds is counted by the sequence's length.
        for (i, s) in self.plan.program.states.iter().enumerate() {
            if !matches!(s.shape, StateShape::Kv { .. }) {
                let layout = self.storage.states[i].0;
                let place = self.slot_place(SlotId(slot), StateId(i as u32), 0);
                self.backend.zero(place, (layout.slot * layout.bytes) as u64)?;
            }
        }
        let opened = Slot { open: true, standing: Standing { first: position, len: 0 } };
        match self.slots.get_mut(slot) {
            Some(s) => *s = opened,
            None => self.slots.push(opened),
        }
        Ok(SlotId(slot))
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
        let sizes = self.begin(batch)?;
        for step in 0..self.loaded.steps.len() {
            self.launch_step(step, sizes)?;
        }
        self.end(sizes)
    }

    fn profile(&mut self, batch: &[Segment<'_>]) -> Result<Vec<KernelTime>, Error> {
        let sizes = self.begin(batch)?;
        self.backend.get_ahead()?;
        let steps = self.loaded.steps.len();
        let mut marks = vec![self.backend.mark()?];
        for step in 0..steps {
            self.launch_step(step, sizes)?;
            marks.push(self.backend.mark()?);
        }
        let mut times = Vec::with_capacity(steps);
        for step in 0..steps {
            let seconds = match (marks[step], marks[step + 1]) {
                (Some(from), Some(to)) => Some(self.backend.seconds(from, to)?),
                _ => None,
            };
            times.extend(self.share(step, sizes, seconds));
        }
        self.end(sizes)?;
        Ok(times)
    }

    fn write(&mut self, buffer: BufId, values: &[f32]) -> Result<(), Error> {
        let b = self.program.buf(buffer);
        let (width, most) = (b.width, self.limits.max_tokens);
        if !b.input || !values.len().is_multiple_of(width) || values.len() / width > most {
            return Err(Error::Data(format!(
                "{} values for buffer `{}`, which {} and takes up to {most} rows of {width}",
                values.len(),
                b.name,
                if b.input { "is an input" } else { "is no input" },
            )));
        }
        let pitch = row_stride(width) * 4;
        let mut bytes = vec![0; values.len() / width * pitch];
        for (row, out) in values.chunks(width).zip(bytes.chunks_mut(pitch)) {
            encode(Elem::F32, row, out);
        }
        self.backend.upload(self.storage.buffers[buffer.0 as usize], &bytes)
    }

    fn read(&self, buffer: BufId) -> &[f32] {
        &self.fetched[buffer.0 as usize]
    }

    fn read_state(&mut self, slot: SlotId, state: StateId) -> Vec<f32> {
        let shape = self.plan.program.states[state.0 as usize].shape;
        let len = self.slots.get(slot.0).map_or(0, |s| s.standing.len);
        let layout = self.storage.states[state.0 as usize].0;
        // Memory of a living executable can be read; a device that is lost has failed its run before.
        let mut part = |p| self.download_state(slot, state, p).unwrap_or_default();
        match shape {
            StateShape::Kv { kv_heads, d_head, .. } => {
                let (shape, tokens) = ([kv_heads, layout.rows, d_head], held(shape, len));
                let mut both = unrolled(&part(0), shape, len, tokens);
                both.extend(unrolled(&part(1), shape, len, tokens));
                both
            }
            StateShape::Conv { channels, columns } => transposed(&part(0), columns, channels),
            StateShape::Recurrent { .. } => part(0),
        }
    }

    fn write_state(&mut self, slot: SlotId, state: StateId, values: &[f32]) -> Result<(), Error> {
        let s = &self.plan.program.states[state.0 as usize];
        let layout = self.storage.states[state.0 as usize].0;
        let own = match s.shape {
            StateShape::Kv { kv_heads, d_head, .. } => {
                let len = self.slots.get(slot.0).map_or(0, |s| s.standing.len);
                let (tokens, row) = (held(s.shape, len), kv_heads * d_head);
                if values.len() != 2 * tokens * row {
                    return Err(Error::Data(format!(
                        "state `{}`: {} values were given, {tokens} tokens with keys and values of {row} have {}",
                        s.name,
                        values.len(),
                        2 * tokens * row
                    )));
                }
                let elem = if layout.bytes == 2 { self.plan.numbers.elem() } else { Elem::F32 };
                for (part, values) in values.chunks((tokens * row).max(1)).enumerate() {
                    for (at, token) in rolled(values, [kv_heads, layout.rows, d_head], len) {
                        let mut bytes = vec![0; token.len() * layout.bytes];
                        encode(elem, token, &mut bytes);
                        let place = self.slot_place(slot, state, part).after(at * layout.bytes);
                        self.backend.upload(place, &bytes)?;
                    }
                }
                return Ok(());
            }
            StateShape::Conv { .. } | StateShape::Recurrent { .. } if values.len() != layout.slot => {
                let (found, want) = (values.len(), layout.slot);
                return Err(Error::Data(format!(
                    "state `{}`: {found} values were given, it has {want}",
                    s.name
                )));
            }
            StateShape::Conv { channels, columns } => transposed(values, channels, columns),
            StateShape::Recurrent { .. } => values.to_vec(),
        };
        let place = self.slot_place(slot, state, 0);
        self.backend.upload(place, bytemuck::cast_slice(&own))
    }
}
