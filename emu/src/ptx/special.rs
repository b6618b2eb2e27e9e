//! The special registers of the ISA, by name. Which value each has is the business of the machine.

/// Registers with components `.x`, `.y`, `.z` and `.w`.
const VECTORS: &[&str] =
    &["tid", "ntid", "ctaid", "nctaid", "clusterid", "nclusterid", "cluster_ctaid", "cluster_nctaid"];

/// Registers of one value.
const SCALARS: &[&str] = &[
    "laneid",
    "warpid",
    "nwarpid",
    "smid",
    "nsmid",
    "gridid",
    "is_explicit_cluster",
    "cluster_ctarank",
    "cluster_nctarank",
    "lanemask_eq",
    "lanemask_le",
    "lanemask_lt",
    "lanemask_ge",
    "lanemask_gt",
    "clock",
    "clock_hi",
    "clock64",
    "globaltimer",
    "globaltimer_lo",
    "globaltimer_hi",
    "reserved_smem_offset_begin",
    "reserved_smem_offset_end",
    "reserved_smem_offset_cap",
    "reserved_smem_offset_0",
    "reserved_smem_offset_1",
    "total_smem_size",
    "aggr_smem_size",
    "dynamic_smem_size",
    "current_graph_exec",
];

/// Registers with a number at the end, and how many of each there are.
const NUMBERED: &[(&str, &str, u32)] = &[("envreg", "", 32), ("pm", "", 8), ("pm", "_64", 8)];

/// Whether `%name` is a special register; `name` has no percent sign and no component.
pub fn is_special_register(name: &str) -> bool {
    VECTORS.contains(&name) || SCALARS.contains(&name) || is_numbered(name)
}

/// Whether `%name` has components.
pub(super) fn has_components(name: &str) -> bool {
    VECTORS.contains(&name)
}

fn is_numbered(name: &str) -> bool {
    NUMBERED.iter().any(|(prefix, suffix, count)| {
        let digits = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        let plain = |digits: &&str| {
            digits.bytes().all(|b| b.is_ascii_digit()) && (*digits == "0" || !digits.starts_with('0'))
        };
        digits.filter(plain).and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|n| n < *count)
    })
}

/// The names that a misspelt one may have meant.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    VECTORS.iter().chain(SCALARS).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_registers_end_where_the_isa_says() {
        for name in ["envreg0", "envreg31", "pm0", "pm7", "pm0_64", "pm7_64"] {
            assert!(is_special_register(name), "{name}");
        }
        for name in
            ["envreg32", "envreg", "envreg01", "envreg-1", "pm8", "pm8_64", "pm_64", "pm", "tid.x", ""]
        {
            assert!(!is_special_register(name), "{name}");
        }
    }

    #[test]
    fn only_indices_and_extents_have_components() {
        assert!(has_components("ctaid") && has_components("cluster_nctaid"));
        assert!(!has_components("laneid") && !has_components("cluster_ctarank"));
    }
}
