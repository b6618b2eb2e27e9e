//! Block scales of the mx kinds of mma: which byte of which lane scales which row or column.

use super::decode::{ue4m3, ue8m0};
use super::element::ScaleType;
use super::error::TensorError;

/// The constants `{byte-id, thread-id}` of one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScaleSelector {
    /// First byte of the scale register that is used.
    pub byte: u16,
    /// Lane pair (A: 0 or 1) or lane (B: 0 to 3) of each group of four that provides the scales.
    pub thread: u16,
}

/// The scale operands of one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scales {
    /// Scale register of A.
    pub a: [u32; 32],
    /// Selector of A.
    pub a_selector: ScaleSelector,
    /// Scale register of B.
    pub b: [u32; 32],
    /// Selector of B.
    pub b_selector: ScaleSelector,
}

/// Scales of 16 rows (or 8 columns), `vector` groups along k each.
pub(super) type RowScales<const OUTER: usize> = [[f64; 4]; OUTER];

impl Scales {
    /// Errors that name the operand where a selector does not exist in the form with `vector` scales along k.
    pub(super) fn check(&self, vector: usize) -> Result<(), TensorError> {
        let bytes = match vector {
            1 => "byte-id 0 to 3",
            2 => "byte-id 0 or 2",
            _ => "byte-id 0",
        };
        for (operand, selector, threads, thread_rule) in
            [("a", self.a_selector, 2, "thread-id 0 or 1"), ("b", self.b_selector, 4, "thread-id 0 to 3")]
        {
            let byte = usize::from(selector.byte);
            let fault = if byte % vector != 0 || byte + vector > 4 {
                bytes
            } else if selector.thread >= threads {
                thread_rule
            } else {
                continue;
            };
            return Err(TensorError::Selector {
                operand,
                byte: selector.byte,
                thread: selector.thread,
                expected: fault,
            });
        }
        Ok(())
    }

    /// Scales of the rows of A: rows g from lane 2 * thread-id of their four, rows g + 8 from the lane after it.
    pub(super) fn rows(&self, vector: usize, kind: ScaleType) -> RowScales<16> {
        std::array::from_fn(|row| {
            let lane = row % 8 * 4 + 2 * usize::from(self.a_selector.thread & 1) + row / 8;
            groups(self.a[lane], self.a_selector.byte, vector, kind)
        })
    }

    /// Scales of the columns of B.
    pub(super) fn columns(&self, vector: usize, kind: ScaleType) -> RowScales<8> {
        std::array::from_fn(|column| {
            let lane = column * 4 + usize::from(self.b_selector.thread & 3);
            groups(self.b[lane], self.b_selector.byte, vector, kind)
        })
    }
}

/// The scales of one row, in order of k; those beyond `vector` are not used.
fn groups(word: u32, first: u16, vector: usize, kind: ScaleType) -> [f64; 4] {
    std::array::from_fn(|group| {
        let byte = usize::from(first) + group % vector;
        let code = (word >> (8 * (byte & 3))) as u8;
        match kind {
            ScaleType::Ue8m0 => ue8m0(code),
            ScaleType::Ue4m3 => ue4m3(code),
        }
    })
}
