//! Rules on mixtures of experts.

use super::{BlockReport, MAX_EXPERTS, MAX_SIZE};
use crate::block::Moe;

pub(super) fn check(m: &Moe, report: &mut BlockReport<'_, '_>) {
    let experts = report.between("n_experts", m.n_experts, 1, MAX_EXPERTS);
    let chosen = report.size("top_k", m.top_k);
    report.size("hidden", m.hidden);
    report.between("shared_hidden", m.shared_hidden, 0, MAX_SIZE);
    if let Some(latent) = m.latent {
        report.size("latent", latent);
    }
    scale(m, report);
    let groups = report.size("n_group", m.n_group) & report.size("topk_group", m.topk_group);
    if experts && chosen && m.top_k > m.n_experts {
        report.fault(
            &["top_k", "n_experts"],
            format!("top_k ({}) is more than n_experts ({})", m.top_k, m.n_experts),
            "a token cannot use more experts than there are",
        );
    } else if experts && chosen && groups {
        router_groups(m, report);
    }
}

fn scale(m: &Moe, report: &mut BlockReport<'_, '_>) {
    if !(m.scale > 0.0 && m.scale.is_finite()) {
        report.fault(&["scale"], format!("scale is {}", m.scale), "a factor above 0; 1.0 changes nothing");
    }
}

/// Router groups: equal in size, with two experts at least (a group is ranked by its best two), and enough
/// experts in the groups that are kept.
fn router_groups(m: &Moe, report: &mut BlockReport<'_, '_>) {
    if m.topk_group > m.n_group {
        report.fault(
            &["topk_group", "n_group"],
            format!("topk_group ({}) is more than n_group ({})", m.topk_group, m.n_group),
            "no more groups can be kept than there are",
        );
        return;
    }
    report.divides(("n_group", m.n_group), ("n_experts", m.n_experts), "router groups are equal in size");
    if !m.n_experts.is_multiple_of(m.n_group) {
        return;
    }
    let size = m.n_experts / m.n_group;
    if m.n_group > 1 && size < 2 {
        report.fault(
            &["n_group", "n_experts"],
            format!("n_group ({}) leaves one expert a group of the {}", m.n_group, m.n_experts),
            "a group is ranked by its best two experts",
        );
    } else if m.n_group > 1 && m.top_k > size * m.topk_group {
        report.fault(
            &["top_k", "topk_group", "n_group", "n_experts"],
            format!(
                "top_k ({}) is more than the {} experts in the topk_group ({}) groups that are kept",
                m.top_k,
                size * m.topk_group,
                m.topk_group
            ),
            "keep more groups or choose fewer experts",
        );
    }
}
