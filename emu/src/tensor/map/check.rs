//! The constraints that the driver's encoder and the hardware put on a tensor map.

use super::{Fill, Interleave, MapElement, SwizzleMode, TensorMap};
use crate::tensor::error::TensorError;
use crate::tensor::swizzle::Swizzle;

/// Names of the fields by dimension, so that an error needs no formatting to name one.
const DIMS: [&str; 5] = ["globalDim[0]", "globalDim[1]", "globalDim[2]", "globalDim[3]", "globalDim[4]"];
const STRIDES: [&str; 4] = ["globalStrides[0]", "globalStrides[1]", "globalStrides[2]", "globalStrides[3]"];
const BOX: [&str; 5] = ["boxDim[0]", "boxDim[1]", "boxDim[2]", "boxDim[3]", "boxDim[4]"];
const STEPS: [&str; 5] =
    ["elementStrides[0]", "elementStrides[1]", "elementStrides[2]", "elementStrides[3]", "elementStrides[4]"];

pub(super) fn field(field: &'static str, found: impl ToString, expected: impl ToString) -> TensorError {
    TensorError::Map { field, found: found.to_string(), expected: expected.to_string() }
}

impl TensorMap {
    /// Errors that name the first field which breaks a constraint; returns the swizzle pattern.
    pub fn check(&self) -> Result<Swizzle, TensorError> {
        let rank = usize::from(self.rank);
        if !(1..=5).contains(&rank) {
            return Err(field("tensorRank", rank, "1 to 5"));
        }
        if self.interleave != Interleave::None {
            return Err(TensorError::MapUnsupported("an interleaved layout"));
        }
        if self.swizzle == SwizzleMode::B96 {
            return Err(TensorError::MapUnsupported("the 96-byte swizzle"));
        }
        let pattern = self.pattern().ok_or_else(|| {
            let found = format!("{:?} with the {:?} swizzle", self.atomicity, self.swizzle);
            field("swizzle atomicity", found, "16 bytes unless the swizzle is 128 bytes")
        })?;
        // 16U4_ALIGN16B and 16U6_ALIGN16B ask for twice the alignment.
        let padded = matches!(self.element, MapElement::U4Align16 | MapElement::U6Align16);
        let alignment = if padded { 32 } else { 16 };
        if !self.base.is_multiple_of(alignment) {
            let expected = format!("a multiple of {alignment}");
            return Err(field("globalAddress", format!("{:#x}", self.base), expected));
        }
        self.check_extents(rank, alignment)?;
        self.check_inner(pattern)?;
        if self.fill == Fill::Nan && !self.element.is_float() {
            return Err(field("oobFill", "NaN", format!("zero for elements of type {:?}", self.element)));
        }
        Ok(pattern)
    }

    fn check_extents(&self, rank: usize, alignment: u64) -> Result<(), TensorError> {
        for i in 0..rank {
            if !(1..=1 << 32).contains(&self.dims[i]) {
                return Err(field(DIMS[i], self.dims[i], "1 to 2^32"));
            }
            if !(1..=256).contains(&self.box_dims[i]) {
                return Err(field(BOX[i], self.box_dims[i], "1 to 256"));
            }
            if !(1..=8).contains(&self.element_strides[i]) {
                return Err(field(STEPS[i], self.element_strides[i], "1 to 8"));
            }
        }
        for i in 0..rank - 1 {
            let stride = self.strides[i];
            if !stride.is_multiple_of(alignment) || stride >= 1 << 40 {
                let expected = format!("a multiple of {alignment} bytes below 2^40");
                return Err(field(STRIDES[i], stride, expected));
            }
        }
        Ok(())
    }

    /// Dimension 0: whole units, 16-byte rows in shared memory, inside the span of the swizzle.
    fn check_inner(&self, pattern: Swizzle) -> Result<(), TensorError> {
        let unit = self.element.unit();
        let multiple = if unit.elements == 16 { 128 } else { u64::from(unit.elements) };
        if !self.dims[0].is_multiple_of(multiple) {
            let expected = format!("a multiple of {multiple} for elements of type {:?}", self.element);
            return Err(field(DIMS[0], self.dims[0], expected));
        }
        if !self.box_dims[0].is_multiple_of(unit.elements) {
            return Err(field(BOX[0], self.box_dims[0], format!("a multiple of {}", unit.elements)));
        }
        let bytes = self.box_dims[0] / unit.elements * unit.shared;
        if !bytes.is_multiple_of(16) {
            return Err(field(
                BOX[0],
                format!("{} ({bytes} bytes)", self.box_dims[0]),
                "a multiple of 16 bytes",
            ));
        }
        match pattern.span() {
            Some(span) if bytes > span => {
                let found = format!("{} ({bytes} bytes)", self.box_dims[0]);
                Err(field(BOX[0], found, format!("at most the {span} bytes of the swizzle")))
            }
            _ => Ok(()),
        }
    }
}
