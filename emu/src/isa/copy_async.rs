//! `cp.async`: copies of 4, 8 or 16 bytes from global to shared memory, in groups (ptx.md 5.1).

use std::sync::Arc;

use super::decoder::{Base, Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Flow, Inst, PRED_FALSE};
use super::memory::put_address;
use crate::exec::access::{Request, base_code, split_shared};
use crate::exec::async_ops::{AsyncCx, Kind, Operation};
use crate::exec::report::FindingKind;
use crate::exec::space::MemSpace;
use crate::exec::words::{Words, WordsMut};
use crate::exec::{Cx, lanes};
use crate::ptx::{Operand, Type};
use crate::shadow::{self, AsyncKind};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("cp.async.{ca,cg}.{shared,shared::cta}.global.[L2::*].[L2::*]", 80),
    form("cp.async.commit_group", 80),
    form("cp.async.wait_group", 80),
    form("cp.async.wait_all", 80),
];

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    match dec.which(&["commit_group", "wait_group", "wait_all"]) {
        Some(0) => {
            dec.expect(0, 0)?;
            dec.emit(Inst::new(|cx, _, mask| {
                cx.commit(Kind::Copy, mask);
                Flow::Next
            }));
            Ok(())
        }
        Some(1) => {
            dec.expect(1, 1)?;
            let mut step = Inst::new(|cx, i, mask| cx.wait_groups(Kind::Copy, mask, i.imm));
            step.imm = dec.immediate(0)?;
            dec.emit(step);
            Ok(())
        }
        Some(_) => {
            dec.expect(0, 0)?;
            dec.emit(Inst::new(|cx, _, mask| cx.wait_all(Kind::Copy, mask)));
            Ok(())
        }
        None => copy(dec),
    }
}

/// How a copy gets its bytes.
struct Plan {
    bytes: u32,
    /// Base and offset of the source; its register is the instruction's `b`.
    base: u32,
    offset: u64,
    /// `e` holds how many bytes are read (the rest are zeros), or a predicate that asks for zeros only.
    limited: bool,
    ignored: bool,
}

fn copy(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(3, 5)?;
    let to = dec.address(0)?;
    let from = dec.address(1)?;
    let bytes = dec.immediate(2)? as u32;
    let allowed: &[u32] = if dec.has("cg") { &[16] } else { &[4, 8, 16] };
    if !allowed.contains(&bytes) {
        return Err(format!("copies of {bytes} bytes; allowed are {allowed:?}"));
    }
    let policy = dec.has("L2::cache_hint");
    let extra = dec.count() - 3 - usize::from(policy);
    if extra > 1 {
        return Err("too many operands".to_owned());
    }
    let mut step = Inst::new(issue);
    put_address(&mut step, &to);
    step.b = from.slot;
    let mut plan =
        Plan { bytes, base: base_code(from.base), offset: from.offset, limited: false, ignored: false };
    step.e = PRED_FALSE;
    if extra == 1 {
        let predicate = match dec.operand(3)? {
            Operand::Not(_) => true,
            op => dec.register_bits(op) == Some(1),
        };
        plan.ignored = predicate;
        plan.limited = !predicate;
        step.e = dec.critical(3, if predicate { Type::Pred } else { Type::U(32) })?;
    }
    if policy {
        dec.src(dec.count() - 1, Type::B(64))?;
    }
    let _ = Base::Long;
    step.c = dec.data(plan);
    dec.emit(step);
    Ok(())
}

/// A copy under way.
struct Copy {
    to: [u64; 32],
    from: [u64; 32],
    /// Bytes to read.
    read: [u32; 32],
    bytes: u32,
}

impl Operation for Copy {
    fn perform(&self, cx: &mut AsyncCx<'_>, mask: u32) -> bool {
        for lane in lanes(mask) {
            let mut bytes = [0; 16];
            if self.read[lane] > 0 {
                match cx.run.global.find(self.from[lane], self.read[lane].into()) {
                    Some((_, buffer, offset)) => {
                        buffer.words().bytes(offset, &mut bytes[..self.read[lane] as usize])
                    }
                    None => {
                        let message = "the source of a copy is in no buffer when it takes effect".to_owned();
                        cx.report(FindingKind::UseAfterFree, lane, message, Some(self.from[lane]), None);
                        return false;
                    }
                }
            }
            let (rank, offset) = split_shared(self.to[lane]);
            let cta = &mut cx.ctas[rank];
            for (k, word) in bytes.as_chunks::<4>().0.iter().take(self.bytes as usize / 4).enumerate() {
                cta.shared[..].set_word(offset as usize / 4 + k, u32::from_le_bytes(*word));
            }
            if cx.run.checks.definedness {
                cta.shared_defined.define(offset, self.bytes);
            }
        }
        true
    }
}

fn issue<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.c);
    let to = cx.addresses(i.x, i.a, i.imm);
    let from = cx.addresses(plan.base, i.b, plan.offset);
    let mut read = [plan.bytes; 32];
    if plan.limited {
        read = cx.word(i.e);
    } else if plan.ignored {
        let ignore = cx.pred(i.e);
        lanes(mask & ignore).for_each(|l| read[l] = 0);
    }
    if let Some(lane) = lanes(mask).find(|l| read[*l] > plan.bytes) {
        let message = format!("{} source bytes for a copy of {}", read[lane], plan.bytes);
        return cx.abort(i, FindingKind::AsyncMisuse, lane, message);
    }
    let request =
        |space, kind, bytes| Request { space, bytes, access: shadow::Access::weak(i.site, kind, bytes) };
    // A copy that reads nothing may have any source.
    let reading = lanes(mask).filter(|l| read[*l] > 0).fold(0, |m, l| m | 1 << l);
    let target = request(MemSpace::Shared, shadow::Kind::Write, plan.bytes);
    let source = request(MemSpace::Global, shadow::Kind::Read, plan.bytes);
    let checked =
        cx.check(i, &target, &to, mask).and_then(|()| cx.check_source(i, &source, &from, &read, reading));
    if let Err(flow) = checked {
        return flow;
    }
    let watched = cx.fork(mask, AsyncKind::PerLane, |detector, id| {
        detector.access_async_lanes(id, reading, shadow::Space::Global, &from, &source.access);
        detector.access_async_lanes(id, mask, shadow::Space::Shared, &to, &target.access);
    });
    cx.count(|c| c.copied(i.site, u64::from(plan.bytes) * u64::from(mask.count_ones())));
    let op = Copy { to, from, read, bytes: plan.bytes };
    cx.issue(i, Kind::Copy, mask, Arc::new(op), watched, false);
    Flow::Next
}
