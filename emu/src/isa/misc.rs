//! Traps, sleeping, hints, dependent launches.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form, only};
use super::inst::{Flow, Handler, Inst};
use crate::exec::Cx;
use crate::exec::report::{FindingKind, Severity};
use crate::ptx::Type;

/// Targets with register reallocation.
const SETMAXNREG: &[u32] = &[90, 100, 101, 103, 110, 120, 121];

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("trap", 50),
    form("brkpt", 50),
    form("nanosleep.u32", 70),
    form("pmevent.[mask]", 50),
    form("griddepcontrol.{wait,launch_dependents}", 90),
    only("setmaxnreg.{inc,dec}.sync.aligned.u32", SETMAXNREG),
];

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let run: Handler = match dec.opcode() {
        "trap" => trap,
        "brkpt" => breakpoint,
        // One grid alone has no prerequisites and no dependents.
        "pmevent" | "griddepcontrol" => |_, _, _| Flow::Next,
        "setmaxnreg" => return setmaxnreg(dec),
        _ => {
            dec.expect(1, 1)?;
            let mut step = Inst::new(nanosleep);
            step.a = dec.critical(0, Type::U(32))?;
            dec.emit(step);
            return Ok(());
        }
    };
    dec.emit(Inst::new(run));
    Ok(())
}

fn trap<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let lane = mask.trailing_zeros() as usize % 32;
    cx.abort(i, FindingKind::Trap, lane, "trap".to_owned())
}

fn breakpoint<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let lane = mask.trailing_zeros() as usize % 32;
    cx.report(i.site, FindingKind::Breakpoint, Severity::Note, lane, "breakpoint".to_owned());
    Flow::Next
}

/// Any time from none to twice what was asked for is allowed: the others get a turn.
fn nanosleep<'a>(_: &mut Cx<'a>, _: &'a Inst, _: u32) -> Flow {
    Flow::Yield
}

/// A hint: only its number and its alignment are checked.
fn setmaxnreg(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(1, 1)?;
    let n = dec.immediate(0)?;
    if !(24..=256).contains(&n) || n % 8 != 0 {
        return Err(format!("{n} registers; multiples of 8 from 24 to 256 are allowed"));
    }
    dec.emit(Inst::new(|cx, i, mask| {
        let needed = cx.warp.live();
        cx.gather(i, needed, mask).unwrap_or(Flow::Next)
    }));
    Ok(())
}
