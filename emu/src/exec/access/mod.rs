//! How lanes reach memory: addresses resolved and checked, bytes moved, the checks told.
//!
//! What a lane moves is at most 32 bytes, kept as rows of words: row `k` has word `k` of every lane. A value of one or
//! two bytes lies in the low bits of row 0.

mod global;
mod later;
mod local;
mod shared;

pub use shared::split_shared;

use super::cx::{Cx, lanes};
use super::report::{FindingKind, Severity};
use super::space::{LOCAL_BITS, MemSpace, classify};
use super::words::{Words, WordsMut};
use crate::isa::{Base, Class, Flow, Inst, Slot};
use crate::shadow;

/// Words of every lane.
pub type Rows = [[u32; 32]];

/// What an instruction does at its addresses.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The space of the addresses.
    pub space: MemSpace,
    /// Bytes of a lane.
    pub bytes: u32,
    /// What the race detector is told.
    pub access: shadow::Access,
}

/// A fault, already described: the kind, the message, what was nearest.
struct Fault {
    kind: FindingKind,
    message: String,
    lane: usize,
    address: u64,
    buffer: Option<String>,
}

/// Packs the base of an address into an instruction's `x`.
pub const fn base_code(base: Base) -> u32 {
    match base {
        Base::Long => 0,
        Base::Word => 1,
        Base::Absolute => 2,
        Base::Frame => 3,
        Base::Cta => 4,
    }
}

impl<'a> Cx<'a> {
    /// Room for rows; to be given back with [`Cx::give_rows`].
    #[inline]
    pub fn take_rows(&mut self) -> Vec<[u32; 32]> {
        let mut rows = std::mem::take(&mut self.warp.rows);
        if rows.is_empty() {
            rows.resize(8, [0; 32]);
        }
        rows
    }

    /// Gives room for rows back.
    #[inline]
    pub fn give_rows(&mut self, rows: Vec<[u32; 32]>) {
        self.warp.rows = rows;
    }

    /// Addresses from a base, a register and an offset.
    #[inline]
    pub fn addresses(&self, base: u32, slot: Slot, offset: u64) -> [u64; 32] {
        match base {
            0 => {
                let mut a = self.long(slot);
                a.iter_mut().for_each(|v| *v = v.wrapping_add(offset));
                a
            }
            1 => self.word(slot).map(|v| u64::from(v.wrapping_add(offset as u32))),
            2 => [offset; 32],
            3 => [offset.wrapping_add(self.frame.local_base.into()); 32],
            _ => [offset.wrapping_add(self.shared_base().into()); 32],
        }
    }

    /// Loads; rows beyond the request are left as they are. `Err` if it faulted.
    pub fn load(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &mut Rows,
    ) -> Result<u32, Flow> {
        let mut defined = u32::MAX;
        self.each_space(i, request, addresses, mask, |cx, space, inner, part| {
            let done = match space {
                MemSpace::Global => cx.load_global(i, request, inner, part, rows),
                MemSpace::Shared => cx.load_shared(i, request, inner, part, rows),
                MemSpace::Local => cx.load_local(request, inner, part, rows),
                MemSpace::Const => load_flat(cx.run.consts, "constant memory", request, inner, part, rows),
                _ => load_flat(&cx.run.params, "the kernel's parameters", request, inner, part, rows),
            }?;
            defined &= done | !part;
            Ok(())
        })?;
        Ok(defined)
    }

    /// Stores. `Err` if it faulted.
    pub fn store(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &Rows,
        defined: u32,
    ) -> Result<(), Flow> {
        self.each_space(i, request, addresses, mask, |cx, space, inner, part| match space {
            MemSpace::Global => cx.store_global(i, request, inner, part, rows),
            MemSpace::Shared => cx.store_shared(i, request, inner, part, rows, defined),
            MemSpace::Local => cx.store_local(request, inner, part, rows, defined),
            MemSpace::Const => Err(read_only(inner, part, "constant memory")),
            _ => Err(read_only(inner, part, "the kernel's parameters")),
        })
    }

    /// Hands lanes to `f` by the space that their addresses are in, as addresses of that space.
    fn each_space(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        mut f: impl FnMut(&mut Self, MemSpace, &[u64; 32], u32) -> Result<(), Fault>,
    ) -> Result<(), Flow> {
        if request.space != MemSpace::Generic {
            let mut result = f(self, request.space, addresses, mask);
            if let Err(fault) = &mut result
                && request.space == MemSpace::Global
                && classify(fault.address).0 != MemSpace::Global
            {
                fault.kind = FindingKind::WrongSpace;
                let space = classify(fault.address).0.name();
                fault.message = format!("an address of {space} memory in an instruction for global memory");
            }
            return result.map_err(|fault| self.fault(i, fault));
        }
        let mut left = mask;
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            let (space, _) = classify(addresses[first]);
            let mut inner = *addresses;
            let mut part = 0;
            for lane in lanes(left) {
                let (other, address) = classify(addresses[lane]);
                if other == space {
                    part |= 1 << lane;
                    inner[lane] = address;
                }
            }
            left &= !part;
            let result = if space == MemSpace::Local { self.own_local(&mut inner, part) } else { Ok(()) };
            result.and_then(|()| f(self, space, &inner, part)).map_err(|fault| self.fault(i, fault))?;
        }
        Ok(())
    }

    /// Generic addresses of local memory must be the thread's own.
    fn own_local(&self, inner: &mut [u64; 32], mask: u32) -> Result<(), Fault> {
        for lane in lanes(mask) {
            let owner = inner[lane] >> LOCAL_BITS;
            if owner != u64::from(self.thread_index(lane)) {
                return Err(Fault {
                    kind: FindingKind::WrongSpace,
                    message: "a generic pointer to another thread's local memory".to_owned(),
                    lane,
                    address: inner[lane],
                    buffer: None,
                });
            }
            inner[lane] &= (1 << LOCAL_BITS) - 1;
        }
        Ok(())
    }

    fn fault(&mut self, i: &Inst, fault: Fault) -> Flow {
        let Fault { kind, message, lane, address, buffer } = fault;
        self.report_at(i.site, kind, Severity::Error, lane, message, Some(address), buffer);
        self.run.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        Flow::Abort
    }

    /// Reports a fault of a family's own address check.
    pub fn bad_address(
        &mut self,
        i: &Inst,
        kind: FindingKind,
        lane: usize,
        message: String,
        address: u64,
    ) -> Flow {
        self.fault(i, Fault { kind, message, lane, address, buffer: None })
    }

    /// After a load of which the lanes `whole` are defined altogether: those of which `size` bytes from byte `first` on
    /// are.
    pub fn element_definedness(&self, whole: u32, first: u32, size: u32) -> u32 {
        if whole == u32::MAX {
            return whole;
        }
        let bits = (u32::MAX >> (32 - size.clamp(1, 32))) << first;
        lanes(!whole).filter(|l| self.warp.byte_definedness[*l] & bits == bits).fold(whole, |m, l| m | 1 << l)
    }

    /// After a load: sets which lanes of a destination hold a value.
    pub fn loaded(&mut self, class: Class, slot: Slot, defined: u32, mask: u32) {
        if self.run.checks.definedness {
            self.set_defined(class, slot, defined, mask);
        }
    }
}

fn read_only(addresses: &[u64; 32], mask: u32, what: &str) -> Fault {
    let lane = mask.trailing_zeros() as usize % 32;
    let message = format!("a store to {what}, which cannot be written");
    Fault { kind: FindingKind::ReadOnlyWrite, message, lane, address: addresses[lane], buffer: None }
}

/// Lanes that write the value which every other lane of the instruction writes to the same bytes. Lanes whose addresses
/// overlap only in part never do.
fn agreed(addresses: &[u64; 32], mask: u32, bytes: u32, rows: &Rows) -> u32 {
    let bytes = u64::from(bytes);
    let mut next = 0;
    let apart = lanes(mask).all(|lane| {
        let ahead = addresses[lane] >= next;
        next = addresses[lane].saturating_add(bytes);
        ahead
    });
    if apart {
        return mask;
    }
    let rows = &rows[..(bytes as usize).div_ceil(4)];
    // A value of one or two bytes lies in the low bits of its row.
    let low = if bytes < 4 { (1 << (8 * bytes)) - 1 } else { u32::MAX };
    let same = |a: usize, b: usize| rows.iter().all(|row| (row[a] ^ row[b]) & low == 0);
    lanes(mask)
        .filter(|a| {
            lanes(mask).all(|b| {
                let distance = addresses[*a].abs_diff(addresses[b]);
                distance >= bytes || (distance == 0 && same(*a, b))
            })
        })
        .fold(0, |m, lane| m | 1 << lane)
}

fn check_aligned(address: u64, bytes: u32, lane: usize) -> Result<(), Fault> {
    if address.is_multiple_of(u64::from(bytes)) {
        return Ok(());
    }
    let message = format!("the address {address:#x} of {bytes} bytes is no multiple of {bytes}");
    Err(Fault { kind: FindingKind::Misaligned, message, lane, address, buffer: None })
}

/// Whether all lanes are aligned and inside one range.
#[inline]
fn within(addresses: &[u64; 32], mask: u32, base: u64, len: u64, bytes: u32) -> bool {
    let last = len - u64::from(bytes);
    let low = u64::from(bytes) - 1;
    let mut bad = false;
    for lane in 0..32 {
        let a = addresses[lane];
        bad |= mask >> lane & 1 == 1 && (a.wrapping_sub(base) > last || a & low != 0);
    }
    !bad
}

/// Moves words of lanes out of memory; offsets were checked.
#[inline]
fn gather<M: Words + ?Sized>(memory: &M, offsets: &[u64; 32], mask: u32, bytes: u32, rows: &mut Rows) {
    match bytes {
        1 | 2 => lanes(mask).for_each(|l| rows[0][l] = memory.part(offsets[l], bytes)),
        _ => {
            for k in 0..(bytes / 4) as usize {
                let row = &mut rows[k];
                let mut take = |l: usize| row[l] = memory.word((offsets[l] >> 2) as usize + k);
                if mask == u32::MAX {
                    (0..32).for_each(take);
                } else {
                    lanes(mask).for_each(&mut take);
                }
            }
        }
    }
}

#[inline]
fn scatter<M: WordsMut + ?Sized>(memory: &mut M, offsets: &[u64; 32], mask: u32, bytes: u32, rows: &Rows) {
    match bytes {
        1 | 2 => lanes(mask)
            .for_each(|l| memory.set_part(offsets[l], rows[0][l] & ((1 << (8 * bytes)) - 1), bytes)),
        _ => {
            for k in 0..(bytes / 4) as usize {
                let row = &rows[k];
                let mut put = |l: usize| memory.set_word((offsets[l] >> 2) as usize + k, row[l]);
                if mask == u32::MAX {
                    (0..32).for_each(put);
                } else {
                    lanes(mask).for_each(&mut put);
                }
            }
        }
    }
}

fn load_flat(
    memory: &[u32],
    name: &str,
    request: &Request,
    addresses: &[u64; 32],
    mask: u32,
    rows: &mut Rows,
) -> Result<u32, Fault> {
    let bytes = request.bytes;
    for lane in lanes(mask) {
        check_aligned(addresses[lane], bytes, lane)?;
        let end = addresses[lane].checked_add(bytes.into());
        if end.is_none_or(|e| e > memory.len() as u64 * 4) {
            let message = format!("{bytes} bytes outside {name}");
            return Err(Fault {
                kind: FindingKind::OutOfBounds,
                message,
                lane,
                address: addresses[lane],
                buffer: None,
            });
        }
    }
    gather(memory, addresses, mask, bytes, rows);
    Ok(u32::MAX)
}
