//! How lanes reach memory: addresses resolved and checked, bytes moved, the checks told.
//!
//! What a lane moves is at most 32 bytes, kept as rows of words: row `k` has word `k` of every lane. A value of one or
//! two bytes lies in the low bits of row 0.

use super::cx::{Cx, lanes};
use super::global::Miss;
use super::report::{FindingKind, Severity};
use super::space::{LOCAL_BITS, LOCAL_FIRST, MemSpace, SHARED_BITS, SHARED_FIRST, classify};
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

    /// Checks addresses of an operation that reads and writes in one, and tells the checks of it.
    pub fn touch(
        &mut self,
        i: &Inst,
        request: &Request,
        space: MemSpace,
        addresses: &[u64; 32],
        mask: u32,
    ) -> Result<(), Flow> {
        let result = match space {
            MemSpace::Shared => self.check_shared(request.bytes, addresses, mask),
            _ => self.check_global(request.bytes, addresses, mask),
        };
        result.map_err(|fault| self.fault(i, fault))?;
        if space == MemSpace::Shared {
            self.count_shared(i, request, addresses, mask);
            self.watch_races(shadow::Space::Shared, request, addresses, mask);
            if self.run.checks.definedness {
                for lane in lanes(mask) {
                    let (rank, offset) = split_shared(addresses[lane]);
                    self.check_written(
                        i,
                        self.cluster.ctas[rank].shared_defined.all(offset, request.bytes),
                        lane,
                        addresses[lane],
                    );
                    self.cluster.ctas[rank].shared_defined.define(offset, request.bytes);
                }
            }
        } else {
            self.count_global(i, request, addresses, mask);
            let defined = self.watch_global(request, addresses, mask, u32::MAX);
            for lane in lanes(mask & !defined) {
                self.check_written(i, false, lane, addresses[lane]);
            }
        }
        Ok(())
    }

    /// Checks addresses and tells nobody: for operations that access later.
    pub fn check(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
    ) -> Result<(), Flow> {
        let result = match request.space {
            MemSpace::Shared => self.check_shared(request.bytes, addresses, mask),
            _ => self.check_global(request.bytes, addresses, mask),
        };
        if result.is_ok() {
            match request.space {
                MemSpace::Shared => self.count_shared(i, request, addresses, mask),
                _ => self.count_global(i, request, addresses, mask),
            }
        }
        result.map_err(|fault| self.fault(i, fault))
    }

    /// Checks global addresses of which each lane reads its own number of bytes, aligned to the request's.
    pub fn check_source(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        bytes: &[u32; 32],
        mask: u32,
    ) -> Result<(), Flow> {
        self.count_global(i, request, addresses, mask);
        for lane in lanes(mask) {
            let (address, size) = (addresses[lane], bytes[lane]);
            let mut result = check_aligned(address, request.bytes, lane);
            if result.is_ok() && self.run.global.find(address, size.into()).is_none() {
                result = Err(self.no_buffer(address, size, lane, "copied"));
            }
            result.map_err(|fault| self.fault(i, fault))?;
        }
        Ok(())
    }

    fn check_written(&mut self, i: &Inst, written: bool, lane: usize, address: u64) {
        if !written {
            let message = "an atomic operation on bytes that nobody wrote".to_owned();
            self.report_at(
                i.site,
                FindingKind::Uninitialised,
                Severity::Error,
                lane,
                message,
                Some(address),
                None,
            );
        }
    }

    fn check_global(&self, bytes: u32, addresses: &[u64; 32], mask: u32) -> Result<(), Fault> {
        for lane in lanes(mask) {
            check_aligned(addresses[lane], bytes, lane)?;
            if self.run.global.find(addresses[lane], bytes.into()).is_none() {
                return Err(self.no_buffer(addresses[lane], bytes, lane, "accessed"));
            }
        }
        Ok(())
    }

    // Global.

    fn load_global(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &mut Rows,
    ) -> Result<u32, Fault> {
        self.count_global(i, request, addresses, mask);
        let bytes = request.bytes;
        let global = self.run.global;
        let first = mask.trailing_zeros() as usize % 32;
        let found = global.find(addresses[first], bytes.into()).map(|(_, b, _)| b);
        let whole = found.filter(|b| within(addresses, mask, b.base, b.len, bytes));
        let strong = ordered(request);
        if let Some(buffer) = whole.filter(|_| !(strong && bytes > 4)) {
            let offsets = addresses.map(|a| a.wrapping_sub(buffer.base));
            gather(&buffer.words(), &offsets, mask, bytes, rows);
        } else {
            for lane in lanes(mask) {
                check_aligned(addresses[lane], bytes, lane)?;
                let Some((_, buffer, offset)) = global.find(addresses[lane], bytes.into()) else {
                    return Err(self.no_buffer(addresses[lane], bytes, lane, "read"));
                };
                let mut offsets = [0; 32];
                offsets[lane] = offset;
                let _whole = self.run.lock(addresses[lane]);
                gather(&buffer.words(), &offsets, 1 << lane, bytes, rows);
            }
        }
        ordered(request);
        Ok(self.watch_global(request, addresses, mask, u32::MAX))
    }

    fn store_global(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &Rows,
    ) -> Result<(), Fault> {
        self.count_global(i, request, addresses, mask);
        let bytes = request.bytes;
        let global = self.run.global;
        let first = mask.trailing_zeros() as usize % 32;
        let found = global.find(addresses[first], bytes.into()).map(|(_, b, _)| b);
        let whole = found.filter(|b| within(addresses, mask, b.base, b.len, bytes));
        let mut request = *request;
        if self.run.checks.races {
            request.access.same_value = self.same_value(&request, addresses, mask, rows);
        }
        let strong = ordered(&request);
        if let Some(buffer) = whole.filter(|_| !(strong && bytes > 4)) {
            let offsets = addresses.map(|a| a.wrapping_sub(buffer.base));
            scatter(&mut buffer.words(), &offsets, mask, bytes, rows);
        } else {
            for lane in lanes(mask) {
                check_aligned(addresses[lane], bytes, lane)?;
                let Some((_, buffer, offset)) = global.find(addresses[lane], bytes.into()) else {
                    return Err(self.no_buffer(addresses[lane], bytes, lane, "written"));
                };
                let mut offsets = [0; 32];
                offsets[lane] = offset;
                let _whole = self.run.lock(addresses[lane]);
                scatter(&mut buffer.words(), &offsets, 1 << lane, bytes, rows);
            }
        }
        ordered(&request);
        self.watch_global(&request, addresses, mask, u32::MAX);
        Ok(())
    }

    /// Lanes that write what is there already.
    fn same_value(&self, request: &Request, addresses: &[u64; 32], mask: u32, rows: &Rows) -> u32 {
        let mut same = 0;
        for lane in lanes(mask) {
            let Some((_, buffer, offset)) = self.run.global.find(addresses[lane], request.bytes.into())
            else {
                continue;
            };
            let words = buffer.words();
            let equal = match request.bytes {
                1 | 2 => {
                    words.part(offset, request.bytes) == rows[0][lane] & ((1 << (8 * request.bytes)) - 1)
                }
                n => (0..n as usize / 4).all(|k| words.word(offset as usize / 4 + k) == rows[k][lane]),
            };
            same |= u32::from(equal) << lane;
        }
        same
    }

    fn count_global(&mut self, i: &Inst, request: &Request, addresses: &[u64; 32], mask: u32) {
        if let Some(counting) = &mut self.cluster.counting {
            counting.global(i.site, addresses, mask, request.bytes);
        }
    }

    fn no_buffer(&self, address: u64, bytes: u32, lane: usize, how: &str) -> Fault {
        let (kind, message, buffer) = match self.run.global.miss(address) {
            Miss::Freed(name) => (
                FindingKind::UseAfterFree,
                format!("{bytes} bytes of the freed buffer `{name}` are {how}"),
                Some(name),
            ),
            Miss::Near(name, base, len) => {
                let at = address.wrapping_sub(base) as i64;
                let message =
                    format!("{bytes} bytes at offset {at} of the buffer `{name}` of {len} bytes are {how}");
                (FindingKind::OutOfBounds, message, Some(name))
            }
            Miss::Nowhere => {
                (FindingKind::OutOfBounds, format!("{bytes} bytes are {how} where no buffer is"), None)
            }
        };
        Fault { kind, message, lane, address, buffer }
    }

    // Shared.

    fn load_shared(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &mut Rows,
    ) -> Result<u32, Fault> {
        self.check_shared(request.bytes, addresses, mask)?;
        self.count_shared(i, request, addresses, mask);
        let mut left = mask;
        while left != 0 {
            let (rank, part, offsets) = of_one_cta(addresses, left);
            gather(&self.cluster.ctas[rank].shared[..], &offsets, part, request.bytes, rows);
            left &= !part;
        }
        let mut defined = u32::MAX;
        if self.run.checks.definedness {
            for lane in lanes(mask) {
                let (rank, offset) = split_shared(addresses[lane]);
                if !self.cluster.ctas[rank].shared_defined.all(offset, request.bytes) {
                    defined &= !(1 << lane);
                }
            }
        }
        self.watch_races(shadow::Space::Shared, request, addresses, mask);
        Ok(defined)
    }

    fn count_shared(&mut self, i: &Inst, request: &Request, addresses: &[u64; 32], mask: u32) {
        if let Some(counting) = &mut self.cluster.counting {
            counting.shared(i.site, addresses, mask, request.bytes);
        }
    }

    fn store_shared(
        &mut self,
        i: &Inst,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &Rows,
        defined: u32,
    ) -> Result<(), Fault> {
        self.check_shared(request.bytes, addresses, mask)?;
        self.count_shared(i, request, addresses, mask);
        self.watch_races(shadow::Space::Shared, request, addresses, mask);
        let mut left = mask;
        while left != 0 {
            let (rank, part, offsets) = of_one_cta(addresses, left);
            scatter(&mut self.cluster.ctas[rank].shared[..], &offsets, part, request.bytes, rows);
            left &= !part;
        }
        if self.run.checks.definedness {
            for lane in lanes(mask) {
                let (rank, offset) = split_shared(addresses[lane]);
                let shadow = &mut self.cluster.ctas[rank].shared_defined;
                if defined >> lane & 1 == 1 {
                    shadow.define(offset, request.bytes);
                } else {
                    shadow.undefine_range(offset, request.bytes.into());
                }
            }
        }
        Ok(())
    }

    /// Checks shared addresses: alignment, the CTA, the bytes that there are.
    fn check_shared(&mut self, bytes: u32, addresses: &[u64; 32], mask: u32) -> Result<(), Fault> {
        let (limit, ctas) = (u64::from(self.run.shared_bytes), self.cluster.ctas.len() as u64);
        let good = |a: u64| {
            let offset = a & ((1 << SHARED_BITS) - 1);
            a % u64::from(bytes) == 0
                && (a & 0xffff_ffff) >> SHARED_BITS < ctas
                && offset >= u64::from(SHARED_FIRST)
                && offset + u64::from(bytes) <= limit
        };
        match lanes(mask).find(|l| !good(addresses[*l])) {
            None => Ok(()),
            Some(lane) => Err(self.shared_fault(addresses[lane], bytes, lane)),
        }
    }

    #[cold]
    fn shared_fault(&self, address: u64, bytes: u32, lane: usize) -> Fault {
        if let Err(fault) = check_aligned(address, bytes, lane) {
            return fault;
        }
        let (rank, offset) = split_shared(address);
        let (first, limit) = (SHARED_FIRST, self.run.shared_bytes);
        let buffer = self.program.shared_name(offset as u32).map(str::to_owned);
        let message = if rank >= self.cluster.ctas.len() {
            format!("a shared address of CTA {rank} in a cluster of {}", self.cluster.ctas.len())
        } else {
            format!("{bytes} bytes at shared offset {offset}; the CTA has offsets {first} to {limit}")
        };
        Fault { kind: FindingKind::OutOfBounds, message, lane, address, buffer }
    }

    // Local.

    fn load_local(
        &mut self,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &mut Rows,
    ) -> Result<u32, Fault> {
        let mut defined = u32::MAX;
        for lane in lanes(mask) {
            let address = addresses[lane];
            self.check_local(address, request.bytes, lane)?;
            let words = &self.warp.local[lane][..];
            match request.bytes {
                n @ (1 | 2) => rows[0][lane] = words.part(address, n),
                n => (0..n as usize / 4).for_each(|k| rows[k][lane] = words.word(address as usize / 4 + k)),
            }
            if !self.local_defined(lane, address, request.bytes) {
                defined &= !(1 << lane);
            }
        }
        Ok(defined)
    }

    fn store_local(
        &mut self,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &Rows,
        defined: u32,
    ) -> Result<(), Fault> {
        for lane in lanes(mask) {
            let address = addresses[lane];
            self.check_local(address, request.bytes, lane)?;
            let words = &mut self.warp.local[lane][..];
            match request.bytes {
                n @ (1 | 2) => words.set_part(address, rows[0][lane], n),
                n => {
                    (0..n as usize / 4).for_each(|k| words.set_word(address as usize / 4 + k, rows[k][lane]))
                }
            }
            self.set_local_defined(lane, address, request.bytes, defined >> lane & 1 == 1);
        }
        Ok(())
    }

    fn check_local(&mut self, address: u64, bytes: u32, lane: usize) -> Result<(), Fault> {
        check_aligned(address, bytes, lane)?;
        let top = self.warp.local_top[lane];
        if address < u64::from(LOCAL_FIRST) || address + u64::from(bytes) > u64::from(top) {
            let size = top - LOCAL_FIRST;
            let message = format!("{bytes} bytes outside the thread's {size} bytes of local memory");
            return Err(Fault { kind: FindingKind::OutOfBounds, message, lane, address, buffer: None });
        }
        let words = (top as usize).div_ceil(4);
        if self.warp.local[lane].len() < words {
            self.warp.local[lane].resize(words, 0);
        }
        Ok(())
    }

    /// Makes a range of a lane's local memory fresh, at the beginning of an activation.
    pub fn clear_local(&mut self, lane: usize, from: u32, bytes: u32) {
        let words = ((from + bytes) as usize).div_ceil(4);
        let local = &mut self.warp.local[lane];
        if local.len() < words {
            local.resize(words, 0);
        }
        if self.run.checks.definedness && bytes > 0 {
            self.set_local_defined(lane, from.into(), bytes, false);
        }
    }

    /// Whether all bytes of a range of a lane's local memory were written.
    pub fn local_defined(&self, lane: usize, from: u64, bytes: u32) -> bool {
        !self.run.checks.definedness || self.warp.local_defined[lane].all(from, bytes) || bytes == 0
    }

    /// Says whether a range of a lane's local memory holds values.
    pub fn set_local_defined(&mut self, lane: usize, from: u64, bytes: u32, defined: bool) {
        if !self.run.checks.definedness {
            return;
        }
        let shadow = &mut self.warp.local_defined[lane];
        shadow.grow(from + u64::from(bytes));
        if defined {
            shadow.define_range(from, bytes.into());
        } else {
            shadow.undefine_range(from, bytes.into());
        }
    }

    /// After a load: sets which lanes of a destination hold a value.
    pub fn loaded(&mut self, class: Class, slot: Slot, defined: u32, mask: u32) {
        if self.run.checks.definedness {
            self.set_defined(class, slot, defined, mask);
        }
    }
}

/// Strong accesses are ordered against all others of the host thread; says whether the request is one. Wide ones are
/// made whole by a lock, as the words of memory are narrower.
fn ordered(request: &Request) -> bool {
    let strong = request.access.strength != shadow::Strength::Weak;
    if strong {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
    strong
}

/// Rank of the CTA and offset of a shared address.
pub fn split_shared(address: u64) -> (usize, u64) {
    let address = address & 0xffff_ffff;
    ((address >> SHARED_BITS) as usize, address & ((1 << SHARED_BITS) - 1))
}

/// The lanes whose addresses are in the same CTA as the first one's, with their offsets.
fn of_one_cta(addresses: &[u64; 32], mask: u32) -> (usize, u32, [u64; 32]) {
    let rank = split_shared(addresses[mask.trailing_zeros() as usize % 32]).0;
    let offsets = addresses.map(|a| split_shared(a).1);
    let part = lanes(mask).filter(|l| split_shared(addresses[*l]).0 == rank).fold(0, |m, l| m | 1 << l);
    (rank, part, offsets)
}

fn read_only(addresses: &[u64; 32], mask: u32, what: &str) -> Fault {
    let lane = mask.trailing_zeros() as usize % 32;
    let message = format!("a store to {what}, which cannot be written");
    Fault { kind: FindingKind::ReadOnlyWrite, message, lane, address: addresses[lane], buffer: None }
}

fn check_aligned(address: u64, bytes: u32, lane: usize) -> Result<(), Fault> {
    if address % u64::from(bytes) == 0 {
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
        4 if mask == u32::MAX => (0..32).for_each(|l| rows[0][l] = memory.word((offsets[l] >> 2) as usize)),
        _ => {
            for k in 0..(bytes / 4) as usize {
                lanes(mask).for_each(|l| rows[k][l] = memory.word((offsets[l] >> 2) as usize + k));
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
                lanes(mask).for_each(|l| memory.set_word((offsets[l] >> 2) as usize + k, rows[k][l]));
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
