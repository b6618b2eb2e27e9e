//! How each buffer is stored, and the copies that make it so.
//!
//! In float32 everything is. In bfloat16 activations are, apart from what must not lose digits (kernels.md section 13):
//! the residual stream, logits, router scores, gates and their logarithms, inputs and outputs. An op that needs another
//! format than its buffer has works on a copy; a result written there is read from there.

use crate::kernel::Elem;
use crate::op::{BufId, Op, View};
use crate::program::{Buffer, Program, Step};
use serde::Serialize;

/// The arithmetic of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbers {
    /// float32 throughout.
    F32,
    /// bfloat16 matrices and activations, float32 sums and states.
    Bf16,
}

impl Numbers {
    /// The format of matrices, KV caches and most activations.
    pub fn elem(self) -> Elem {
        match self {
            Numbers::F32 => Elem::F32,
            Numbers::Bf16 => Elem::Bf16,
        }
    }
}

/// Operands that an op needs in float32.
fn floats(op: &Op) -> Vec<View> {
    match op {
        Op::JetGates { a, b, .. } => vec![*a, *b],
        Op::GatedDelta(d) => vec![d.g, d.beta],
        Op::Route { logits, ids, gates, .. } => vec![*logits, *ids, *gates],
        Op::Experts(e) => vec![e.ids, e.gates],
        Op::Linear(l) if l.exact => vec![l.out],
        _ => vec![],
    }
}

/// What an op adds to: the residual stream.
fn sums(op: &Op) -> Option<View> {
    match op {
        Op::Embed { out, .. } | Op::Add { out, .. } => Some(*out),
        Op::Linear(l) => l.accumulate.then_some(l.out),
        Op::Experts(e) => e.accumulate.then_some(e.out),
        _ => None,
    }
}

/// Operands that an op needs in the format of its matrices.
fn narrow(op: &Op) -> Vec<View> {
    match op {
        Op::Linear(l) if !l.exact => vec![l.x],
        Op::Experts(e) => vec![e.x],
        Op::DynamicConv { h, .. } => vec![*h],
        Op::Attention(a) => vec![a.q, a.k, a.v],
        _ => vec![],
    }
}

/// A part of a buffer that has its present values in a copy.
struct Moved {
    from: View,
    to: View,
    /// Whether the copy was written since.
    newer: bool,
}

/// The program with the copies it needs, and the format of each of its buffers.
pub fn typed(program: &Program, numbers: Numbers) -> (Program, Vec<Elem>) {
    let mut out = Program { steps: Vec::new(), ..program.clone() };
    if numbers == Numbers::F32 {
        out.steps = program.steps.clone();
        return (out, vec![Elem::F32; program.buffers.len()]);
    }
    let elems = (0..program.buffers.len()).map(|b| stored(program, BufId(b as u32), numbers)).collect();
    let mut pass = Pass { out, elems, moved: Vec::new() };
    for step in &program.steps {
        pass.step(step, numbers);
    }
    (pass.out, pass.elems)
}

/// How a buffer is stored: in float32 if a sum, an input, an output, or of use only to ops that need it so.
fn stored(program: &Program, buf: BufId, numbers: Numbers) -> Elem {
    let b = program.buf(buf);
    let of = |v: &View| v.buf == buf;
    let touched = |op: &Op| op.reads().iter().chain(&op.writes()).any(of);
    let summed = program.steps.iter().any(|s| sums(&s.op).iter().any(of));
    let mut users = program.steps.iter().filter(|s| touched(&s.op)).peekable();
    let only_floats = users.peek().is_some()
        && users.all(|s| {
            s.op.reads().iter().chain(&s.op.writes()).filter(|v| of(v)).all(|v| floats(&s.op).contains(v))
        });
    if b.input || b.output || summed || only_floats { Elem::F32 } else { numbers.elem() }
}

struct Pass {
    out: Program,
    elems: Vec<Elem>,
    moved: Vec<Moved>,
}

impl Pass {
    fn step(&mut self, step: &Step, numbers: Numbers) {
        let mut op = step.op.clone();
        let (reads, writes) = (op.reads(), op.writes());
        let needs: Vec<(View, Elem)> = floats(&op)
            .into_iter()
            .map(|v| (v, Elem::F32))
            .chain(narrow(&op).into_iter().map(|v| (v, numbers.elem())))
            .collect();
        for v in reads.iter().chain(&writes) {
            let need = needs.iter().find(|(n, _)| n == v).map(|(_, e)| *e);
            let to = self.place(*v, need, reads.contains(v), step.layer);
            if to != *v {
                op.for_each_view(|o| {
                    if *o == *v {
                        *o = to;
                    }
                });
                if writes.contains(v)
                    && let Some(m) = self.moved.iter_mut().find(|m| m.to == to)
                {
                    m.newer = true;
                }
            }
        }
        // What is written in its own place makes older copies of it stale.
        let in_place = op.writes();
        self.moved
            .retain(|m| m.newer && in_place.contains(&m.to) || !writes.iter().any(|w| w.overlaps(m.from)));
        self.out.steps.push(Step { op, layer: step.layer });
    }

    /// Where the op finds `v` in a format that suits it.
    fn place(&mut self, v: View, need: Option<Elem>, read: bool, layer: Option<u32>) -> View {
        let stored = self.elems[v.buf.0 as usize];
        let fits = |elem: Elem| need.is_none_or(|n| n == elem);
        if let Some(m) = self.moved.iter().find(|m| m.from == v)
            && (m.newer || need.is_some())
            && fits(self.elems[m.to.buf.0 as usize])
        {
            return m.to;
        }
        self.write_back(v, layer);
        if fits(stored) {
            return v;
        }
        let elem = need.unwrap_or(stored);
        let name = format!("{}.{}.{elem}", self.out.buf(v.buf).name, self.out.buffers.len());
        let rows = self.out.buf(v.buf).rows;
        let to = View { buf: BufId(self.out.buffers.len() as u32), col: 0, width: v.width };
        self.out.buffers.push(Buffer { name, width: v.width, rows, input: false, output: false });
        self.elems.push(elem);
        if read {
            self.out.push(layer, Op::Copy { x: v, out: to });
        }
        self.moved.push(Moved { from: v, to, newer: false });
        to
    }

    /// Brings results that overlap `v` and lie in copies back to where they belong.
    fn write_back(&mut self, v: View, layer: Option<u32>) {
        for m in &mut self.moved {
            if m.newer && m.from.overlaps(v) {
                self.out.steps.push(Step { op: Op::Copy { x: m.to, out: m.from }, layer });
                m.newer = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{GatedDelta, StateId, Unary};
    use crate::program::{Rows, StateShape};
    use jet_dsl::weight::{Role, WeightRef};

    fn weight() -> WeightRef {
        WeightRef { layer: Some(0), role: Role::Norm }
    }

    /// A buffer of six columns of which two are gates: raw in the buffer, their logs in a copy.
    fn gated() -> (Program, View) {
        let mut p = Program::new("gates");
        let x = p.input("x", 6);
        let all = p.buffer("all", 6, Rows::Tokens);
        p.push(None, Op::Unary { f: Unary::Silu, x, out: all });
        let (a, b) = (all.slice(4, 1), all.slice(5, 1));
        p.push(None, Op::JetGates { a, b, a_log: weight(), dt_bias: weight() });
        let state: StateId = p.state("s", 0, StateShape::Recurrent { heads: 1, rows: 1, cols: 2 });
        let out = p.buffer("out", 2, Rows::Tokens);
        p.mark_output(out);
        p.push(
            None,
            Op::GatedDelta(GatedDelta {
                q: all.slice(0, 1),
                k: all.slice(1, 1),
                v: all.slice(2, 2),
                g: a,
                beta: b,
                out,
                state,
                heads: 1,
                d_key: 1,
                d_value: 2,
                scale: 1.0,
                l2_eps: 1e-6,
            }),
        );
        (p, a)
    }

    #[test]
    fn results_in_a_float_copy_are_read_from_there() {
        let (p, a) = gated();
        let (typed, elems) = typed(&p, Numbers::Bf16);
        let names: Vec<_> = typed.steps.iter().map(|s| s.op.name()).collect();
        assert_eq!(names, ["unary", "copy", "copy", "jet_gates", "gated_delta"]);
        let Op::GatedDelta(d) = &typed.steps[4].op else { panic!("the last op is the rule") };
        let Op::JetGates { a: gate, .. } = &typed.steps[3].op else { panic!("the gates come before") };
        assert_eq!(d.g, *gate);
        assert_ne!(d.g.buf, a.buf);
        assert_eq!(elems[d.g.buf.0 as usize], Elem::F32);
        assert_eq!(elems[d.q.buf.0 as usize], Elem::Bf16);
    }

    #[test]
    fn what_needs_another_part_sees_the_results_too() {
        let (mut p, a) = gated();
        let whole = View { buf: a.buf, col: 0, width: 6 };
        let after = p.buffer("after", 6, Rows::Tokens);
        p.push(None, Op::Copy { x: whole, out: after });
        let (typed, _) = typed(&p, Numbers::Bf16);
        let names: Vec<_> = typed.steps.iter().map(|s| s.op.name()).collect();
        assert_eq!(names[5..], ["copy", "copy", "copy"]);
        assert_eq!(typed.steps[5].op.writes()[0], a);
    }

    #[test]
    fn float32_changes_nothing() {
        let (p, _) = gated();
        let (typed, elems) = typed(&p, Numbers::F32);
        assert_eq!(typed, p);
        assert!(elems.iter().all(|e| *e == Elem::F32));
    }
}
