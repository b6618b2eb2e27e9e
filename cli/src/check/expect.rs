//! What should come of a rig: which rows and states are which part of which expected tensor.

use super::rig::LaneResult;
use super::tally::Tallies;
use jet_codegen::op::StateId;

/// Rows of a watched buffer that are part of an expected tensor.
#[derive(Clone, Debug)]
struct Span {
    stream: usize,
    watch: usize,
    first: usize,
    rows: usize,
    tensor: String,
    offset: usize,
}

/// A state that, after some tokens, is part of an expected tensor.
#[derive(Clone, Debug)]
struct Point {
    stream: usize,
    tokens: usize,
    state: StateId,
    tensor: String,
    offset: usize,
    part: Part,
}

/// Which part of a state is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The keys of a KV cache.
    Keys,
    /// Its values.
    Values,
}

/// All expectations of a rig.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    spans: Vec<Span>,
    points: Vec<Point>,
}

impl Expectations {
    /// Rows `first..first + rows` of stream `stream` in watched buffer `watch` are `tensor` from `offset` on.
    pub fn rows(
        &mut self,
        stream: usize,
        watch: usize,
        first: usize,
        rows: usize,
        tensor: &str,
        offset: usize,
    ) {
        self.spans.push(Span { stream, watch, first, rows, tensor: tensor.to_owned(), offset });
    }

    /// Watched buffer `watch` of stream `b` is `tensor[b]`, where the tensor is `[streams, tokens, width]`.
    pub fn batch(&mut self, watch: usize, tensor: &str, lengths: &[usize], width: usize) {
        let mut offset = 0;
        for (stream, n) in lengths.iter().enumerate() {
            self.rows(stream, watch, 0, *n, tensor, offset);
            offset += n * width;
        }
    }

    /// After `tokens` tokens of stream `stream`, `part` of `state` is `tensor` from `offset` on.
    pub fn state(&mut self, at: (usize, usize), state: StateId, part: Part, tensor: &str, offset: usize) {
        let (stream, tokens) = at;
        self.points.push(Point { stream, tokens, state, tensor: tensor.to_owned(), offset, part });
    }

    /// At the end of stream `b`, `state` is `tensor[b]`, of `size` values.
    pub fn final_states(&mut self, state: StateId, tensor: &str, lengths: &[usize], size: usize) {
        for (stream, n) in lengths.iter().enumerate() {
            self.state((stream, *n), state, Part::Whole, tensor, stream * size);
        }
    }

    /// Whether somebody wants to know the states of `stream` after `tokens` tokens.
    pub fn wants_states(&self, stream: usize, tokens: usize) -> bool {
        self.points.iter().any(|p| p.stream == stream && p.tokens == tokens)
    }

    /// Compares what came of a lane; `widths` are those of the watched buffers.
    pub fn compare(&self, form: &str, lane: &LaneResult, widths: &[usize], tallies: &mut Tallies) {
        for s in self.spans.iter().filter(|s| s.stream == lane.stream) {
            let width = widths[s.watch];
            let got = lane.outputs[s.watch].get(s.first * width..(s.first + s.rows) * width);
            tallies.compare(&s.tensor, form, s.offset, got.unwrap_or_default());
        }
        for p in self.points.iter().filter(|p| p.stream == lane.stream) {
            for (_, states) in lane.states.iter().filter(|(tokens, _)| *tokens == p.tokens) {
                let whole = states.get(p.state.0 as usize).map_or(&[][..], Vec::as_slice);
                let got = match p.part {
                    Part::Whole => whole,
                    Part::Keys => &whole[..whole.len() / 2],
                    Part::Values => &whole[whole.len() / 2..],
                };
                tallies.compare(&p.tensor, form, p.offset, got);
            }
        }
    }
}
