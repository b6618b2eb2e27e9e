//! Which lane, register and part of a register holds which element of a matrix.
//!
//! All forms of mma.sync and wgmma share one scheme (PTX ISA, Matrix Fragments; the tables there give it case by
//! case). With g = lane / 4, t = lane % 4 and P elements to a register, a register covers 8 rows by 4P elements
//! along k: row g, k from tP. Registers of A go down the rows first, then along k; those of B along k. So the 32
//! lanes of one register, read in order, are an 8-row tile in row-major order, and gathering is a straight copy.
//! C and D have columns 2t and 2t + 1 of row g, then of row g + 8, then of the next eight columns.

use super::decode::{Unpack, f16_to_f32, f64_to_f16, f64_to_f32};
use super::element::Accumulator;

/// Layout of A (rows of M) or B (columns of N) in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperandLayout {
    /// Groups of eight along M or N that successive registers step through: M / 8 for A, 1 for B.
    pub groups: usize,
    /// Elements in a register.
    pub parts: usize,
    /// Registers of the fragment.
    pub registers: usize,
}

impl OperandLayout {
    pub(super) const fn new(outer: usize, k: usize, parts: usize) -> Self {
        let groups = outer / 8;
        Self { groups, parts, registers: groups * k / (4 * parts) }
    }

    /// (row of A or column of B, k) of the element `part` (low first) of `register` in `lane`.
    pub const fn element(&self, register: usize, lane: usize, part: usize) -> (usize, usize) {
        let outer = lane / 4 + 8 * (register % self.groups);
        let k = (register / self.groups * 4 + lane % 4) * self.parts + part;
        (outer, k)
    }
}

/// Layout of C or D in registers: M is 8 or 16 (one warp's rows), N a multiple of 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccumulatorLayout {
    /// Groups of eight rows: M / 8.
    pub groups: usize,
    /// Elements in a register: 2 for f16.
    pub parts: usize,
    /// Registers of the fragment.
    pub registers: usize,
}

impl AccumulatorLayout {
    pub(super) const fn new(m: usize, n: usize, accumulator: Accumulator) -> Self {
        let (groups, parts) = (m / 8, accumulator.parts());
        Self { groups, parts, registers: n / 8 * groups * 2 / parts }
    }

    /// Registers that hold eight columns.
    pub(super) const fn block_registers(&self) -> usize {
        self.groups * 2 / self.parts
    }

    /// (row, column) of the element `part` (low first) of `register` in `lane`.
    pub const fn element(&self, register: usize, lane: usize, part: usize) -> (usize, usize) {
        let pair = register * self.parts + part;
        let row = lane / 4 + 8 * (pair / 2 % self.groups);
        let column = 8 * (pair / 2 / self.groups) + 2 * (lane % 4) + pair % 2;
        (row, column)
    }
}

/// One warp's rows by eight columns of sums.
pub(super) type Block = [[f64; 8]; 16];

/// One part of each lane's word: a loop of its own, because it vectorises.
#[inline(always)]
fn unpack_part<U: Unpack>(lanes: &[u32; 32], part: usize) -> [f32; 32] {
    let mut values = [0.0; 32];
    for (value, &word) in values.iter_mut().zip(lanes) {
        *value = U::part(word, part);
    }
    values
}

/// Gathers A into rows of k.
#[inline]
pub(super) fn gather_a<U: Unpack, const K: usize>(
    registers: &[[u32; 32]],
    groups: usize,
    tile: &mut [[f64; K]; 16],
) {
    let step = 4 * U::PARTS;
    for (index, lanes) in registers.iter().enumerate() {
        let (row0, k0) = (index % groups * 8, index / groups * step);
        for part in 0..U::PARTS {
            let values = unpack_part::<U>(lanes, part);
            for (row, values) in tile[row0..row0 + 8].iter_mut().zip(values.as_chunks::<4>().0) {
                let out = &mut row[k0..k0 + step];
                for (t, &value) in values.iter().enumerate() {
                    out[t * U::PARTS + part] = f64::from(value);
                }
            }
        }
    }
}

/// Gathers B, k by k, eight columns each.
#[inline]
pub(super) fn gather_b<U: Unpack, const K: usize>(registers: &[[u32; 32]], tile: &mut [[f64; 8]; K]) {
    let step = 4 * U::PARTS;
    for (lanes, rows) in registers.iter().zip(tile.chunks_exact_mut(step)) {
        for part in 0..U::PARTS {
            let values = unpack_part::<U>(lanes, part);
            for t in 0..4 {
                for (column, to) in rows[t * U::PARTS + part].iter_mut().enumerate() {
                    *to = f64::from(values[column * 4 + t]);
                }
            }
        }
    }
}

/// Gathers the accumulators of eight columns.
#[inline]
pub(super) fn gather_block(accumulator: Accumulator, registers: &[[u32; 32]], block: &mut Block) {
    match accumulator {
        Accumulator::F16 => {
            for (lanes, rows) in registers.iter().zip(block.chunks_exact_mut(8)) {
                for (lane, &word) in lanes.iter().enumerate() {
                    let at = lane % 4 * 2;
                    rows[lane / 4][at] = f64::from(f16_to_f32(word as u16));
                    rows[lane / 4][at + 1] = f64::from(f16_to_f32((word >> 16) as u16));
                }
            }
        }
        Accumulator::S32 => gather_words(registers, block, |word| f64::from(word as i32)),
        _ => gather_words(registers, block, |word| f64::from(f32::from_bits(word))),
    }
}

#[inline(always)]
fn gather_words(registers: &[[u32; 32]], block: &mut Block, value: impl Fn(u32) -> f64) {
    for (pair, rows) in registers.as_chunks::<2>().0.iter().zip(block.chunks_exact_mut(8)) {
        for lane in 0..32 {
            let at = lane % 4 * 2;
            rows[lane / 4][at] = value(pair[0][lane]);
            rows[lane / 4][at + 1] = value(pair[1][lane]);
        }
    }
}

/// How sums become accumulators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    F32,
    F16,
    /// The low 32 bits.
    Wrap,
    /// Clamped to the range of s32.
    Clamp,
}

/// Rounds the sums of eight columns and scatters them.
#[inline]
pub(super) fn scatter_block(finish: Finish, block: &Block, registers: &mut [[u32; 32]]) {
    match finish {
        Finish::F16 => {
            for (lanes, rows) in registers.iter_mut().zip(block.chunks_exact(8)) {
                for (lane, word) in lanes.iter_mut().enumerate() {
                    let at = lane % 4 * 2;
                    let (low, high) = (f64_to_f16(rows[lane / 4][at]), f64_to_f16(rows[lane / 4][at + 1]));
                    *word = u32::from(low) | u32::from(high) << 16;
                }
            }
        }
        Finish::F32 => scatter_words(block, registers, f64_to_f32),
        // The sums are integers below 2^53, so the conversion to i64 is exact.
        Finish::Wrap => scatter_words(block, registers, |sum| sum as i64 as u32),
        // The conversion to i32 clamps.
        Finish::Clamp => scatter_words(block, registers, |sum| sum as i32 as u32),
    }
}

#[inline(always)]
fn scatter_words(block: &Block, registers: &mut [[u32; 32]], bits: impl Fn(f64) -> u32) {
    for (pair, rows) in registers.as_chunks_mut::<2>().0.iter_mut().zip(block.chunks_exact(8)) {
        for lane in 0..32 {
            let at = lane % 4 * 2;
            pair[0][lane] = bits(rows[lane / 4][at]);
            pair[1][lane] = bits(rows[lane / 4][at + 1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::decode::{Brain, U8};

    /// The formulas of the ISA's fragment sections, as printed there: for element a_i of a fragment.
    #[test]
    fn layouts_match_the_formulas_of_the_isa() {
        for lane in 0..32 {
            let (group, thread) = (lane >> 2, lane % 4);
            // m16n8k16 f16: A row g for i in 0,1,4,5 and g + 8 else; column 2t + (i & 1), plus 8 from i = 4.
            let a = OperandLayout::new(16, 16, 2);
            assert_eq!(a.registers, 4);
            for i in 0..8 {
                let row = if matches!(i, 0 | 1 | 4 | 5) { group } else { group + 8 };
                let column = thread * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
                assert_eq!(a.element(i / 2, lane, i % 2), (row, column));
            }
            // m16n8k8 tf32: a1 and a3 are in row g + 8, a2 and a3 in column t + 4.
            let a = OperandLayout::new(16, 8, 1);
            for i in 0..4 {
                let row = if i == 0 || i == 2 { group } else { group + 8 };
                assert_eq!(a.element(i, lane, 0), (row, if i < 2 { thread } else { thread + 4 }));
            }
            // m16n8k64 4-bit: row g for i < 8 and 16 <= i < 24.
            let a = OperandLayout::new(16, 64, 8);
            for i in 0..32 {
                let row = if i < 8 || (16..24).contains(&i) { group } else { group + 8 };
                let column = thread * 8 + (i & 7) + if i < 16 { 0 } else { 32 };
                assert_eq!(a.element(i / 8, lane, i % 8), (row, column));
            }
            // m16n8k32 8-bit B: row 4t + (i & 3), plus 16 from i = 4; column g.
            let b = OperandLayout::new(8, 32, 4);
            for i in 0..8 {
                let k = thread * 4 + (i & 3) + if i < 4 { 0 } else { 16 };
                assert_eq!(b.element(i / 4, lane, i % 4), (group, k));
            }
            // m16n8k128 b1: row g for i < 32; column 32t + (i & 31).
            let a = OperandLayout::new(16, 128, 32);
            for i in 0..64 {
                let row = if i < 32 { group } else { group + 8 };
                assert_eq!(a.element(i / 32, lane, i % 32), (row, thread * 32 + (i & 31)));
            }
            // m16n8k16 f64: eight registers, g and g + 8, then four columns on.
            let a = OperandLayout::new(16, 16, 1);
            assert_eq!(a.registers, 8);
            for i in 0..8 {
                let row = if i % 2 == 0 { group } else { group + 8 };
                assert_eq!(a.element(i, lane, 0), (row, (i / 2) * 4 + thread));
            }
            // C of m16n8: row g for i < 2, column 2t + (i & 1).
            for (kind, registers) in [(Accumulator::F32, 4), (Accumulator::F16, 2)] {
                let c = AccumulatorLayout::new(16, 8, kind);
                assert_eq!(c.registers, registers);
                for i in 0..4 {
                    let row = if i < 2 { group } else { group + 8 };
                    let found = c.element(i / kind.parts(), lane, i % kind.parts());
                    assert_eq!(found, (row, thread * 2 + (i & 1)));
                }
            }
        }
    }

    #[test]
    fn every_layout_holds_each_element_once() {
        for (outer, k, parts) in [
            (16, 8, 2),
            (16, 16, 2),
            (16, 4, 1),
            (16, 16, 4),
            (16, 64, 8),
            (8, 256, 32),
            (8, 32, 4),
            (8, 4, 1),
        ] {
            let layout = OperandLayout::new(outer, k, parts);
            let mut seen = vec![0; outer * k];
            for register in 0..layout.registers {
                for lane in 0..32 {
                    for part in 0..parts {
                        let (o, kk) = layout.element(register, lane, part);
                        seen[o * k + kk] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{layout:?}");
        }
        for (m, n, accumulator) in
            [(8, 8, Accumulator::S32), (16, 256, Accumulator::F32), (16, 24, Accumulator::F16)]
        {
            let layout = AccumulatorLayout::new(m, n, accumulator);
            let mut seen = vec![0; m * n];
            for register in 0..layout.registers {
                for lane in 0..32 {
                    for part in 0..layout.parts {
                        let (row, column) = layout.element(register, lane, part);
                        seen[row * n + column] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{layout:?}");
        }
    }

    /// The loops that gather must agree with `element`, which the other tests compare with the ISA.
    #[test]
    fn gathering_agrees_with_the_layouts() {
        let layout = OperandLayout::new(16, 16, 2);
        let mut registers = [[0u32; 32]; 4];
        for (r, lanes) in registers.iter_mut().enumerate() {
            for (lane, word) in lanes.iter_mut().enumerate() {
                for part in 0..2 {
                    let (row, k) = layout.element(r, lane, part);
                    *word |= ((row * 16 + k) as f32).to_bits() >> 16 << (16 * part);
                }
            }
        }
        let mut tile = [[0.0; 16]; 16];
        gather_a::<Brain, 16>(&registers, 2, &mut tile);
        for (i, &value) in tile.as_flattened().iter().enumerate() {
            assert_eq!(value, i as f64);
        }

        let layout = OperandLayout::new(8, 32, 4);
        let mut registers = [[0u32; 32]; 2];
        for (r, lanes) in registers.iter_mut().enumerate() {
            for (lane, word) in lanes.iter_mut().enumerate() {
                for part in 0..4 {
                    let (n, k) = layout.element(r, lane, part);
                    *word |= ((k * 8 + n) as u32) << (8 * part);
                }
            }
        }
        let mut tile = [[0.0; 8]; 32];
        gather_b::<U8, 32>(&registers, &mut tile);
        for (i, &value) in tile.as_flattened().iter().enumerate() {
            assert_eq!(value, i as f64);
        }
    }

    #[test]
    fn accumulators_scatter_where_the_layout_says_and_come_back() {
        let mut block: Block = [[0.0; 8]; 16];
        for (i, value) in block.as_flattened_mut().iter_mut().enumerate() {
            *value = i as f64 - 60.0;
        }
        for (accumulator, finish) in [
            (Accumulator::F32, Finish::F32),
            (Accumulator::F16, Finish::F16),
            (Accumulator::S32, Finish::Wrap),
        ] {
            let layout = AccumulatorLayout::new(16, 8, accumulator);
            let mut registers = vec![[0u32; 32]; layout.registers];
            scatter_block(finish, &block, &mut registers);
            for (r, lanes) in registers.iter().enumerate() {
                for (lane, &word) in lanes.iter().enumerate() {
                    for part in 0..layout.parts {
                        let (row, column) = layout.element(r, lane, part);
                        let found = match accumulator {
                            Accumulator::F16 => f64::from(f16_to_f32((word >> (16 * part)) as u16)),
                            Accumulator::S32 => f64::from(word as i32),
                            _ => f64::from(f32::from_bits(word)),
                        };
                        assert_eq!(found, block[row][column]);
                    }
                }
            }
            let mut back = [[0.0; 8]; 16];
            gather_block(accumulator, &registers, &mut back);
            assert_eq!(back, block);
        }
    }
}
