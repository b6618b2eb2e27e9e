//! From a [`ModelSpec`] to a [`Program`]. One file a block kind; this one only dispatches and adds the model's
//! own ends (embedding, final norm, head).

mod attention;
mod jet_block;
mod mamba2;
mod mlp;
mod moe;

use crate::op::{Linear, LinearPart, Op, View};
use crate::program::{Program, Rows};
use crate::{fuse, verify};
use jet_dsl::ModelSpec;
use jet_dsl::block::Block;
use jet_dsl::weight::{Role, WeightRef};

/// What a caller wants to see beside the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LowerOptions {
    /// Keep a copy of the residual stream in front of every block (`hidden.<i>`, and `hidden.<layers>` after the
    /// last) and of the final norm's output (`final_normed`).
    pub keep_hidden: bool,
}

/// Name of the buffer that holds the logits.
pub const LOGITS: &str = "logits";

/// Lowers `spec` and runs the rewrites all devices share.
///
/// # Panics
/// Only where a rewrite broke the program, which is a fault of this crate.
pub fn lower(spec: &ModelSpec, options: LowerOptions) -> Program {
    let mut program = lower_plain(spec, options);
    for pass in fuse::PASSES {
        (pass.run)(&mut program);
        if let Err(e) = verify::verify(&program) {
            panic!("pass {} broke the program of {}: {e}", pass.name, spec.name);
        }
    }
    program
}

/// Lowers `spec` op by op, without any rewrite.
pub fn lower_plain(spec: &ModelSpec, options: LowerOptions) -> Program {
    let d = spec.d_model as usize;
    let own = |role| WeightRef { layer: None, role };
    let mut p = Program::new(&spec.name);
    p.vocab = spec.vocab as usize;
    let h = p.buffer("h", d, Rows::Tokens);
    p.push(None, Op::Embed { table: own(Role::Embedding), vocab: spec.vocab as usize, out: h });
    for (i, _, block) in spec.layers() {
        if options.keep_hidden {
            keep(&mut p, h, format!("hidden.{i}"));
        }
        let mut cx = BlockCx { p: &mut p, spec, layer: i, h };
        let x = cx.buffer("normed", d);
        let weight = cx.weight(Role::Norm);
        cx.push(Op::RmsNorm { x: h, weight, eps: spec.norm_eps, out: x });
        let y = match block {
            Block::Mamba2(b) => mamba2::lower(&mut cx, b, x),
            Block::Attention(b) => attention::lower(&mut cx, b, x),
            Block::Mlp(b) => mlp::lower(&mut cx, b, x),
            Block::JetBlock(b) => jet_block::lower(&mut cx, b, x),
            Block::Moe(b) => moe::lower(&mut cx, b, x),
        };
        cx.push(Op::Add { x: y, out: h });
    }
    if options.keep_hidden {
        keep(&mut p, h, format!("hidden.{}", spec.layers().count()));
    }
    let mut last = p.buffer("last", d, Rows::Outputs);
    if options.keep_hidden {
        // All rows are wanted normed, so the norm comes before the choice of rows.
        let all = p.buffer("final_normed", d, Rows::Tokens);
        p.mark_output(all);
        p.push(None, Op::RmsNorm { x: h, weight: own(Role::FinalNorm), eps: spec.norm_eps, out: all });
        p.push(None, Op::Gather { x: all, out: last });
    } else {
        p.push(None, Op::Gather { x: h, out: last });
        let normed = p.buffer("last_normed", d, Rows::Outputs);
        p.push(None, Op::RmsNorm { x: last, weight: own(Role::FinalNorm), eps: spec.norm_eps, out: normed });
        last = normed;
    }
    let logits = p.buffer(LOGITS, spec.vocab as usize, Rows::Outputs);
    p.mark_output(logits);
    let head = own(if spec.tie_embeddings { Role::Embedding } else { Role::LmHead });
    let part = LinearPart { weight: head, bias: None, rows: spec.vocab as usize };
    p.push(
        None,
        Op::Linear(Linear {
            x: last,
            parts: vec![part],
            out: logits,
            accumulate: false,
            exact: false,
            act: None,
        }),
    );
    p
}

fn keep(p: &mut Program, h: View, name: String) {
    let out = p.buffer(name, h.width, Rows::Tokens);
    p.mark_output(out);
    p.push(None, Op::Copy { x: h, out });
}

/// What a block's lowering works with.
struct BlockCx<'a> {
    p: &'a mut Program,
    spec: &'a ModelSpec,
    layer: u32,
    h: View,
}

impl BlockCx<'_> {
    fn weight(&self, role: Role) -> WeightRef {
        WeightRef { layer: Some(self.layer), role }
    }

    fn buffer(&mut self, name: &str, width: usize) -> View {
        let name = format!("{}.{name}", self.layer);
        self.p.buffer(name, width, Rows::Tokens)
    }

    fn state(&mut self, name: &str, shape: crate::program::StateShape) -> crate::op::StateId {
        let name = format!("{}.{name}", self.layer);
        self.p.state(name, self.layer, shape)
    }

    fn push(&mut self, op: Op) {
        self.p.push(Some(self.layer), op);
    }

    /// A projection of `x` into a buffer of its own.
    fn project(&mut self, x: View, name: &str, role: Role, bias: Option<Role>, rows: usize) -> View {
        let out = self.buffer(name, rows);
        self.project_into(x, role, bias, out);
        out
    }

    fn project_into(&mut self, x: View, role: Role, bias: Option<Role>, out: View) {
        let part =
            LinearPart { weight: self.weight(role), bias: bias.map(|b| self.weight(b)), rows: out.width };
        self.push(Op::Linear(Linear {
            x,
            parts: vec![part],
            out,
            accumulate: false,
            exact: false,
            act: None,
        }));
    }

    /// The block's last projection, back to the model's width.
    fn project_out(&mut self, x: View, role: Role, bias: Option<Role>) -> View {
        self.project(x, "out", role, bias, self.h.width)
    }
}
