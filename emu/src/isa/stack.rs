//! The thread's stack.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Flow, Inst};
use crate::exec::report::FindingKind;
use crate::exec::{Cx, lanes};

/// The forms.
pub(super) const FORMS: &[Form] =
    &[form("alloca.{u32,u64}", 52), form("stacksave.{u32,u64}", 52), form("stackrestore.{u32,u64}", 52)];

/// Bytes of a thread's stack.
const LIMIT: u64 = 1 << 22;

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let ty = dec.ty()?;
    let long = u32::from(ty.bits() == 64);
    match dec.opcode() {
        "alloca" => {
            dec.expect(2, 3)?;
            let mut step = Inst::new(alloca);
            step.a = dec.critical(1, ty)?;
            step.imm = if dec.count() == 3 { dec.immediate(2)? } else { 8 };
            if !step.imm.is_power_of_two() || step.imm > 1 << 16 {
                return Err(format!("the alignment {} is no power of two", step.imm));
            }
            step.x = long;
            step.d = dec.dst(0, ty)?;
            dec.emit(step);
        }
        "stacksave" => {
            dec.expect(1, 1)?;
            let mut step = Inst::new(save);
            step.x = long;
            step.d = dec.dst(0, ty)?;
            dec.emit(step);
        }
        _ => {
            dec.expect(1, 1)?;
            let mut step = Inst::new(restore);
            step.x = long;
            step.a = dec.critical(0, ty)?;
            dec.emit(step);
        }
    }
    Ok(())
}

fn set(cx: &mut Cx<'_>, i: &Inst, values: &[u64; 32], mask: u32) {
    match i.x {
        1 => cx.set_long(i.d, values, mask),
        _ => cx.set_word(i.d, &values.map(|v| v as u32), mask),
    }
}

fn get(cx: &Cx<'_>, i: &Inst) -> [u64; 32] {
    if i.x == 1 { cx.long(i.a) } else { cx.word(i.a).map(u64::from) }
}

/// Gives a local address.
fn alloca<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let sizes = get(cx, i);
    let mut d = [0; 32];
    for lane in lanes(mask) {
        let at = u64::from(cx.warp.local_top[lane]).next_multiple_of(i.imm);
        let end = at.saturating_add(sizes[lane].min(LIMIT + 1));
        if end > LIMIT {
            return cx.abort(
                i,
                FindingKind::OutOfBounds,
                lane,
                format!("no room for {} bytes on the stack", sizes[lane]),
            );
        }
        d[lane] = at;
        cx.warp.local_top[lane] = end as u32;
        cx.clear_local(lane, at as u32, (end - at) as u32);
    }
    set(cx, i, &d, mask);
    Flow::Next
}

fn save<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let tops: [u64; 32] = std::array::from_fn(|l| cx.warp.local_top[l].into());
    set(cx, i, &tops, mask);
    Flow::Next
}

fn restore<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let tops = get(cx, i);
    for lane in lanes(mask) {
        let least = u64::from(cx.frame.local_base);
        if tops[lane] < least || tops[lane] > u64::from(cx.warp.local_top[lane]) {
            return cx.abort(
                i,
                FindingKind::Undefined,
                lane,
                "the stack is restored to what was never saved".to_owned(),
            );
        }
        cx.warp.local_top[lane] = tops[lane] as u32;
    }
    Flow::Next
}
