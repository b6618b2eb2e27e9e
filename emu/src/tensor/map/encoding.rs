//! The 128 bytes of a tensor map. The hardware's layout is not published; this one is the emulator's own.
//!
//! ```text
//! 0 base u64 | 8 dims 5 x u64 | 48 strides 4 x u64 | 80 box 5 x u16 | 90 element strides 5 x u8 | 95 element type
//! 96 rank - 1 | 97 interleave | 98 swizzle | 99 atomicity | 100 fill | 101 L2 promotion | 102 zero | 124 mark
//! ```
//! All zero reads as a blank map, because kernels that make maps zero them first. Any other bytes need the mark.

use super::{Atomicity, Fill, Interleave, L2Promotion, MapElement, SwizzleMode, TensorMap};
use crate::tensor::error::TensorError;

/// Bytes of a tensor map.
pub const MAP_BYTES: usize = 128;

const MARK: [u8; 4] = *b"jmap";

impl TensorMap {
    /// The 128 bytes that [`TensorMap::decode`] reads. Values beyond a field's width (a box over 65535, an element
    /// stride over 255) are kept as the largest value of the field, which no check accepts either.
    pub fn encode(&self) -> [u8; MAP_BYTES] {
        let mut bytes = [0; MAP_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &self.base.to_le_bytes());
        for i in 0..5 {
            put(8 + 8 * i, &self.dims[i].to_le_bytes());
            put(80 + 2 * i, &u16::try_from(self.box_dims[i]).unwrap_or(u16::MAX).to_le_bytes());
            put(90 + i, &[u8::try_from(self.element_strides[i]).unwrap_or(u8::MAX)]);
        }
        for i in 0..4 {
            put(48 + 8 * i, &self.strides[i].to_le_bytes());
        }
        let small = [
            self.element.driver() as u8,
            self.rank.wrapping_sub(1),
            self.interleave as u8,
            self.swizzle as u8,
            self.atomicity as u8,
            self.fill as u8,
            self.l2_promotion as u8,
        ];
        put(95, &small);
        put(124, &MARK);
        bytes
    }

    /// Reads a map; the fields' constraints are not checked here.
    pub fn decode(bytes: &[u8; MAP_BYTES]) -> Result<Self, TensorError> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(Self::blank());
        }
        if bytes[124..] != MARK {
            return Err(TensorError::NotAMap(
                "they were neither encoded by the host nor zeroed and then set",
            ));
        }
        let word = |at: usize| bytes[at..].first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
        let bad = || TensorError::NotAMap("a field was overwritten");
        Ok(Self {
            element: MapElement::from_driver(u32::from(bytes[95])).ok_or_else(bad)?,
            rank: bytes[96].wrapping_add(1),
            base: word(0),
            dims: std::array::from_fn(|i| word(8 + 8 * i)),
            strides: std::array::from_fn(|i| word(48 + 8 * i)),
            box_dims: std::array::from_fn(|i| {
                u32::from(bytes[80 + 2 * i]) | u32::from(bytes[81 + 2 * i]) << 8
            }),
            element_strides: std::array::from_fn(|i| u32::from(bytes[90 + i])),
            interleave: Interleave::from_number(bytes[97]).ok_or_else(bad)?,
            swizzle: SwizzleMode::from_number(bytes[98]).ok_or_else(bad)?,
            atomicity: Atomicity::from_number(bytes[99]).ok_or_else(bad)?,
            fill: Fill::from_number(bytes[100]).ok_or_else(bad)?,
            l2_promotion: L2Promotion::from_number(bytes[101]).ok_or_else(bad)?,
        })
    }
}

/// Enumerations whose declared order is their numbering, here and in tensormap.replace.
macro_rules! numbered {
    ($type:ident: $($variant:ident)*) => {
        impl $type {
            pub(super) fn from_number(number: u8) -> Option<Self> {
                [$(Self::$variant),*].get(usize::from(number)).copied()
            }
        }
    };
}
numbered!(Interleave: None B16 B32);
numbered!(SwizzleMode: None B32 B64 B128 B96);
numbered!(Atomicity: B16 B32 B32Flip8 B64);
numbered!(Fill: Zero Nan);
numbered!(L2Promotion: None B64 B128 B256);
