//! `st.async` and `red.async`: stores to another CTA's shared memory that complete on an mbarrier there (ptx.md 7).

use std::sync::Arc;

use super::bulk::{Pointer, barrier_wanted, reduction, same_cta};
use super::bulk_ops::Reduce;
use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Class, Flow, Inst, Slot};
use crate::count;
use crate::exec::access::split_shared;
use crate::exec::async_ops::{AsyncCx, Kind, Operation};
use crate::exec::report::FindingKind;
use crate::exec::space::MemSpace;
use crate::exec::transfer::Wanted;
use crate::exec::{Cx, lanes};
use crate::num::atomic::Element;
use crate::ptx::Type;
use crate::shadow::{self, Access, AsyncId, AsyncKind, Scope, Strength};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form(
        "st.async.[weak].[shared::cluster].mbarrier::complete_tx::bytes.[v2,v4].{b32,b64,u32,u64,s32,s64,f32,f64}",
        90,
    ),
    form(
        "red.async.relaxed.cluster.[shared::cluster].mbarrier::complete_tx::bytes.{add,inc,dec,min,max,and,or,xor}.{b32,u32,s32,u64}",
        90,
    ),
];

struct Plan {
    to: Pointer,
    barrier: Pointer,
    space: MemSpace,
    /// Bytes of an element.
    element: u32,
    values: Vec<Slot>,
    reduce: Option<Reduce>,
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(3, 3)?;
    let ty = dec.ty()?;
    let reduce = if dec.opcode() == "red" {
        let element = match ty {
            Type::S(_) => Element::S32,
            Type::U(64) => Element::U64,
            _ => Element::U32,
        };
        Some(reduction(dec, element)?)
    } else {
        None
    };
    let to = Pointer::of(&dec.address(0)?);
    let values = dec.src_vector(1, ty)?;
    let wanted = dec.which(&["v2", "v4"]).map_or(1, |k| 2 << k);
    if values.len() != wanted || wanted as u32 * ty.bits() > 128 {
        return Err(format!("{} elements of {} bits where the form has {wanted}", values.len(), ty.bits()));
    }
    let barrier = Pointer::of(&dec.address(2)?);
    let space = if dec.has("shared::cluster") { MemSpace::Shared } else { MemSpace::Generic };
    let plan = Plan { to, barrier, space, element: ty.bits() / 8, values, reduce };
    let mut step = Inst::new(run);
    step.x = dec.data(plan);
    dec.emit(step);
    Ok(())
}

/// Stores of lanes under way.
struct Stores {
    to: [u64; 32],
    barriers: [u64; 32],
    /// Bytes of each lane, `size` each.
    bytes: Vec<u8>,
    size: usize,
    reduce: Option<Reduce>,
    /// Lanes whose values are defined.
    defined: u32,
    watched: Option<AsyncId>,
}

impl Operation for Stores {
    fn perform(&self, cx: &mut AsyncCx<'_>, mask: u32) -> bool {
        for lane in lanes(mask) {
            let (rank, offset) = split_shared(self.to[lane]);
            let new = &self.bytes[lane * self.size..][..self.size];
            let mut defined = self.defined >> lane & 1 == 1;
            match self.reduce {
                None => cx.write_shared(lane, rank, offset, new, defined),
                Some(reduce) => {
                    let mut old = vec![0; self.size];
                    defined &= cx.read_shared(lane, rank, offset, &mut old);
                    cx.write_shared(lane, rank, offset, &reduce.combine(&old, new), defined);
                }
            }
            cx.complete_tx(lane, self.watched, self.barriers[lane], self.size as u32);
        }
        true
    }
}

fn run<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Plan>(i.x);
    let (mut to, mut barriers) = (plan.to.addresses(cx), plan.barrier.addresses(cx));
    let size = plan.element * plan.values.len() as u32;
    if cx.run.cluster_size() < 2 {
        let lane = mask.trailing_zeros() as usize % 32;
        let message = "an asynchronous store in a launch without clusters".to_owned();
        return cx.abort(i, FindingKind::AsyncMisuse, lane, message);
    }
    let space = plan.space;
    let data =
        Wanted { space, bytes: size.into(), align: size.into(), remote: true, what: "the destination" };
    let signal = Wanted { space, ..barrier_wanted() };
    for lane in lanes(mask) {
        let checked = cx
            .shared_target(i, &data, to[lane], lane)
            .and_then(|to| Ok((to, cx.shared_target(i, &signal, barriers[lane], lane)?)));
        match checked {
            Ok(both) => (to[lane], barriers[lane]) = both,
            Err(flow) => return flow,
        }
        same_cta(cx, i, lane, to[lane], barriers[lane]);
    }
    let class = if plan.element == 8 { Class::Long } else { Class::Word };
    let mut bytes = vec![0; 32 * size as usize];
    let mut defined = u32::MAX;
    for (k, slot) in plan.values.iter().enumerate() {
        let values = if plan.element == 8 { cx.long(*slot) } else { cx.word(*slot).map(u64::from) };
        let width = plan.element as usize;
        for lane in lanes(mask) {
            bytes[lane * size as usize + k * width..][..width]
                .copy_from_slice(&values[lane].to_le_bytes()[..width]);
        }
        if cx.checks_definedness() {
            defined &= cx.defined(class, *slot);
        }
    }
    let (rank, access) =
        (cx.rank(), if plan.reduce.is_some() { count::Access::Atomic } else { count::Access::Write });
    cx.count(|c| {
        c.shared(i.site, access, &to, mask, size, rank);
        c.copied(i.site, u64::from(size) * u64::from(mask.count_ones()));
    });
    let watched = fork(cx, i, plan, size, &to, mask);
    let op = Stores { to, barriers, bytes, size: size as usize, reduce: plan.reduce, defined, watched };
    cx.issue(i, Kind::Mbarrier, mask, Arc::new(op), watched, false);
    Flow::Next
}

/// The stores go through the generic proxy, and so does what they do to the mbarrier.
fn fork(cx: &Cx<'_>, i: &Inst, plan: &Plan, size: u32, to: &[u64; 32], mask: u32) -> Option<AsyncId> {
    let access = match plan.reduce {
        None => Access { piece: plan.element, ..Access::weak(i.site, shadow::Kind::Write, size) },
        Some(_) => Access::strong(i.site, shadow::Kind::Reduce, size, Strength::relaxed(Scope::Cluster)),
    };
    cx.fork(mask, AsyncKind::PerLane, |detector, id| {
        detector.access_async_lanes(id, mask, shadow::Space::Shared, to, &access);
    })
}
