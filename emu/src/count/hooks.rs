//! The one line that an access costs in a handler.

use super::{Access, Counting};
use crate::exec::Cx;
use crate::exec::async_ops::AsyncCx;

impl Cx<'_> {
    /// Tells the counters, if there are any.
    #[inline]
    pub fn count(&mut self, f: impl FnOnce(&mut Counting)) {
        if let Some(counting) = &mut self.cluster.counting {
            f(counting);
        }
    }

    /// Counts accesses of shared memory, seen from the own CTA.
    #[inline]
    pub fn count_shared(&mut self, site: u32, access: Access, addresses: &[u64; 32], mask: u32, bytes: u32) {
        let rank = self.rank();
        self.count(|c| c.shared(site, access, addresses, mask, bytes, rank));
    }
}

impl AsyncCx<'_> {
    /// Tells the counters, if there are any; [`AsyncCx::site`] is the instruction to count for.
    #[inline]
    pub fn count(&mut self, f: impl FnOnce(&mut Counting, u32)) {
        if let Some(counting) = self.counting {
            f(counting, self.site);
        }
    }
}
