//! `cp.async`: late, in groups.

use super::*;

const TILE: &str = ".shared .align 16 .b8 tile[4096];";

fn copies(body: &str) -> String {
    let start = "mov.u32 %r2, tile; shl.b32 %r3, %r1, 4; add.u32 %r2, %r2, %r3; mul.wide.u32 %rd4, %r1, 16; add.u64 %rd4, %rd1, %rd4;\n\
                 mov.u32 %r9, 77; st.shared.u32 [%r2], %r9;";
    kernel("sm_80", TILE, &format!("{start}\n{body}\nst.global.u32 [%rd3+512], %r4;"))
}

fn results(body: &str) -> (Vec<Vec<u32>>, bool) {
    let data: Vec<u32> = (0..256).collect();
    let mut clean = true;
    let runs = (0..24)
        .map(|seed| {
            let (out, report) = run(seed, &copies(body), &LaunchConfig::new("k", 1, 32), &data);
            clean &= report.clean();
            out[128..160].to_vec()
        })
        .collect();
    (runs, clean)
}

#[test]
fn a_copy_that_is_waited_for_has_arrived() {
    let (runs, clean) = results(
        "cp.async.cg.shared.global [%r2], [%rd4], 16;\ncp.async.commit_group;\ncp.async.wait_group 0;\nld.shared.u32 %r4, [%r2];",
    );
    assert!(clean);
    runs.iter().for_each(|out| assert_eq!(*out, (0..32).map(|i| i * 4).collect::<Vec<u32>>()));
}

#[test]
fn without_a_commit_some_seed_shows_the_old_bytes() {
    let (runs, _) = results(
        "cp.async.cg.shared.global [%r2], [%rd4], 16;\ncp.async.wait_group 0;\nld.shared.u32 %r4, [%r2];",
    );
    assert!(runs.iter().any(|out| out.contains(&77)));
}

#[test]
fn all_but_the_latest_groups_have_arrived() {
    let body = "
        cp.async.ca.shared.global [%r2], [%rd4], 4;
        cp.async.commit_group;
        cp.async.ca.shared.global [%r2], [%rd4+4], 4;
        cp.async.commit_group;
        cp.async.ca.shared.global [%r2+4], [%rd4+8], 4;
        cp.async.commit_group;
        cp.async.wait_group 1;
        ld.shared.u32 %r4, [%r2];
        cp.async.wait_all;";
    let (runs, _) = results(body);
    runs.iter().for_each(|out| assert_eq!(*out, (0..32).map(|i| i * 4 + 1).collect::<Vec<u32>>()));
}

#[test]
fn a_short_source_fills_with_zeros_and_none_is_not_read() {
    let body = "
        mov.u64 %rd5, 0; mov.u32 %r5, 0;
        cp.async.ca.shared.global [%r2], [%rd5], 16, %r5;
        cp.async.ca.shared.global [%r2+512], [%rd4], 8, 4;
        setp.eq.u32 %p1, 0, 0;
        cp.async.wait_all;
        ld.shared.v2.u32 {%r6, %r7}, [%r2+512];
        ld.shared.u32 %r4, [%r2];
        mad.lo.u32 %r4, %r7, 1000, %r4;
        add.u32 %r4, %r4, %r6;";
    let (runs, clean) = results(body);
    assert!(clean);
    runs.iter().for_each(|out| assert_eq!(*out, (0..32).map(|i| i * 4).collect::<Vec<u32>>()));
}
