//! Storage of the states that are plain float32: convolution columns and recurrent states.

use crate::cpu::conv;
use crate::cpu::exec::{Shared, SlotState, Stateful};
use crate::cpu::mat::MatMut;
use std::ops::Range;

/// The last `columns` columns of a convolution, held as `[columns, channels]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvState {
    pub(super) channels: usize,
    pub(super) columns: usize,
}

impl Stateful for ConvState {
    fn create(&self, _context: usize) -> SlotState {
        SlotState::Flat(Shared::new(self.channels * self.columns))
    }

    fn reset(&self, state: &mut SlotState, _first: usize) {
        state.flat_mut().as_mut_slice().fill(0.0);
    }

    fn export(&self, state: &mut SlotState) -> Vec<f32> {
        let mut out = vec![0.0; self.channels * self.columns];
        conv::export_state(state.flat_mut().as_mut_slice(), self.columns, &mut out);
        out
    }

    fn import(&self, state: &mut SlotState, values: &[f32]) -> Result<(), String> {
        check(values.len(), self.channels * self.columns)?;
        conv::import_state(values, self.columns, state.flat_mut().as_mut_slice());
        Ok(())
    }
}

/// Fails unless a state is given whole.
pub(super) fn check(found: usize, expected: usize) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found} values were given, it has {expected}")) }
}

/// Columns `cols` of a state `[rows, width]`.
///
/// # Safety
/// Nobody else touches these columns in this phase.
pub(super) unsafe fn flat_rows(state: &Shared, rows: usize, width: usize, cols: Range<usize>) -> MatMut<'_> {
    assert!(rows * width <= state.len() && cols.end <= width, "a state of {rows} rows of {width}");
    // SAFETY: in range, and the caller's promise.
    unsafe { MatMut::from_raw(state.ptr(cols.start), rows, cols.len(), width) }
}
