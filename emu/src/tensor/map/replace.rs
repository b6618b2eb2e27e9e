//! tensormap.replace: one field of a map, in the instruction's own numbering (PTX ISA, tensormap.replace).

use super::check::field;
use super::{Atomicity, Fill, Interleave, MapElement, SwizzleMode, TensorMap};
use crate::tensor::error::TensorError;

/// A field that tensormap.replace can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapField {
    /// 64-bit address.
    GlobalAddress,
    /// Rank less one.
    Rank,
    /// Box extent of the dimension `ordinal`.
    BoxDim,
    /// Extent of the dimension `ordinal`.
    GlobalDim,
    /// Stride in bytes of the dimension `ordinal` + 1.
    GlobalStride,
    /// Step of the dimension `ordinal`.
    ElementStride,
    /// Element type.
    ElementType,
    /// Interleaved layout.
    InterleaveLayout,
    /// Swizzle mode.
    SwizzleMode,
    /// Fill out of bounds.
    FillMode,
    /// Swizzle atomicity.
    SwizzleAtomicity,
}

impl MapField {
    /// The field of a PTX modifier (without the dot), as in `.box_dim`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "global_address" => Self::GlobalAddress,
            "rank" => Self::Rank,
            "box_dim" => Self::BoxDim,
            "global_dim" => Self::GlobalDim,
            "global_stride" => Self::GlobalStride,
            "element_stride" => Self::ElementStride,
            "elemtype" => Self::ElementType,
            "interleave_layout" => Self::InterleaveLayout,
            "swizzle_mode" => Self::SwizzleMode,
            "fill_mode" => Self::FillMode,
            "swizzle_atomicity" => Self::SwizzleAtomicity,
            _ => return None,
        })
    }

    /// Whether the instruction has an ordinal operand.
    pub const fn has_ordinal(self) -> bool {
        matches!(self, Self::BoxDim | Self::GlobalDim | Self::GlobalStride | Self::ElementStride)
    }
}

impl TensorMap {
    /// Sets a field. `ordinal` is read for the fields that have one. Numbers that name nothing are errors; plain
    /// values are checked when the map is used.
    pub fn replace(&mut self, name: MapField, ordinal: u32, value: u64) -> Result<(), TensorError> {
        let place = ordinal as usize;
        let count = if name == MapField::GlobalStride { 4 } else { 5 };
        if name.has_ordinal() && place >= count {
            return Err(field("ordinal of tensormap.replace", ordinal, format!("below {count}")));
        }
        let word = u32::try_from(value).unwrap_or(u32::MAX);
        let small = u8::try_from(value).unwrap_or(u8::MAX);
        match name {
            MapField::GlobalAddress => self.base = value,
            MapField::Rank => {
                if value > 4 {
                    return Err(field(
                        "rank operand of tensormap.replace",
                        value,
                        "rank - 1, that is 0 to 4",
                    ));
                }
                self.rank = small + 1;
            }
            MapField::BoxDim => self.box_dims[place] = word,
            MapField::GlobalDim => self.dims[place] = value,
            MapField::GlobalStride => self.strides[place] = value,
            MapField::ElementStride => self.element_strides[place] = word,
            MapField::ElementType => {
                self.element = MapElement::from_replace(word)
                    .ok_or_else(|| field("elemtype of tensormap.replace", value, "0 to 15"))?;
            }
            MapField::InterleaveLayout => {
                self.interleave = Interleave::from_number(small)
                    .ok_or_else(|| field("interleave_layout of tensormap.replace", value, "0 to 2"))?;
            }
            MapField::SwizzleMode => {
                self.swizzle = SwizzleMode::from_number(small)
                    .ok_or_else(|| field("swizzle_mode of tensormap.replace", value, "0 to 4"))?;
            }
            MapField::FillMode => {
                self.fill = Fill::from_number(small)
                    .ok_or_else(|| field("fill_mode of tensormap.replace", value, "0 or 1"))?;
            }
            MapField::SwizzleAtomicity => {
                self.atomicity = Atomicity::from_number(small)
                    .ok_or_else(|| field("swizzle_atomicity of tensormap.replace", value, "0 to 3"))?;
            }
        }
        Ok(())
    }
}
