//! Special registers (ptx.md 1.3).

use super::decoder::{Dec, Refusal};
use super::inst::{Class, Flow, Inst, Slot};
use crate::exec::Cx;
use crate::exec::state::split_index;
use crate::ptx::Type;

/// What the lanes of a warp read.
type Read = fn(&Cx<'_>, usize) -> [u64; 32];

/// Registers with components, by name: what component `k` reads.
const VECTORS: &[(&str, Read)] = &[
    ("tid", |cx, k| {
        let block = cx.run.block;
        let first = cx.warp.id * 32;
        std::array::from_fn(|l| u64::from(split_index(first + l as u32, block)[k]))
    }),
    ("ntid", |cx, k| same(cx.run.block[k].into())),
    ("ctaid", |cx, k| same(cta_id(cx)[k].into())),
    ("nctaid", |cx, k| same(cx.run.grid[k].into())),
    ("clusterid", |cx, k| same((cta_id(cx)[k] / cx.run.cluster[k].max(1)).into())),
    ("nclusterid", |cx, k| same((cx.run.grid[k] / cx.run.cluster[k].max(1)).into())),
    ("cluster_ctaid", |cx, k| same((cta_id(cx)[k] % cx.run.cluster[k].max(1)).into())),
    ("cluster_nctaid", |cx, k| same(cx.run.cluster[k].into())),
];

/// Registers of one value; the number is the one in the name, where there is one.
const SCALARS: &[(&str, Read)] = &[
    ("laneid", |_, _| by_lane(|l| l as u64)),
    ("warpid", |cx, _| same(cx.warp.id.into())),
    ("nwarpid", |cx, _| same(cx.run.warps().into())),
    ("smid", |cx, _| same(cx.cluster.slot.into())),
    ("nsmid", |_, _| same(132)),
    ("gridid", |_, _| same(1)),
    ("is_explicit_cluster", |cx, _| same(cx.run.explicit_cluster.into())),
    ("cluster_ctarank", |cx, _| same(cx.rank().into())),
    ("cluster_nctarank", |cx, _| same(cx.run.cluster_size().into())),
    ("lanemask_eq", |_, _| by_lane(|l| 1 << l)),
    ("lanemask_le", |_, _| by_lane(|l| (2 << l) - 1)),
    ("lanemask_lt", |_, _| by_lane(|l| (1 << l) - 1)),
    ("lanemask_ge", |_, _| by_lane(|l| (u64::from(u32::MAX) << l) & u64::from(u32::MAX))),
    ("lanemask_gt", |_, _| by_lane(|l| (u64::from(u32::MAX) << l << 1) & u64::from(u32::MAX))),
    ("clock", |cx, _| same(clock(cx) & 0xffff_ffff)),
    ("clock_hi", |cx, _| same(clock(cx) >> 32)),
    ("clock64", |cx, _| same(clock(cx))),
    ("globaltimer", |cx, _| same(timer(cx))),
    ("globaltimer_lo", |cx, _| same(timer(cx) & 0xffff_ffff)),
    ("globaltimer_hi", |cx, _| same(timer(cx) >> 32)),
    ("reserved_smem_offset_begin", |_, _| same(0)),
    ("reserved_smem_offset_end", |_, _| same(crate::exec::SHARED_FIRST.into())),
    ("reserved_smem_offset_cap", |_, _| same(crate::exec::SHARED_FIRST.into())),
    ("reserved_smem_offset_0", |_, _| same(0)),
    ("reserved_smem_offset_1", |_, _| same(0)),
    ("total_smem_size", |cx, _| same(own_shared(cx))),
    ("aggr_smem_size", |cx, _| same(cx.run.shared_bytes.into())),
    ("dynamic_smem_size", |cx, _| same(cx.run.dynamic_shared.into())),
    ("current_graph_exec", |_, _| same(0)),
    ("envreg", |_, _| same(0)),
    ("pm", |_, _| same(0)),
    ("WARP_SZ", |_, _| same(32)),
];

fn same(value: u64) -> [u64; 32] {
    [value; 32]
}

fn by_lane(f: impl Fn(usize) -> u64) -> [u64; 32] {
    std::array::from_fn(f)
}

fn cta_id(cx: &Cx<'_>) -> [u32; 3] {
    cx.cluster.ctas[cx.warp.cta].id
}

fn own_shared(cx: &Cx<'_>) -> u64 {
    u64::from(cx.run.shared_bytes - crate::exec::SHARED_FIRST)
}

/// Cycles as instructions executed, so that runs repeat; grows with every reading.
fn clock(cx: &Cx<'_>) -> u64 {
    (cx.cluster.clock + cx.warp.clock) * 4
}

fn timer(cx: &Cx<'_>) -> u64 {
    1_700_000_000_000_000_000 + cx.run.executed.load(std::sync::atomic::Ordering::Relaxed) + clock(cx)
}

fn find(name: &str) -> Option<(Read, usize)> {
    let (base, component) = name.split_once('.').unwrap_or((name, "x"));
    let k = ["x", "y", "z", "w"].iter().position(|c| *c == component)?;
    if let Some((_, read)) = VECTORS.iter().find(|(n, _)| *n == base) {
        // The fourth component is 0.
        return Some(if k == 3 { (|_, _| same(0), 0) } else { (*read, k) });
    }
    let numbered = base.strip_suffix("_64").unwrap_or(base).trim_end_matches(|c: char| c.is_ascii_digit());
    let exact = SCALARS.iter().find(|(n, _)| *n == base);
    let found =
        exact.or_else(|| SCALARS.iter().find(|(n, _)| *n == numbered && matches!(*n, "envreg" | "pm")));
    found.map(|(_, read)| (*read, 0))
}

/// What the handler needs: the function and the component.
struct Source(Read, usize);

fn run<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let Source(read, k) = cx.program.data::<Source>(i.x);
    let values = read(cx, *k);
    match i.imm {
        64 => cx.set_long(i.d, &values, mask),
        1 => {
            let bits = (0..32).filter(|l| values[*l] != 0).fold(0, |m, l| m | 1 << l);
            cx.set_pred(i.d, bits, mask);
        }
        16 => cx.set_word(i.d, &values.map(|v| v as u32 & 0xffff), mask),
        _ => cx.set_word(i.d, &values.map(|v| v as u32), mask),
    }
    Flow::Next
}

fn class(ty: Type) -> Class {
    super::decoder::class_of(ty)
}

/// Emits the reading of a special register into a slot.
pub(super) fn read(dec: &mut Dec<'_>, name: &str, d: Slot, ty: Type) -> Result<(), Refusal> {
    let (function, k) = find(name).ok_or_else(|| format!("the special register `%{name}` is not known"))?;
    let mut step = Inst::new(run);
    (step.d, step.imm) = (d, u64::from(ty.bits()));
    step.x = dec.data(Source(function, k));
    dec.emit_internal(step, &[], &[(class(ty), d)]);
    Ok(())
}

/// A special register as an operand: read into a register of the emulator's own first.
pub(super) fn as_operand(dec: &mut Dec<'_>, name: &str, ty: Type) -> Result<Slot, Refusal> {
    if name == "WARP_SZ" {
        return Ok(dec.constant(ty, 32));
    }
    let d = dec.temp(class(ty));
    read(dec, name, d, ty)?;
    dec.note_use(class(ty), d);
    Ok(d)
}
