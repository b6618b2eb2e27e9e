//! Neighbouring projections that read one input become one, with their outputs side by side in one buffer: the
//! input is read (and quantised) once, and a device has one long stream of weights instead of several short ones.

use crate::op::{BufId, Linear, Op, View};
use crate::program::{Buffer, Program, Rows};

pub(super) fn run(p: &mut Program) {
    let mut i = 0;
    while i < p.steps.len() {
        let mut end = i + 1;
        while end < p.steps.len() && mergeable(p, i, end) {
            end += 1;
        }
        if end - i > 1 {
            merge(p, i, end);
        }
        i += 1;
    }
    super::drop_unused_buffers(p);
}

fn mergeable(p: &Program, first: usize, next: usize) -> bool {
    let (Op::Linear(a), Op::Linear(b)) = (&p.steps[first].op, &p.steps[next].op) else { return false };
    let whole = |l: &Linear| {
        let buf = p.buf(l.out.buf);
        l.out.col == 0 && l.out.width == buf.width && !buf.output && buf.rows == Rows::Tokens
    };
    a.x == b.x && !a.accumulate && !b.accumulate && a.exact == b.exact && whole(a) && whole(b)
}

fn merge(p: &mut Program, first: usize, end: usize) {
    let mut parts = Vec::new();
    let mut moved: Vec<(BufId, usize)> = Vec::new();
    let (mut width, mut names) = (0, Vec::new());
    for step in p.steps.drain(first + 1..end).collect::<Vec<_>>().iter().map(|s| &s.op) {
        let Op::Linear(l) = step else { unreachable!("only linears were found mergeable") };
        parts.extend(l.parts.clone());
        moved.push((l.out.buf, 0));
    }
    let Op::Linear(head) = &p.steps[first].op else { unreachable!("only linears were found mergeable") };
    let mut head = head.clone();
    moved.insert(0, (head.out.buf, 0));
    for (buf, col) in &mut moved {
        *col = width;
        width += p.buf(*buf).width;
        names.push(p.buf(*buf).name.clone());
    }
    // "3.q", "3.k", "3.v" read as "3.q+k+v".
    let tail = names[1..].iter().map(|n| n.rsplit('.').next().unwrap_or(n));
    let name = std::iter::once(names[0].as_str()).chain(tail).collect::<Vec<_>>().join("+");
    let merged = BufId(p.buffers.len() as u32);
    p.buffers.push(Buffer { name, width, rows: Rows::Tokens, input: false, output: false });
    head.parts.extend(parts);
    head.out = View { buf: merged, col: 0, width };
    p.steps[first].op = Op::Linear(head);
    let place = |v: &mut View| {
        if let Some((_, col)) = moved.iter().find(|(b, _)| *b == v.buf) {
            *v = View { buf: merged, col: col + v.col, width: v.width };
        }
    };
    for step in &mut p.steps[first + 1..] {
        step.op.for_each_view(place);
    }
}
