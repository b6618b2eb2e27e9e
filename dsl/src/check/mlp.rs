//! Rules on MLP blocks.

use super::BlockReport;
use crate::block::Mlp;

pub(super) fn check(m: &Mlp, report: &mut BlockReport<'_, '_>) {
    report.size("hidden", m.hidden);
}
