//! Tensor maps in memory: where an instruction finds one, changing a field, publishing a copy.

use super::bulk::Pointer;
use super::decoder::{Dec, Refusal};
use super::form::{Form, only};
use super::inst::{Flow, Inst, Slot};
use super::memory::{put_address, scope, space_of};
use crate::exec::access::split_shared;
use crate::exec::report::FindingKind;
use crate::exec::space::{MemSpace, classify};
use crate::exec::transfer::{Wanted, copy_in, copy_out};
use crate::exec::{Cx, lanes};
use crate::ptx::{Operand, Space, Type};
use crate::shadow::{self, Access};
use crate::tensor::{MAP_BYTES, MapField, TensorMap};

/// Targets that can change tensor maps.
const TARGETS: &[u32] = &[90, 100, 101, 103, 110, 120, 121];

/// The forms.
pub(super) const FORMS: &[Form] = &[
    only("tensormap.replace.tile.global_address.[global,shared::cta].b1024.b64", TARGETS),
    only("tensormap.replace.tile.rank.[global,shared::cta].b1024.b32", TARGETS),
    only(
        "tensormap.replace.tile.{box_dim,global_dim,element_stride}.[global,shared::cta].b1024.b32",
        TARGETS,
    ),
    only("tensormap.replace.tile.global_stride.[global,shared::cta].b1024.b64", TARGETS),
    only(
        "tensormap.replace.tile.{elemtype,interleave_layout,swizzle_mode,fill_mode,swizzle_atomicity}.[global,shared::cta].b1024.b32",
        TARGETS,
    ),
    only(
        "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.{cta,cluster,gpu,sys}.sync.aligned",
        TARGETS,
    ),
];

/// Where a tensor copy finds its map: a generic address.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapPointer {
    pointer: Pointer,
    window: u64,
}

impl MapPointer {
    /// A variable's name stands for its address in its own space.
    pub(super) fn of(dec: &mut Dec<'_>, op: &Operand) -> Result<Self, Refusal> {
        let address = dec.address_of(op)?;
        let window = match address.named.map(|place| place.space) {
            Some(Space::Param) => MemSpace::Param.window(),
            Some(Space::Const) => MemSpace::Const.window(),
            Some(Space::Global) | None => 0,
            Some(_) => return Err("a tensor map lies in parameters, constant or global memory".to_owned()),
        };
        Ok(MapPointer { pointer: Pointer::of(&address), window })
    }

    pub(super) fn addresses(&self, cx: &Cx<'_>) -> [u64; 32] {
        self.pointer.addresses(cx).map(|a| a.wrapping_add(self.window))
    }
}

/// Reads the 128 bytes of a map; also gives its address if it lies in global memory.
pub(super) fn read_map(
    cx: &mut Cx<'_>,
    i: &Inst,
    address: u64,
    lane: usize,
) -> Result<([u8; MAP_BYTES], Option<u64>), Flow> {
    let (space, inner) = classify(address);
    let mut bytes = [0; MAP_BYTES];
    if !inner.is_multiple_of(64) {
        let message = format!("the tensor map is at {address:#x}, which is no multiple of 64");
        return Err(cx.bad_address(i, FindingKind::Misaligned, lane, message, address));
    }
    let end = inner.saturating_add(MAP_BYTES as u64);
    match space {
        MemSpace::Param if end <= cx.run.params.len() as u64 * 4 => {
            copy_out(&cx.run.params[..], inner, &mut bytes)
        }
        MemSpace::Const if end <= cx.run.consts.len() as u64 * 4 => {
            copy_out(cx.run.consts, inner, &mut bytes)
        }
        MemSpace::Global => {
            cx.global_target(i, address, MAP_BYTES as u64, 64, lane)?;
            if let Some((_, buffer, offset)) = cx.run.global.find(address, MAP_BYTES as u64) {
                copy_out(&buffer.words(), offset, &mut bytes);
            }
            return Ok((bytes, Some(address)));
        }
        _ => {
            let message = format!(
                "a tensor map at an address of {} memory; it must lie in parameters, constant or global memory",
                space.name()
            );
            return Err(cx.bad_address(i, FindingKind::WrongSpace, lane, message, address));
        }
    }
    Ok((bytes, None))
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    if dec.has("cp_fenceproxy") { publish(dec) } else { replace(dec) }
}

struct Replace {
    space: MemSpace,
    field: MapField,
    ordinal: u32,
    value: Slot,
    long: bool,
}

fn replace(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let field = dec
        .inst
        .modifiers
        .iter()
        .find_map(|m| MapField::from_name(m))
        .ok_or("no field among the modifiers")?;
    let ordinal = usize::from(field.has_ordinal());
    dec.expect(2 + ordinal, 2 + ordinal)?;
    let address = dec.address(0)?;
    let space = space_of(dec, &address);
    let ordinal = if ordinal == 1 { dec.immediate(1)? as u32 } else { 0 };
    let long = dec.has("b64");
    let value = dec.critical(dec.count() - 1, if long { Type::B(64) } else { Type::B(32) })?;
    let mut step = Inst::new(run_replace);
    put_address(&mut step, &address);
    step.b = dec.data(Replace { space, field, ordinal, value, long });
    dec.emit(step);
    Ok(())
}

/// Where a map lies that is changed.
enum Place {
    Global(u64),
    Shared(u64),
}

impl Place {
    fn of(cx: &mut Cx<'_>, i: &Inst, space: MemSpace, address: u64, lane: usize) -> Result<Self, Flow> {
        let (space, inner) = if space == MemSpace::Generic { classify(address) } else { (space, address) };
        if space == MemSpace::Shared {
            let wanted =
                Wanted { space, bytes: MAP_BYTES as u64, align: 64, remote: false, what: "the tensor map" };
            return cx.shared_target(i, &wanted, inner, lane).map(Place::Shared);
        }
        cx.global_target(i, inner, MAP_BYTES as u64, 64, lane)?;
        Ok(Place::Global(inner))
    }

    fn read(&self, cx: &Cx<'_>) -> [u8; MAP_BYTES] {
        let mut bytes = [0; MAP_BYTES];
        match *self {
            Place::Shared(address) => {
                let (rank, offset) = split_shared(address);
                copy_out(&cx.cluster.ctas[rank].shared[..], offset, &mut bytes);
            }
            Place::Global(address) => {
                if let Some((_, buffer, offset)) = cx.run.global.find(address, MAP_BYTES as u64) {
                    copy_out(&buffer.words(), offset, &mut bytes);
                }
            }
        }
        bytes
    }

    fn write(&self, cx: &mut Cx<'_>, bytes: &[u8; MAP_BYTES]) {
        let definedness = cx.run.checks.definedness;
        match *self {
            Place::Shared(address) => {
                let (rank, offset) = split_shared(address);
                let cta = &mut cx.cluster.ctas[rank];
                copy_in(&mut cta.shared[..], offset, bytes);
                if definedness {
                    cta.shared_defined.define_range(offset, MAP_BYTES as u64);
                }
            }
            Place::Global(address) => {
                let Some((id, buffer, offset)) = cx.run.global.find(address, MAP_BYTES as u64) else {
                    return;
                };
                copy_in(&mut buffer.words(), offset, bytes);
                if definedness && !buffer.initialised {
                    let mut watch = cx.run.watch();
                    let fresh = || shadow::Defined::new(buffer.len);
                    watch.defined.entry(id.0).or_insert_with(fresh).define_range(offset, MAP_BYTES as u64);
                }
            }
        }
    }

    /// Tells the detector of an access of the whole map by a lane.
    fn tell(&self, cx: &Cx<'_>, lane: usize, site: u32, kind: shadow::Kind) {
        let access = Access { piece: 8, ..Access::weak(site, kind, MAP_BYTES as u32) };
        let (space, address) = match *self {
            Place::Shared(address) => (shadow::Space::Shared, address),
            Place::Global(address) => (shadow::Space::Global, address),
        };
        cx.tell(1 << lane, |detector, who| detector.access_affine(who, space, address, 0, &access));
    }
}

fn run_replace<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let plan = cx.program.data::<Replace>(i.b);
    let addresses = cx.addresses(i.x, i.a, i.imm);
    for lane in lanes(mask) {
        let value = if plan.long { cx.long(plan.value)[lane] } else { cx.word(plan.value)[lane].into() };
        let place = match Place::of(cx, i, plan.space, addresses[lane], lane) {
            Ok(place) => place,
            Err(flow) => return flow,
        };
        let changed = TensorMap::decode(&place.read(cx)).and_then(|mut map| {
            map.replace(plan.field, plan.ordinal, value)?;
            Ok(map.encode())
        });
        match changed {
            Ok(bytes) => {
                place.write(cx, &bytes);
                place.tell(cx, lane, i.site, shadow::Kind::Write);
            }
            Err(error) => return cx.abort(i, FindingKind::AsyncMisuse, lane, error.to_string()),
        }
    }
    Flow::Next
}

/// `tensormap.cp_fenceproxy`: copies a map from shared to global memory and releases it to the tensormap proxy.
fn publish(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(3, 3)?;
    let to = dec.address(0)?;
    let from = dec.address(1)?;
    if dec.immediate(2)? != MAP_BYTES as u64 {
        return Err("the size of a tensor map is 128".to_owned());
    }
    // The fence's scope does not narrow what the detector takes it for: the acquiring fence names its own.
    let _ = scope(dec);
    let mut step = Inst::new(run_publish);
    put_address(&mut step, &to);
    step.b = dec.data(Pointer::of(&from));
    dec.emit(step);
    Ok(())
}

fn run_publish<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = cx.whole_warp(i, mask) {
        return flow;
    }
    let from = cx.program.data::<Pointer>(i.b).addresses(cx);
    let to = cx.addresses(i.x, i.a, i.imm);
    let lane = mask.trailing_zeros() as usize % 32;
    if let Some(other) = lanes(mask).find(|l| (to[*l], from[*l]) != (to[lane], from[lane])) {
        let message = "lanes of the warp name different tensor maps".to_owned();
        return cx.abort(i, FindingKind::AsyncMisuse, other, message);
    }
    let places = Place::of(cx, i, MemSpace::Shared, from[lane], lane)
        .and_then(|from| Ok((from, Place::of(cx, i, MemSpace::Generic, to[lane], lane)?)));
    let (from, to) = match places {
        Ok(places) => places,
        Err(flow) => return flow,
    };
    let bytes = from.read(cx);
    from.tell(cx, lane, i.site, shadow::Kind::Read);
    to.write(cx, &bytes);
    to.tell(cx, lane, i.site, shadow::Kind::Write);
    cx.tell(mask, |detector, who| detector.fence_tensormap_release(who));
    Flow::Next
}
