//! Bulk copies of tensors: boxes that a tensor map describes (ptx.md 5.4).

use std::sync::Mutex;

use super::bulk::{Pointer, barrier_wanted, reduce, reduction, same_cta};
use super::bulk_ops::{LoadPlan, Reduce, Store, issue_load, issue_store, signalled};
use super::decoder::{Dec, Refusal};
use super::form::{Form, form, only, refused};
use super::inst::{Flow, Inst, Slot};
use super::tensormap::{MapPointer, read_map};
use crate::exec::access::split_shared;
use crate::exec::report::FindingKind;
use crate::exec::space::MemSpace;
use crate::exec::transfer::Wanted;
use crate::exec::{Cx, lanes};
use crate::num::atomic::{Element, Operation};
use crate::ptx::{Operand, Type};
use crate::tensor::{MapElement, Run, TensorError, TensorMap, TiledMap};

/// Targets with gathers of rows and pairs of CTAs.
const PAIRS: &[u32] = &[100, 101, 103, 110];
const IM2COL: &str = "tensor copies in im2col mode are not emulated";

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form(
        "cp.async.bulk.tensor.{1d,2d,3d,4d,5d}.{shared::cluster,shared::cta}.global.[tile].mbarrier::complete_tx::bytes.[multicast::cluster].[L2::cache_hint]",
        90,
    ),
    only(
        "cp.async.bulk.tensor.{1d,2d,3d,4d,5d}.{shared::cluster,shared::cta}.global.[tile,tile::gather4].mbarrier::complete_tx::bytes.[multicast::cluster].[cta_group::1,cta_group::2].[L2::cache_hint]",
        PAIRS,
    ),
    form("cp.async.bulk.tensor.{1d,2d,3d,4d,5d}.global.shared::cta.[tile].bulk_group.[L2::cache_hint]", 90),
    only("cp.async.bulk.tensor.2d.global.shared::cta.tile::scatter4.bulk_group.[L2::cache_hint]", PAIRS),
    form("cp.async.bulk.prefetch.tensor.{1d,2d,3d,4d,5d}.L2.global.[tile].[L2::cache_hint]", 90),
    only("cp.async.bulk.prefetch.tensor.2d.L2.global.tile::gather4.[L2::cache_hint]", PAIRS),
    form(
        "cp.reduce.async.bulk.tensor.{1d,2d,3d,4d,5d}.global.shared::cta.{add,min,max,inc,dec,and,or,xor}.[tile].bulk_group.[L2::cache_hint]",
        90,
    ),
    refused(
        "cp.async.bulk.tensor.{3d,4d,5d}.{shared::cluster,shared::cta}.global.{im2col,im2col::w,im2col::w::128}.mbarrier::complete_tx::bytes.[multicast::cluster].[cta_group::1,cta_group::2].[L2::cache_hint]",
        90,
        IM2COL,
    ),
    refused(
        "cp.async.bulk.tensor.{3d,4d,5d}.global.shared::cta.im2col_no_offs.bulk_group.[L2::cache_hint]",
        90,
        IM2COL,
    ),
    refused(
        "cp.async.bulk.prefetch.tensor.{3d,4d,5d}.L2.global.{im2col,im2col::w,im2col::w::128}.[L2::cache_hint]",
        90,
        IM2COL,
    ),
    refused(
        "cp.reduce.async.bulk.tensor.{3d,4d,5d}.global.shared::cta.{add,min,max,inc,dec,and,or,xor}.im2col_no_offs.bulk_group.[L2::cache_hint]",
        90,
        IM2COL,
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Load,
    Store,
    Prefetch,
}

struct Plan {
    way: Way,
    /// Four rows of a two-dimensional map.
    rows: bool,
    /// Both CTAs of a pair may hold the mbarrier.
    pair: bool,
    map: MapPointer,
    coordinates: Vec<Slot>,
    shared: Option<Pointer>,
    barrier: Option<Pointer>,
    multicast: Option<Slot>,
    /// A reduction's operation.
    operation: Option<Operation>,
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let way = match (dec.has("prefetch"), dec.has("bulk_group")) {
        (true, _) => Way::Prefetch,
        (_, true) => Way::Store,
        _ => Way::Load,
    };
    let rows = dec.has("tile::gather4") || dec.has("tile::scatter4");
    let rank = dec.which(&["1d", "2d", "3d", "4d", "5d"]).map_or(0, |k| k + 1);
    let (multicast, policy) = (dec.has("multicast::cluster"), dec.has("L2::cache_hint"));
    let plain = [1, 3, 2][[Way::Prefetch, Way::Load, Way::Store].iter().position(|w| *w == way).unwrap_or(0)];
    let count = plain + usize::from(multicast) + usize::from(policy);
    dec.expect(count, count)?;
    let at = usize::from(way == Way::Load);
    let Operand::AddressList(parts) = dec.operand(at)? else {
        return Err("the tensor is written as `[map, {coordinates}]`".to_owned());
    };
    let [map, coordinates] = &parts[..] else {
        return Err("the tensor is written as `[map, {coordinates}]`".to_owned());
    };
    let map = MapPointer::of(dec, map)?;
    let list = match coordinates {
        Operand::Vector(list) => &list[..],
        one => std::slice::from_ref(one),
    };
    let wanted = if rows { 5 } else { rank };
    if list.len() != wanted {
        return Err(format!("{} coordinates where the form has {wanted}", list.len()));
    }
    let coordinates =
        list.iter().map(|op| dec.source(op, Type::S(32), false)).collect::<Result<Vec<_>, _>>()?;
    dec.all_critical();
    let pointer = |dec: &mut Dec<'_>, k: usize| dec.address(k).map(|a| Some(Pointer::of(&a)));
    let (shared, barrier) = match way {
        Way::Load => (pointer(dec, 0)?, pointer(dec, 2)?),
        Way::Store => (pointer(dec, 1)?, None),
        Way::Prefetch => (None, None),
    };
    let multicast = if multicast { Some(dec.critical(plain, Type::U(16))?) } else { None };
    if policy {
        dec.src(count - 1, Type::B(64))?;
    }
    // The element type comes with the map, at run time; the operation must exist for some type.
    let operation = if dec.has("reduce") { Some(operation(dec)?) } else { None };
    let pair = dec.has("cta_group::2");
    let plan = Plan { way, rows, pair, map, coordinates, shared, barrier, multicast, operation };
    let mut step = Inst::new(run);
    step.x = dec.data(plan);
    dec.emit(step);
    Ok(())
}

fn operation(dec: &Dec<'_>) -> Result<Operation, Refusal> {
    reduction(dec, Element::U32)?;
    let words = ["add", "min", "max", "and", "or", "xor", "inc", "dec"];
    let all = [
        Operation::Add,
        Operation::Min,
        Operation::Max,
        Operation::And,
        Operation::Or,
        Operation::Xor,
        Operation::Inc,
        Operation::Dec,
    ];
    dec.which(&words).map(|k| all[k]).ok_or_else(|| "no operation among the modifiers".to_owned())
}

/// A reduction on a map's element type.
fn reduce_of(operation: Operation, element: MapElement) -> Option<Reduce> {
    let element = match element {
        MapElement::U32 => Element::U32,
        MapElement::S32 => Element::S32,
        MapElement::U64 => Element::U64,
        MapElement::S64 => Element::S64,
        MapElement::F16 => Element::F16x2,
        MapElement::Bf16 => Element::Bf16x2,
        MapElement::F32 | MapElement::F32Ftz => Element::F32Flushed,
        MapElement::F64 => Element::F64,
        _ => return None,
    };
    reduce(operation, element)
}

fn run<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.x);
    let maps = plan.map.addresses(cx);
    let coordinates: Vec<[u32; 32]> = plan.coordinates.iter().map(|s| cx.word(*s)).collect();
    for lane in lanes(mask) {
        let at: Vec<i32> = coordinates.iter().map(|c| c[lane] as i32).collect();
        if let Err(flow) = one(cx, i, plan, lane, maps[lane], &at) {
            return flow;
        }
    }
    Flow::Next
}

fn refuse(cx: &mut Cx<'_>, i: &Inst, lane: usize, error: &TensorError) -> Flow {
    cx.abort(i, FindingKind::AsyncMisuse, lane, error.to_string())
}

/// What a lane's copy moves.
struct Moved {
    tiled: TiledMap,
    runs: Vec<Run>,
    /// Shared address of the box.
    shared: u64,
    bytes: u32,
    /// Global address of the map, if it lies there.
    map: Option<u64>,
}

fn one(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, lane: usize, map: u64, at: &[i32]) -> Result<(), Flow> {
    let (bytes, place) = read_map(cx, i, map, lane)?;
    let tiled = TensorMap::decode(&bytes).and_then(|m| m.tiled()).map_err(|e| refuse(cx, i, lane, &e))?;
    let bytes = if plan.rows { tiled.gather4_bytes() } else { tiled.tile_bytes() };
    let shared = match plan.shared {
        Some(pointer) => {
            let remote = plan.way == Way::Load;
            let wanted =
                Wanted { space: MemSpace::Shared, bytes: bytes.into(), align: 128, remote, what: "the box" };
            let given = pointer.addresses(cx)[lane];
            cx.shared_target(i, &wanted, given, lane)?
        }
        None => 0,
    };
    let mut runs = Vec::new();
    let mut take = |run: Run| runs.push(run);
    let offset = split_shared(shared).1 as u32;
    let walked = match (plan.rows, at) {
        (true, &[column, a, b, c, d]) => tiled.visit_gather4(column, [a, b, c, d], offset, &mut take),
        _ => tiled.visit(at, offset, &mut take),
    };
    walked.map_err(|e| refuse(cx, i, lane, &e))?;
    for run in &runs {
        if let Some(address) = run.global {
            cx.global_target(i, address, run.bytes.into(), 1, lane)?;
        }
    }
    let moved = Moved { tiled, runs, shared, bytes, map: place };
    match plan.way {
        Way::Load => load(cx, i, plan, lane, moved),
        Way::Store => store(cx, i, plan, lane, moved),
        Way::Prefetch => Ok(()),
    }
}

fn load(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, lane: usize, moved: Moved) -> Result<(), Flow> {
    let Moved { tiled, runs, shared, bytes, map } = moved;
    let given = plan.barrier.map_or(0, |p| p.addresses(cx)[lane]);
    let barrier = cx.shared_target(i, &barrier_wanted(), given, lane)?;
    if plan.multicast.is_none() && !plan.pair {
        same_cta(cx, i, lane, shared, barrier);
    }
    let multicast = plan.multicast.map(|s| cx.word(s)[lane]);
    let barriers = signalled(cx, i, lane, shared, barrier, multicast)?;
    let element = tiled.map().element;
    let plan = LoadPlan {
        runs: runs.into(),
        element,
        fill: tiled.map().fill_value(),
        ignored: (0, 0),
        offset: split_shared(shared).1,
        bytes,
        map,
    };
    issue_load(cx, i, lane, &plan, &barriers);
    Ok(())
}

fn store(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, lane: usize, moved: Moved) -> Result<(), Flow> {
    let Moved { tiled, runs, shared, bytes, map } = moved;
    let element = tiled.map().element;
    let mut reduce = None;
    if let Some(operation) = plan.operation {
        reduce = reduce_of(operation, element);
        if reduce.is_none() {
            let message =
                format!("the reduction {operation:?} does not exist for elements of type {element:?}");
            return Err(cx.abort(i, FindingKind::AsyncMisuse, lane, message));
        }
    }
    let store = Store { runs, reduce, bytes_of_16: u16::MAX, taken: Mutex::new(None) };
    issue_store(cx, i, lane, store, (shared, bytes.into()), map);
    Ok(())
}
