//! `h += linear(x)`: a projection whose only reader is a residual add accumulates into the stream itself.

use crate::op::Op;
use crate::program::Program;

pub(super) fn run(p: &mut Program) {
    let mut i = 0;
    while i + 1 < p.steps.len() {
        let fused = match (&p.steps[i].op, &p.steps[i + 1].op) {
            (Op::Linear(l), Op::Add { x, out })
                if l.out == *x && !l.accumulate && only_reader(p, i + 1, l.out.buf) =>
            {
                let mut l = l.clone();
                l.out = *out;
                l.accumulate = true;
                Some(Op::Linear(l))
            }
            _ => None,
        };
        if let Some(op) = fused {
            p.steps[i].op = op;
            p.steps.remove(i + 1);
        }
        i += 1;
    }
    crate::fuse::drop_unused_buffers(p);
}

fn only_reader(p: &Program, reader: usize, buf: crate::op::BufId) -> bool {
    !p.buf(buf).output
        && p.steps.iter().enumerate().all(|(i, s)| i == reader || s.op.reads().iter().all(|v| v.buf != buf))
}
