//! Where everything lies on the device: buffers, states, tables, scratch.

use super::backend::{Backend, Memory, Place};
use crate::Error;
use crate::device::Limits;
use jet_codegen::kernel::{Size, Table};
use jet_codegen::launch::{Plan, row_stride};
use jet_codegen::memory;
use jet_codegen::program::{Rows, StateShape};

/// Allocations begin at multiples of this many bytes.
const ALIGN: usize = 256;

/// The layout of a state's allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateLayout {
    /// Elements of one sequence.
    pub(super) slot: usize,
    /// Rows of one part: ring places of a KV cache; one otherwise.
    pub(super) rows: usize,
    /// Elements of a row.
    pub(super) cols: usize,
    /// Bytes of an element.
    pub(super) bytes: usize,
    /// Allocations: keys and values are two.
    pub(super) parts: usize,
}

impl StateLayout {
    /// Of a state of `plan` in sequences of up to `context` tokens. A window's ring has exactly the window.
    pub(super) fn of(plan: &Plan, shape: StateShape, context: usize) -> Self {
        match shape {
            StateShape::Kv { kv_heads, d_head, window } => {
                let rows = window.map_or(context, |w| w.min(context)).max(1);
                let bytes = plan.numbers.elem().bytes();
                Self { slot: kv_heads * rows * d_head, rows, cols: d_head, bytes, parts: 2 }
            }
            StateShape::Conv { channels, columns } => {
                Self { slot: channels * columns, rows: columns, cols: channels, bytes: 4, parts: 1 }
            }
            StateShape::Recurrent { heads, rows, cols } => {
                Self { slot: heads * rows * cols, rows, cols, bytes: 4, parts: 1 }
            }
        }
    }

    /// Bytes of one sequence, all parts.
    pub(super) fn slot_bytes(&self) -> usize {
        self.parts * self.slot * self.bytes
    }
}

/// Bytes of one row of a buffer.
pub(super) fn row_bytes(plan: &Plan, buffer: usize) -> usize {
    row_stride(plan.program.buffers[buffer].width) * plan.elems[buffer].bytes()
}

/// Bytes of all buffers with their storage shared.
pub(super) fn arena(plan: &Plan, limits: Limits) -> memory::MemoryPlan {
    memory::plan_rows(&plan.program, limits.max_tokens, limits.max_outputs, ALIGN, |b| row_bytes(plan, b))
}

/// The largest value of a size.
pub(super) fn largest(limits: Limits, rows: Rows, size: Size) -> u64 {
    let n = match size {
        Size::Rows => match rows {
            Rows::Tokens => limits.max_tokens,
            Rows::Outputs => limits.max_outputs,
        },
        Size::Sequences => limits.max_sequences,
        Size::Longest => limits.max_tokens,
        Size::LongestTotal => limits.context,
    };
    n as u64
}

/// Everything that is there before weights and modules.
pub(super) struct Storage {
    /// First element of each buffer.
    pub(super) buffers: Vec<Place>,
    /// Allocations of each state.
    pub(super) states: Vec<(StateLayout, Vec<Memory>)>,
    tables: Vec<(Table, Memory)>,
}

impl Storage {
    pub(super) fn new(backend: &mut dyn Backend, plan: &Plan, limits: Limits) -> Result<Self, Error> {
        Ok(Self {
            buffers: buffers(backend, plan, limits)?,
            states: states(backend, plan, limits)?,
            tables: tables(backend, limits)?,
        })
    }

    pub(super) fn table(&self, table: Table) -> Place {
        let (_, memory) = self.tables.iter().find(|(t, _)| *t == table).expect("every table is allocated");
        Place { memory: *memory, offset: 0 }
    }
}

fn buffers(backend: &mut dyn Backend, plan: &Plan, limits: Limits) -> Result<Vec<Place>, Error> {
    if !backend.separate_buffers() {
        let shared = arena(plan, limits);
        let memory = backend.alloc("activations", shared.elements.max(1) as u64)?;
        return Ok(shared.offsets.iter().map(|o| Place { memory, offset: *o as u64 }).collect());
    }
    let each = plan.program.buffers.iter().enumerate().map(|(i, b)| {
        let rows = largest(limits, b.rows, Size::Rows);
        let bytes = row_bytes(plan, i) as u64 * rows.max(1);
        Ok(Place { memory: backend.alloc(&b.name, bytes)?, offset: 0 })
    });
    each.collect()
}

fn states(
    backend: &mut dyn Backend,
    plan: &Plan,
    limits: Limits,
) -> Result<Vec<(StateLayout, Vec<Memory>)>, Error> {
    let each = plan.program.states.iter().map(|s| {
        let layout = StateLayout::of(plan, s.shape, limits.context);
        let bytes = (layout.slot * layout.bytes * limits.max_sequences).max(1) as u64;
        let names: &[&str] = if layout.parts == 2 { &["keys", "values"] } else { &["state"] };
        let memories = names.iter().map(|n| backend.alloc(&format!("{}.{n}", s.name), bytes));
        Ok((layout, memories.collect::<Result<_, _>>()?))
    });
    each.collect()
}

fn tables(backend: &mut dyn Backend, limits: Limits) -> Result<Vec<(Table, Memory)>, Error> {
    let each = Table::ALL.iter().map(|(name, table)| {
        let ints = match table {
            Table::TokenIds | Table::Positions | Table::RowSegments => limits.max_tokens,
            Table::OutRows => limits.max_outputs,
            Table::Segments => 8 * limits.max_sequences,
        };
        Ok((*table, backend.alloc(name, 4 * ints.max(1) as u64)?))
    });
    each.collect()
}
