//! Tensor maps: what a bulk tensor copy is told about the tensor, checked before the driver sees it so that a wrong one
//! is told in words.

use crate::gpu::Value;
use jet_codegen::kernel::Elem;

/// Bytes of an encoded map.
pub const BYTES: usize = 128;
/// Most elements of a box along one dimension.
const BOX_MOST: u32 = 256;

/// The fields of a map, innermost dimension first. Codes are the driver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Code of the element type.
    pub element: u32,
    /// Bytes of an element.
    pub element_bytes: u64,
    /// Elements along each dimension.
    pub dims: Vec<u64>,
    /// Bytes from one index to the next, of every dimension but the innermost.
    pub strides: Vec<u64>,
    /// Elements of a box.
    pub tile: Vec<u32>,
    /// Distance of the elements that are copied.
    pub element_strides: Vec<u32>,
    /// Code of the interleaving.
    pub interleave: u32,
    /// Code of the swizzle.
    pub swizzle: u32,
    /// Code of the promotion of reads into L2.
    pub l2_promotion: u32,
    /// Code of what stands outside of the tensor: zeros, or not-a-number.
    pub fill: u32,
}

/// Codes of element types.
pub mod element {
    /// `CU_TENSOR_MAP_DATA_TYPE_*`.
    pub const U8: u32 = 0;
    /// As above.
    pub const F16: u32 = 6;
    /// As above.
    pub const F32: u32 = 7;
    /// As above.
    pub const BF16: u32 = 9;
}

impl Fields {
    /// The map of an argument; `None` for other arguments.
    pub fn of(value: &Value) -> Option<Result<Fields, String>> {
        let Value::Map { elem, shape, stride, tile, swizzle, .. } = value else { return None };
        let size = elem.bytes() as u64;
        let code = match elem {
            Elem::F32 => element::F32,
            Elem::Bf16 => element::BF16,
            Elem::F16 => element::F16,
            Elem::E4m3 => element::U8,
        };
        let swizzle = match swizzle {
            0 => 0,
            32 => 1,
            64 => 2,
            128 => 3,
            other => return Some(Err(format!("a swizzle of {other} bytes; there are 0, 32, 64 and 128"))),
        };
        let fields = Fields {
            element: code,
            element_bytes: size,
            dims: vec![shape[1] as u64, shape[0] as u64],
            strides: vec![*stride as u64 * size],
            tile: vec![tile[1], tile[0]],
            element_strides: vec![1, 1],
            interleave: 0,
            swizzle,
            l2_promotion: 2,
            fill: 0,
        };
        Some(Ok(fields))
    }

    /// Whether the driver can take it over a tensor at `address`; the driver itself only says that something is wrong.
    pub fn check(&self, address: u64) -> Result<(), String> {
        let require = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
        let rank = self.dims.len();
        require((1..=5).contains(&rank), format!("a tensor of {rank} dimensions; 1 to 5 are possible"))?;
        require(
            self.strides.len() + 1 == rank && self.tile.len() == rank && self.element_strides.len() == rank,
            format!("{rank} dimensions want {} strides and a box of {rank}", rank - 1),
        )?;
        let unit = if self.interleave == 2 { 32 } else { 16 };
        require(
            address.is_multiple_of(unit),
            format!("the tensor begins at {address:#x}, no multiple of {unit} bytes"),
        )?;
        for s in &self.strides {
            require(
                s.is_multiple_of(unit) && *s < 1 << 40,
                format!("a stride of {s} bytes is no multiple of {unit} below 2^40"),
            )?;
        }
        for d in &self.dims {
            require(
                (1..=1 << 32).contains(d),
                format!("a dimension of {d} elements; 1 to 2^32 are possible"),
            )?;
        }
        for t in &self.tile {
            require(
                (1..=BOX_MOST).contains(t),
                format!("a box of {t} elements along a dimension; 1 to {BOX_MOST} are possible"),
            )?;
        }
        let inner = u64::from(self.tile[0]) * self.element_bytes;
        require(
            self.interleave != 0 || inner.is_multiple_of(16),
            format!("the box's rows are {inner} bytes, no multiple of 16"),
        )?;
        let span = match self.swizzle {
            1 => 32,
            2 => 64,
            3 => 128,
            _ => u64::MAX,
        };
        require(
            self.interleave != 0 || inner <= span,
            format!("the box's rows are {inner} bytes, more than the swizzle's {span}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Memory, Place};

    fn map(shape: [usize; 2], stride: usize, tile: [u32; 2], swizzle: u32) -> Value {
        let base = Place { memory: Memory(0), offset: 0 };
        Value::Map { base, elem: Elem::Bf16, shape, stride, tile, swizzle }
    }

    #[test]
    fn rows_and_columns_become_dimensions_innermost_first_and_strides_bytes() {
        let fields = Fields::of(&map([200, 320], 336, [128, 64], 128)).unwrap().unwrap();
        assert_eq!((fields.dims.as_slice(), fields.strides.as_slice()), (&[320, 200][..], &[672][..]));
        assert_eq!((fields.tile.as_slice(), fields.element, fields.swizzle), (&[64, 128][..], 9, 3));
        assert_eq!(fields.check(0x100), Ok(()));
        assert!(Fields::of(&Value::Null).is_none());
        assert!(Fields::of(&map([1, 8], 8, [1, 8], 48)).unwrap().unwrap_err().contains("48"));
    }

    #[test]
    fn codes_are_the_drivers() {
        use cudarc::driver::sys::{CUtensorMapDataType as T, CUtensorMapSwizzle as S};
        let codes = [element::U8, element::F16, element::F32, element::BF16];
        let theirs = [
            T::CU_TENSOR_MAP_DATA_TYPE_UINT8,
            T::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            T::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
            T::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        ];
        assert_eq!(codes, theirs.map(|t| t as u32));
        let swizzle = |bytes| Fields::of(&map([8, 8], 8, [8, 8], bytes)).unwrap().unwrap().swizzle;
        let theirs = [
            S::CU_TENSOR_MAP_SWIZZLE_NONE,
            S::CU_TENSOR_MAP_SWIZZLE_32B,
            S::CU_TENSOR_MAP_SWIZZLE_64B,
            S::CU_TENSOR_MAP_SWIZZLE_128B,
        ];
        assert_eq!([0, 32, 64, 128].map(swizzle), theirs.map(|s| s as u32));
    }

    #[test]
    fn what_the_hardware_cannot_do_is_told_in_words() {
        let fields = |v: Value| Fields::of(&v).unwrap().unwrap();
        let why = |f: Fields, at: u64| f.check(at).unwrap_err();
        assert!(why(fields(map([8, 64], 64, [8, 64], 0)), 8).contains("0x8"));
        assert!(why(fields(map([8, 64], 65, [8, 64], 0)), 0).contains("130 bytes"));
        assert!(why(fields(map([8, 64], 64, [300, 64], 0)), 0).contains("300"));
        assert!(why(fields(map([8, 64], 64, [8, 4], 0)), 0).contains("8 bytes"));
        assert!(why(fields(map([8, 128], 128, [8, 128], 128)), 0).contains("more than the swizzle's 128"));
        assert!(why(fields(map([0, 64], 64, [8, 64], 0)), 0).contains("0 elements"));
    }
}
