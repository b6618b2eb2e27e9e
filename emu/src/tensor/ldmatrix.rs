//! ldmatrix, stmatrix and movmatrix: rows of 16 bytes to registers and back (PTX ISA, ldmatrix, stmatrix, movmatrix).
//!
//! A matrix has 8 or 16 rows; lane i gives the address of row i, counted over all matrices of the instruction, and
//! the addresses of further lanes are ignored.

use super::error::TensorError;

/// Shape and element type of one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatrixShape {
    /// `.m8n8.b16`: 8 rows of 8 elements.
    M8n8B16,
    /// `.m16n16.b8` (always transposed): 16 rows of 16 bytes.
    M16n16B8,
    /// `.m8n16.b8x16.b4x16_p64`: 8 rows of 16 nibbles in the first 8 bytes, widened to bytes.
    M8n16B4,
    /// `.m8n16.b8x16.b6x16_p32`: 8 rows of 16 six-bit elements in the first 12 bytes, widened to bytes.
    M8n16B6,
    /// `.m16n16.b8x16.b4x16_p64` (always transposed).
    M16n16B4,
    /// `.m16n16.b8x16.b6x16_p32` (always transposed).
    M16n16B6,
    /// `.m16n8.b8` of stmatrix (always transposed): 8 rows of 16 bytes in memory.
    M16n8B8,
}

impl MatrixShape {
    /// Rows in memory of one matrix.
    const fn rows(self) -> usize {
        match self {
            Self::M16n16B8 | Self::M16n16B4 | Self::M16n16B6 => 16,
            _ => 8,
        }
    }

    /// Bytes of a row that are read or written; every row starts at a multiple of 16.
    pub const fn row_bytes(self) -> usize {
        match self {
            Self::M8n16B4 | Self::M16n16B4 => 8,
            Self::M8n16B6 | Self::M16n16B6 => 12,
            _ => 16,
        }
    }

    /// Registers of one matrix.
    const fn registers(self) -> usize {
        self.rows() / 8
    }
}

/// A form of ldmatrix that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadMatrix {
    shape: MatrixShape,
    count: usize,
    transpose: bool,
}

impl LoadMatrix {
    /// `count` is the number after `.x`.
    pub fn new(shape: MatrixShape, count: usize, transpose: bool) -> Result<Self, TensorError> {
        let expected = match shape {
            MatrixShape::M8n8B16 if matches!(count, 1 | 2 | 4) => {
                return Ok(Self { shape, count, transpose });
            }
            MatrixShape::M8n16B4 | MatrixShape::M8n16B6 if matches!(count, 1 | 2 | 4) && !transpose => {
                return Ok(Self { shape, count, transpose });
            }
            MatrixShape::M16n16B8 | MatrixShape::M16n16B4 | MatrixShape::M16n16B6
                if matches!(count, 1 | 2) && transpose =>
            {
                return Ok(Self { shape, count, transpose });
            }
            MatrixShape::M8n8B16 => "m8n8 has x1, x2 and x4",
            MatrixShape::M8n16B4 | MatrixShape::M8n16B6 => "m8n16 has x1, x2 and x4, not transposed",
            MatrixShape::M16n8B8 => "m16n8 belongs to stmatrix",
            _ => "m16n16 has x1 and x2, always transposed",
        };
        Err(form("ldmatrix", shape, count, transpose, expected))
    }

    /// Lanes whose address is a row: 0 up to this.
    pub const fn address_lanes(&self) -> usize {
        self.count * self.shape.rows()
    }

    /// Bytes read at each row's address.
    pub const fn row_bytes(&self) -> usize {
        self.shape.row_bytes()
    }

    /// Registers written.
    pub const fn registers(&self) -> usize {
        self.count * self.shape.registers()
    }

    /// Registers from rows; `rows[i]` is what lane i points at (bytes beyond [`LoadMatrix::row_bytes`] are ignored).
    /// Missing rows read as zero.
    pub fn load(&self, rows: &[[u8; 16]], registers: &mut [[u32; 32]]) {
        let per_matrix = self.shape.rows();
        let per_register = self.shape.registers();
        let mut held = [[0u8; 16]; 16];
        for (matrix, out) in registers.chunks_mut(per_register).take(self.count).enumerate() {
            for (row, to) in held.iter_mut().take(per_matrix).enumerate() {
                *to = self.widen(rows.get(matrix * per_matrix + row).copied().unwrap_or_default());
            }
            for (register, lanes) in out.iter_mut().enumerate() {
                for (lane, word) in lanes.iter_mut().enumerate() {
                    *word = self.word(&held, register, lane / 4, lane % 4);
                }
            }
        }
    }

    /// The same from rows by words: `words[k][i]` is word k of what lane i points at. Missing words read as zero.
    pub fn load_words(&self, words: &[[u32; 32]], registers: &mut [[u32; 32]]) {
        match (self.shape, words) {
            (MatrixShape::M8n8B16, [a, b, c, d, ..]) => self.load_plain([a, b, c, d], registers),
            _ => {
                let mut rows = [[0; 16]; 32];
                for (k, words) in words.iter().take(4).enumerate() {
                    for (row, word) in rows.iter_mut().zip(words) {
                        row[4 * k..4 * k + 4].copy_from_slice(&word.to_le_bytes());
                    }
                }
                self.load(&rows, registers);
            }
        }
    }

    /// 16-bit elements, which are most of all: word t of row g, or the halves of two rows.
    fn load_plain(&self, words: [&[u32; 32]; 4], registers: &mut [[u32; 32]]) {
        for (matrix, lanes) in registers.iter_mut().take(self.count).enumerate() {
            let first = 8 * matrix;
            for g in 0..8 {
                for t in 0..4 {
                    lanes[4 * g + t] = if self.transpose {
                        let half = |row: usize| words[g / 2][first + row] >> (16 * (g % 2)) & 0xFFFF;
                        half(2 * t) | half(2 * t + 1) << 16
                    } else {
                        words[t][first + g]
                    };
                }
            }
        }
    }

    fn word(&self, rows: &[[u8; 16]; 16], register: usize, g: usize, t: usize) -> u32 {
        let bytes = match (self.shape, self.transpose) {
            // Row g, bytes 4t to 4t + 3: two 16-bit elements or four bytes.
            (MatrixShape::M8n8B16 | MatrixShape::M8n16B4 | MatrixShape::M8n16B6, false) => {
                std::array::from_fn(|i| rows[g][4 * t + i])
            }
            // Elements (2t, g) and (2t + 1, g) of the stored matrix.
            (MatrixShape::M8n8B16, _) => std::array::from_fn(|i| rows[2 * t + i / 2][2 * g + i % 2]),
            // Row g (then g + 8) of the transposed matrix, its columns 4t to 4t + 3.
            _ => std::array::from_fn(|i| rows[4 * t + i][g + 8 * register]),
        };
        u32::from_le_bytes(bytes)
    }

    /// A row with one element a byte; the value is in the low bits.
    fn widen(&self, row: [u8; 16]) -> [u8; 16] {
        let bits = match self.shape.row_bytes() {
            8 => 4,
            12 => 6,
            _ => return row,
        };
        let packed = u128::from_le_bytes(row);
        std::array::from_fn(|i| (packed >> (bits * i)) as u8 & ((1 << bits) - 1))
    }
}

/// A form of stmatrix that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreMatrix {
    shape: MatrixShape,
    count: usize,
    transpose: bool,
}

impl StoreMatrix {
    /// `count` is the number after `.x`.
    pub fn new(shape: MatrixShape, count: usize, transpose: bool) -> Result<Self, TensorError> {
        let expected = match shape {
            MatrixShape::M8n8B16 | MatrixShape::M16n8B8 if !matches!(count, 1 | 2 | 4) => {
                "there are x1, x2 and x4"
            }
            MatrixShape::M8n8B16 => return Ok(Self { shape, count, transpose }),
            MatrixShape::M16n8B8 if transpose => return Ok(Self { shape, count, transpose }),
            MatrixShape::M16n8B8 => "m16n8 is always transposed",
            _ => "stmatrix has m8n8 of b16 and m16n8 of b8",
        };
        Err(form("stmatrix", shape, count, transpose, expected))
    }

    /// Lanes whose address is a row: 0 up to this. Each row is 16 bytes.
    pub const fn address_lanes(&self) -> usize {
        self.count * 8
    }

    /// Registers read.
    pub const fn registers(&self) -> usize {
        self.count
    }

    /// The rows to store from registers; `rows[i]` goes where lane i points.
    pub fn store(&self, registers: &[[u32; 32]], rows: &mut [[u8; 16]]) {
        for (lanes, rows) in registers.iter().zip(rows.chunks_exact_mut(8)).take(self.count) {
            for (lane, word) in lanes.iter().enumerate() {
                let (g, t) = (lane / 4, lane % 4);
                for (i, byte) in word.to_le_bytes().into_iter().enumerate() {
                    let (row, column) = match (self.shape, self.transpose) {
                        (MatrixShape::M16n8B8, _) => (2 * t + i % 2, g + 8 * (i / 2)),
                        (_, true) => (2 * t + i / 2, 2 * g + i % 2),
                        (_, false) => (g, 4 * t + i),
                    };
                    rows[row][column] = byte;
                }
            }
        }
    }
}

/// movmatrix: the transpose of the 8x8 tile of 16-bit elements that one register of the warp holds.
pub fn transpose_matrix(register: &[u32; 32]) -> [u32; 32] {
    let element = |row: usize, column: usize| register[row * 4 + column / 2] >> (16 * (column % 2)) & 0xFFFF;
    std::array::from_fn(|lane| {
        let (g, t) = (lane / 4, lane % 4);
        element(2 * t, g) | element(2 * t + 1, g) << 16
    })
}

fn form(
    instruction: &'static str,
    shape: MatrixShape,
    count: usize,
    transpose: bool,
    expected: &'static str,
) -> TensorError {
    let found = format!("{shape:?} x{count}{}", if transpose { " transposed" } else { "" });
    TensorError::Form { instruction, found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::fragment::OperandLayout;

    /// Rows of 16-bit elements that name their matrix, row and column.
    fn named_rows(count: usize) -> Vec<[u8; 16]> {
        (0..count * 8)
            .map(|row| std::array::from_fn(|i| if i % 2 == 0 { (i / 2) as u8 } else { row as u8 }))
            .collect()
    }

    #[test]
    fn sixteen_bit_matrices_land_as_mma_fragments() {
        for count in [1, 2, 4] {
            let rows = named_rows(count);
            for transpose in [false, true] {
                let load = LoadMatrix::new(MatrixShape::M8n8B16, count, transpose).unwrap();
                assert_eq!((load.address_lanes(), load.registers()), (8 * count, count));
                let mut registers = vec![[0; 32]; count];
                load.load(&rows, &mut registers);
                for (matrix, lanes) in registers.iter().enumerate() {
                    for (lane, word) in lanes.iter().enumerate() {
                        for part in 0..2 {
                            // An 8x8 tile as the first register of a 16-bit B fragment has it.
                            let (outer, k) = OperandLayout::new(8, 16, 2).element(0, lane, part);
                            let (row, column) = if transpose { (k, outer) } else { (outer, k) };
                            let name = (8 * matrix + row) << 8 | column;
                            assert_eq!((word >> (16 * part)) as usize & 0xFFFF, name);
                        }
                    }
                }
                let store = StoreMatrix::new(MatrixShape::M8n8B16, count, transpose).unwrap();
                let mut back = vec![[0; 16]; 8 * count];
                store.store(&registers, &mut back);
                assert_eq!(back, rows);
            }
        }
    }

    #[test]
    fn words_land_as_their_bytes_do() {
        let word = |k: usize, lane: usize| (k as u32 * 37 + lane as u32 + 1).wrapping_mul(2_654_435_761);
        let words: [[u32; 32]; 4] = std::array::from_fn(|k| std::array::from_fn(|lane| word(k, lane)));
        let mut rows = [[0; 16]; 32];
        for (lane, row) in rows.iter_mut().enumerate() {
            for k in 0..4 {
                row[4 * k..4 * k + 4].copy_from_slice(&word(k, lane).to_le_bytes());
            }
        }
        let plain = [false, true].map(|t| LoadMatrix::new(MatrixShape::M8n8B16, 4, t).unwrap());
        let wide = LoadMatrix::new(MatrixShape::M16n16B8, 2, true).unwrap();
        let packed = LoadMatrix::new(MatrixShape::M8n16B4, 4, false).unwrap();
        for load in plain.into_iter().chain([wide, packed]) {
            let (mut by_bytes, mut by_words) = ([[0; 32]; 4], [[1; 32]; 4]);
            load.load(&rows, &mut by_bytes);
            load.load_words(&words, &mut by_words);
            assert_eq!(by_words, by_bytes, "{load:?}");
        }
    }

    #[test]
    fn movmatrix_equals_a_store_and_a_transposed_load() {
        let register: [u32; 32] = std::array::from_fn(|i| i as u32 * 0x0201_0777 + 99);
        let mut rows = [[0; 16]; 8];
        StoreMatrix::new(MatrixShape::M8n8B16, 1, false).unwrap().store(&[register], &mut rows);
        let mut loaded = [[0; 32]];
        LoadMatrix::new(MatrixShape::M8n8B16, 1, true).unwrap().load(&rows, &mut loaded);
        assert_eq!(transpose_matrix(&register), loaded[0]);
        assert_eq!(transpose_matrix(&loaded[0]), register);
    }

    #[test]
    fn byte_matrices_load_transposed_as_8_bit_fragments() {
        for count in [1, 2] {
            let load = LoadMatrix::new(MatrixShape::M16n16B8, count, true).unwrap();
            assert_eq!((load.address_lanes(), load.registers()), (16 * count, 2 * count));
            let rows: Vec<[u8; 16]> = (0..16 * count)
                .map(|row| std::array::from_fn(|c| (row % 16 * 16 + c) as u8 ^ (row / 16) as u8))
                .collect();
            let mut registers = vec![[0; 32]; 2 * count];
            load.load(&rows, &mut registers);
            for (r, lanes) in registers.iter().enumerate() {
                for (lane, word) in lanes.iter().enumerate() {
                    for part in 0..4 {
                        // The A fragment of m16n8k16 with bytes, of the transposed matrix.
                        let (row, k) = OperandLayout::new(16, 16, 4).element(r % 2, lane, part);
                        assert_eq!((word >> (8 * part)) as u8, rows[r / 2 * 16 + k][row]);
                    }
                }
            }
        }
    }

    #[test]
    fn packed_nibbles_and_six_bits_widen_to_bytes() {
        for (shape, bits) in [(MatrixShape::M8n16B4, 4), (MatrixShape::M8n16B6, 6)] {
            let load = LoadMatrix::new(shape, 2, false).unwrap();
            assert_eq!((load.address_lanes(), load.registers(), load.row_bytes()), (16, 2, 2 * bits));
            let value = |row: usize, column: usize| (row * 5 + column * 3) as u8 & ((1 << bits) - 1);
            let mut rows = [[0xFFu8; 16]; 16];
            for (row, bytes) in rows.iter_mut().enumerate() {
                bytes[..2 * bits].fill(0);
                for bit in 0..16 * bits {
                    bytes[bit / 8] |= (value(row, bit / bits) >> (bit % bits) & 1) << (bit % 8);
                }
            }
            let mut registers = [[0; 32]; 2];
            load.load(&rows, &mut registers);
            for (matrix, lanes) in registers.iter().enumerate() {
                for (lane, word) in lanes.iter().enumerate() {
                    let expected = std::array::from_fn(|i| value(8 * matrix + lane / 4, lane % 4 * 4 + i));
                    assert_eq!(word.to_le_bytes(), expected);
                }
            }
            let wide = if bits == 4 { MatrixShape::M16n16B4 } else { MatrixShape::M16n16B6 };
            let load = LoadMatrix::new(wide, 1, true).unwrap();
            load.load(&rows, &mut registers);
            assert_eq!(registers[1][4 * 3 + 2].to_le_bytes(), std::array::from_fn(|i| value(8 + i, 11)));
        }
    }

    /// m16n8 is what a warp holds of an m16n8 accumulator when each lane packs c0, c1, c2, c3 into bytes.
    #[test]
    fn byte_matrices_store_accumulators_transposed() {
        let store = StoreMatrix::new(MatrixShape::M16n8B8, 1, true).unwrap();
        let c = crate::tensor::AccumulatorLayout { groups: 2, parts: 1, registers: 4 };
        let mut register = [0u32; 32];
        for (lane, word) in register.iter_mut().enumerate() {
            for i in 0..4 {
                let (row, column) = c.element(i, lane, 0);
                *word |= ((column * 16 + row) as u32) << (8 * i);
            }
        }
        let mut rows = [[0; 16]; 8];
        store.store(&[register], &mut rows);
        assert!(rows.as_flattened().iter().enumerate().all(|(at, &byte)| usize::from(byte) == at));
    }

    #[test]
    fn refuses_forms_that_do_not_exist() {
        assert!(LoadMatrix::new(MatrixShape::M8n8B16, 3, false).is_err());
        assert!(LoadMatrix::new(MatrixShape::M16n16B8, 1, false).is_err());
        assert!(LoadMatrix::new(MatrixShape::M16n16B8, 4, true).is_err());
        assert!(LoadMatrix::new(MatrixShape::M8n16B4, 1, true).is_err());
        assert!(StoreMatrix::new(MatrixShape::M16n8B8, 1, false).is_err());
        assert!(StoreMatrix::new(MatrixShape::M16n16B8, 1, true).is_err());
    }
}
