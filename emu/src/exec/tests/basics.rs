//! Scalar code, divergence, calls, memory.

use super::*;

#[test]
fn a_thread_doubles_its_word() {
    let data: Vec<u32> = (0..32).map(|i| i * 7 + 1).collect();
    let out = one_warp(
        "sm_80",
        "",
        "ld.global.u32 %r2, [%rd3];\nshl.b32 %r2, %r2, 1;\nst.global.u32 [%rd3], %r2;",
        &data,
    );
    assert_eq!(out, data.iter().map(|v| v * 2).collect::<Vec<_>>());
}

#[test]
fn lanes_part_loop_and_meet() {
    // Collatz steps of each lane's number.
    let body = "
        ld.global.u32 %r2, [%rd3];
        mov.u32 %r3, 0;
    LOOP:
        setp.le.u32 %p1, %r2, 1;
        @%p1 bra DONE;
        and.b32 %r4, %r2, 1;
        setp.eq.u32 %p2, %r4, 0;
        @%p2 bra EVEN;
        mad.lo.u32 %r2, %r2, 3, 1;
        bra NEXT;
    EVEN:
        shr.u32 %r2, %r2, 1;
    NEXT:
        add.u32 %r3, %r3, 1;
        bra LOOP;
    DONE:
        st.global.u32 [%rd3], %r3;";
    let data: Vec<u32> = (0..32).map(|i| i * 3 + 1).collect();
    let expected: Vec<u32> = data
        .iter()
        .map(|&n| {
            let (mut n, mut steps) = (n, 0);
            while n > 1 {
                n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
                steps += 1;
            }
            steps
        })
        .collect();
    assert_eq!(one_warp("sm_80", "", body, &data), expected);
}

#[test]
fn out_of_bounds_is_reported_with_the_buffer_and_the_thread() {
    let body = "mul.wide.u32 %rd2, %r1, 4;\nadd.s64 %rd3, %rd1, %rd2;\nst.global.u32 [%rd3+4], %r1;";
    let (_, report) = run(3, &kernel("sm_80", "", body), &LaunchConfig::new("k", 1, 32), &[0; 32]);
    assert!(!report.completed);
    let finding = report.of(FindingKind::OutOfBounds).next().expect("a finding");
    assert_eq!(finding.buffer.as_deref(), Some("data"));
    assert_eq!(finding.thread.map(|t| t.thread), Some([31, 0, 0]));
    assert_eq!(finding.place.instruction, "st.global.u32");
}
