//! A program: ops over named buffers, with the states it carries.

use crate::op::{Activation, BufId, Op, StateId, View};
use serde::Serialize;
use std::fmt;

/// How many rows a buffer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Rows {
    /// One per token of the batch.
    Tokens,
    /// One per row the caller asked outputs for.
    Outputs,
}

/// A named buffer of float32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Buffer {
    /// Unique within the program.
    pub name: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub rows: Rows,
    /// Written from outside before each run (op cases); a model has none, its input is token ids.
    pub input: bool,
    /// Read from outside after a run, so its storage is never shared.
    pub output: bool,
}

/// The shape of a state, per sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum StateShape {
    /// Keys and values, growing with the sequence up to a window.
    Kv {
        /// Heads.
        kv_heads: usize,
        /// Width of a head.
        d_head: usize,
        /// Tokens kept at most.
        window: Option<usize>,
    },
    /// The last `columns` values of each channel, oldest first.
    Conv {
        /// Channels.
        channels: usize,
        /// Columns.
        columns: usize,
    },
    /// Float32 `[heads, rows, cols]`.
    Recurrent {
        /// Heads.
        heads: usize,
        /// Rows: channels of an SSD head, key width of a delta rule.
        rows: usize,
        /// Columns: state size, value width.
        cols: usize,
    },
}

/// A state of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// Unique within the program.
    pub name: String,
    /// The block it belongs to.
    pub layer: u32,
    /// Shape.
    pub shape: StateShape,
}

/// One op in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The op.
    pub op: Op,
    /// The block it came from; `None` for the model's own.
    pub layer: Option<u32>,
}

/// Ops over named buffers. Made by [`crate::lower()`] from a model, or by hand for a single op.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Program {
    /// The model, or the case.
    pub name: String,
    /// Buffers; a [`BufId`] indexes them.
    pub buffers: Vec<Buffer>,
    /// States; a [`StateId`] indexes them.
    pub states: Vec<State>,
    /// In order.
    pub steps: Vec<Step>,
    /// Rows of the embedding: token ids are below it. Zero for a program without one.
    pub vocab: usize,
}

impl Program {
    /// An empty program.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds a buffer and gives the view of all of it.
    pub fn buffer(&mut self, name: impl Into<String>, width: usize, rows: Rows) -> View {
        let buf = BufId(self.buffers.len() as u32);
        self.buffers.push(Buffer { name: name.into(), width, rows, input: false, output: false });
        View { buf, col: 0, width }
    }

    /// Adds a buffer that is written from outside.
    pub fn input(&mut self, name: impl Into<String>, width: usize) -> View {
        let v = self.buffer(name, width, Rows::Tokens);
        self.buffers[v.buf.0 as usize].input = true;
        v
    }

    /// Marks the buffer of `v` as read from outside.
    pub fn mark_output(&mut self, v: View) {
        self.buffers[v.buf.0 as usize].output = true;
    }

    /// Adds a state.
    pub fn state(&mut self, name: impl Into<String>, layer: u32, shape: StateShape) -> StateId {
        self.states.push(State { name: name.into(), layer, shape });
        StateId(self.states.len() as u32 - 1)
    }

    /// Appends an op.
    pub fn push(&mut self, layer: Option<u32>, op: Op) {
        self.steps.push(Step { op, layer });
    }

    /// The buffer called `name`.
    pub fn find_buffer(&self, name: &str) -> Option<BufId> {
        self.buffers.iter().position(|b| b.name == name).map(|i| BufId(i as u32))
    }

    /// The declaration of `id`.
    pub fn buf(&self, id: BufId) -> &Buffer {
        &self.buffers[id.0 as usize]
    }

    fn show(&self, v: View) -> String {
        let b = self.buf(v.buf);
        if v.col == 0 && v.width == b.width {
            b.name.clone()
        } else {
            format!("{}[{}..{}]", b.name, v.col, v.col + v.width)
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {}", self.name)?;
        for (i, s) in self.steps.iter().enumerate() {
            let list =
                |views: Vec<View>| views.into_iter().map(|v| self.show(v)).collect::<Vec<_>>().join(", ");
            let layer = s.layer.map_or_else(|| "-".to_owned(), |l| l.to_string());
            let detail = match &s.op {
                Op::Linear(l) if l.accumulate => " +=".to_owned(),
                Op::Linear(l) => l.act.map_or_else(String::new, |act| match act {
                    Activation::Unary(f) => format!(" {f:?} of").to_lowercase(),
                    Activation::Glu(act) => format!(" {act:?} of").to_lowercase(),
                }),
                _ => String::new(),
            };
            writeln!(
                f,
                "{i:>4}  layer {layer:>3}  {:<12} {} <-{detail} {}",
                s.op.name(),
                list(s.op.writes()),
                list(s.op.reads())
            )?;
        }
        Ok(())
    }
}
