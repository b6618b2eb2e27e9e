//! The text of a kernel with wgmma: too many registers to write by hand.

use std::fmt::Write as _;

/// Columns of B.
const N: usize = 128;
/// Registers of the sum: 64 rows by 128 columns over 128 threads.
const SUMS: usize = 64 * N / 128;

/// Tiles of 64 x 128 x 64 in bf16 from shared memory with the 128-byte swizzle, as the inner loop of a GEMM has them:
/// `wgmma(to, rounds)`, 128 threads a CTA.
pub(crate) fn text() -> String {
    let mut t = String::from(HEAD);
    for i in 0..SUMS {
        let _ = writeln!(t, "    mov.f32 %f{i}, 0f00000000;");
    }
    t.push_str("    mov.u32 %r10, 0;\nagain:\n    wgmma.fence.sync.aligned;\n");
    let sums: Vec<String> = (0..SUMS).map(|i| format!("%f{i}")).collect();
    for step in 0..4 {
        // 16 columns of bf16 are 32 bytes, which descriptors count in sixteens.
        let _ = writeln!(t, "    add.s64 %rd6, %rd4, {0};\n    add.s64 %rd7, %rd5, {0};", 2 * step);
        let _ = writeln!(
            t,
            "    wgmma.mma_async.sync.aligned.m64n{N}k16.f32.bf16.bf16 {{{}}}, %rd6, %rd7, 1, 1, 1, 0, 0;",
            sums.join(", ")
        );
    }
    t.push_str(TAIL);
    t
}

const HEAD: &str = "\
.version 8.0
.target sm_90a
.address_size 64

.visible .entry wgmma(.param .u64 to, .param .u32 rounds)
{
    .reg .pred %p<3>;
    .reg .b32 %r<16>;
    .reg .f32 %f<64>;
    .reg .b64 %rd<12>;
    // A: 64 rows of 128 bytes, then B: 128 rows.
    .shared .align 1024 .b8 room[24576];
    ld.param.u64 %rd1, [to];
    ld.param.u32 %r1, [rounds];
    mov.u32 %r2, %tid.x;
    mov.u32 %r3, room;
    shl.b32 %r4, %r2, 4;
    add.u32 %r5, %r3, %r4;
    mov.b32 %r6, 0x3f803f00;
    mov.u32 %r7, 0;
fill:
    st.shared.v4.b32 [%r5], {%r6, %r6, %r6, %r6};
    add.u32 %r5, %r5, 2048;
    add.u32 %r7, %r7, 1;
    setp.lt.u32 %p1, %r7, 12;
    @%p1 bra fill;
    fence.proxy.async.shared::cta;
    bar.sync 0;
    // Descriptors: address / 16, rows of eight 1024 bytes apart, swizzle of 128 bytes.
    shr.u32 %r8, %r3, 4;
    cvt.u64.u32 %rd2, %r8;
    mov.u64 %rd3, 0x4000004000010000;
    or.b64 %rd4, %rd2, %rd3;
    add.s64 %rd5, %rd4, 512;
";

const TAIL: &str = "\
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 0;
    add.u32 %r10, %r10, 1;
    setp.lt.u32 %p2, %r10, %r1;
    @%p2 bra again;
    mul.wide.u32 %rd8, %r2, 4;
    add.s64 %rd9, %rd1, %rd8;
    st.global.f32 [%rd9], %f63;
    ret;
}
";
