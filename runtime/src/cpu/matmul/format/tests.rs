use super::*;
use jet_numerics::philox::{Stream, Tag};

/// Any bytes go into a tile and come out of it again.
fn round_trip<F: Format>() {
    let stored = F::DTYPE.row_bytes(F::LEN).unwrap();
    let stream = Stream::new(stored as u64, Tag::Data, 0, 0);
    let bytes: Vec<u8> = stream.uniforms(stored * ROWS).into_iter().map(|u| (u * 256.0) as u8).collect();
    let blocks: [&[u8]; ROWS] = std::array::from_fn(|r| &bytes[r * stored..(r + 1) * stored]);
    let mut tile = bytemuck::Zeroable::zeroed();
    F::pack(&blocks, &mut tile);
    for (r, want) in blocks.iter().enumerate() {
        let mut block = vec![0xAA; stored];
        F::block(&tile, r, &mut block);
        assert_eq!(&block, want, "{} row {r}", F::DTYPE);
    }
    assert_eq!(size_of::<F::Tile>(), ROWS * stored, "{}", F::DTYPE);
}

#[test]
fn tiles_hold_the_blocks_bit_for_bit_in_as_many_bytes() {
    for dtype in jet_numerics::DType::ALL {
        with_format!(dtype, F => round_trip::<F>(), else ());
    }
}

#[test]
fn every_weight_type_has_a_tile() {
    for dtype in jet_numerics::DType::ALL {
        let listed = with_format!(dtype, F => F::DTYPE == dtype, else false);
        // float64 is packed as float32.
        assert_eq!(listed, dtype.is_weight() && dtype != jet_numerics::DType::F64);
    }
}
