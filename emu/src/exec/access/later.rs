//! Checks of addresses without moving bytes: for atomic operations, and for what accesses later.

use super::{Fault, Request, check_aligned, split_shared};
use crate::exec::cx::{Cx, lanes};
use crate::exec::report::{FindingKind, Severity};
use crate::exec::space::MemSpace;
use crate::isa::{Flow, Inst};
use crate::shadow;

impl Cx<'_> {
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
            self.watch_shared(i, request.bytes, addresses, mask);
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

    pub(super) fn check_written(&mut self, i: &Inst, written: bool, lane: usize, address: u64) {
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

    pub(super) fn check_global(&self, bytes: u32, addresses: &[u64; 32], mask: u32) -> Result<(), Fault> {
        for lane in lanes(mask) {
            check_aligned(addresses[lane], bytes, lane)?;
            if self.run.global.find(addresses[lane], bytes.into()).is_none() {
                return Err(self.no_buffer(addresses[lane], bytes, lane, "accessed"));
            }
        }
        Ok(())
    }
}
