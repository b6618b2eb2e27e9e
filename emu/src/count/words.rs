//! What the opcode and modifiers of an instruction say by themselves: work of tensor instructions, kinds of barriers
//! and copies.

/// What a tensor instruction does each time that a warp executes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TensorWork<'t> {
    /// Element types of A and B.
    pub(super) inputs: (&'t str, &'t str),
    /// Element type of the sum.
    pub(super) accumulator: &'t str,
    /// Multiplications and additions of a warp. Those that a sparse form leaves out are not counted.
    pub(super) flops: u64,
}

const TYPES: &[&str] = &[
    "f16", "bf16", "tf32", "f32", "f64", "e4m3", "e5m2", "e2m1", "e3m2", "e2m3", "s8", "u8", "s4", "u4",
    "b1", "s32",
];

/// `m16n8k32` as numbers.
fn shape(word: &str) -> Option<(u64, u64, u64)> {
    let (m, rest) = word.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some((m.parse().ok()?, n.parse().ok()?, k.parse().ok()?))
}

/// The work of `mma`, `wmma.mma` and `wgmma.mma_async`; `None` for everything else.
pub(super) fn tensor_work(text: &str) -> Option<TensorWork<'_>> {
    let is = |prefix: &str| text.starts_with(prefix);
    if !is("mma.") && !is("wmma.mma.") && !is("wgmma.mma_async.") {
        return None;
    }
    let (m, n, k) = text.split('.').find_map(shape)?;
    let types: Vec<&str> = text.split('.').filter(|w| TYPES.contains(w)).collect();
    // D, A, B and mostly C; forms of wmma with f16 factors name only D and C.
    let (accumulator, inputs) = match types[..] {
        [d, a, b, ..] => (d, (a, b)),
        [d, ..] => (d, ("f16", "f16")),
        [] => return None,
    };
    let mut flops = 2 * m * n * k;
    if is("wgmma.") {
        // Four warps do it together.
        flops /= 4;
    }
    if is("mma.") && (m, n, k) == (8, 8, 4) && inputs.0 == "f16" {
        // Each quarter of the warp has a product of its own.
        flops *= 4;
    }
    if text.split('.').any(|w| w == "sp" || w.starts_with("sp::")) {
        flops /= 2;
    }
    Some(TensorWork { inputs, accumulator, flops })
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

    fn flops(text: &str) -> (u64, &str, &str) {
        let work = tensor_work(text).expect("a tensor instruction");
        (work.flops, work.inputs.0, work.accumulator)
    }

    #[test]
    fn work_follows_from_shape_and_types() {
        let of = flops;
        assert_eq!(of("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"), (4096, "bf16", "f32"));
        assert_eq!(of("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"), (2048, "tf32", "f32"));
        assert_eq!(of("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64"), (512, "f64", "f64"));
        assert_eq!(of("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32"), (2048, "f16", "f32"));
        assert_eq!(of("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32"), (8192, "s8", "s32"));
        assert_eq!(
            of(
                "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3"
            ),
            (16384, "e2m1", "f32")
        );
        // 64 x 128 x 16 by four warps.
        assert_eq!(of("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16"), (65536, "f16", "f32"));
        assert_eq!(of("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32"), (8192, "f16", "f32"));
        assert_eq!(of("mma.sp.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32"), (4096, "f16", "f32"));
        assert_eq!(tensor_work("wgmma.fence.sync.aligned"), None);
        assert_eq!(tensor_work("mul.f32"), None);
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
