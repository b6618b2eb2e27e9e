//! States after a run: convolution columns, recurrent states, keys and values.

use super::Model;
use super::runs::Run;
use crate::check::expect::{Expectations, Part};
use crate::check::tally::Tallies;
use anyhow::{Result, ensure};
use jet_codegen::op::StateId;
use jet_codegen::program::{Program, StateShape};

/// Announces the run's state tensors: `cache.<layer>.conv`, `.ssm`, `.k`, `.v`, or `cache.k<layer>`, `cache.v<layer>`.
pub(super) fn expect(
    model: &Model<'_>,
    run: &Run,
    first_stream: usize,
    program: &Program,
    expect: &mut Expectations,
    tallies: &mut Tallies,
) -> Result<()> {
    let step = model.spec.naming.blocks_per_layer();
    for (i, state) in program.states.iter().enumerate() {
        let (id, layer) = (StateId(i as u32), state.layer as usize / step);
        let parts: &[(&str, Part)] = match state.shape {
            StateShape::Conv { .. } => &[("conv", Part::Whole)],
            StateShape::Recurrent { .. } => &[("ssm", Part::Whole)],
            StateShape::Kv { .. } => &[("k", Part::Keys), ("v", Part::Values)],
        };
        for (name, part) in parts {
            for tensor in [format!("cache.{layer}.{name}"), format!("cache.{name}{layer}")] {
                let tensor = run.name(&tensor);
                if model.case.has(&tensor) {
                    one(model, run, (first_stream, id), state.shape, (*part, &tensor), expect, tallies)?;
                }
            }
        }
    }
    Ok(())
}

fn one(
    model: &Model<'_>,
    run: &Run,
    (first_stream, id): (usize, StateId),
    shape: StateShape,
    (part, tensor): (Part, &str),
    expect: &mut Expectations,
    tallies: &mut Tallies,
) -> Result<()> {
    let array = model.case.array(tensor)?;
    let (rows, size) = (run.rows.len(), array.inner(1));
    // Of a KV cache the tensor has every token of the run, the state those that the window kept.
    let per_token = match shape {
        StateShape::Kv { kv_heads, d_head, .. } => kv_heads * d_head,
        StateShape::Conv { .. } | StateShape::Recurrent { .. } => 0,
    };
    let wanted = match shape {
        StateShape::Conv { channels, columns } => vec![rows, channels, columns],
        StateShape::Recurrent { heads, rows: r, cols } => vec![rows, heads, r, cols],
        StateShape::Kv { kv_heads, d_head, .. } => vec![rows, run.padded, kv_heads, d_head],
    };
    ensure!(array.shape == wanted, "`{tensor}` has shape {:?}, expected {wanted:?}", array.shape);
    tallies.expect(tensor, array, model.judges.inner);
    for (b, row) in run.rows.iter().enumerate() {
        let mut lost = 0;
        if let StateShape::Kv { window, .. } = shape {
            let kept = window.map_or(row.len(), |w| w.min(row.len()));
            lost = run.padded - kept;
        }
        tallies.excuse(tensor, b * size, lost * per_token);
        expect.state((first_stream + b, row.len()), id, part, tensor, b * size + lost * per_token);
    }
    Ok(())
}
