//! What the scans and the convolutions over time share: the strip layout of states, register tiles, vector
//! functions, decays and scratch. No kernel of its own.

mod decay;
mod math;
mod scratch;
mod strips;
mod tile;

#[cfg(test)]
pub(super) mod testing;

pub(super) use decay::{exp_of_difference, exp_sums, prefix_sums};
pub(super) use math::{load, softplus, store};
pub(super) use scratch::{Carver, SLACK};
pub(super) use strips::{block_of, from_strips, split, split_mut, strips_len, to_strips, widths};
pub(super) use tile::{dots, mac_columns, mac_packed, mac_rows, most_strips, registers};

/// Columns of a strip: the lanes of one vector.
pub(super) const LANES: usize = 16;

/// `n` rounded up to whole strips.
pub(super) const fn padded(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// A parameter tensor that does not have the size its block asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{tensor}` has {found} values, expected {expected}; check the weights against the model's sizes")]
pub struct SizeError {
    /// Which tensor.
    pub tensor: &'static str,
    /// How many values it has.
    pub found: usize,
    /// How many it must have.
    pub expected: usize,
}

/// Fails unless `found` is `expected`.
pub(super) fn check_len(tensor: &'static str, found: usize, expected: usize) -> Result<(), SizeError> {
    if found == expected { Ok(()) } else { Err(SizeError { tensor, found, expected }) }
}

/// How one piece of a segment is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Token by token.
    Step,
    /// As one chunk.
    Chunk,
}

/// Tokens that one pass of the token loop prepares together.
pub(super) const STEP_PIECE: usize = 64;

/// Cuts a segment into pieces `(first token, tokens, form)`: the token loop for segments (and last chunks) of
/// at most `steps` tokens, chunks of `chunk` tokens otherwise.
pub(super) fn pieces(
    tokens: usize,
    chunk: usize,
    steps: usize,
) -> impl Iterator<Item = (usize, usize, Form)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = tokens - at;
        if left == 0 {
            return None;
        }
        let n = left.min(chunk);
        let piece = if tokens <= steps {
            (at, left.min(STEP_PIECE), Form::Step)
        } else if n < chunk && n <= steps {
            (at, n.min(STEP_PIECE), Form::Step)
        } else {
            (at, n, Form::Chunk)
        };
        at += piece.1;
        Some(piece)
    })
}

/// What a scan costs by its pieces: `step` for each token that goes alone, `chunk(n)` for a chunk of `n`.
pub(super) fn cost(
    tokens: usize,
    (size, steps): (usize, usize),
    step: f64,
    chunk: impl Fn(f64) -> f64,
) -> f64 {
    let of = |(_, n, form): (usize, usize, Form)| match form {
        Form::Step => n as f64 * step,
        Form::Chunk => chunk(n as f64),
    };
    pieces(tokens, size, steps).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_token_once_in_order() {
        for tokens in 0..300 {
            for chunk in [8, 16, 64, 128] {
                for steps in [1, 4, 64, 1 << 20] {
                    let mut at = 0;
                    for (start, n, form) in pieces(tokens, chunk, steps) {
                        assert_eq!(start, at);
                        assert!(n >= 1 && n <= chunk.max(STEP_PIECE));
                        assert!(form == Form::Step || n <= chunk);
                        assert!(n > 1 || form == Form::Step, "one token is always a step");
                        at += n;
                    }
                    assert_eq!(at, tokens);
                }
            }
        }
    }
}
