//! wgmma.mma_async: 64 rows by N columns by four warps, operands in shared memory (PTX ISA, wgmma.mma_async).
//!
//! One warp owns 16 rows, and eight columns of its part of D have the layout of an m16n8 mma. So the work is one
//! dense tile of A and of B per instruction, then N / 8 products of 16 rows by 8 columns for each warp.

use super::accumulate::{Accumulation, Aligned, Model, Unit, exponents, multiply, multiply_as};
use super::decode::{Unpack, with_unpack};
use super::descriptor::{Descriptor, Major};
use super::element::{Accumulator, Element};
use super::error::TensorError;
use super::fragment::{
    AccumulatorLayout, Block, Finish, OperandLayout, gather_a, gather_block, scatter_block,
};
use super::mma::{BitOp, multiply_bits};

/// The modifiers and immediates of a wgmma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WgmmaSpec {
    /// Columns of B and D.
    pub n: usize,
    /// Columns of A, rows of B, as written in the shape.
    pub k: usize,
    /// Type of A.
    pub a: Element,
    /// Type of B.
    pub b: Element,
    /// Type of D.
    pub d: Accumulator,
    /// How A lies in shared memory (16-bit types may be transposed); K where it comes from registers.
    pub a_major: Major,
    /// How B lies in shared memory.
    pub b_major: Major,
    /// imm-scale-a is -1.
    pub negate_a: bool,
    /// imm-scale-b is -1.
    pub negate_b: bool,
    /// `.satfinite`, of integers.
    pub saturate: bool,
}

/// A wgmma whose combination of shape and types exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wgmma {
    spec: WgmmaSpec,
}

/// A decoded operand tile: f64 values, or words of bits for b1. Reuse one to save allocations.
#[derive(Debug, Clone, Default)]
pub struct OperandTile {
    /// A: rows of k. B: for each eight columns, k by 8.
    values: Vec<f64>,
    /// Rows (A) or columns (B) of 256 bits.
    bits: Vec<[u32; 8]>,
}

impl Wgmma {
    /// Registers of A in each lane, where it comes from registers.
    pub const A_REGISTERS: usize = 4;

    /// Checks that the form exists.
    pub fn new(spec: WgmmaSpec) -> Result<Self, TensorError> {
        match fault(&spec) {
            None => Ok(Self { spec }),
            Some(expected) => {
                let WgmmaSpec { n, k, a, b, d, a_major, b_major, .. } = spec;
                let found =
                    format!("m64n{n}k{k}, D {d:?}, A {a:?} {a_major:?}-major, B {b:?} {b_major:?}-major");
                Err(TensorError::Form { instruction: "wgmma", found, expected })
            }
        }
    }

    /// The modifiers.
    pub const fn spec(&self) -> &WgmmaSpec {
        &self.spec
    }

    /// Multiplications and additions of one instruction (four warps).
    pub const fn operations(&self) -> u64 {
        2 * 64 * (self.spec.n * self.spec.k) as u64
    }

    /// Layout of one warp's 16 rows of D; row r of warp w is row 16w + r.
    pub const fn d_layout(&self) -> AccumulatorLayout {
        AccumulatorLayout::new(16, self.spec.n, self.spec.d)
    }

    /// Layout of one warp's 16 rows of A, where it comes from registers.
    pub fn a_layout(&self) -> OperandLayout {
        OperandLayout::new(16, self.spec.k, 32 / self.spec.a.bits())
    }

    /// Decodes A (64 rows) from shared memory. `read` gives the 16 bytes at an address, `None` outside of memory.
    pub fn fetch_a(
        &self,
        descriptor: Descriptor,
        read: impl FnMut(u32) -> Option<[u8; 16]>,
        tile: &mut OperandTile,
    ) -> Result<(), TensorError> {
        let (k, negate) = (self.spec.k, self.negate());
        let pieces =
            Pieces { descriptor, major: self.spec.a_major, element: self.spec.a, rows: 64, operand: "a" };
        if self.spec.a == Element::B1 {
            return pieces.fetch_bits(read, &mut tile.bits);
        }
        tile.values.resize(64 * k, 0.0);
        let values = &mut tile.values;
        with_unpack!(Packing::Plain(self.spec.a), U => pieces.fetch::<U>(read, |row, at, part| {
            values[row * k + at] = f64::from(if negate { -part } else { part });
        }), else Ok(()))
    }

    /// Decodes B (N columns) from shared memory.
    pub fn fetch_b(
        &self,
        descriptor: Descriptor,
        read: impl FnMut(u32) -> Option<[u8; 16]>,
        tile: &mut OperandTile,
    ) -> Result<(), TensorError> {
        let (n, k) = (self.spec.n, self.spec.k);
        let pieces = Pieces {
            descriptor,
            major: self.spec.b_major,
            element: self.spec.b,
            rows: n as u32,
            operand: "b",
        };
        if self.spec.b == Element::B1 {
            return pieces.fetch_bits(read, &mut tile.bits);
        }
        tile.values.resize(n * k, 0.0);
        let values = &mut tile.values;
        with_unpack!(Packing::Plain(self.spec.b), U => pieces.fetch::<U>(read, |column, at, part| {
            values[column / 8 * 8 * k + at * 8 + column % 8] = f64::from(part);
        }), else Ok(()))
    }

    /// Decodes one warp's 16 rows of A from its four registers.
    pub fn gather_a(&self, registers: &[[u32; 32]; 4], tile: &mut OperandTile) {
        if self.spec.a == Element::B1 {
            tile.bits.clear();
            tile.bits.resize(16, [0; 8]);
            for (index, lanes) in registers.iter().enumerate() {
                for (lane, &word) in lanes.iter().enumerate() {
                    tile.bits[lane / 4 + 8 * (index % 2)][index / 2 * 4 + lane % 4] = word;
                }
            }
            return;
        }
        match self.spec.k {
            8 => self.gather_values::<8>(registers, tile),
            16 => self.gather_values::<16>(registers, tile),
            _ => self.gather_values::<32>(registers, tile),
        }
    }

    fn gather_values<const K: usize>(&self, registers: &[[u32; 32]; 4], tile: &mut OperandTile) {
        let mut rows = [[0.0; K]; 16];
        with_unpack!(Packing::Plain(self.spec.a), U => gather_a::<U, K>(registers, 2, &mut rows), else return);
        if self.negate() {
            rows.as_flattened_mut().iter_mut().for_each(|value| *value = -*value);
        }
        tile.values.clear();
        tile.values.extend_from_slice(rows.as_flattened());
    }

    /// D = A * B + D for the 16 rows of `warp` (0 to 3); without `scale_d` the old D is not read. `a` is the tile of
    /// all 64 rows, or that of this warp's registers; `d` has the registers of [`Wgmma::d_layout`].
    pub fn execute_warp(
        &self,
        warp: usize,
        a: &OperandTile,
        b: &OperandTile,
        d: &mut [[u32; 32]],
        scale_d: bool,
        how: Accumulation,
    ) -> Result<(), TensorError> {
        let layout = self.d_layout();
        if d.len() != layout.registers {
            return Err(TensorError::Registers { operand: "d", found: d.len(), expected: layout.registers });
        }
        if self.spec.a == Element::B1 {
            self.execute_bits(warp, a, b, d, scale_d);
            return Ok(());
        }
        match self.spec.k {
            8 => self.execute_dense::<8>(warp, a, b, d, scale_d, how),
            16 => self.execute_dense::<16>(warp, a, b, d, scale_d, how),
            _ => self.execute_dense::<32>(warp, a, b, d, scale_d, how),
        }
        Ok(())
    }

    fn execute_dense<const K: usize>(
        &self,
        warp: usize,
        a: &OperandTile,
        b: &OperandTile,
        d: &mut [[u32; 32]],
        scale_d: bool,
        how: Accumulation,
    ) {
        let rows = warp_rows(a.values.as_chunks::<K>().0, warp);
        let blocks = b.values.as_chunks::<8>().0.as_chunks::<K>().0;
        let model = Model::of(how, Unit::Wgmma, self.spec.a, self.spec.d);
        let a_exponents = model.map(|_| exponents::<K, 16>(rows, self.spec.a));
        for (columns, registers) in blocks.iter().zip(d.chunks_exact_mut(self.d_layout().block_registers())) {
            let mut block: Block = [[0.0; 8]; 16];
            if scale_d {
                gather_block(self.spec.d, registers, &mut block);
            }
            match model.as_ref().zip(a_exponents.as_ref()) {
                None => multiply(rows, columns, &mut block),
                Some((model, a_exponents)) => {
                    let b_exponents = exponents(columns, self.spec.b);
                    let operands =
                        Aligned { a: rows, b: columns, a_exponents, b_exponents: &b_exponents, scales: None };
                    multiply_as(model, &operands, &mut block);
                }
            }
            scatter_block(self.finish(), &block, registers);
        }
    }

    fn execute_bits(
        &self,
        warp: usize,
        a: &OperandTile,
        b: &OperandTile,
        d: &mut [[u32; 32]],
        scale_d: bool,
    ) {
        let rows = warp_rows(&a.bits, warp);
        let columns = b.bits.as_chunks::<8>().0;
        for (columns, registers) in columns.iter().zip(d.chunks_exact_mut(self.d_layout().block_registers()))
        {
            let mut block: Block = [[0.0; 8]; 16];
            if scale_d {
                gather_block(Accumulator::S32, registers, &mut block);
            }
            multiply_bits(rows, columns, 8, BitOp::And, &mut block);
            scatter_block(Finish::Wrap, &block, registers);
        }
    }

    /// A product changes sign where exactly one operand is negated.
    const fn negate(&self) -> bool {
        self.spec.negate_a != self.spec.negate_b
    }

    const fn finish(&self) -> Finish {
        match self.spec.d {
            Accumulator::F16 => Finish::F16,
            Accumulator::S32 if self.spec.saturate => Finish::Clamp,
            Accumulator::S32 => Finish::Wrap,
            _ => Finish::F32,
        }
    }
}

/// The 16 rows of a warp in a tile of 64 rows; all of a tile of 16.
fn warp_rows<T>(rows: &[T], warp: usize) -> &[T] {
    let first = if rows.len() > 16 { 16 * warp } else { 0 };
    rows.get(first..first + 16).unwrap_or_default()
}

/// The 16-byte pieces of one operand.
struct Pieces {
    descriptor: Descriptor,
    major: Major,
    element: Element,
    rows: u32,
    operand: &'static str,
}

impl Pieces {
    /// Reads all pieces; those outside of memory count as zero and the first of them is the error.
    fn visit(
        &self,
        mut read: impl FnMut(u32) -> Option<[u8; 16]>,
        mut use_words: impl FnMut(usize, usize, [u32; 4]),
    ) -> Result<(), TensorError> {
        let mut outside = None;
        self.descriptor.visit_pieces(self.major, self.element.bits() as u32, self.rows, |mn, k, address| {
            match read(address) {
                Some(bytes) => {
                    let words = bytes.as_chunks::<4>().0;
                    use_words(mn as usize, k as usize, std::array::from_fn(|i| u32::from_le_bytes(words[i])));
                }
                None => outside = outside.or(Some(address)),
            }
        });
        match outside {
            None => Ok(()),
            Some(address) => Err(TensorError::OutOfShared { operand: self.operand, address }),
        }
    }

    #[inline(always)]
    fn fetch<U: Unpack>(
        &self,
        read: impl FnMut(u32) -> Option<[u8; 16]>,
        mut put: impl FnMut(usize, usize, f32),
    ) -> Result<(), TensorError> {
        let along_k = self.major == Major::K;
        self.visit(read, |mn, k, words| {
            for (index, word) in words.into_iter().enumerate() {
                for part in 0..U::PARTS {
                    let step = index * U::PARTS + part;
                    let value = U::part(word, part);
                    if along_k { put(mn, k + step, value) } else { put(mn + step, k, value) }
                }
            }
        })
    }

    fn fetch_bits(
        &self,
        read: impl FnMut(u32) -> Option<[u8; 16]>,
        bits: &mut Vec<[u32; 8]>,
    ) -> Result<(), TensorError> {
        bits.resize(self.rows as usize, [0; 8]);
        self.visit(read, |mn, k, words| bits[mn][k / 32..k / 32 + 4].copy_from_slice(&words))
    }
}

/// The rule a form breaks, if any.
fn fault(spec: &WgmmaSpec) -> Option<&'static str> {
    use Accumulator as To;
    let same = spec.a == spec.b;
    let float_d = matches!(spec.d, To::F16 | To::F32);
    let (types, rule) = match spec.a {
        Element::F16 => (same && float_d && spec.k == 16, "f16 has k16 and D f16 or f32"),
        Element::Bf16 => (same && spec.d == To::F32 && spec.k == 16, "bf16 has k16 and D f32"),
        Element::Tf32 => (same && spec.d == To::F32 && spec.k == 8, "tf32 has k8 and D f32"),
        Element::E4m3 | Element::E5m2 => {
            (spec.b.is_fp8() && float_d && spec.k == 32, "fp8 has k32, both operands fp8, D f16 or f32")
        }
        Element::S8 | Element::U8 => (
            matches!(spec.b, Element::S8 | Element::U8) && spec.d == To::S32 && spec.k == 32,
            "s8 and u8 have k32 and D s32",
        ),
        Element::B1 => (same && spec.d == To::S32 && spec.k == 256, "b1 has k256 and D s32"),
        _ => (false, "the types are f16, bf16, tf32, e4m3, e5m2, s8, u8 and b1"),
    };
    if !types {
        return Some(rule);
    }
    if !(8..=256).contains(&spec.n) || !spec.n.is_multiple_of(8) {
        return Some("N is a multiple of 8 from 8 to 256");
    }
    if spec.a.is_integer() && spec.n > 24 && !spec.n.is_multiple_of(16) {
        return Some("N of integer types is 8, 16, 24, or a multiple of 16 up to 256");
    }
    if spec.a.bits() != 16 && (spec.a_major, spec.b_major) != (Major::K, Major::K) {
        return Some("only 16-bit types can be transposed");
    }
    if spec.a.is_integer() && (spec.negate_a || spec.negate_b) {
        return Some("integer types have no imm-scale");
    }
    if spec.saturate && !matches!(spec.a, Element::S8 | Element::U8) {
        return Some(".satfinite belongs to s8 and u8");
    }
    None
}

#[cfg(test)]
mod tests;
