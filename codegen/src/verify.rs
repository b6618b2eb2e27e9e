//! What must hold of a program, checked after every rewrite.

use crate::op::{Activation, Op, View};
use crate::program::Program;
use std::collections::HashSet;

/// Checks that views lie inside their buffers, that everything read was written before (or comes from outside), that
/// a linear's parts fill its output, that no op writes over what it still reads, and that a state belongs to one op.
pub fn verify(p: &Program) -> Result<(), String> {
    let names: HashSet<_> = p.buffers.iter().map(|b| &b.name).collect();
    if names.len() != p.buffers.len() {
        return Err("two buffers have one name".into());
    }
    let mut written: Vec<Vec<bool>> = p.buffers.iter().map(|b| vec![b.input; b.width]).collect();
    let mut states = HashSet::new();
    for (i, step) in p.steps.iter().enumerate() {
        let at = |what: String| format!("step {i} ({}): {what}", step.op.name());
        for v in step.op.reads().into_iter().chain(step.op.writes()) {
            let b = p.buf(v.buf);
            if v.width == 0 || v.col + v.width > b.width {
                return Err(at(format!(
                    "columns {}..{} of {} (width {})",
                    v.col,
                    v.col + v.width,
                    b.name,
                    b.width
                )));
            }
        }
        for v in step.op.reads() {
            if let Some(c) = (v.col..v.col + v.width).find(|c| !written[v.buf.0 as usize][*c]) {
                return Err(at(format!("reads column {c} of {} before it is written", p.buf(v.buf).name)));
            }
        }
        for v in step.op.writes() {
            written[v.buf.0 as usize][v.col..v.col + v.width].fill(true);
        }
        if let Op::Linear(l) = &step.op {
            let rows: usize = l.parts.iter().map(|p| p.rows).sum();
            if rows != l.out.width {
                return Err(at(format!("{rows} rows of weights for {} columns", l.out.width)));
            }
            if l.act.is_some() && l.accumulate {
                return Err(at("what is added to an output passes no activation".into()));
            }
            if matches!(l.act, Some(Activation::Glu(_)))
                && !matches!(l.parts.as_slice(), [gate, up] if gate.rows == up.rows)
            {
                return Err(at("a gate and what it lets through are two parts of one width".into()));
            }
        }
        if let Some((r, w)) = hazard(&step.op) {
            return Err(at(format!("writes columns {}.. of what it reads from {}..", w.col, r.col)));
        }
        if let Some(s) = step.op.state()
            && (s.0 as usize >= p.states.len() || !states.insert(s))
        {
            return Err(at("its state is unknown or used twice".into()));
        }
    }
    Ok(())
}

/// A read that the op's own write would spoil. Elementwise ops may work in place; the others may not.
fn hazard(op: &Op) -> Option<(View, View)> {
    let in_place = matches!(
        op,
        Op::HeadNorm { .. }
            | Op::Rope { .. }
            | Op::JetGates { .. }
            | Op::GatedNorm { .. }
            | Op::Unary { .. }
            | Op::Glu { .. }
            | Op::Add { .. }
            | Op::RmsNorm { .. }
    );
    let accumulates = |r: View, w: View| match op {
        Op::Linear(l) => l.accumulate && r == w,
        Op::Experts(e) => e.accumulate && r == w,
        _ => false,
    };
    let pairs = op.reads().into_iter().flat_map(|r| op.writes().into_iter().map(move |w| (r, w)));
    pairs.into_iter().find(|(r, w)| r.overlaps(*w) && !accumulates(*r, *w) && !(in_place && r == w))
}
