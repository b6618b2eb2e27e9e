//! The generator's second matrix, packed.

use crate::cpu::scan::{LANES, SizeError, check_len, padded};

/// Rows of `W2` as a checkpoint stores them; the 16-bit formats as bit patterns.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// IEEE single.
    F32(&'a [f32]),
    /// bfloat16.
    Bf16(&'a [u16]),
    /// IEEE half.
    F16(&'a [u16]),
}

/// In the layout of [`TapWeights`].
#[derive(Clone, Debug)]
pub(super) enum Packed {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
    F16(Vec<u16>),
}

/// The tap generator's second matrix, packed for vectors over channels, in the format it came in.
///
/// Layout `[channels / 16][hidden][taps][16]`, the last 16 channels padded with zeros.
#[derive(Clone, Debug)]
pub struct TapWeights {
    pub(super) channels: usize,
    pub(super) taps: usize,
    pub(super) hidden: usize,
    pub(super) packed: Packed,
    /// `[channels / 16][taps][16]`.
    pub(super) bias: Vec<f32>,
}

impl TapWeights {
    /// Packs `w2` `[channels · taps, hidden]` and `bias` `[channels · taps]`, both with flat row index
    /// `channel · taps + tap`.
    ///
    /// # Errors
    /// A tensor that does not have this size.
    pub fn pack(
        channels: usize,
        taps: usize,
        hidden: usize,
        w2: Rows<'_>,
        bias: &[f32],
    ) -> Result<Self, SizeError> {
        let found = match w2 {
            Rows::F32(w) => w.len(),
            Rows::Bf16(w) | Rows::F16(w) => w.len(),
        };
        check_len("kernel_generator.w2.weight", found, channels * taps * hidden)?;
        check_len("kernel_generator.w2.bias", bias.len(), channels * taps)?;
        let sizes = (channels, taps, hidden);
        Ok(Self {
            channels,
            taps,
            hidden,
            packed: match w2 {
                Rows::F32(w) => Packed::F32(pack_rows(sizes, w)),
                Rows::Bf16(w) => Packed::Bf16(pack_rows(sizes, w)),
                Rows::F16(w) => Packed::F16(pack_rows(sizes, w)),
            },
            bias: pack_rows((channels, taps, 1), bias),
        })
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Width of the generator's hidden layer.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        let packed = match &self.packed {
            Packed::F32(w) => size_of_val(w.as_slice()),
            Packed::Bf16(w) | Packed::F16(w) => size_of_val(w.as_slice()),
        };
        packed + size_of_val(self.bias.as_slice())
    }
}

fn pack_rows<T: Copy + Default>((channels, taps, hidden): (usize, usize, usize), rows: &[T]) -> Vec<T> {
    let mut out = vec![T::default(); padded(channels) * taps * hidden];
    for c in 0..channels {
        for w in 0..taps {
            for r in 0..hidden {
                let at = ((c / LANES * hidden + r) * taps + w) * LANES + c % LANES;
                out[at] = rows[(c * taps + w) * hidden + r];
            }
        }
    }
    out
}

/// Row `i` of a matrix whose product [`apply_taps`](super::apply_taps) can read is row `tap_order(..)[i]` of
/// `W2` (and of its bias): strips of 16 channels (the last may be narrower), in each the taps, in each tap
/// the channels.
pub fn tap_order(channels: usize, taps: usize) -> Vec<usize> {
    (0..channels)
        .step_by(LANES)
        .flat_map(|first| {
            let end = (first + LANES).min(channels);
            (0..taps).flat_map(move |w| (first..end).map(move |c| c * taps + w))
        })
        .collect()
}
