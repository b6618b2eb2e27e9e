//! The loops around the kernels: blocks of tokens, row tiles, pieces of k, groups.

use super::NumberPath;
use super::format::{Bf16, F32, Format, Quant, ROWS, with_plain, with_quant};
use super::kernel::bf16::{PairTile, ToPairs};
use super::kernel::float::FloatTile;
use super::kernel::int8::{Acts, Direct, PanelTile, Unpacked};
use super::kernel::unpack::{Decode, Unpack, Widen};
use super::kernel::{with_few, with_group};
use super::packed::PackedMatrix;
use super::prepared::{BLOCK, Form, Layout, Prepared, round_bf16};
use super::schedule::{FEW, Tuning};
use crate::cpu::mat::{Mat, MatMut};
use crate::cpu::pool::{Pool, Worker};
use crate::cpu::simd::bf16::dispatch_bf16;
use crate::cpu::simd::int8::dispatch_int8;
use crate::cpu::simd::{Features, dispatch};
use jet_numerics::DType;
use std::ops::Range;

/// Values along k that are unpacked at a time: 16 KiB of float32.
const PIECE: usize = 256;
/// The same in bytes: 24 blocks, 17 KiB.
const INT8_PIECE: usize = 768;
/// Row tiles whose sums are kept before they go to the output.
const DIRECT_RUN: usize = 16;
/// Room for the unpacked weights, in float32.
const PANEL_LEN: usize = {
    let float = PIECE * ROWS + PIECE / 2 * ROWS;
    let int8 = INT8_PIECE / BLOCK * size_of::<Unpacked>() / size_of::<f32>();
    if float > int8 { float } else { int8 }
};

/// What becomes of the products.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added: one value per row of the whole matrix.
    pub bias: Option<&'a [f32]>,
    /// Add to what the output holds instead of replacing it.
    pub accumulate: bool,
}

/// A share of a multiplication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Row tiles of the matrix: columns of the output.
    pub tiles: Range<usize>,
    /// Token groups: rows of the output.
    pub groups: Range<usize>,
}

impl Part {
    /// Everything.
    pub fn whole(w: &PackedMatrix, layout: &Layout) -> Self {
        Self { tiles: 0..w.tiles(), groups: 0..layout.groups() }
    }

    /// Columns of the output.
    pub fn cols(&self, w: &PackedMatrix) -> Range<usize> {
        w.tile_rows(self.tiles.clone())
    }

    /// Rows of the output.
    pub fn rows(&self, layout: &Layout) -> Range<usize> {
        layout.tokens_of(self.groups.clone())
    }
}

/// The share of `worker`: row tiles where there are enough of them, else row tiles and tokens.
pub fn share(worker: &Worker<'_>, w: &PackedMatrix, layout: &Layout) -> Part {
    let (workers, tiles, groups) = (worker.count(), w.tiles(), layout.groups());
    // Split the tokens as well while a worker's row tiles would come out uneven by more than a fifth.
    let mut across = 1;
    while across * 2 <= groups && workers.is_multiple_of(across * 2) && tiles < 5 * (workers / across) {
        across *= 2;
    }
    let rows = workers / across;
    let (row, column) = (worker.id() % rows, worker.id() / rows);
    Part {
        tiles: crate::cpu::pool::share(row, rows, tiles, 1),
        groups: crate::cpu::pool::share(column, across, groups, 1),
    }
}

/// Scratch that [`matmul`] wants, in float32.
pub fn scratch_len(layout: &Layout, tuning: &Tuning) -> usize {
    let tokens = tuning.token_block.min(layout.tokens()) + super::prepared::MAX_GROUP;
    // A line more, so that the panel can begin at one.
    PANEL_LEN + tokens.max(DIRECT_RUN * FEW) * ROWS + ROWS
}

/// Multiplies `part`: the products of the prepared activations with the matrix go to `out`, which holds the part's
/// rows and columns and nothing else.
///
/// `scratch` is the worker's own, [`scratch_len`] long. Panics where shapes do not fit, or where the activations
/// were prepared for another number of values, or as bytes for a matrix that is no block format.
pub fn matmul(
    w: &PackedMatrix,
    x: Prepared<'_>,
    part: Part,
    out: MatMut<'_>,
    epilogue: Epilogue<'_>,
    tuning: &Tuning,
    scratch: &mut [f32],
) {
    let layout = x.layout;
    assert_eq!(layout.k(), w.cols(), "activations for another matrix");
    assert_eq!(
        (out.rows(), out.cols()),
        (part.rows(&layout).len(), part.cols(w).len()),
        "output of another part"
    );
    assert!(scratch.len() >= scratch_len(&layout, tuning), "too little scratch");
    let skip = scratch.as_ptr().addr().wrapping_neg() % 64 / size_of::<f32>();
    let (panel, sums) = scratch[skip..].split_at_mut(PANEL_LEN);
    let run = Run { w, x, part, out, epilogue, tuning, sums: sums.as_chunks_mut().0 };
    match layout.form() {
        Form::Int8 => with_quant!(
            w.format(),
            Q => run.int8::<Q>(bytemuck::cast_slice_mut(whole::<Unpacked>(panel))),
            else panic!("{} weights have no byte path", w.format())
        ),
        Form::Bf16Pairs => run.pairs(panel.as_chunks_mut().0),
        Form::F32 | Form::RoundedF32 => run.float(panel.as_chunks_mut().0),
    }
}

/// As much of `words` as is whole `T`s.
fn whole<T>(words: &mut [f32]) -> &mut [f32] {
    let per = size_of::<T>() / size_of::<f32>();
    let len = words.len() / per * per;
    &mut words[..len]
}

/// `x · Wᵀ` by all workers of `pool`, for callers without buffers of their own: benchmarks and tests.
pub fn linear(
    pool: &Pool,
    w: &PackedMatrix,
    x: Mat<'_>,
    path: NumberPath,
    tuning: &Tuning,
    features: Features,
) -> Vec<f32> {
    let layout = Layout::new(x.rows(), x.cols(), path, tuning.mt, features);
    let mut words = vec![0.0; layout.len()];
    layout.prepare(x, 0..layout.groups(), &mut words);
    let x = Prepared::new(layout, &words);
    // Each worker's part of the output, side by side as the parts are.
    type Slot = std::sync::Mutex<Option<(Part, Vec<f32>)>>;
    let parts: Vec<Slot> = (0..pool.workers()).map(|_| std::sync::Mutex::new(None)).collect();
    pool.run(|worker| {
        let part = share(worker, w, &layout);
        let (rows, cols) = (part.rows(&layout).len(), part.cols(w).len());
        let mut out = vec![f32::NAN; rows * cols];
        let mut scratch = vec![0.0; scratch_len(&layout, tuning)];
        let view = MatMut::new(&mut out, rows, cols);
        matmul(w, x, part.clone(), view, Epilogue::default(), tuning, &mut scratch);
        *parts[worker.id()].lock().expect("no worker panics with it") = Some((part, out));
    });
    let mut out = vec![f32::NAN; layout.tokens() * w.rows()];
    for (part, values) in parts.into_iter().filter_map(|p| p.into_inner().expect("no worker panicked")) {
        let (rows, cols) = (part.rows(&layout), part.cols(w));
        for (t, values) in rows.zip(values.chunks(cols.len().max(1))) {
            out[t * w.rows()..][cols.clone()].copy_from_slice(values);
        }
    }
    out
}

/// One call of [`matmul`].
struct Run<'a> {
    w: &'a PackedMatrix,
    x: Prepared<'a>,
    part: Part,
    out: MatMut<'a>,
    epilogue: Epilogue<'a>,
    tuning: &'a Tuning,
    /// Sums of a row tile, one vector per token of a block.
    sums: &'a mut [[f32; ROWS]],
}

impl Run<'_> {
    /// float32 arithmetic: plain numbers are widened, blocks decoded, float32 weights taken as they are.
    fn float(self, panel: &mut [[f32; ROWS]]) {
        let (w, x, k) = (self.w, self.x, self.w.cols());
        let isa = x.layout.features().isa;
        let rounded = x.layout.form() == Form::RoundedF32;
        let multiply =
            |weights: &[[f32; ROWS]], group: usize, range: Range<usize>, sums: &mut [[f32; ROWS]]| {
                with_group!(sums.len(), MT => {
                    let x = &x.group(group).as_chunks::<MT>().0[range];
                    let acc = sums.try_into().expect("a group has as many sums as tokens");
                    dispatch(isa, FloatTile { w: weights, x, acc });
                });
            };
        if w.format() == DType::F32 && !rounded {
            let weights = |tile, range: Range<usize>| &w.tiles_of::<F32>(tile..tile + 1)[range];
            self.each(
                k,
                (PIECE, 1),
                panel,
                |_, _, _| (),
                |_, tile, group, range, sums| {
                    multiply(weights(tile, range.clone()), group, range, sums);
                },
            );
        } else {
            let unpack = |tile, range: Range<usize>, panel: &mut [[f32; ROWS]]| {
                let panel = &mut panel[..range.len()];
                to_float(w, x.layout.features(), tile, range, panel);
                if rounded {
                    panel.as_flattened_mut().iter_mut().for_each(|v| *v = round_bf16(*v));
                }
            };
            self.each(k, (PIECE, BLOCK), panel, unpack, |panel, _, group, range, sums| {
                multiply(&panel[..range.len()], group, range, sums);
            });
        }
    }

    /// Pairs of bfloat16: weights that are so stored are taken as they are, others rounded.
    fn pairs(self, panel: &mut [[f32; ROWS]]) {
        let (w, x) = (self.w, self.x);
        let pairs = w.cols().div_ceil(2);
        let multiply =
            |weights: &[[u32; ROWS]], group: usize, range: Range<usize>, sums: &mut [[f32; ROWS]]| {
                with_group!(sums.len(), MT => {
                    let x = &bytemuck::cast_slice(x.group(group)).as_chunks::<MT>().0[range];
                    let acc = sums.try_into().expect("a group has as many sums as tokens");
                    let done = dispatch_bf16(PairTile { w: weights, x, acc });
                    assert!(done.is_ok(), "pairs are prepared only where they can be multiplied");
                });
            };
        if w.format() == DType::Bf16 {
            let weights = |tile, range: Range<usize>| &w.tiles_of::<Bf16>(tile..tile + 1)[range];
            self.each(
                pairs,
                (PIECE, 1),
                panel,
                |_, _, _| (),
                |_, tile, group, range, sums| {
                    multiply(weights(tile, range.clone()), group, range, sums);
                },
            );
        } else {
            let unpack = |tile, range: Range<usize>, panel: &mut [[f32; ROWS]]| {
                let (float, pairs) = panel.split_at_mut(PIECE);
                let values = 2 * range.start..(2 * range.end).min(w.cols());
                let float = &mut float[..values.len()];
                to_float(w, x.layout.features(), tile, values, float);
                let done = dispatch_bf16(ToPairs { from: float, to: bytemuck::cast_slice_mut(pairs) });
                assert!(done.is_ok(), "pairs are prepared only where they can be multiplied");
            };
            self.each(pairs, (PIECE / 2, BLOCK / 2), panel, unpack, |panel, _, group, range, sums| {
                multiply(&bytemuck::cast_slice(&panel[PIECE..])[..range.len()], group, range, sums);
            });
        }
    }

    /// Byte arithmetic.
    fn int8<Q: Quant>(self, panel: &mut [Unpacked]) {
        if self.x.layout.tokens() <= FEW {
            return self.direct::<Q>();
        }
        let (w, x) = (self.w, self.x);
        let (isa, blocks) = (x.layout.features().int8, x.layout.blocks());
        let unpack = |tile, range: Range<usize>, panel: &mut [Unpacked]| {
            let tiles = w.tiles_of::<Q>(tile..tile + 1);
            dispatch_int8(isa, Unpack::<Q> { tiles, first: range.start, to: &mut panel[..range.len()] });
        };
        self.each(blocks, (INT8_PIECE / BLOCK, 1), panel, unpack, |panel, _, group, range, sums| {
            with_group!(sums.len(), MT => {
                let panel = &panel[..range.len()];
                let acts = Acts::<MT>::new(x.group(group), blocks).blocks(range);
                let acc = sums.try_into().expect("a group has as many sums as tokens");
                PanelTile { panel, acts, acc }.dispatch::<Q>(isa);
            });
        });
    }

    /// Byte arithmetic straight from the format, for one group of a few tokens.
    fn direct<Q: Quant>(mut self) {
        let (w, x) = (self.w, self.x);
        let (isa, blocks) = (x.layout.features().int8, x.layout.blocks());
        let (together, prefetch) = (self.tuning.tiles, self.tuning.prefetch);
        for _ in self.part.groups.clone() {
            let mut at = self.part.tiles.start;
            while at < self.part.tiles.end {
                let run = at..(at + DIRECT_RUN).min(self.part.tiles.end);
                let tokens = x.layout.tokens();
                with_few!(tokens, MT => {
                    let out = &mut self.sums[..run.len() * MT];
                    dispatch_int8(isa, Direct::<Q, MT> {
                        tiles: w.tiles_of::<Q>(run.clone()),
                        per: w.per_row_tile::<Q>(),
                        acts: Acts::new(x.words, blocks),
                        out: out.as_chunks_mut().0,
                        together,
                        prefetch,
                    });
                });
                for (i, tile) in run.clone().enumerate() {
                    self.store(tile, 0, i * tokens..(i + 1) * tokens);
                }
                at = run.end;
            }
        }
    }

    /// For every block of tokens and every row tile: unpacks at most `piece` units of k at a time, in pieces of about
    /// the same whole number of grains, and multiplies them with all groups of the block.
    fn each<P>(
        mut self,
        units: usize,
        (piece, grain): (usize, usize),
        panel: &mut [P],
        unpack: impl Fn(usize, Range<usize>, &mut [P]),
        multiply: impl Fn(&[P], usize, usize, Range<usize>, &mut [[f32; ROWS]]),
    ) {
        let layout = self.x.layout;
        let all = self.part.rows(&layout);
        let piece = units.div_ceil(units.div_ceil(piece).max(1)).next_multiple_of(grain);
        let mut at = self.part.groups.start;
        while at < self.part.groups.end {
            let mut end = at + 1;
            while end < self.part.groups.end && layout.tokens_of(at..end + 1).len() <= self.tuning.token_block
            {
                end += 1;
            }
            let tokens = layout.tokens_of(at..end);
            for tile in self.part.tiles.clone() {
                self.sums[..tokens.len()].fill([0.0; ROWS]);
                for start in (0..units).step_by(piece) {
                    let range = start..(start + piece).min(units);
                    unpack(tile, range.clone(), panel);
                    for group in at..end {
                        let t = layout.tokens_of(group..group + 1);
                        let sums = &mut self.sums[t.start - tokens.start..t.end - tokens.start];
                        multiply(panel, tile, group, range.clone(), sums);
                    }
                }
                self.store(tile, tokens.start - all.start, 0..tokens.len());
            }
            at = end;
        }
    }

    /// Brings the sums `sums` of row tile `tile` to the output's rows from `row` on.
    fn store(&mut self, tile: usize, row: usize, sums: Range<usize>) {
        let rows = self.w.tile_rows(tile..tile + 1);
        let first = self.w.tile_rows(self.part.tiles.clone()).start;
        let columns = rows.start - first..rows.end - first;
        let bias = self.epilogue.bias.map(|b| &b[rows]);
        for (t, sums) in self.sums[sums].iter_mut().enumerate() {
            let out = &mut self.out.row_mut(row + t)[columns.clone()];
            let sums = &mut sums[..out.len()];
            if let Some(bias) = bias {
                sums.iter_mut().zip(bias).for_each(|(s, b)| *s += b);
            }
            if self.epilogue.accumulate {
                out.iter_mut().zip(sums).for_each(|(o, s)| *o += *s);
            } else {
                out.copy_from_slice(sums);
            }
        }
    }
}

/// The values `range` of every row of a row tile as float32.
fn to_float(w: &PackedMatrix, features: Features, tile: usize, range: Range<usize>, to: &mut [[f32; ROWS]]) {
    with_plain!(
        w.format(),
        F => {
            // Pieces begin at even values, so at whole tiles.
            let tiles = &w.tiles_of::<F>(tile..tile + 1)[range.start / <F as Format>::LEN..];
            dispatch(features.isa, Widen::<F> { tiles, to });
        },
        else with_quant!(
            w.format(),
            Q => {
                let tiles = w.tiles_of::<Q>(tile..tile + 1);
                dispatch_int8(features.int8, Decode::<Q> { tiles, first: range.start / BLOCK, to });
            },
            else unreachable!("packed in a format that is listed")
        )
    );
}
