//! The schedules that tuning looks at: those of each form that it may take, at least for some problem.

use super::{GEMV, Gemm, MMA, SIMT, SKINNY, WGMMA};
use crate::schedule::{Schedule, Values};
use std::sync::OnceLock;

/// Values of each parameter, and what they must have in common.
struct Space {
    form: usize,
    tile_m: &'static [usize],
    tile_n: &'static [usize],
    tile_k: &'static [usize],
    warps_m: &'static [usize],
    warps_n: &'static [usize],
    stages: &'static [usize],
    splits: &'static [usize],
    worth: fn(&Gemm) -> bool,
}

/// Warps of a CTA, where all of them multiply.
fn warps(s: &Gemm) -> usize {
    s.warps_m * s.warps_n
}

const SPACES: &[Space] = &[
    Space {
        form: SIMT,
        tile_m: &[16, 32, 64],
        tile_n: &[32, 64, 128],
        tile_k: &[16, 32],
        warps_m: &[1, 2, 4],
        warps_n: &[1, 2, 4],
        stages: &[2],
        splits: &[1],
        worth: |s| s.warps_m == s.warps_n,
    },
    Space {
        form: MMA,
        tile_m: &[16, 32, 64, 128, 256],
        tile_n: &[32, 64, 128, 256],
        tile_k: &[32, 64, 128],
        warps_m: &[1, 2, 4, 8],
        warps_n: &[1, 2, 4],
        stages: &[2, 3, 4, 5],
        splits: &[1, 2, 4, 8],
        // Whole products for each warp, and no more sums than registers; k is shared where tiles are few.
        worth: |s| {
            let (rows, cols) = (s.tile_m / s.warps_m, s.tile_n / s.warps_n);
            let whole = rows >= 16 && cols >= 16 && rows * cols <= 32 * 128 && warps(s) <= 16;
            whole && (s.splits == 1 || s.tile_k >= 64 && s.stages >= 3 && s.tile_n <= 128)
        },
    },
    Space {
        form: WGMMA,
        tile_m: &[64, 128, 256],
        tile_n: &[64, 128, 256],
        tile_k: &[64, 128],
        warps_m: &[4, 8],
        warps_n: &[1],
        stages: &[2, 3, 4, 5],
        splits: &[1],
        worth: |_| true,
    },
    Space {
        form: GEMV,
        tile_m: &[1, 2, 4, 8],
        tile_n: &[8, 16, 32, 64],
        tile_k: &[16],
        warps_m: &[1, 2, 4, 8],
        warps_n: &[1, 2, 4, 8],
        stages: &[2, 4],
        splits: &[1, 2, 4, 8],
        worth: |s| (4..=16).contains(&warps(s)) && (2..=8).contains(&(s.tile_n / s.warps_n)),
    },
    Space {
        form: SKINNY,
        tile_m: &[8, 16, 32, 64],
        tile_n: &[16, 32, 64, 128],
        tile_k: &[64, 128, 256],
        warps_m: &[1, 2, 4],
        warps_n: &[1, 2, 4, 8],
        stages: &[3, 4],
        splits: &[1, 2, 4, 8],
        worth: |s| (4..=8).contains(&warps(s)) && [16, 32].contains(&(s.tile_n / s.warps_n)),
    },
];

/// All of them.
pub(super) fn all() -> Vec<Values> {
    static ALL: OnceLock<Vec<Values>> = OnceLock::new();
    ALL.get_or_init(|| SPACES.iter().flat_map(of).collect()).clone()
}

fn of(space: &Space) -> Vec<Values> {
    let mut all = vec![Gemm { form: space.form, ..Gemm::default() }];
    let mut vary = |values: &[usize], set: fn(&mut Gemm, usize)| {
        let each = |s: &Gemm| {
            let mut s = *s;
            values.iter().map(move |v| {
                set(&mut s, *v);
                s
            })
        };
        all = all.iter().flat_map(each).collect();
    };
    vary(space.tile_m, |s, v| s.tile_m = v);
    vary(space.tile_n, |s, v| s.tile_n = v);
    vary(space.tile_k, |s, v| s.tile_k = v);
    vary(space.warps_m, |s, v| s.warps_m = v);
    vary(space.warps_n, |s, v| s.warps_n = v);
    vary(space.stages, |s, v| s.stages = v);
    vary(space.splits, |s, v| s.splits = v);
    all.retain(space.worth);
    all.iter().map(Schedule::values).collect()
}
