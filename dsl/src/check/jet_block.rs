//! Rules on JetBlocks.

use super::{BlockReport, MAX_SIZE, MAX_TAPS};
use crate::block::JetBlock;

/// How far `d_head · expand_v` may be from a whole number, relatively (the public code's own limit).
const WHOLE: f64 = 1e-5;

pub(super) fn check(j: &JetBlock, report: &mut BlockReport<'_, '_>) {
    let sizes = report.size("n_heads", j.n_heads) & report.size("d_head", j.d_head);
    let taps = report.between("conv", j.conv, 2, MAX_TAPS);
    let reduction = report.size("reduction", j.reduction);
    report.epsilon("norm_eps", j.norm_eps);
    if sizes && value_width(j, report) && reduction && taps {
        generator(j, report);
    }
}

/// `V = d_head · expand_v` must be whole. Returns whether the value width can be used at all.
fn value_width(j: &JetBlock, report: &mut BlockReport<'_, '_>) -> bool {
    let exact = f64::from(j.d_head) * j.expand_v;
    if !(j.expand_v > 0.0 && exact.is_finite() && exact <= f64::from(MAX_SIZE)) {
        report.fault(
            &["expand_v", "d_head"],
            format!("expand_v is {}, so that a value head is {exact} wide", j.expand_v),
            format!("above 0, and the width at most {MAX_SIZE}"),
        );
        return false;
    }
    let whole = exact.round();
    if whole < 1.0 || (exact - whole).abs() > WHOLE * exact {
        let near = whole.max(1.0);
        report.fault(
            &["expand_v", "d_head"],
            format!("d_head × expand_v is {} × {} = {exact}, not a whole number", j.d_head, j.expand_v),
            format!("for values {near} wide write expand_v: {:.10}", near / f64::from(j.d_head)),
        );
        return false;
    }
    report.width(&["n_heads", "d_head", "expand_v"], j.value_dim().max(j.key_dim()))
}

/// The kernel generator is `n_heads · V / reduction` wide.
fn generator(j: &JetBlock, report: &mut BlockReport<'_, '_>) {
    let values = j.value_dim();
    let fields = ["reduction", "n_heads", "d_head", "expand_v"];
    if u64::from(j.reduction) > values {
        report.fault(
            &fields,
            format!("reduction ({}) is more than the {values} value channels", j.reduction),
            "the kernel generator would have no hidden channel",
        );
    } else if report.definition() && !values.is_multiple_of(u64::from(j.reduction)) {
        report.fault(
            &fields,
            format!("reduction ({}) does not divide the {values} value channels", j.reduction),
            "8 is usual",
        );
    }
}
