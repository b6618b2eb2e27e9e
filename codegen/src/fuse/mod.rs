//! Rewrites of a program that every device profits from: one file each, one line in [`PASSES`].

mod activation;
mod merge_projections;
mod residual;

use crate::op::BufId;
use crate::program::Program;

/// A rewrite. It keeps what the program computes.
pub struct Pass {
    /// Name, as in plans.
    pub name: &'static str,
    /// Does it.
    pub run: fn(&mut Program),
}

/// In the order they run.
pub const PASSES: &[Pass] = &[
    Pass { name: "merge_projections", run: merge_projections::run },
    Pass { name: "residual", run: residual::run },
    Pass { name: "activation", run: activation::run },
];

/// Removes buffers that no step names, and renumbers the rest.
pub(crate) fn drop_unused_buffers(p: &mut Program) {
    let mut used = vec![false; p.buffers.len()];
    for s in &p.steps {
        for v in s.op.reads().into_iter().chain(s.op.writes()) {
            used[v.buf.0 as usize] = true;
        }
    }
    let mut new_id = vec![None; used.len()];
    let mut kept = Vec::new();
    for (i, b) in std::mem::take(&mut p.buffers).into_iter().enumerate() {
        if used[i] || b.input || b.output {
            new_id[i] = Some(BufId(kept.len() as u32));
            kept.push(b);
        }
    }
    p.buffers = kept;
    for s in &mut p.steps {
        s.op.for_each_view(|v| v.buf = new_id[v.buf.0 as usize].expect("a named buffer is kept"));
    }
}
