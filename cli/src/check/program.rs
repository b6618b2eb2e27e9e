//! Programs for checks: naming weights, and looking inside a program that was lowered.

use anyhow::{Result, anyhow};
use jet_codegen::fuse;
use jet_codegen::op::{BufId, Op, View};
use jet_codegen::program::{Program, Rows, Step};
use jet_codegen::verify::verify;
use jet_dsl::weight::{Role, WeightRef};

/// The weight `role` of block 0, as the one-op programs use.
pub fn weight(role: Role) -> WeightRef {
    WeightRef { layer: Some(0), role }
}

/// Inserts a copy of `view` into a new output buffer `name` in front of step `at`.
pub fn expose(p: &mut Program, at: usize, view: View, name: &str) {
    let rows = p.buf(view.buf).rows;
    let out = p.buffer(name, view.width, rows);
    p.mark_output(out);
    let layer = p.steps.get(at.min(p.steps.len().saturating_sub(1))).and_then(|s| s.layer);
    p.steps.insert(at, Step { op: Op::Copy { x: view, out }, layer });
}

/// A copy of `input`, which an op may then change in place.
pub fn copied(p: &mut Program, input: View, name: &str) -> View {
    let out = p.buffer(name, input.width, Rows::Tokens);
    p.push(Some(0), Op::Copy { x: input, out });
    out
}

/// Runs the rewrites that every loaded program has been through.
///
/// # Errors
/// Where the program, or what a rewrite made of it, breaks a rule of programs.
pub fn rewrite(p: &mut Program) -> Result<()> {
    verify(p).map_err(|e| anyhow!("the program of the check is wrong: {e}"))?;
    for pass in fuse::PASSES {
        (pass.run)(p);
        verify(p).map_err(|e| anyhow!("rewrite {} broke the program of the check: {e}", pass.name))?;
    }
    Ok(())
}

/// The buffer `name`.
pub fn buffer(p: &Program, name: &str) -> Result<BufId> {
    p.find_buffer(name).ok_or_else(|| anyhow!("the program has no buffer `{name}`"))
}
