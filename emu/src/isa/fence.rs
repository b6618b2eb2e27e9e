//! Fences.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form};
use super::inst::{Flow, Inst};
use super::memory::scope;
use crate::exec::Cx;
use crate::ptx::Type;
use crate::shadow::Scope;

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("membar.{cta,gl,sys}", 50),
    form("fence.[sc,acq_rel].{cta,gpu,sys}", 70),
    form("fence.[sc,acq_rel,acquire,release].{cta,cluster,gpu,sys}", 90),
    form("fence.{acquire,release}.sync_restrict::*.cluster", 90),
    form("fence.proxy.alias", 70),
    form("membar.proxy.alias", 70),
    form("fence.proxy.{async,async.global,async.shared::cta,async.shared::cluster}", 90),
    form("fence.proxy.async.[global,shared::cta,shared::cluster]", 90),
    form("fence.proxy.async::generic.{acquire,release}.sync_restrict::*.cluster", 90),
    form("fence.proxy.tensormap::generic.{acquire,release}.{cta,cluster,gpu,sys}", 90),
    form("fence.mbarrier_init.release.cluster", 90),
];

/// What a fence does, in `x`; the scope in `b`.
const ORDER: u32 = 0;
const SEQUENTIAL: u32 = 1;
const ASYNC: u32 = 2;
const TENSORMAP_RELEASE: u32 = 3;
const TENSORMAP_ACQUIRE: u32 = 4;
const MBARRIER_INIT: u32 = 5;
const NOTHING: u32 = 6;

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let what = match dec.opcode() {
        _ if dec.has("alias") => NOTHING,
        "membar" => SEQUENTIAL,
        _ if dec.has("mbarrier_init") => MBARRIER_INIT,
        _ if dec.has("tensormap::generic") && dec.has("release") => TENSORMAP_RELEASE,
        _ if dec.has("tensormap::generic") => TENSORMAP_ACQUIRE,
        _ if dec.has("proxy") => ASYNC,
        _ if dec.has("sc") => SEQUENTIAL,
        _ => ORDER,
    };
    let mut step = Inst::new(fence);
    if what == TENSORMAP_ACQUIRE {
        // `[map], 128`: the fence is for all maps here, which is what it may be.
        dec.expect(2, 2)?;
        let address = dec.address(0)?;
        super::memory::put_address(&mut step, &address);
        if dec.immediate(1)? != 128 {
            return Err("the size of a tensor map is 128".to_owned());
        }
        let _ = Type::B(64);
    } else {
        dec.expect(0, 0)?;
    }
    step.x = what;
    step.b = match scope(dec) {
        Some(Scope::Cta) => 0,
        Some(Scope::Cluster) => 1,
        Some(Scope::Sys) => 3,
        _ => 2,
    };
    dec.emit(step);
    Ok(())
}

fn fence<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    let scope = [Scope::Cta, Scope::Cluster, Scope::Gpu, Scope::Sys][i.b as usize & 3];
    cx.tell(mask, |detector, who| match i.x {
        ORDER => detector.fence(who, scope, false),
        SEQUENTIAL => detector.fence(who, scope, true),
        ASYNC => detector.fence_async(who),
        TENSORMAP_RELEASE => detector.fence_tensormap_release(who),
        TENSORMAP_ACQUIRE => detector.fence_tensormap_acquire(who),
        MBARRIER_INIT => detector.fence_mbarrier_init(who),
        _ => {}
    });
    Flow::Next
}
