//! What the lanes of a warp do together: shuffles, votes, matches, reductions (ptx.md 2.2).

use super::decoder::{Dec, Refusal};
use super::form::{Form, form, only, refused};
use super::inst::{Class, Flow, Inst, Slot};
use crate::exec::group::{Exchange, Ticket};
use crate::exec::report::{FindingKind, Severity};
use crate::exec::{Cx, lanes};
use crate::num::{MinMax, f32};
use crate::ptx::{Operand, Type};

const OLD: &str = "warp instructions without `.sync` do not exist from sm_70 on";

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("shfl.sync.{up,down,bfly,idx}.b32", 30),
    refused("shfl.{up,down,bfly,idx}.b32", 30, OLD),
    form("vote.sync.{all,any,uni}.pred", 30),
    form("vote.sync.ballot.b32", 30),
    refused("vote.{all,any,uni,ballot}.{pred,b32}", 30, OLD),
    form("match.any.sync.{b32,b64}", 70),
    form("match.all.sync.{b32,b64}", 70),
    form("redux.sync.{add,min,max}.{u32,s32}", 80),
    form("redux.sync.{and,or,xor}.b32", 80),
    only("redux.sync.{min,max}.[abs].[NaN].f32", &[100, 101, 103]),
    form("activemask.b32", 30),
    form("elect.sync", 90),
    form("bar.warp.sync", 30),
];

const WORD: Type = Type::B(32);

/// Which operation, packed in `x`.
const SHFL_UP: u32 = 0;
const SHFL_DOWN: u32 = 1;
const SHFL_BFLY: u32 = 2;
const SHFL_IDX: u32 = 3;

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    match dec.opcode() {
        "shfl" => shfl(dec),
        "vote" => vote(dec),
        "match" => matching(dec),
        "redux" => redux(dec),
        "activemask" => activemask(dec),
        "elect" => elect(dec),
        _ => warp_sync(dec),
    }
}

// Meeting.

/// What lanes brought, from all lanes of their mask that have not ended; `Err` while lanes are missing.
fn meet(
    cx: &mut Cx<'_>,
    i: &Inst,
    key: u64,
    members: &[u32; 32],
    mask: u32,
    values: &[u64; 32],
) -> Result<Exchange, Flow> {
    let first = mask.trailing_zeros() as usize % 32;
    let wanted = members[first];
    let live = cx.warp.live();
    if let Some(lane) = lanes(mask).find(|l| members[*l] >> l & 1 == 0) {
        let message = format!("the lane is not in its own member mask {:#010x}", members[lane]);
        cx.report(i.site, FindingKind::WarpMisuse, Severity::Error, lane, message);
    }
    if lanes(mask).any(|l| members[l] != wanted) {
        let message = "lanes that execute together name different member masks".to_owned();
        cx.report(i.site, FindingKind::WarpMisuse, Severity::Error, first, message);
        return Ok(Exchange { key, members: mask, lanes: mask, values: *values, complete: true });
    }
    if wanted & live & !mask == 0 {
        return Ok(Exchange { key, members: wanted, lanes: mask, values: *values, complete: true });
    }
    // Lanes that wait at the same instruction go on together.
    if matches!(cx.group.ticket, Ticket::None)
        && let Some(Flow::Reload) = cx.join_here(wanted)
    {
        return Err(Flow::Reload);
    }
    let key = key << 32 | u64::from(wanted);
    cx.exchange(key, wanted, mask, values).ok_or(Flow::Wait)
}

fn mask_operand(dec: &mut Dec<'_>, at: usize) -> Result<Slot, Refusal> {
    dec.critical(at, WORD)
}

/// Destination `d`, or `d|p`.
fn pair(dec: &mut Dec<'_>, ty: Type) -> Result<(Slot, Slot), Refusal> {
    match dec.operand(0)? {
        Operand::Pair(d, p) => Ok((dec.destination(d, ty)?, dec.destination(p, Type::Pred)?)),
        _ => Ok((dec.dst(0, ty)?, dec.temp(Class::Pred))),
    }
}

// shfl.

fn shfl(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(5, 5)?;
    let mut step = Inst::new(shuffle);
    step.x = dec.which(&["up", "down", "bfly", "idx"]).unwrap_or(0) as u32;
    step.a = dec.src(1, WORD)?;
    step.b = dec.critical(2, WORD)?;
    step.c = dec.critical(3, WORD)?;
    let members = mask_operand(dec, 4)?;
    step.list = dec.list(&[members]);
    (step.d, step.e) = pair(dec, WORD)?;
    step.flags.own_definedness = true;
    dec.emit(step);
    Ok(())
}

/// The lane that a shuffle reads and whether it is in range.
fn source(mode: u32, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (clamp, segment) = (c & 31, c >> 8 & 31);
    let (b, least) = (b & 31, lane & segment);
    let most = least | (clamp & !segment);
    let (j, ok) = match mode {
        SHFL_UP => (lane.wrapping_sub(b), lane as i32 - b as i32 >= most as i32),
        SHFL_DOWN => (lane + b, lane + b <= most),
        SHFL_BFLY => (lane ^ b, lane ^ b <= most),
        SHFL_IDX => (least | (b & !segment), (least | (b & !segment)) <= most),
        _ => (lane, false),
    };
    if ok { (j & 31, true) } else { (lane, false) }
}

fn shuffle<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let members = cx.word(cx.program.list(i.list)[0]);
    let (a, b, c) = (cx.word(i.a), cx.word(i.b), cx.word(i.c));
    let defined = if cx.checks_definedness() { cx.defined(Class::Word, i.a) } else { u32::MAX };
    // Whether a value is defined travels above its 32 bits.
    let values = std::array::from_fn(|l| u64::from(a[l]) | u64::from(defined >> l & 1) << 32);
    let all = match meet(cx, i, 0x5f10 + u64::from(i.x), &members, mask, &values) {
        Ok(all) => all,
        Err(flow) => return flow,
    };
    let (mut d, mut ok, mut has) = ([0; 32], 0u32, 0u32);
    for lane in lanes(mask) {
        let (j, in_range) = source(i.x, lane as u32, b[lane], c[lane]);
        if all.lanes >> j & 1 == 0 {
            let message = format!("the value of lane {j}, which does not take part, is undefined");
            cx.report(i.site, FindingKind::WarpMisuse, Severity::Error, lane, message);
            d[lane] = 0xdead_beef;
        } else {
            d[lane] = all.values[j as usize] as u32;
            has |= ((all.values[j as usize] >> 32) as u32 & 1) << lane;
        }
        ok |= u32::from(in_range) << lane;
    }
    cx.set_word(i.d, &d, mask);
    cx.set_pred(i.e, ok, mask);
    if cx.checks_definedness() {
        cx.set_defined(Class::Word, i.d, has, mask);
        cx.set_defined(Class::Pred, i.e, u32::MAX, mask);
    }
    Flow::Next
}

// vote.

fn vote(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(3, 3)?;
    let mut step = Inst::new(voted);
    step.x = dec.which(&["all", "any", "uni", "ballot"]).unwrap_or(0) as u32;
    step.a = dec.critical(1, Type::Pred)?;
    step.b = mask_operand(dec, 2)?;
    step.d = dec.dst(0, if step.x == 3 { WORD } else { Type::Pred })?;
    dec.emit(step);
    Ok(())
}

fn voted<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let members = cx.word(i.b);
    let p = cx.pred(i.a);
    let values = std::array::from_fn(|l| u64::from(p >> l & 1));
    let all = match meet(cx, i, 0x0073 + u64::from(i.x), &members, mask, &values) {
        Ok(all) => all,
        Err(flow) => return flow,
    };
    let yes = lanes(all.lanes).filter(|l| all.values[*l] != 0).fold(0, |m, l| m | 1 << l);
    let truth = |t: bool| if t { u32::MAX } else { 0 };
    match i.x {
        0 => cx.set_pred(i.d, truth(yes == all.lanes), mask),
        1 => cx.set_pred(i.d, truth(yes != 0), mask),
        2 => cx.set_pred(i.d, truth(yes == 0 || yes == all.lanes), mask),
        _ => cx.set_word(i.d, &[yes; 32], mask),
    }
    Flow::Next
}

// match.

fn matching(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(3, 3)?;
    let ty = dec.ty()?;
    let mut step = Inst::new(matched);
    step.x = u32::from(dec.has("all")) | u32::from(ty.bits() == 64) << 1;
    step.a = dec.critical(1, ty)?;
    step.b = mask_operand(dec, 2)?;
    (step.d, step.e) = pair(dec, WORD)?;
    dec.emit(step);
    Ok(())
}

fn matched<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let members = cx.word(i.b);
    let values = if i.x & 2 != 0 { cx.long(i.a) } else { cx.word(i.a).map(u64::from) };
    let all = match meet(cx, i, 0x3a7c + u64::from(i.x), &members, mask, &values) {
        Ok(all) => all,
        Err(flow) => return flow,
    };
    let equal =
        |value: u64| lanes(all.lanes).filter(|l| all.values[*l] == value).fold(0u32, |m, l| m | 1 << l);
    let mut d = [0; 32];
    let mut p = 0;
    for lane in lanes(mask) {
        let same = equal(all.values[lane]);
        let whole = same == all.lanes;
        d[lane] = if i.x & 1 == 0 || whole { same } else { 0 };
        p |= u32::from(whole) << lane;
    }
    cx.set_word(i.d, &d, mask);
    cx.set_pred(i.e, p, mask);
    Flow::Next
}

// redux.

type Fold = fn(u32, u32) -> u32;

const FOLDS: [(&str, Fold, Fold); 6] = [
    ("add", u32::wrapping_add, u32::wrapping_add),
    ("min", |a, b| a.min(b), |a, b| (a as i32).min(b as i32) as u32),
    ("max", |a, b| a.max(b), |a, b| (a as i32).max(b as i32) as u32),
    ("and", |a, b| a & b, |a, b| a & b),
    ("or", |a, b| a | b, |a, b| a | b),
    ("xor", |a, b| a ^ b, |a, b| a ^ b),
];

fn redux(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(3, 3)?;
    let which = dec.which(&FOLDS.map(|f| f.0)).ok_or("no operation")?;
    let float = dec.has("f32");
    let signed = dec.has("s32");
    let mut step = Inst::new(if float { reduced_float } else { reduced });
    step.x = which as u32
        | u32::from(signed) << 4
        | u32::from(dec.has("abs")) << 5
        | u32::from(dec.has("NaN")) << 6;
    step.a = dec.critical(1, WORD)?;
    step.b = mask_operand(dec, 2)?;
    step.d = dec.dst(0, WORD)?;
    dec.emit(step);
    Ok(())
}

fn brought(cx: &mut Cx<'_>, i: &Inst, mask: u32) -> Result<Exchange, Flow> {
    let members = cx.word(i.b);
    let values = cx.word(i.a).map(u64::from);
    meet(cx, i, 0x4ed0 + u64::from(i.x), &members, mask, &values)
}

fn reduced<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let all = match brought(cx, i, mask) {
        Ok(all) => all,
        Err(flow) => return flow,
    };
    let (_, unsigned, signed) = FOLDS[(i.x & 15) as usize];
    let fold = if i.x & 16 != 0 { signed } else { unsigned };
    let value = lanes(all.lanes).map(|l| all.values[l] as u32).reduce(fold).unwrap_or(0);
    cx.set_word(i.d, &[value; 32], mask);
    Flow::Next
}

fn reduced_float<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let all = match brought(cx, i, mask) {
        Ok(all) => all,
        Err(flow) => return flow,
    };
    let mode = MinMax { nan: i.x & 64 != 0, abs: i.x & 32 != 0, ..MinMax::default() };
    let fold = |a, b| if i.x & 15 == 1 { f32::min_mode(a, b, mode) } else { f32::max_mode(a, b, mode) };
    // A single value meets itself, so that `.abs` holds for it as well.
    let values = lanes(all.lanes).map(|l| all.values[l] as u32).map(|v| fold(v, v));
    let value = values.reduce(fold).unwrap_or(0);
    cx.set_word(i.d, &[value; 32], mask);
    Flow::Next
}

// activemask, elect, bar.warp.sync.

fn activemask(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(1, 1)?;
    let mut step = Inst::new(active);
    step.d = dec.dst(0, WORD)?;
    dec.emit(step);
    Ok(())
}

/// Any set of lanes that holds the lane is legal: with checks on the seed may split it.
fn active<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let split = cx.run.checks.any() && mask.count_ones() > 1 && cx.cluster.rng.below(4) == 0;
    let half = if split { cx.cluster.rng.next() as u32 & mask } else { mask };
    let d = std::array::from_fn(|l| if half >> l & 1 == 1 { half } else { mask & !half });
    if split {
        let lane = mask.trailing_zeros() as usize % 32;
        let message =
            "the seed split the lanes that `activemask` names: code must not rely on them being together"
                .to_owned();
        cx.report(i.site, FindingKind::SeedDependent, Severity::Note, lane, message);
    }
    cx.set_word(i.d, &d, mask);
    Flow::Next
}

fn elect(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(2, 2)?;
    if !matches!(dec.operand(0)?, Operand::Pair(..)) {
        return Err("`d|p` is needed".to_owned());
    }
    let mut step = Inst::new(elected);
    step.a = mask_operand(dec, 1)?;
    (step.d, step.e) = pair(dec, WORD)?;
    dec.emit(step);
    Ok(())
}

fn elected<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let members = cx.word(i.a);
    let all = match meet(cx, i, 0xe1ec, &members, mask, &[0; 32]) {
        Ok(all) => all,
        Err(flow) => return flow,
    };
    let leader = all.lanes.trailing_zeros() % 32;
    cx.set_word(i.d, &[leader; 32], mask);
    cx.set_pred(i.e, 1 << leader, mask);
    Flow::Next
}

fn warp_sync(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(1, 1)?;
    let mut step = Inst::new(synchronised);
    step.a = mask_operand(dec, 0)?;
    dec.emit(step);
    Ok(())
}

fn synchronised<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let members = cx.word(i.a);
    // Told once, when the last lane comes.
    let told = matches!(&cx.group.ticket, Ticket::Exchange(e) if e.complete);
    let all = match meet(cx, i, 0x3a49, &members, mask, &[0; 32]) {
        Ok(all) => all,
        Err(flow) => return flow,
    };
    if !told {
        cx.tell(all.lanes, |detector, who| detector.warp_sync(who));
    }
    Flow::Next
}
