//! Tensor maps: how a bulk tensor copy walks global and shared memory (PTX ISA, Tensors; driver, Tensor Map Object
//! Management).

mod check;
mod encoding;
mod host;
mod replace;
mod walk;

pub use encoding::MAP_BYTES;
pub use host::TensorMapSpec;
pub use replace::MapField;
pub use walk::{Run, TiledMap};

use super::swizzle::Swizzle;

/// Element type of a tensor map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MapElement {
    /// 8-bit unsigned.
    #[default]
    U8,
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 32-bit signed.
    S32,
    /// 64-bit unsigned.
    U64,
    /// 64-bit signed.
    S64,
    /// binary16.
    F16,
    /// binary32.
    F32,
    /// binary32, subnormal numbers become zero.
    F32Ftz,
    /// binary64.
    F64,
    /// bfloat16.
    Bf16,
    /// f32 rounded to tf32 when loaded.
    Tf32,
    /// The same, subnormal numbers become zero.
    Tf32Ftz,
    /// Packed nibbles, copied as they are.
    U4Align8,
    /// Packed nibbles; in shared memory 16 of them fill 8 of each 16 bytes.
    U4Align16,
    /// Packed six-bit elements; in shared memory 16 of them fill 12 of each 16 bytes.
    U6Align16,
}

impl MapElement {
    /// All types in the order of the driver's enumeration.
    const DRIVER: [Self; 16] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::S32,
        Self::U64,
        Self::S64,
        Self::F16,
        Self::F32,
        Self::F64,
        Self::Bf16,
        Self::F32Ftz,
        Self::Tf32,
        Self::Tf32Ftz,
        Self::U4Align8,
        Self::U4Align16,
        Self::U6Align16,
    ];

    /// All types in the numbering of tensormap.replace, which is not the driver's.
    const REPLACE: [Self; 16] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::S32,
        Self::U64,
        Self::S64,
        Self::F16,
        Self::F32,
        Self::F32Ftz,
        Self::F64,
        Self::Bf16,
        Self::Tf32,
        Self::Tf32Ftz,
        Self::U4Align8,
        Self::U4Align16,
        Self::U6Align16,
    ];

    /// The type with this number in the driver's CUtensorMapDataType.
    pub fn from_driver(number: u32) -> Option<Self> {
        Self::DRIVER.get(number as usize).copied()
    }

    /// Its number in the driver's CUtensorMapDataType.
    pub fn driver(self) -> u32 {
        Self::DRIVER.iter().position(|&e| e == self).unwrap_or_default() as u32
    }

    /// The type with this number in tensormap.replace.
    pub fn from_replace(number: u32) -> Option<Self> {
        Self::REPLACE.get(number as usize).copied()
    }

    /// Bytes of one element; `None` for the packed types.
    pub const fn bytes(self) -> Option<u32> {
        match self {
            Self::U8 => Some(1),
            Self::U16 | Self::F16 | Self::Bf16 => Some(2),
            Self::U32 | Self::S32 | Self::F32 | Self::F32Ftz | Self::Tf32 | Self::Tf32Ftz => Some(4),
            Self::U64 | Self::S64 | Self::F64 => Some(8),
            Self::U4Align8 | Self::U4Align16 | Self::U6Align16 => None,
        }
    }

    /// The smallest piece that a copy moves as a whole.
    pub(super) const fn unit(self) -> Unit {
        match (self, self.bytes()) {
            (Self::U4Align16, _) => Unit { elements: 16, global: 8, shared: 16 },
            (Self::U6Align16, _) => Unit { elements: 16, global: 12, shared: 16 },
            (_, Some(bytes)) => Unit { elements: 1, global: bytes, shared: bytes },
            (_, None) => Unit { elements: 2, global: 1, shared: 1 },
        }
    }

    /// Whether NaN can fill what is out of bounds.
    pub const fn is_float(self) -> bool {
        matches!(
            self,
            Self::F16 | Self::F32 | Self::F32Ftz | Self::F64 | Self::Bf16 | Self::Tf32 | Self::Tf32Ftz
        )
    }

    /// The element that fills what is out of bounds with [`Fill::Nan`]; the hardware's pattern is not published.
    pub const fn nan(self) -> u64 {
        match self.bytes() {
            Some(2) => 0x7FFF,
            Some(4) => 0x7FFF_FFFF,
            _ => 0x7FFF_FFFF_FFFF_FFFF,
        }
    }

    /// Whether loading changes elements, see [`MapElement::convert`].
    pub const fn converts(self) -> bool {
        matches!(self, Self::F32Ftz | Self::Tf32 | Self::Tf32Ftz)
    }

    /// What a load does to whole elements on their way to shared memory: tf32 types round, ftz types flush.
    pub fn convert(self, bytes: &mut [u8]) {
        if !self.converts() {
            return;
        }
        for word in bytes.as_chunks_mut::<4>().0 {
            let mut bits = u32::from_le_bytes(*word);
            if self != Self::Tf32 && bits & 0x7F80_0000 == 0 {
                bits &= 0x8000_0000;
            }
            if self != Self::F32Ftz {
                bits = super::decode::round_to_tf32(bits);
            }
            *word = bits.to_le_bytes();
        }
    }
}

/// What a copy moves as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// Elements in it.
    pub(super) elements: u32,
    /// Its bytes in global memory.
    pub(super) global: u32,
    /// Its pitch in shared memory; bytes beyond `global` are left as they are.
    pub(super) shared: u32,
}

/// Interleaved layouts; only `None` is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Interleave {
    /// Plain.
    #[default]
    None,
    /// 16-byte slices of channels.
    B16,
    /// 32-byte slices of channels.
    B32,
}

/// Swizzle mode as tensormap.replace counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SwizzleMode {
    /// None.
    #[default]
    None,
    /// Span of 32 bytes.
    B32,
    /// Span of 64 bytes.
    B64,
    /// Span of 128 bytes.
    B128,
    /// Span of 96 bytes; not emulated.
    B96,
}

/// What stays together in the 128-byte swizzle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Atomicity {
    /// 16 bytes.
    #[default]
    B16,
    /// 32 bytes.
    B32,
    /// 32 bytes, 8-byte halves swapped on odd lines.
    B32Flip8,
    /// 64 bytes.
    B64,
}

/// What a load writes for elements outside of the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fill {
    /// Zero.
    #[default]
    Zero,
    /// A NaN, of float types.
    Nan,
}

/// L2 promotion: a hint without effect here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum L2Promotion {
    /// None.
    #[default]
    None,
    /// 64 bytes.
    B64,
    /// 128 bytes.
    B128,
    /// 256 bytes.
    B256,
}

/// A tensor map, field by field, checked or not. Dimension 0 is the fastest; entries from `rank` on are not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorMap {
    /// Element type.
    pub element: MapElement,
    /// Dimensions: 1 to 5.
    pub rank: u8,
    /// Address in global memory.
    pub base: u64,
    /// Extents in elements.
    pub dims: [u64; 5],
    /// Strides of dimensions 1 to 4 in bytes; dimension 0 is packed.
    pub strides: [u64; 4],
    /// Extents of the box in elements, before element strides.
    pub box_dims: [u32; 5],
    /// Steps inside the box in elements; that of dimension 0 has no effect.
    pub element_strides: [u32; 5],
    /// Interleaved layout.
    pub interleave: Interleave,
    /// Swizzle of shared memory.
    pub swizzle: SwizzleMode,
    /// Granularity of the 128-byte swizzle.
    pub atomicity: Atomicity,
    /// Fill out of bounds.
    pub fill: Fill,
    /// L2 promotion.
    pub l2_promotion: L2Promotion,
}

impl TensorMap {
    /// A map as its 128 zero bytes read: everything unset, interleave none, swizzle none, fill zero.
    pub const fn blank() -> Self {
        Self {
            element: MapElement::U8,
            rank: 1,
            base: 0,
            dims: [0; 5],
            strides: [0; 4],
            box_dims: [0; 5],
            element_strides: [0; 5],
            interleave: Interleave::None,
            swizzle: SwizzleMode::None,
            atomicity: Atomicity::B16,
            fill: Fill::Zero,
            l2_promotion: L2Promotion::None,
        }
    }

    /// The permutation that mode and atomicity make; `None` where no such pair exists.
    pub const fn pattern(&self) -> Option<Swizzle> {
        Some(match (self.swizzle, self.atomicity) {
            (SwizzleMode::None, Atomicity::B16) => Swizzle::None,
            (SwizzleMode::B32, Atomicity::B16) => Swizzle::B32,
            (SwizzleMode::B64, Atomicity::B16) => Swizzle::B64,
            (SwizzleMode::B128, Atomicity::B16) => Swizzle::B128,
            (SwizzleMode::B128, Atomicity::B32) => Swizzle::B128Atom32,
            (SwizzleMode::B128, Atomicity::B32Flip8) => Swizzle::B128Atom32Flip8,
            (SwizzleMode::B128, Atomicity::B64) => Swizzle::B128Atom64,
            _ => return None,
        })
    }

    /// The element that fills what is out of bounds; its size is [`MapElement::bytes`] (a byte of packed types).
    pub const fn fill_value(&self) -> u64 {
        match self.fill {
            Fill::Zero => 0,
            Fill::Nan => self.element.nan(),
        }
    }
}

#[cfg(test)]
mod tests;
