//! The walk of a bulk tensor copy in tile mode: which bytes of global memory meet which bytes of shared memory.

use super::check::field;
use super::{TensorMap, Unit};
use crate::tensor::error::TensorError;
use crate::tensor::swizzle::Swizzle;

/// The most shared memory that a CTA of any target has.
const SHARED_BYTES: u32 = 227 << 10;

/// Bytes that are contiguous on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Global address; `None` outside of the tensor: loads fill, stores and reductions skip.
    pub global: Option<u64>,
    /// Shared address, after the swizzle.
    pub shared: u32,
    /// How many; always whole elements.
    pub bytes: u32,
}

/// A tensor map that was checked, ready to be walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TiledMap {
    map: TensorMap,
    pattern: Swizzle,
    unit: Unit,
    /// Positions along each dimension of the box; elements along dimension 0.
    counts: [u32; 5],
    /// Bytes of a row of the box in shared memory.
    row: u32,
}

impl TensorMap {
    /// Checks all constraints once, for any number of walks.
    pub fn tiled(&self) -> Result<TiledMap, TensorError> {
        let pattern = self.check()?;
        let mut counts = [1; 5];
        // Without interleave the element stride of dimension 0 has no effect.
        counts[0] = self.box_dims[0];
        for i in 1..usize::from(self.rank) {
            counts[i] = self.box_dims[i].div_ceil(self.element_strides[i]);
        }
        let unit = self.element.unit();
        let row = counts[0] / unit.elements * unit.shared;
        let tiled = TiledMap { map: *self, pattern, unit, counts, row };
        if tiled.tile_bytes() > SHARED_BYTES {
            let found =
                format!("{:?} ({} bytes)", &self.box_dims[..usize::from(self.rank)], tiled.tile_bytes());
            return Err(field("boxDim", found, "at most the 227 KiB of shared memory"));
        }
        Ok(tiled)
    }
}

impl TiledMap {
    /// The fields.
    pub const fn map(&self) -> &TensorMap {
        &self.map
    }

    /// Bytes of the whole box in shared memory: what a load completes on its mbarrier, also at the edges.
    pub fn tile_bytes(&self) -> u32 {
        self.counts[1..].iter().fold(self.row, |bytes, &count| bytes.saturating_mul(count))
    }

    /// Bytes of the four rows of a gather4 or scatter4.
    pub const fn gather4_bytes(&self) -> u32 {
        4 * self.row
    }

    /// Visits the tile at `coordinates` (dimension 0 first, in elements, may be negative) and the shared address
    /// `shared`, in order of the logical shared addresses, adjacent runs merged.
    pub fn visit(
        &self,
        coordinates: &[i32],
        shared: u32,
        visit: &mut impl FnMut(Run),
    ) -> Result<(), TensorError> {
        let rank = usize::from(self.map.rank);
        if coordinates.len() != rank {
            return Err(field(
                "tensorRank",
                rank,
                format!("{}, the rank of the instruction", coordinates.len()),
            ));
        }
        self.check_use(coordinates[0], shared)?;
        let mut merged = Merge { pattern: self.pattern, pending: None, visit };
        let mut index = [0u32; 5];
        for line in 0..self.tile_bytes() / self.row {
            let mut row = Some(self.map.base);
            for i in 1..rank {
                let step = i64::from(index[i]) * i64::from(self.map.element_strides[i]);
                row = row.and_then(|at| self.step(at, i, i64::from(coordinates[i]) + step));
            }
            self.visit_row(row, coordinates[0], shared.wrapping_add(line * self.row), &mut merged);
            for i in 1..rank {
                index[i] += 1;
                if index[i] < self.counts[i] {
                    break;
                }
                index[i] = 0;
            }
        }
        merged.flush();
        Ok(())
    }

    /// Visits the four rows of a `.tile::gather4` (or, for stores, scatter4): one column, four rows of a
    /// two-dimensional map whose box has one row, packed one after the other.
    pub fn visit_gather4(
        &self,
        column: i32,
        rows: [i32; 4],
        shared: u32,
        visit: &mut impl FnMut(Run),
    ) -> Result<(), TensorError> {
        if self.map.rank != 2 {
            return Err(field("tensorRank", self.map.rank, "2 for gather4 and scatter4"));
        }
        if self.counts[1] != 1 {
            return Err(field("boxDim[1]", self.map.box_dims[1], "1 for gather4 and scatter4"));
        }
        self.check_use(column, shared)?;
        let mut merged = Merge { pattern: self.pattern, pending: None, visit };
        for (line, row) in (0u32..).zip(rows) {
            let at = self.step(self.map.base, 1, i64::from(row));
            self.visit_row(at, column, shared.wrapping_add(line * self.row), &mut merged);
        }
        merged.flush();
        Ok(())
    }

    fn check_use(&self, column: i32, shared: u32) -> Result<(), TensorError> {
        if !shared.is_multiple_of(128) {
            return Err(field("shared address", format!("{shared:#x}"), "a multiple of 128"));
        }
        let multiple = if self.unit.elements == 16 { 128 } else { self.unit.elements as i32 };
        if column % multiple != 0 {
            let expected = format!("a multiple of {multiple} for elements of type {:?}", self.map.element);
            return Err(field("coordinate 0", column, expected));
        }
        Ok(())
    }

    /// The address after stepping to `position` along dimension `i` > 0, `None` outside of the tensor.
    fn step(&self, at: u64, i: usize, position: i64) -> Option<u64> {
        let position = u64::try_from(position).ok().filter(|&p| p < self.map.dims[i])?;
        Some(at.wrapping_add(position.wrapping_mul(self.map.strides[i - 1])))
    }

    /// One row of the box: elements before the tensor, inside, and behind it.
    fn visit_row(&self, row: Option<u64>, column: i32, shared: u32, merged: &mut Merge<'_, impl FnMut(Run)>) {
        let units = |elements: i64| (elements / i64::from(self.unit.elements)) as u32;
        let count = i64::from(self.counts[0]);
        let first = i64::from(column);
        let extent = i64::try_from(self.map.dims[0]).unwrap_or(i64::MAX);
        let (low, high) = match row {
            Some(_) => ((-first).clamp(0, count), (extent - first).clamp(0, count)),
            None => (count, count),
        };
        let at = |units: u32| shared.wrapping_add(units * self.unit.shared);
        if low > 0 {
            self.emit(None, at(0), units(low.min(count)), merged);
        }
        if high > low {
            let skipped = (first + low) as u64 / u64::from(self.unit.elements) * u64::from(self.unit.global);
            let inside = row.map(|row| row.wrapping_add(skipped));
            self.emit(inside, at(units(low)), units(high) - units(low), merged);
        }
        if count > high.max(low) {
            let from = units(high.max(low));
            self.emit(None, at(from), units(count) - from, merged);
        }
    }

    fn emit(&self, global: Option<u64>, shared: u32, units: u32, merged: &mut Merge<'_, impl FnMut(Run)>) {
        if self.unit.global == self.unit.shared {
            merged.push(global, shared, units * self.unit.global);
            return;
        }
        for unit in 0..units {
            let global = global.map(|at| at.wrapping_add(u64::from(unit * self.unit.global)));
            merged.push(global, shared.wrapping_add(unit * self.unit.shared), self.unit.global);
        }
    }
}

/// Swizzles runs piece by piece and joins those that stay adjacent on both sides.
struct Merge<'a, F> {
    pattern: Swizzle,
    pending: Option<Run>,
    visit: &'a mut F,
}

impl<F: FnMut(Run)> Merge<'_, F> {
    fn push(&mut self, global: Option<u64>, shared: u32, bytes: u32) {
        let Some(piece) = self.pattern.piece() else {
            self.join(Run { global, shared, bytes });
            return;
        };
        let mut done = 0;
        while done < bytes {
            let logical = shared.wrapping_add(done);
            let step = (piece - logical % piece).min(bytes - done);
            let global = global.map(|at| at.wrapping_add(u64::from(done)));
            self.join(Run { global, shared: self.pattern.apply(logical), bytes: step });
            done += step;
        }
    }

    fn join(&mut self, next: Run) {
        if let Some(last) = &mut self.pending {
            let follows = match (last.global, next.global) {
                (Some(a), Some(b)) => a.wrapping_add(u64::from(last.bytes)) == b,
                (None, None) => true,
                _ => false,
            };
            if follows && last.shared.wrapping_add(last.bytes) == next.shared {
                last.bytes += next.bytes;
                return;
            }
        }
        self.flush();
        self.pending = Some(next);
    }

    fn flush(&mut self) {
        if let Some(run) = self.pending.take() {
            (self.visit)(run);
        }
    }
}
