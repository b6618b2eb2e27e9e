//! The one line that an access costs in a handler.

use super::{Access, Counting};
use crate::exec::Cx;
use crate::shadow;

impl Cx<'_> {
    /// Tells the counters, if there are any.
    #[inline]
    pub fn count(&mut self, f: impl FnOnce(&mut Counting)) {
        if let Some(counting) = &mut self.cluster.counting {
            f(counting);
        }
    }
}

impl From<shadow::Kind> for Access {
    fn from(kind: shadow::Kind) -> Self {
        match kind {
            shadow::Kind::Read => Access::Read,
            shadow::Kind::Write => Access::Write,
            shadow::Kind::Atomic | shadow::Kind::Reduce => Access::Atomic,
        }
    }
}
