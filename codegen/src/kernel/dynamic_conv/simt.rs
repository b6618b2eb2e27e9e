//! Multiply-adds in float: any formats, any alignment, any number of taps. What float32 programs run with.

use super::{DynamicConv, HISTORY, source};
use crate::arch::Arch;
use crate::kernel::{Budget, Entry, Form, Source, require};
use crate::schedule::{Illegal, Problem, Schedule, Values};

pub(super) struct Simt;

/// Threads along the channels.
const ACROSS: usize = 16;

/// Channels of a tile; tokens and channels of a thread.
fn shares(s: &DynamicConv, p: &Problem) -> (usize, usize, usize) {
    let channels = s.tile_n / p.dim("taps");
    (channels, s.tile_m * ACROSS / (s.warps_m * s.warps_n * 32), channels.div_ceil(ACROSS))
}

impl Form for Simt {
    fn name(&self) -> &'static str {
        "simt"
    }

    fn legal(&self, p: &Problem, values: &Values, _arch: &Arch) -> Result<(), Illegal> {
        let s = DynamicConv::from_values(values)?;
        let d = DynamicConv::default();
        require(s.stages == d.stages && s.tile_k <= 32, || "it has no ring of stages".to_owned())?;
        let down = s.warps_m * s.warps_n * 32 / ACROSS;
        require(s.warps_m == s.warps_n && s.tile_m.is_multiple_of(down), || {
            format!("{down} threads along {} rows", s.tile_m)
        })?;
        let (channels, rows, own) = shares(&s, p);
        require(channels > 0, || format!("{} taps in {} columns", p.dim("taps"), s.tile_n))?;
        let sums = rows * own * p.dim("taps");
        require(sums <= 64, || format!("{sums} sums in one thread"))
    }

    fn budget(&self, p: &Problem, values: &Values, _arch: &Arch) -> Budget {
        let s = DynamicConv::from_values(values).unwrap_or_default();
        let (channels, rows, own) = shares(&s, p);
        let taps = p.dim("taps");
        Budget {
            threads: (s.warps_m * s.warps_n * 32) as u32,
            registers: (rows * own * taps + rows + own + 48).min(168) as u32,
            smem: (4 * s.tile_k * (s.tile_m + 1 + taps * (channels + 1))) as u32,
        }
    }

    fn emit(&self, p: &Problem, values: &Values, arch: &Arch) -> Source {
        let s = DynamicConv::from_values(values).unwrap_or_default();
        let template = ("dynamic_conv", include_str!("../../../cuda/dynamic_conv/simt.cuh"));
        let entry = Entry::new("dynamic_conv_simt", s.warps_m * s.warps_n * 32);
        let (channels, ..) = shares(&s, p);
        source(p, &s, self, arch, &[HISTORY, template], entry, channels, |_| ())
    }
}
