//! Ragged batches and the states of their sequences.

use crate::case::{Batch, Content, Operand, Segment};
use crate::dice::Dice;
use jet_codegen::kernel::Elem;

/// Sequences of up to `longest` new tokens in slots of any order; every other batch has one new token each.
pub fn batch(d: &mut Dice, most: usize, longest: usize) -> Batch {
    let n = 1 + d.below(most);
    let longest = if d.flip() { 1 } else { longest };
    let mut slots: Vec<usize> = (0..n + 1).collect();
    for i in (1..slots.len()).rev() {
        slots.swap(i, d.below(i + 1));
    }
    let segment = |slot: usize, d: &mut Dice| Segment {
        slot,
        len: 1 + d.below(longest),
        past: d.of(&[0, 1, 9]),
        first: d.of(&[0, 5]),
    };
    Batch { segments: slots[..n].iter().map(|s| segment(*s, d)).collect(), ..Batch::default() }
}

/// Slots of the states: one more than there are sequences, so that one must stay as it is.
pub fn slots(batch: &Batch) -> usize {
    batch.segments.len() + 1
}

/// The states `state` of all sequences, each `rows` by `cols` of f32 without gaps.
pub fn states(d: &mut Dice, (rows, cols): (usize, usize), batch: &Batch) -> Operand {
    let n = slots(batch);
    let values = (0..n * rows * cols).map(|_| f64::from(d.unit() as f32)).collect();
    Operand {
        role: "state",
        elem: Elem::F32,
        rows,
        cols,
        stride: cols,
        lead: 8 * d.below(2),
        slots: Some(((rows * cols).next_multiple_of(4) + 4 * d.below(3), n)),
        content: Content::Values(values),
    }
}
