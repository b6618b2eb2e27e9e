//! Weight matrices in tiles of 16 rows.

use super::error::PackError;
use super::format::{Format, ROWS, with_format};
use crate::cpu::arena::{Arena, Piece};
use crate::cpu::pool::Pool;
use jet_numerics::{DType, dequantize_row};
use std::ops::Range;

/// Rows of a matrix as a file stores them.
#[derive(Clone, Copy, Debug)]
pub struct WeightRows<'a> {
    /// Format of the values.
    pub dtype: DType,
    /// The stored rows, one after the other.
    pub bytes: &'a [u8],
    /// Rows of this part.
    pub rows: usize,
    /// Where the rows are stored in another order: row `r` is at stored row `row_map[r]`.
    pub row_map: Option<&'a [u32]>,
}

/// A matrix `[rows, k]` that can be multiplied with, in as many bytes as its format has.
///
/// The last tile is padded to 16 rows with zeros.
#[derive(Debug)]
pub struct PackedMatrix {
    format: DType,
    rows: usize,
    k: usize,
    data: Piece,
}

/// Packs matrices: where their memory comes from and who does the work.
#[derive(Clone, Debug, Default)]
pub struct Packer<'a> {
    /// Memory; matrices of one arena share its huge pages.
    pub arena: Arena,
    /// The workers; without them the caller packs alone.
    pub pool: Option<&'a Pool>,
}

impl PackedMatrix {
    /// Packs `parts`, all of one format with rows of `k` values, stacked in order, on the calling thread and in
    /// memory of their own. See [`Packer::pack`].
    pub fn pack(parts: &[WeightRows<'_>], k: usize) -> Result<Self, PackError> {
        Packer::default().pack(parts, k)
    }

    /// Rows, without the padding.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values in a row.
    pub fn cols(&self) -> usize {
        self.k
    }

    /// Format of the values: that of the parts, or float32 for float64.
    pub fn format(&self) -> DType {
        self.format
    }

    /// Bytes of memory, which decode reads once per token.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Number of row tiles: 16 rows each, the last one padded.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// The rows of the row tiles `tiles`: the columns of the output that they make.
    pub fn tile_rows(&self, tiles: Range<usize>) -> Range<usize> {
        (tiles.start * ROWS).min(self.rows)..(tiles.end * ROWS).min(self.rows)
    }

    /// The values of row `r` as float32, exactly as the format defines them. Panics where there is no such row or
    /// `out` is not `k` long.
    pub fn row_f32(&self, r: usize, out: &mut [f32]) {
        assert!(r < self.rows && out.len() == self.k, "row {r} of {} with {} values", self.rows, out.len());
        with_format!(self.format, F => self.decode_row::<F>(r, out), else unreachable!("packed in a format that is listed"))
    }

    /// The tiles of the row tiles `tiles`, the ones of a row tile side by side.
    pub(super) fn tiles_of<F: Format>(&self, tiles: Range<usize>) -> &[F::Tile] {
        assert_eq!(F::DTYPE, self.format, "a kernel for another format");
        let all: &[F::Tile] = bytemuck::cast_slice(&self.data);
        let per = self.per_row_tile::<F>();
        &all[tiles.start * per..tiles.end * per]
    }

    /// Tiles in a row tile.
    pub(super) fn per_row_tile<F: Format>(&self) -> usize {
        self.k.div_ceil(F::LEN)
    }

    fn decode_row<F: Format>(&self, r: usize, out: &mut [f32]) {
        let tiles = self.tiles_of::<F>(r / ROWS..r / ROWS + 1);
        let mut bytes = [0; 256];
        for (tile, out) in tiles.iter().zip(out.chunks_mut(F::LEN)) {
            let stored = F::DTYPE.row_bytes(out.len()).expect("rows were checked to be whole blocks");
            let block = &mut bytes[..stored];
            F::block(tile, r % ROWS, block);
            dequantize_row(F::DTYPE, block, out).expect("the block has the bytes of its values");
        }
    }
}

impl Packer<'_> {
    /// Packs `parts`, all of one format with rows of `k` values, stacked in order. Blocks formats want `k` in whole
    /// blocks; plain types take any. Every fault of the parts is an error that names the part.
    pub fn pack(&self, parts: &[WeightRows<'_>], k: usize) -> Result<PackedMatrix, PackError> {
        let rows = parts.iter().fold(0usize, |n, p| n.saturating_add(p.rows));
        let Some(first) = parts.first().filter(|_| rows > 0 && k > 0) else {
            return Err(PackError::Empty { rows, k });
        };
        check(parts, first.dtype, k)?;
        if first.dtype == DType::F64 {
            return self.pack_f64(parts, k);
        }
        with_format!(
            first.dtype,
            F => self.pack_as::<F>(parts, rows, k),
            else Err(PackError::NotAWeight { dtype: first.dtype })
        )
    }

    fn pack_as<F: Format>(
        &self,
        parts: &[WeightRows<'_>],
        rows: usize,
        k: usize,
    ) -> Result<PackedMatrix, PackError> {
        let row_tile = k.div_ceil(F::LEN) * size_of::<F::Tile>();
        let bytes = row_tile.saturating_mul(rows.div_ceil(ROWS));
        let mut data = self.arena.take(bytes).ok_or(PackError::OutOfMemory { bytes })?;
        let pack = |t: usize, out: &mut [u8]| {
            let mut blocks = std::array::from_fn(|i| stored_row(parts, t * ROWS + i, k));
            pack_row_tile::<F>(&mut blocks, bytemuck::cast_slice_mut(out));
        };
        match self.pool {
            Some(pool) => pool.for_each_piece(&mut data, row_tile, pack),
            None => data.chunks_mut(row_tile).enumerate().for_each(|(t, out)| pack(t, out)),
        }
        Ok(PackedMatrix { format: F::DTYPE, rows, k, data })
    }

    /// float64 weights are kept as float32.
    fn pack_f64(&self, parts: &[WeightRows<'_>], k: usize) -> Result<PackedMatrix, PackError> {
        let narrow = |b: &[u8; 8]| (f64::from_le_bytes(*b) as f32).to_le_bytes();
        let stored: Vec<Vec<u8>> =
            parts.iter().map(|p| p.bytes.as_chunks().0.iter().flat_map(narrow).collect()).collect();
        let parts: Vec<_> = parts
            .iter()
            .zip(&stored)
            .map(|(p, bytes)| WeightRows { dtype: DType::F32, bytes, ..*p })
            .collect();
        self.pack(&parts, k)
    }
}

/// What holds of parts that can be packed.
fn check(parts: &[WeightRows<'_>], expected: DType, k: usize) -> Result<(), PackError> {
    for (part, p) in parts.iter().enumerate() {
        if p.dtype != expected {
            return Err(PackError::MixedFormats { part, expected, found: p.dtype });
        }
        if !p.dtype.is_weight() {
            return Err(PackError::NotAWeight { dtype: p.dtype });
        }
        let row = p.dtype.row_bytes(k).ok_or(PackError::RaggedRow { dtype: p.dtype, k })?;
        let stored = match p.row_map {
            Some(map) if map.len() != p.rows => {
                return Err(PackError::RowMap { part, rows: p.rows, found: map.len() });
            }
            // A map may leave stored rows out; the ones it names must be there.
            Some(map) => map.iter().max().map_or(0, |m| *m as usize + 1).max(p.bytes.len() / row),
            None => p.rows,
        };
        let bytes = row.saturating_mul(stored);
        if bytes != p.bytes.len() {
            let found = p.bytes.len();
            return Err(PackError::Bytes { part, dtype: p.dtype, stored, k, expected: bytes, found });
        }
    }
    Ok(())
}

/// The stored bytes of row `r` of the stacked parts; nothing beyond the last one.
fn stored_row<'a>(parts: &[WeightRows<'a>], mut r: usize, k: usize) -> &'a [u8] {
    for p in parts {
        if r < p.rows {
            let stored = p.row_map.map_or(r, |map| map[r] as usize);
            let row = p.dtype.row_bytes(k).expect("rows were checked to be whole blocks");
            return &p.bytes[stored * row..(stored + 1) * row];
        }
        r -= p.rows;
    }
    &[]
}

/// Packs 16 rows; `rows` are used up.
fn pack_row_tile<F: Format>(rows: &mut [&[u8]; ROWS], tiles: &mut [F::Tile]) {
    let stored = F::DTYPE.row_bytes(F::LEN).expect("a tile is whole blocks");
    for tile in tiles {
        let blocks = rows.each_mut().map(|row| {
            let (block, rest) = row.split_at(stored.min(row.len()));
            *row = rest;
            block
        });
        F::pack(&blocks, tile);
    }
}
