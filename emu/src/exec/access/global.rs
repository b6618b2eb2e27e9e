//! Global memory as lanes access it.

use super::{Fault, Request, Rows, agreed, check_aligned, gather, scatter, within};
use crate::exec::cx::{Cx, lanes};
use crate::exec::global::Miss;
use crate::exec::report::FindingKind;
use crate::exec::space::{MemSpace, classify};
use crate::exec::words::Words;
use crate::isa::{Flow, Inst};
use crate::shadow;

impl Cx<'_> {
    pub(super) fn load_global(
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

    pub(super) fn store_global(
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
            request.access.agreed = agreed(addresses, mask, bytes, rows);
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
    pub(super) fn same_value(&self, request: &Request, addresses: &[u64; 32], mask: u32, rows: &Rows) -> u32 {
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

    pub(super) fn count_global(&mut self, i: &Inst, request: &Request, addresses: &[u64; 32], mask: u32) {
        self.count(|c| c.global(i.site, request.access.kind.into(), addresses, mask, request.bytes));
    }

    /// Checks a range of global memory that an asynchronous operation will access; `Err` if it faulted.
    pub fn global_target(
        &mut self,
        i: &Inst,
        address: u64,
        bytes: u64,
        align: u64,
        lane: usize,
    ) -> Result<(), Flow> {
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        let space = classify(address).0;
        if space != MemSpace::Global {
            let message = format!("an address of {} memory where global memory is needed", space.name());
            return Err(self.bad_address(i, FindingKind::WrongSpace, lane, message, address));
        }
        if !address.is_multiple_of(align) {
            let message = format!("the address {address:#x} is no multiple of {align}");
            return Err(self.bad_address(i, FindingKind::Misaligned, lane, message, address));
        }
        if bytes > 0 && self.run.global.find(address, bytes).is_none() {
            let fault = self.no_buffer(address, size, lane, "copied");
            return Err(self.fault(i, fault));
        }
        Ok(())
    }

    pub(super) fn no_buffer(&self, address: u64, bytes: u32, lane: usize, how: &str) -> Fault {
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
