//! `act(linear(x))` and `act(gate(x)) · up(x)`: an activation right behind the projection that made its operand is applied
//! to the sums while they are in registers.

use crate::op::{Activation, Linear, Op, View};
use crate::program::Program;
use jet_dsl::block::Act;

pub(super) fn run(p: &mut Program) {
    let mut i = 0;
    while i + 1 < p.steps.len() {
        let act = match (&p.steps[i].op, &p.steps[i + 1].op) {
            (Op::Linear(l), next) if !l.accumulate && l.act.is_none() => fused(p, i, l, next),
            _ => None,
        };
        if let (Some(act), Op::Linear(l)) = (act, &mut p.steps[i].op) {
            l.act = Some(act);
            p.steps.remove(i + 1);
        }
        i += 1;
    }
}

/// What `next` applies to all that `l` has made, where nobody else needs it as it was.
fn fused(p: &Program, step: usize, l: &Linear, next: &Op) -> Option<Activation> {
    match *next {
        Op::Unary { f, x, out } if x == l.out && out == l.out => Some(Activation::Unary(f)),
        Op::Glu { gate, up, act: act @ (Act::Swiglu | Act::Geglu), out } => {
            let width = gate.width;
            let halves = l.out.width == 2 * width && l.parts.len() == 2 && l.parts[0].rows == width;
            let there = halves && gate == l.out.slice(0, width) && up == l.out.slice(width, width);
            (there && out == gate && unread(p, step + 1, up)).then_some(Activation::Glu(act))
        }
        _ => None,
    }
}

/// Whether `reader` is the only step that reads of `v`.
fn unread(p: &Program, reader: usize, v: View) -> bool {
    let reads = |i: usize| p.steps[i].op.reads().iter().any(|r| r.overlaps(v));
    !p.buf(v.buf).output && (0..p.steps.len()).all(|i| i == reader || !reads(i))
}
