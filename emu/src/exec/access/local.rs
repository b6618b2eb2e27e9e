//! Local memory: one list of words a lane.

use super::{Fault, Request, Rows, check_aligned};
use crate::count::Access;
use crate::exec::cx::{Cx, lanes};
use crate::exec::report::FindingKind;
use crate::exec::space::LOCAL_FIRST;
use crate::exec::words::{Words, WordsMut};

impl Cx<'_> {
    pub(super) fn load_local(
        &mut self,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &mut Rows,
    ) -> Result<u32, Fault> {
        self.count(|c| c.local(request.access.site, Access::Read, mask, request.bytes));
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
                self.warp.byte_definedness[lane] = self.warp.local_defined[lane].bits(address, request.bytes);
            }
        }
        Ok(defined)
    }

    pub(super) fn store_local(
        &mut self,
        request: &Request,
        addresses: &[u64; 32],
        mask: u32,
        rows: &Rows,
        defined: u32,
    ) -> Result<(), Fault> {
        self.count(|c| c.local(request.access.site, Access::Write, mask, request.bytes));
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
            self.set_local_defined(lane, address, request.bytes, true);
            if self.run.checks.definedness && defined >> lane & 1 == 0 {
                let bits = self.warp.byte_definedness[lane];
                self.warp.local_defined[lane].set_bits(address, request.bytes, bits);
            }
        }
        Ok(())
    }

    pub(super) fn check_local(&mut self, address: u64, bytes: u32, lane: usize) -> Result<(), Fault> {
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
}
