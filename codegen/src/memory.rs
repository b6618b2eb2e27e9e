//! The memory plan: where each buffer lives in one arena, storage shared by buffers whose lives do not meet.

use crate::program::{Program, Rows};
use serde::Serialize;

/// Offsets of all buffers in one arena, in units of float32 unless the planner was told otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// First element of each buffer; rows are `width` apart.
    pub offsets: Vec<usize>,
    /// Elements of the arena.
    pub elements: usize,
    /// Elements without sharing.
    pub unshared: usize,
}

/// Offsets are multiples of a cache line.
const ALIGN: usize = 16;

/// Plans `p` for at most `tokens` token rows and `outputs` output rows.
///
/// First fit by size: the largest buffers choose first. A buffer lives from its first to its last mention; inputs and
/// outputs, which are touched from outside, live for the whole program.
pub fn plan(p: &Program, tokens: usize, outputs: usize) -> MemoryPlan {
    plan_rows(p, tokens, outputs, ALIGN, |i| p.buffers[i].width)
}

/// The same in other units: a row of buffer `i` takes `row(i)` of them, and offsets are multiples of `align`.
pub fn plan_rows(
    p: &Program,
    tokens: usize,
    outputs: usize,
    align: usize,
    row: impl Fn(usize) -> usize,
) -> MemoryPlan {
    let life = lives(p);
    let size = |i: usize| {
        let rows = match p.buffers[i].rows {
            Rows::Tokens => tokens,
            Rows::Outputs => outputs,
        };
        (row(i) * rows).next_multiple_of(align)
    };
    let mut order: Vec<usize> = (0..p.buffers.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(size(*i)), *i));
    let mut offsets = vec![0; p.buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let mut busy: Vec<(usize, usize)> = placed
            .iter()
            .filter(|j| life[i].0 <= life[**j].1 && life[**j].0 <= life[i].1)
            .map(|j| (offsets[*j], offsets[*j] + size(*j)))
            .collect();
        busy.sort_unstable();
        let mut at = 0;
        for (start, end) in busy {
            if at + size(i) <= start {
                break;
            }
            at = at.max(end);
        }
        offsets[i] = at;
        placed.push(i);
    }
    let elements = (0..p.buffers.len()).map(|i| offsets[i] + size(i)).max().unwrap_or(0);
    MemoryPlan { offsets, elements, unshared: (0..p.buffers.len()).map(size).sum() }
}

/// First and last step that names each buffer.
fn lives(p: &Program) -> Vec<(usize, usize)> {
    let end = p.steps.len();
    let mut life = vec![(usize::MAX, 0); p.buffers.len()];
    for (i, s) in p.steps.iter().enumerate() {
        for v in s.op.reads().into_iter().chain(s.op.writes()) {
            let l = &mut life[v.buf.0 as usize];
            *l = (l.0.min(i), l.1.max(i));
        }
    }
    for (l, b) in life.iter_mut().zip(&p.buffers) {
        if b.input || b.output || l.0 == usize::MAX {
            *l = (0, end);
        }
    }
    life
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Op, Unary};

    #[test]
    fn buffers_that_never_meet_share_storage_and_the_others_do_not() {
        let mut p = Program::new("chain");
        let mut x = p.input("x", 32);
        for i in 0..6 {
            let out = p.buffer(format!("b{i}"), 64, Rows::Tokens).slice(0, 32);
            p.push(None, Op::Unary { f: Unary::Silu, x, out });
            x = out;
        }
        p.mark_output(x);
        let m = plan(&p, 10, 1);
        assert!(m.elements < m.unshared, "{m:?}");
        let life = lives(&p);
        let len = |i: usize| p.buffers[i].width * 10;
        for i in 0..p.buffers.len() {
            for j in 0..i {
                let meet = life[i].0 <= life[j].1 && life[j].0 <= life[i].1;
                let apart = m.offsets[i] + len(i) <= m.offsets[j] || m.offsets[j] + len(j) <= m.offsets[i];
                assert!(!meet || apart, "{i} and {j} live together in one place");
            }
        }
    }
}
