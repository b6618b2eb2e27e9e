//! The scan of Mamba-2, [`Op::Ssd`](crate::op::Op::Ssd): step sizes, decays, update, read-out and skip in one kernel.
//!
//! Sizes of a problem: `heads`, `d_head`, `groups` (heads that share B and C), `d_state`, `align` (elements to which
//! every row of `x`, `b`, `c` and `out` is aligned), and the flag `step` (every sequence has one new token). Roles: `x`,
//! `b`, `c`, `dt`, `out`; `dt_bias`, `a_log`, `d_skip` and `state` (`[heads][d_head][d_state]` a sequence) are f32.
//! Scalars: `dt_min`, `dt_max`.
//!
//! The forms share the schedule: a parameter that a form does not use has its default there.

mod chunk;
mod mma;
mod step;

use super::{Elem, Entry, Extent, Floor, Form, Formats, Kernel, Size, Source, require, require_sizes};
use crate::arch::Arch;
use crate::emit::Writer;
use crate::schedule::{Illegal, Param, Problem, Schedule, Values};

crate::schedule! {
    /// How heads, channels and tokens are shared out.
    pub struct Ssd = "ssd" v1 {
        /// 0: token by token; 1: by chunks in float; 2: by chunks with mma.sync.
        form: [0, 1, 2] = 0,
        /// Tokens of a chunk.
        chunk: [16, 32, 64, 128] = 32,
        /// Warps of a CTA.
        warps: [2, 4, 8] = 4,
        /// CTAs that share the channels of a head, where it goes by chunks.
        split: [1, 2, 4, 5] = 1,
        /// Chunks under way.
        stages: [1, 2] = 1,
        /// Lanes that share a row of the state, where it goes token by token.
        lanes: [4, 8, 16, 32] = 8,
        /// Rows of the state in one thread there.
        rows: [1, 2, 4, 5] = 2,
    }
}

/// Index of the form that goes token by token.
const STEP: usize = 0;
/// Index of the form by chunks in float.
const CHUNK: usize = 1;
/// Index of the form by chunks with `mma.sync`.
const MMA: usize = 2;

/// The family.
pub struct SsdKernel;

impl Kernel for SsdKernel {
    fn name(&self) -> &'static str {
        Ssd::FAMILY
    }

    fn version(&self) -> u32 {
        Ssd::VERSION
    }

    fn params(&self) -> &'static [Param] {
        Ssd::PARAMS
    }

    fn forms(&self) -> &'static [&'static dyn Form] {
        &[&step::Step, &chunk::Chunk, &mma::Mma]
    }

    fn serves(&self, p: &Problem) -> Result<(), Illegal> {
        require_sizes(p, &["heads", "d_head", "groups", "d_state", "align"])?;
        Formats::of(p)?;
        require(p.dim("heads").is_multiple_of(p.dim("groups")), || {
            format!("{} groups do not divide {} heads", p.dim("groups"), p.dim("heads"))
        })
    }

    fn floor(&self, p: &Problem) -> Floor {
        let Ok(f) = Formats::of(p) else { return Floor::default() };
        let (tokens, heads) = (p.dim("tokens"), p.dim("heads"));
        let (channels, keys) = (heads * p.dim("d_head"), p.dim("groups") * p.dim("d_state"));
        let row = channels * (f.get("x").bytes() + f.get("out").bytes())
            + keys * (f.get("b").bytes() + f.get("c").bytes())
            + heads * f.get("dt").bytes();
        let state = channels * p.dim("d_state");
        // With one token each there are as many sequences as tokens; else their number is not part of a problem.
        let states = if p.dim("step") > 0 { 8 * tokens * state } else { 0 };
        Floor { bytes: (tokens * row + states) as u64, flops: 4 * (tokens * state) as u64 }
    }

    fn prefers(&self, p: &Problem, arch: &Arch) -> Vec<Values> {
        let mut all = Vec::new();
        if p.dim("step") == 0 {
            // Two CTAs of an SM hide each other's copies; halves of heads fill a device that has more SMs than heads.
            let splits: &[usize] = if p.dim("heads") < 96 { &[2, 4, 1] } else { &[1, 5, 2] };
            for split in splits {
                for (chunk, warps) in [(64, 4), (128, 8), (32, 2)] {
                    all.push(Ssd { form: MMA, chunk, warps, split: *split, ..Ssd::default() });
                }
            }
            for (chunk, split) in [(32, 1), (32, 2), (16, 1), (16, 2), (16, 4), (16, 5)] {
                all.push(Ssd { form: CHUNK, chunk, split, ..Ssd::default() });
            }
        }
        // A CTA has a whole head, or where these are few, a part of one.
        let few = p.dim("tokens").max(1) * p.dim("heads") < 2 * arch.peaks.sms as usize;
        let whole = [1, 2, 4, 5].into_iter().find(|r| 16 * r >= p.dim("d_head")).unwrap_or(2);
        let rows = if few { 1 } else { whole };
        for (lanes, rows) in [(8, rows), (8, whole), (8, 2), (8, 1), (32, 2), (32, 1)] {
            all.push(Ssd { form: STEP, lanes, rows, ..Ssd::default() });
        }
        all.iter().map(Ssd::values).collect()
    }
}

/// Values of one access to the rows of every operand and to heads and groups in them: the widest up to `most`.
fn access(p: &Problem, most: usize) -> usize {
    let divides = |v: &usize| ["align", "d_head", "d_state"].iter().all(|n| p.dim(n).is_multiple_of(*v));
    [8, 4, 2, 1].into_iter().filter(|v| *v <= most).find(divides).unwrap_or(1)
}

/// Bytes of the decays of a chunk in shared memory.
fn decay_bytes(s: &Ssd) -> usize {
    20 * s.chunk
}

/// The source of a form: constants and types that all use, and one entry over heads (times `pieces`) and sequences.
fn source(
    p: &Problem,
    s: &Ssd,
    form: &dyn Form,
    arch: &Arch,
    template: (&'static str, &'static str),
    vec: usize,
    (entry, pieces): (Entry, usize),
) -> Source {
    let decay = ("ssd decay", include_str!("../../../cuda/ssd/decay.cuh"));
    let formats = Formats::of(p).unwrap_or(Formats::new(Elem::F32, &[]));
    let mut w = Writer::new(p, form.name(), &s.values(), arch, &[decay, template]);
    w.sizes(p, &["heads", "d_head", "groups", "d_state"]).integer("vec", vec);
    w.types(&formats, &["x", "b", "c", "dt", "out"]);
    let heads = Extent::fixed(p.dim("heads") * pieces);
    let entry = entry.grid(heads, Extent::pieces(Size::Sequences, 1), Extent::fixed(1));
    w.finish(vec![entry], vec![])
}
