//! What the opcode and modifiers of an instruction say by themselves: work of tensor instructions, kinds of barriers
//! and copies.

const TYPES: &[&str] = &[
    "f16", "bf16", "tf32", "f32", "f64", "e4m3", "e5m2", "e2m1", "e3m2", "e2m3", "s8", "u8", "s4", "u4",
    "b1", "s32",
];

/// Element types of A and B, and of the sum, of a tensor instruction.
pub(super) fn tensor_types(text: &str) -> (String, &str) {
    let types: Vec<&str> = text.split('.').filter(|w| TYPES.contains(w)).collect();
    // D, A, B and mostly C.
    match types[..] {
        [d, a, b, ..] if a == b => (a.to_owned(), d),
        [d, a, b, ..] => (format!("{a} x {b}"), d),
        _ => ("unknown".to_owned(), "unknown"),
    }
}

/// The mechanism of an asynchronous copy.
pub(super) fn copy_mechanism(text: &str) -> &'static str {
    let mechanisms = [
        ("cp.async.bulk.tensor", "cp.async.bulk.tensor"),
        ("cp.reduce.async.bulk.tensor", "cp.reduce.async.bulk.tensor"),
        ("cp.async.bulk", "cp.async.bulk"),
        ("cp.reduce.async.bulk", "cp.reduce.async.bulk"),
        ("cp.async", "cp.async"),
        ("st.async", "st.async"),
        ("red.async", "red.async"),
    ];
    mechanisms.iter().find(|(prefix, _)| text.starts_with(prefix)).map_or("other", |(_, name)| name)
}

/// The kind of a barrier instruction that waits or arrives.
pub(super) fn barrier_kind(text: &str) -> Option<&'static str> {
    if text.starts_with("barrier.cluster") {
        Some("cluster barrier")
    } else if text.starts_with("bar.warp") {
        Some("warp barrier")
    } else if text.starts_with("bar.") || text.starts_with("barrier.") {
        Some("CTA barrier")
    } else if text.starts_with("mbarrier.") {
        match text {
            t if t.contains("wait") => Some("mbarrier wait"),
            t if t.contains("arrive") => Some("mbarrier arrive"),
            _ => None,
        }
    } else {
        None
    }
}

/// Whether it is a branch.
pub(super) fn is_branch(text: &str) -> bool {
    let opcode = text.split('.').next();
    matches!(opcode, Some("bra" | "brx"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_tensor_instructions_are_read_from_their_names() {
        let of = |text: &str| {
            let (inputs, sum) = tensor_types(text);
            format!("{inputs} into {sum}")
        };
        assert_eq!(of("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"), "bf16 into f32");
        assert_eq!(of("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32"), "s8 x u8 into s32");
        assert_eq!(of("wgmma.mma_async.sync.aligned.m64n128k16.f16.f16.f16"), "f16 into f16");
        let scaled = "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3";
        assert_eq!(of(scaled), "e2m1 into f32");
    }

    #[test]
    fn barriers_and_copies_are_told_apart() {
        assert_eq!(barrier_kind("bar.sync"), Some("CTA barrier"));
        assert_eq!(barrier_kind("barrier.cluster.arrive.aligned"), Some("cluster barrier"));
        assert_eq!(barrier_kind("mbarrier.try_wait.parity.shared::cta.b64"), Some("mbarrier wait"));
        assert_eq!(barrier_kind("mbarrier.init.shared::cta.b64"), None);
        assert_eq!(barrier_kind("bra.uni"), None);
        assert_eq!(copy_mechanism("cp.async.cg.shared.global"), "cp.async");
        let tensor = "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes";
        assert_eq!(copy_mechanism(tensor), "cp.async.bulk.tensor");
        assert!(is_branch("bra") && is_branch("brx.idx") && !is_branch("bar.sync") && !is_branch("brkpt"));
    }
}
