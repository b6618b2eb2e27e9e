//! Rules on attention blocks.

use super::BlockReport;
use crate::block::{Attention, Rope, RopeScaling};

pub(super) fn check(a: &Attention, report: &mut BlockReport<'_, '_>) {
    sizes(a, report);
    report.divides(
        ("n_kv_heads", a.n_kv_heads),
        ("n_heads", a.n_heads),
        "every key/value head serves equally many query heads",
    );
    window(a, report);
    if let Some(rope) = &a.rope {
        pairs(a, report);
        base(rope, report);
        scaling(rope, report);
    }
}

fn sizes(a: &Attention, report: &mut BlockReport<'_, '_>) {
    report.size("n_heads", a.n_heads);
    report.size("n_kv_heads", a.n_kv_heads);
    report.size("d_head", a.d_head);
    report.width(&["n_heads", "d_head"], a.q_dim());
}

fn window(a: &Attention, report: &mut BlockReport<'_, '_>) {
    if a.window == Some(0) {
        report.fault(
            &["window"],
            "window is 0, so a token would not even see itself".to_owned(),
            "the current token counts: 1 or more, or leave it out for full attention",
        );
    }
}

fn pairs(a: &Attention, report: &mut BlockReport<'_, '_>) {
    if a.d_head % 2 == 1 {
        report.fault(
            &["d_head", "rope"],
            format!("d_head is {}, and a rotary embedding turns pairs of elements", a.d_head),
            format!("{} or {}, or `rope: none`", a.d_head - 1, u64::from(a.d_head) + 1),
        );
    }
}

fn base(rope: &Rope, report: &mut BlockReport<'_, '_>) {
    if !(rope.theta > 1.0 && rope.theta.is_finite()) {
        report.fault(
            &["theta", "rope"],
            format!("rope theta is {}", rope.theta),
            "the base of the frequencies must be above 1; 10000 is usual",
        );
    }
}

fn scaling(rope: &Rope, report: &mut BlockReport<'_, '_>) {
    let RopeScaling::Llama3 { factor, low_freq, high_freq, original_context } = rope.scaling else { return };
    if !(factor >= 1.0 && factor.is_finite()) {
        report.fault(
            &["factor", "rope"],
            format!("llama3 factor is {factor}"),
            "it divides frequencies: 1 or more",
        );
    }
    if !(low_freq > 0.0 && high_freq > low_freq && high_freq.is_finite()) {
        report.fault(
            &["low_freq", "high_freq", "rope"],
            format!("llama3 low_freq is {low_freq} and high_freq is {high_freq}"),
            "0 < low_freq < high_freq; 1 and 4 are usual",
        );
    }
    if original_context == 0 {
        report.fault(
            &["original_context", "rope"],
            "llama3 original_context is 0".to_owned(),
            "the context of the first training, 8192 say",
        );
    }
}
