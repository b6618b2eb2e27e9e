//! Scalar code, divergence, calls, memory.

use super::*;

#[test]
fn a_thread_doubles_its_word() {
    let data: Vec<u32> = (0..32).map(|i| i * 7 + 1).collect();
    let body = "ld.global.u32 %r2, [%rd3];\nshl.b32 %r2, %r2, 1;\nst.global.u32 [%rd3], %r2;";
    assert_eq!(one_warp("sm_80", "", body, &data), data.iter().map(|v| v * 2).collect::<Vec<_>>());
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
    let steps = |start: u32| {
        let (mut n, mut steps) = (start, 0);
        while n > 1 {
            n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
            steps += 1;
        }
        steps
    };
    assert_eq!(one_warp("sm_80", "", body, &data), data.iter().map(|n| steps(*n)).collect::<Vec<u32>>());
}

#[test]
fn recursion_has_local_memory_of_its_own() {
    // Fibonacci numbers with an array in each frame.
    let before = "
    .func (.param .b32 r) fib(.param .b32 n)
    {
        .local .align 8 .b8 depot[16];
        .reg .b32 %a<9>;
        .reg .b64 %ad<3>;
        .reg .pred %q;
        mov.u64 %ad1, depot;
        cvta.local.u64 %ad2, %ad1;
        ld.param.u32 %a1, [n];
        st.u32 [%ad2+4], %a1;
        setp.lt.u32 %q, %a1, 2;
        @%q bra SMALL;
        sub.u32 %a2, %a1, 1;
        {
            .param .b32 in0;
            st.param.b32 [in0+0], %a2;
            .param .b32 out0;
            call.uni (out0), fib, (in0);
            ld.param.b32 %a3, [out0+0];
        }
        st.local.u32 [%ad1+8], %a3;
        ld.local.u32 %a4, [%ad1+4];
        sub.u32 %a4, %a4, 2;
        {
            .param .b32 in0;
            st.param.b32 [in0+0], %a4;
            .param .b32 out0;
            call.uni (out0), fib, (in0);
            ld.param.b32 %a5, [out0+0];
        }
        ld.u32 %a6, [%ad2+8];
        add.u32 %a7, %a5, %a6;
        st.param.b32 [r+0], %a7;
        ret;
    SMALL:
        st.param.b32 [r+0], %a1;
        ret;
    }";
    let body = "
        and.b32 %r2, %r1, 7;
        {
            .param .b32 in;
            st.param.b32 [in], %r2;
            .param .b32 out;
            call (out), fib, (in);
            ld.param.b32 %r3, [out];
        }
        st.global.u32 [%rd3], %r3;";
    let fib = [0, 1, 1, 2, 3, 5, 8, 13];
    for seed in 0..3 {
        let out = threads(128, seed, "sm_80", before, body, &[0; 128]);
        assert_eq!(out, (0..128).map(|i| fib[i % 8]).collect::<Vec<u32>>());
    }
}

#[test]
fn lanes_call_through_a_table_of_functions() {
    let before = "
    .func (.param .b32 r) twice(.param .b32 x) { .reg .b32 %a; ld.param.b32 %a, [x]; add.u32 %a, %a, %a; st.param.b32 [r], %a; ret; }
    .func (.param .b32 r) next(.param .b32 x) { .reg .b32 %a; ld.param.b32 %a, [x]; add.u32 %a, %a, 1; st.param.b32 [r], %a; ret; }
    .global .align 8 .u64 table[2] = { twice, next };";
    let body = "
        and.b32 %r2, %r1, 1;
        mul.wide.u32 %rd4, %r2, 8;
        mov.u64 %rd5, table;
        add.u64 %rd5, %rd5, %rd4;
        ld.global.u64 %rd6, [%rd5];
        {
            .param .b32 in;
            st.param.b32 [in], %r1;
            .param .b32 out;
            proto : .callprototype (.param .b32 _) _ (.param .b32 _);
            call (out), %rd6, (in), proto;
            ld.param.b32 %r3, [out];
        }
        st.global.u32 [%rd3], %r3;";
    let out = one_warp("sm_80", before, body, &[0; 32]);
    assert_eq!(out, (0..32).map(|i| if i % 2 == 0 { 2 * i } else { i + 1 }).collect::<Vec<u32>>());
}

#[test]
fn a_branch_table_sends_lanes_to_their_targets() {
    let body = "
        rem.u32 %r2, %r1, 3;
        ts: .branchtargets A, B, C;
        brx.idx %r2, ts;
    A:  mov.u32 %r3, 10; bra END;
    B:  mov.u32 %r3, 20; bra END;
    C:  mov.u32 %r3, 30;
    END:
        st.global.u32 [%rd3], %r3;";
    let out = one_warp("sm_80", "", body, &[0; 32]);
    assert_eq!(out, (0..32).map(|i| [10, 20, 30][i % 3]).collect::<Vec<u32>>());
}

#[test]
fn narrow_loads_extend_and_narrow_stores_leave_their_neighbours() {
    let body = "
        mov.u32 %r9, 0x11223344;
        st.global.u32 [%rd3], %r9;
        mov.b16 %h1, 0x80F0;
        st.global.u8 [%rd3+1], %h1;
        st.global.u16 [%rd3+2], %h1;
        ld.global.s8 %r2, [%rd3+1];
        ld.global.u8 %r3, [%rd3+1];
        ld.global.s16 %r4, [%rd3+2];
        ld.global.v4.u8 {%r5, %r6, %r7, %r8}, [%rd3];
        xor.b32 %r2, %r2, %r3;
        add.u32 %r2, %r2, %r4;
        add.u32 %r2, %r2, %r5;
        add.u32 %r2, %r2, %r8;
        st.global.u32 [%rd3], %r2;";
    let expected = (0xffff_fff0u32 ^ 0xf0).wrapping_add(0xffff_80f0).wrapping_add(0x44).wrapping_add(0x80);
    assert_eq!(one_warp("sm_80", "", body, &[0; 32]), [expected; 32]);
}

#[test]
fn vectors_constants_and_wide_registers() {
    let before =
        ".const .align 8 .b32 table[4] = {1, 2, 3, 4};\n.global .align 16 .b32 more[4] = {5, 6, 7, 8};";
    let body = "
        mov.u64 %rd4, table;
        ld.const.v2.u32 {%r2, %r3}, [%rd4+8];
        cvta.const.u64 %rd5, %rd4;
        ld.u32 %r4, [%rd5+4];
        ld.global.v2.u64 {%rd6, %rd7}, [more];
        cvt.u32.u64 %r5, %rd7;
        shr.u64 %rd6, %rd6, 32;
        ld.global.u32 %rd8, [more+8];
        mov.b64 {%r6, %r7}, %rd8;
        cvt.u32.u64 %r8, %rd6;
        mad.lo.u32 %r2, %r2, 10, %r3;
        mad.lo.u32 %r2, %r2, 10, %r4;
        mad.lo.u32 %r2, %r2, 10, %r5;
        mad.lo.u32 %r2, %r2, 10, %r6;
        mad.lo.u32 %r2, %r2, 10, %r8;
        st.global.u32 [%rd3], %r2;";
    assert_eq!(one_warp("sm_80", before, body, &[0; 32]), [342_776; 32]);
}

#[test]
fn structures_of_parameters_are_read_with_their_padding() {
    let text = module(
        "sm_80",
        ".visible .entry k(.param .u64 p, .param .u8 flag, .param .align 8 .b8 s[32])
        { .reg .b64 %rd<3>; .reg .b32 %r<9>; .reg .b16 %h<5>;
          ld.param.u64 %rd1, [p]; ld.param.u8 %h1, [flag]; ld.param.v4.u8 {%r1, %r2, %r3, %r4}, [s+28];
          ld.param.s8 %r5, [s+9]; cvt.u32.u16 %r6, %h1; add.u32 %r1, %r1, %r4; add.u32 %r1, %r1, %r5; add.u32 %r1, %r1, %r6;
          st.global.u32 [%rd1], %r1; ret; }",
    );
    let mut emu = emulator(0);
    let id = emu.load(&text).expect("loads");
    let buffer = emu.alloc("out", 4).expect("room");
    let mut bytes = vec![0u8; 32];
    (bytes[28], bytes[31], bytes[9]) = (100, 20, 0xff);
    let args = [Arg::Buffer(buffer), Arg::U8(1), Arg::Bytes(bytes)];
    let report = emu.launch(id, &LaunchConfig::new("k", 1, 1), &args).expect("allowed");
    assert!(report.clean(), "{:?}", report.findings);
    assert_eq!(emu.read(buffer).expect("alive"), 120u32.to_le_bytes());
}

#[test]
fn carries_run_through_a_long_addition() {
    let body = "
        add.cc.u32 %r2, 0xffffffff, %r1;
        addc.cc.u32 %r3, 0xffffffff, 0;
        addc.u32 %r4, 0, 7;
        sub.cc.u32 %r5, %r1, 1;
        subc.u32 %r6, 0, 0;
        add.u32 %r7, %r4, %r6;
        st.global.u32 [%rd3], %r7;";
    let model = |i: u64| {
        let sum = u128::from(u64::MAX) + u128::from(i);
        let high = (sum >> 64) as u32 + 7;
        high.wrapping_add(if i == 0 { u32::MAX } else { 0 })
    };
    assert_eq!(one_warp("sm_80", "", body, &[0; 32]), (0..32).map(model).collect::<Vec<_>>());
}

#[test]
fn the_stack_grows_by_alloca_and_shrinks_back() {
    let body = "
        stacksave.u64 %rd9;
        add.u32 %r2, %r1, 1;
        mul.wide.u32 %rd4, %r2, 16;
        alloca.u64 %rd5, %rd4, 16;
        st.local.u32 [%rd5], %r1;
        cvta.local.u64 %rd6, %rd5;
        ld.u32 %r3, [%rd6];
        stackrestore.u64 %rd9;
        st.global.u32 [%rd3], %r3;";
    assert_eq!(one_warp("sm_80", "", body, &[9; 32]), (0..32).collect::<Vec<u32>>());
}

#[test]
fn printing_knows_widths_and_types() {
    let before = ".extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);
        .global .align 1 .b8 text[22] = {37,51,100,124,37,46,50,102,124,37,115,124,37,108,108,120,124,37,99,37,37,0};
        .global .align 1 .b8 word[3] = {104, 105, 0};";
    let body = "
        .local .align 8 .b8 depot[48];
        setp.ne.u32 %p1, %r1, 0;
        @%p1 bra END;
        mov.u64 %rd4, depot; cvta.local.u64 %rd5, %rd4;
        mov.b32 %r2, -7; st.local.u32 [%rd4], %r2;
        mov.f64 %fd1, 0d3FF8000000000000; st.local.f64 [%rd4+8], %fd1;
        mov.u64 %rd6, word; cvta.global.u64 %rd6, %rd6; st.local.u64 [%rd4+16], %rd6;
        mov.u64 %rd7, 255; st.local.u64 [%rd4+24], %rd7;
        mov.b32 %r3, 65; st.local.u32 [%rd4+32], %r3;
        mov.u64 %rd8, text; cvta.global.u64 %rd8, %rd8;
        { .param .b64 a0; st.param.b64 [a0], %rd8; .param .b64 a1; st.param.b64 [a1], %rd5; .param .b32 o;
          call.uni (o), vprintf, (a0, a1); ld.param.b32 %r4, [o]; }
        st.global.u32 [%rd3], %r4;
    END:";
    let (out, report) = run(0, &kernel("sm_80", before, body), &LaunchConfig::new("k", 1, 32), &[0; 32]);
    assert!(report.clean(), "{:?}", report.findings);
    assert_eq!(report.output, " -7|1.50|hi|ff|A%");
    assert_eq!(out[0], 5);
}

#[test]
fn a_seed_gives_the_same_run_and_threads_the_same_sum() {
    let text = kernel(
        "sm_80",
        "",
        "mov.u32 %r2, %ctaid.x;\nadd.u32 %r2, %r2, %r1;\natom.global.add.u32 %r3, [%rd1], %r2;",
    );
    let expected: u32 = (0..40u32).map(|c| (0..96).map(|t| c + t).sum::<u32>()).sum();
    for threads in [1, 2] {
        let mut emu = emulator(5);
        *emu.options_mut() = EmulatorOptions { threads, checks: Checks::NONE, ..EmulatorOptions::default() };
        let (out, report) = run_on(&mut emu, &text, &LaunchConfig::new("k", 40, 96), &[0]);
        assert!(report.completed);
        assert_eq!(out, [expected]);
    }
}
