//! The host's description of a tensor map, as the command takes it: `{"tensor_map": {…}}`.

use serde::Deserialize;

use super::{Atomicity, Fill, Interleave, L2Promotion, MapElement, SwizzleMode, TensorMap};
use crate::tensor::error::TensorError;

/// A tensor map over a named buffer; the machine puts in the buffer's address.
///
/// ```json
/// {"tensor": "a", "dtype": "bf16", "dims": [64, 128], "box": [64, 64], "swizzle": "128B"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorMapSpec {
    /// Name of the buffer.
    pub tensor: String,
    /// Byte offset of the map's base inside the buffer.
    #[serde(default)]
    pub offset: u64,
    /// Element type.
    pub dtype: MapElement,
    /// Extents in elements, the fastest dimension first.
    pub dims: Vec<u64>,
    /// Strides in bytes of all dimensions but the first; packed where absent.
    #[serde(default)]
    pub strides: Option<Vec<u64>>,
    /// Extents of the box in elements.
    #[serde(rename = "box")]
    pub box_dims: Vec<u32>,
    /// Steps inside the box; ones where absent.
    #[serde(default)]
    pub element_strides: Option<Vec<u32>>,
    /// Swizzle of shared memory.
    #[serde(default)]
    pub swizzle: HostSwizzle,
    /// Fill out of bounds.
    #[serde(default)]
    pub fill: Fill,
    /// Interleaved layout.
    #[serde(default)]
    pub interleave: Interleave,
    /// L2 promotion.
    #[serde(default)]
    pub l2_promotion: L2Promotion,
}

/// The driver's swizzle enumeration: mode and atomicity in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostSwizzle {
    /// Span.
    pub mode: SwizzleMode,
    /// What stays together.
    pub atomicity: Atomicity,
}

impl TensorMapSpec {
    /// The map with its base at `buffer` plus the offset. Lengths of the lists are checked here, all other
    /// constraints too: a map that this returns can be walked.
    pub fn build(&self, buffer: u64) -> Result<TensorMap, TensorError> {
        let rank = self.dims.len();
        if !(1..=5).contains(&rank) {
            return Err(length("dims", rank, "1 to 5 entries"));
        }
        if self.box_dims.len() != rank {
            return Err(length("box", self.box_dims.len(), format!("{rank} entries, as dims")));
        }
        let mut map = TensorMap {
            element: self.dtype,
            rank: rank as u8,
            base: buffer.wrapping_add(self.offset),
            interleave: self.interleave,
            swizzle: self.swizzle.mode,
            atomicity: self.swizzle.atomicity,
            fill: self.fill,
            l2_promotion: self.l2_promotion,
            ..TensorMap::blank()
        };
        map.dims[..rank].copy_from_slice(&self.dims);
        map.box_dims[..rank].copy_from_slice(&self.box_dims);
        match &self.element_strides {
            None => map.element_strides[..rank].fill(1),
            Some(steps) if steps.len() == rank => map.element_strides[..rank].copy_from_slice(steps),
            Some(steps) => {
                return Err(length("element_strides", steps.len(), format!("{rank} entries, as dims")));
            }
        }
        match &self.strides {
            None => map.strides = self.packed(),
            Some(strides) if strides.len() == rank - 1 => map.strides[..rank - 1].copy_from_slice(strides),
            Some(strides) => {
                return Err(length(
                    "strides",
                    strides.len(),
                    format!("{} entries, one less than dims", rank - 1),
                ));
            }
        }
        map.check()?;
        Ok(map)
    }

    /// Strides of a tensor without gaps.
    fn packed(&self) -> [u64; 4] {
        let unit = self.dtype.unit();
        let mut strides = [0; 4];
        let mut bytes = self.dims[0].saturating_mul(u64::from(unit.global)) / u64::from(unit.elements);
        for (stride, dim) in strides.iter_mut().zip(&self.dims[1..]) {
            *stride = bytes;
            bytes = bytes.saturating_mul(*dim);
        }
        strides
    }
}

fn length(field: &'static str, found: usize, expected: impl Into<String>) -> TensorError {
    TensorError::Map { field, found: format!("a list of {found}"), expected: expected.into() }
}

/// Reads an enumeration from a name, without regard to case; an unknown name lists the known ones.
macro_rules! named {
    ($type:ty: $($name:literal => $value:expr),* $(,)?) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                match name.to_ascii_lowercase().as_str() {
                    $($name => Ok($value),)*
                    _ => Err(serde::de::Error::unknown_variant(&name, &[$($name),*])),
                }
            }
        }
    };
}

named!(MapElement:
    "u8" => Self::U8, "u16" => Self::U16, "u32" => Self::U32, "s32" => Self::S32, "i32" => Self::S32,
    "u64" => Self::U64, "s64" => Self::S64, "i64" => Self::S64, "f16" => Self::F16, "f32" => Self::F32,
    "f32_ftz" => Self::F32Ftz, "f64" => Self::F64, "bf16" => Self::Bf16, "tf32" => Self::Tf32,
    "tf32_ftz" => Self::Tf32Ftz, "16u4_align8b" => Self::U4Align8, "16u4_align16b" => Self::U4Align16,
    "16u6_align16b" => Self::U6Align16,
);
named!(HostSwizzle:
    "none" => Self::default(),
    "32b" => Self { mode: SwizzleMode::B32, atomicity: Atomicity::B16 },
    "64b" => Self { mode: SwizzleMode::B64, atomicity: Atomicity::B16 },
    "128b" => Self { mode: SwizzleMode::B128, atomicity: Atomicity::B16 },
    "128b_atom_32b" => Self { mode: SwizzleMode::B128, atomicity: Atomicity::B32 },
    "128b_atom_32b_flip_8b" => Self { mode: SwizzleMode::B128, atomicity: Atomicity::B32Flip8 },
    "128b_atom_64b" => Self { mode: SwizzleMode::B128, atomicity: Atomicity::B64 },
);
named!(Fill: "zero" => Self::Zero, "nan" => Self::Nan);
named!(Interleave: "none" => Self::None, "16b" => Self::B16, "32b" => Self::B32);
named!(L2Promotion:
    "none" => Self::None, "64b" => Self::B64, "128b" => Self::B128, "256b" => Self::B256,
);
