//! Tensor maps against plain loops over elements.

use std::collections::HashMap;

use super::*;
use crate::tensor::error::TensorError;

fn spec(text: &str) -> TensorMapSpec {
    serde_json::from_str(text).unwrap()
}

fn map(text: &str) -> TensorMap {
    spec(text).build(0x1_0000).unwrap()
}

fn failure(text: &str) -> String {
    spec(text).build(0x1_0000).unwrap_err().to_string()
}

/// (shared byte, global byte or none) of every byte, by the loops of the definition.
fn expected(map: &TensorMap, coordinates: &[i64], shared: u32) -> HashMap<u32, Option<u64>> {
    let rank = usize::from(map.rank);
    let bytes = u64::from(map.element.bytes().unwrap());
    let counts: Vec<i64> = (0..5)
        .map(|i| match i {
            0 => i64::from(map.box_dims[0]),
            i if i < rank => (0..map.box_dims[i]).step_by(map.element_strides[i] as usize).count() as i64,
            _ => 1,
        })
        .collect();
    let mut found = HashMap::new();
    let mut linear = 0;
    for e in 0..counts[4] {
        for d in 0..counts[3] {
            for c in 0..counts[2] {
                for b in 0..counts[1] {
                    for a in 0..counts[0] {
                        let index = [a, b, c, d, e];
                        let mut inside = true;
                        let mut offset = 0;
                        for i in 0..rank {
                            let step = if i == 0 { 1 } else { i64::from(map.element_strides[i]) };
                            let position = coordinates[i] + index[i] * step;
                            inside &= position >= 0 && position < map.dims[i] as i64;
                            let stride = if i == 0 { bytes as i64 } else { map.strides[i - 1] as i64 };
                            offset += position * stride;
                        }
                        for byte in 0..bytes as u32 {
                            let address = shared + linear;
                            let line = address / 128;
                            let swizzled = match map.swizzle {
                                SwizzleMode::B32 => address ^ ((line % 2) * 16),
                                SwizzleMode::B64 => address ^ ((line % 4) * 16),
                                SwizzleMode::B128 if map.atomicity == Atomicity::B32 => {
                                    address ^ ((line % 4) * 32)
                                }
                                SwizzleMode::B128 => address ^ ((line % 8) * 16),
                                _ => address,
                            };
                            let global = (map.base as i64 + offset) as u64 + u64::from(byte);
                            let old = found.insert(swizzled, inside.then_some(global));
                            assert!(old.is_none(), "the definition itself must be a bijection");
                            linear += 1;
                        }
                    }
                }
            }
        }
    }
    found
}

fn compare(map: &TensorMap, coordinates: &[i32], shared: u32) -> usize {
    let tiled = map.tiled().unwrap();
    let mut found = HashMap::new();
    let mut runs = 0;
    tiled
        .visit(coordinates, shared, &mut |run| {
            runs += 1;
            for byte in 0..run.bytes {
                let global = run.global.map(|at| at + u64::from(byte));
                assert!(found.insert(run.shared + byte, global).is_none());
            }
        })
        .unwrap();
    assert_eq!(found.len(), tiled.tile_bytes() as usize, "the full box, also at the edges");
    let wide: Vec<i64> = coordinates.iter().map(|&c| i64::from(c)).collect();
    assert_eq!(found, expected(map, &wide, shared), "{map:?} {coordinates:?}");
    runs
}

#[test]
fn boxes_over_every_edge_equal_plain_loops() {
    let three = map(r#"{"tensor": "x", "dtype": "f32", "dims": [5, 3, 4], "strides": [32, 112],
            "box": [4, 2, 3], "element_strides": [1, 1, 2]}"#);
    for x in -5..7 {
        for y in -3..4 {
            for z in -4..5 {
                compare(&three, &[x, y, z], 0x480);
            }
        }
    }
    let five =
        map(r#"{"tensor": "x", "dtype": "u16", "dims": [10, 3, 2, 5, 3], "strides": [48, 160, 336, 2000],
            "box": [8, 2, 2, 3, 2], "element_strides": [3, 1, 2, 2, 1]}"#);
    for coordinates in [[0, 0, 0, 0, 0], [-3, 2, -1, 3, 2], [4, -1, 1, -2, -1], [99, 0, 0, 0, 0]] {
        compare(&five, &coordinates, 0x80);
    }
    let one = map(r#"{"tensor": "x", "dtype": "u64", "dims": [100], "box": [256]}"#);
    for x in [-300, -1, 0, 7, 99, 100, i32::MAX, i32::MIN] {
        compare(&one, &[x], 0);
    }
}

/// A tile at every 128-byte phase of the pattern: the swizzle works on absolute addresses.
#[test]
fn swizzled_tiles_at_any_base_equal_plain_loops() {
    for (name, columns) in [("32B", 16), ("64B", 32), ("128B", 64), ("128B", 24), ("128B_ATOM_32B", 64)] {
        let text = format!(
            r#"{{"tensor": "x", "dtype": "bf16", "dims": [100, 40], "strides": [208],
                "box": [{columns}, 12], "swizzle": "{name}"}}"#
        );
        let map = map(&text);
        for phase in 0..8 {
            compare(&map, &[8, 3], 0x2000 + 128 * phase);
            compare(&map, &[-5, 35], 0x2000 + 128 * phase);
        }
    }
}

#[test]
fn runs_are_as_long_as_they_can_be() {
    let packed = map(r#"{"tensor": "x", "dtype": "bf16", "dims": [64, 32], "box": [64, 16]}"#);
    assert_eq!(compare(&packed, &[0, 8], 0), 1, "rows without gaps merge");
    assert_eq!(compare(&packed, &[0, 24], 0), 2, "eight rows inside, eight filled");
    let pitched =
        map(r#"{"tensor": "x", "dtype": "bf16", "dims": [64, 32], "strides": [256], "box": [64, 16]}"#);
    assert_eq!(compare(&pitched, &[0, 0], 0), 16);
    let swizzled =
        map(r#"{"tensor": "x", "dtype": "bf16", "dims": [64, 8], "box": [64, 8], "swizzle": "128B"}"#);
    assert!(compare(&swizzled, &[0, 0], 0) < 8 * 8);
}

#[test]
fn four_rows_gather_one_after_the_other() {
    let rows = map(r#"{"tensor": "x", "dtype": "f16", "dims": [64, 10], "box": [64, 1], "swizzle": "128B"}"#);
    let tiled = rows.tiled().unwrap();
    assert_eq!(tiled.gather4_bytes(), 512);
    let mut found = HashMap::new();
    tiled
        .visit_gather4(8, [7, -1, 0, 9], 0x100, &mut |run| {
            (0..run.bytes).for_each(|b| {
                found.insert(run.shared + b, run.global.map(|g| g + u64::from(b)));
            });
        })
        .unwrap();
    assert_eq!(found.len(), 512);
    for (line, row) in [(0u32, 7u64), (2, 0), (3, 9)] {
        for byte in 0..128 {
            let address = 0x100 + line * 128 + byte;
            let physical = address ^ (address / 128 % 8 * 16);
            let inside = byte < 112;
            let global = 0x1_0000 + row * 128 + 16 + u64::from(byte);
            assert_eq!(found[&physical], inside.then_some(global));
        }
    }
    assert!((0..128).all(|b| found[&((0x180 + b) ^ 0x30)].is_none()));
    let wrong = map(r#"{"tensor": "x", "dtype": "f16", "dims": [64, 10], "box": [64, 2]}"#);
    let error = wrong.tiled().unwrap().visit_gather4(0, [0; 4], 0, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("boxDim[1] is 2"));
}

#[test]
fn packed_types_keep_their_gaps() {
    let runs = |text: &str, column: i32| {
        let mut list = Vec::new();
        let tiled = map(text).tiled().unwrap();
        tiled.visit(&[column], 0x200, &mut |run| list.push((run.global, run.shared, run.bytes))).unwrap();
        (list, tiled.tile_bytes())
    };
    let (list, bytes) = runs(r#"{"tensor": "x", "dtype": "16u4_align8b", "dims": [100], "box": [64]}"#, 50);
    assert_eq!(list, [(Some(0x1_0000 + 25), 0x200, 25), (None, 0x219, 7)]);
    assert_eq!(bytes, 32);
    let (list, bytes) =
        runs(r#"{"tensor": "x", "dtype": "16u4_align16b", "dims": [256], "box": [128]}"#, 128);
    assert_eq!((list.len(), bytes), (8, 128));
    assert_eq!(list[3], (Some(0x1_0000 + 64 + 24), 0x230, 8));
    let (list, _) = runs(r#"{"tensor": "x", "dtype": "16u6_align16b", "dims": [128], "box": [128]}"#, 0);
    assert_eq!(list[2], (Some(0x1_0000 + 24), 0x220, 12));
    let nibbles = map(r#"{"tensor": "x", "dtype": "16u4_align8b", "dims": [100], "box": [64]}"#);
    assert!(nibbles.tiled().unwrap().visit(&[3], 0, &mut |_| ()).is_err());
}

#[test]
fn every_constraint_names_its_field() {
    let with = |change: &str| {
        let base = r#""tensor": "x", "dtype": "bf16""#;
        failure(&format!("{{{base}, {change}}}"))
    };
    for (change, words) in [
        (r#""dims": [0, 8], "box": [8, 8]"#, "globalDim[0] is 0, expected 1 to 2^32"),
        (r#""dims": [8, 5000000000], "box": [8, 8]"#, "globalDim[1] is 5000000000"),
        (r#""dims": [8, 8], "box": [8, 257]"#, "boxDim[1] is 257, expected 1 to 256"),
        (r#""dims": [8, 8], "box": [4, 8]"#, "boxDim[0] is 4 (8 bytes), expected a multiple of 16 bytes"),
        (
            r#""dims": [9, 8], "box": [8, 8]"#,
            "globalStrides[0] is 18, expected a multiple of 16 bytes below 2^40",
        ),
        (r#""dims": [8, 8], "strides": [1099511627776], "box": [8, 8]"#, "globalStrides[0] is 1099511627776"),
        (
            r#""dims": [8, 8], "box": [8, 8], "element_strides": [1, 9]"#,
            "elementStrides[1] is 9, expected 1 to 8",
        ),
        (r#""dims": [64, 8], "box": [64, 8], "swizzle": "64B""#, "at most the 64 bytes of the swizzle"),
        (r#""dims": [8, 8], "box": [8]"#, "box is a list of 1, expected 2 entries, as dims"),
        (r#""dims": [8, 8], "box": [8, 8], "strides": []"#, "strides is a list of 0"),
        (r#""dims": [], "box": []"#, "dims is a list of 0"),
        (
            r#""dims": [8, 8], "box": [8, 8], "offset": 8"#,
            "globalAddress is 0x10008, expected a multiple of 16",
        ),
        (
            r#""dims": [8, 8, 8], "box": [8, 8, 8], "interleave": "16B""#,
            "an interleaved layout is not supported",
        ),
    ] {
        let message = with(change);
        assert!(message.contains(words), "{change}: {message}");
    }
    let nan = failure(r#"{"tensor": "x", "dtype": "u8", "dims": [16], "box": [16], "fill": "nan"}"#);
    assert!(nan.contains("oobFill is NaN"), "{nan}");
    let padded = failure(r#"{"tensor": "x", "dtype": "16u4_align16b", "dims": [64], "box": [64]}"#);
    assert!(padded.contains("globalDim[0] is 64, expected a multiple of 128"), "{padded}");

    let good = map(r#"{"tensor": "x", "dtype": "bf16", "dims": [8, 8], "box": [8, 8]}"#).tiled().unwrap();
    let error = good.visit(&[0], 0, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("tensorRank is 2, expected 1, the rank of the instruction"), "{error}");
    assert!(good.visit(&[0, 0], 64, &mut |_| ()).is_err());
    let unknown =
        serde_json::from_str::<TensorMapSpec>(r#"{"tensor": "x", "dtype": "q8", "dims": [8], "box": [8]}"#);
    assert!(unknown.unwrap_err().to_string().contains("expected one of `u8`"));
}

#[test]
fn maps_survive_their_128_bytes() {
    let full = map(r#"{"tensor": "x", "dtype": "tf32", "dims": [32, 3, 4294967296, 7, 5],
            "strides": [128, 1099511627760, 48, 0], "box": [32, 3, 256, 7, 5], "element_strides": [1, 2, 8, 1, 3],
            "swizzle": "128B_ATOM_32B_FLIP_8B", "fill": "nan", "l2_promotion": "256B"}"#);
    assert_eq!(TensorMap::decode(&full.encode()).unwrap(), full);
    assert_eq!(TensorMap::decode(&[0; MAP_BYTES]).unwrap(), TensorMap::blank());
    let mut foreign = [0; MAP_BYTES];
    foreign[9] = 1;
    assert!(matches!(TensorMap::decode(&foreign), Err(TensorError::NotAMap(_))));
    let mut torn = full.encode();
    torn[98] = 77;
    assert!(matches!(TensorMap::decode(&torn), Err(TensorError::NotAMap(_))));
}

/// What a kernel does that makes a map by itself: zero 128 bytes, set every field, use it.
#[test]
fn a_blank_map_becomes_usable_field_by_field() {
    let mut made = TensorMap::decode(&[0; MAP_BYTES]).unwrap();
    assert!(made.check().is_err());
    for (name, ordinal, value) in [
        ("global_address", 0, 0x1_0000),
        ("rank", 0, 1),
        ("box_dim", 0, 64),
        ("box_dim", 1, 16),
        ("global_dim", 0, 200),
        ("global_dim", 1, 70),
        ("global_stride", 0, 400),
        ("element_stride", 0, 1),
        ("element_stride", 1, 1),
        ("elemtype", 0, 0xA),
        ("interleave_layout", 0, 0),
        ("swizzle_mode", 0, 3),
        ("swizzle_atomicity", 0, 0),
        ("fill_mode", 0, 0),
    ] {
        made.replace(MapField::from_name(name).unwrap(), ordinal, value).unwrap();
        made = TensorMap::decode(&made.encode()).unwrap();
    }
    let host = map(r#"{"tensor": "x", "dtype": "BF16", "dims": [200, 70], "strides": [400], "box": [64, 16],
            "swizzle": "128b"}"#);
    assert_eq!(made, host);
    assert_eq!(
        (MapElement::Bf16.driver(), MapElement::F64.driver(), MapElement::F32Ftz.driver()),
        (9, 8, 10)
    );
    assert_eq!(MapElement::from_replace(9), Some(MapElement::F64));
    for (field, ordinal, value) in [
        (MapField::ElementType, 0, 16),
        (MapField::Rank, 0, 5),
        (MapField::GlobalStride, 4, 16),
        (MapField::BoxDim, 5, 16),
        (MapField::SwizzleMode, 0, 5),
        (MapField::FillMode, 0, 300),
    ] {
        assert!(made.replace(field, ordinal, value).is_err(), "{field:?}");
    }
}

#[test]
fn loads_round_tf32_and_flush_subnormal_numbers() {
    let bits = [0x3F80_1800u32, 0x8000_0001, 0x3F80_0FFF];
    let through = |element: MapElement| {
        let mut bytes: Vec<u8> = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
        element.convert(&mut bytes);
        bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect::<Vec<_>>()
    };
    assert_eq!(through(MapElement::F32), bits);
    assert_eq!(through(MapElement::F32Ftz), [0x3F80_1800, 0x8000_0000, 0x3F80_0FFF]);
    assert_eq!(through(MapElement::Tf32), [0x3F80_2000, 0x8000_0000, 0x3F80_0000]);
    let nan = map(r#"{"tensor": "x", "dtype": "f16", "dims": [8], "box": [8], "fill": "NaN"}"#);
    assert_eq!(nan.fill_value(), 0x7FFF);
}
