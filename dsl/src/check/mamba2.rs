//! Rules on Mamba-2 blocks.

use super::{BlockReport, MAX_TAPS};
use crate::block::Mamba2;

pub(super) fn check(m: &Mamba2, report: &mut BlockReport<'_, '_>) {
    for (field, value) in [
        ("n_heads", m.n_heads),
        ("d_head", m.d_head),
        ("d_state", m.d_state),
        ("n_groups", m.n_groups),
        ("chunk", m.chunk),
    ] {
        report.size(field, value);
    }
    report.between("conv", m.conv, 2, MAX_TAPS);
    // The gated norm's groups of d_inner / n_groups channels are whole exactly when this holds.
    report.divides(
        ("n_groups", m.n_groups),
        ("n_heads", m.n_heads),
        "every group of B and C, and of the gated norm, serves equally many heads",
    );
    report.width(&["n_heads", "d_head"], m.d_inner());
    report.width(&["n_groups", "d_state"], u64::from(m.n_groups) * u64::from(m.d_state));
    step_limits(m, report);
}

/// The clamp of Δ = softplus(…), which is never negative.
fn step_limits(m: &Mamba2, report: &mut BlockReport<'_, '_>) {
    if !(m.dt_min >= 0.0 && m.dt_min.is_finite()) {
        report.fault(&["dt_min"], format!("dt_min is {}", m.dt_min), "a step size is 0 or more");
    }
    let Some(most) = m.dt_max else { return };
    if !(most > 0.0 && most.is_finite()) {
        report.fault(&["dt_max"], format!("dt_max is {most}"), "above 0; leave it out for no upper limit");
    } else if m.dt_min > most {
        report.fault(
            &["dt_min", "dt_max"],
            format!("dt_min ({}) is above dt_max ({most})", m.dt_min),
            "every step size would be clamped from both sides",
        );
    }
}
