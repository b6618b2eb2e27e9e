//! Each instruction wired to the right function: judged against plain Rust on values where mistakes show.

use super::*;

const VALUES: [u32; 12] =
    [0, 1, 2, 31, 32, 33, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1234_5678, 0xf0f0_00ff, 0x0000_8001];

/// Runs `op d, a, b, c` on one warp a pair of values and compares.
fn check(op: &str, target: &str, f: impl Fn(u32, u32, u32) -> u32) {
    let mut words = Vec::new();
    for (i, a) in VALUES.iter().enumerate() {
        for (j, b) in VALUES.iter().enumerate() {
            words.extend([*a, *b, VALUES[(i + j) % 12]]);
        }
    }
    let count = words.len() / 3;
    let mut data = words.clone();
    data.resize(words.len() + count, 0);
    let body = format!(
        "mov.u32 %r9, %ctaid.x; mul.wide.u32 %rd5, %r9, 12; add.u64 %rd5, %rd1, %rd5;\n\
         ld.global.u32 %r2, [%rd5]; ld.global.u32 %r3, [%rd5+4]; ld.global.u32 %r4, [%rd5+8];\n{op}\n\
         mul.wide.u32 %rd6, %r9, 4; add.u64 %rd6, %rd1, %rd6; st.global.u32 [%rd6+{}], %r5;",
        words.len() * 4
    );
    let (out, report) = run(0, &kernel(target, "", &body), &LaunchConfig::new("k", count as u32, 1), &data);
    let bad: Vec<&Finding> = report.findings.iter().filter(|f| f.kind != FindingKind::Undefined).collect();
    assert!(bad.is_empty() && report.completed, "{op}: {bad:?}");
    for (k, given) in words.as_chunks::<3>().0.iter().enumerate() {
        let [a, b, c] = *given;
        assert_eq!(out[words.len() + k], f(a, b, c), "{op} of {a:#x}, {b:#x}, {c:#x}");
    }
}

#[test]
fn integers_of_32_bits() {
    check("add.u32 %r5, %r2, %r3;", "sm_80", |a, b, _| a.wrapping_add(b));
    check("sub.s32 %r5, %r2, %r3;", "sm_80", |a, b, _| a.wrapping_sub(b));
    check("add.sat.s32 %r5, %r2, %r3;", "sm_80", |a, b, _| (a as i32).saturating_add(b as i32) as u32);
    check("mul.lo.s32 %r5, %r2, %r3;", "sm_80", |a, b, _| a.wrapping_mul(b));
    check("mul.hi.s32 %r5, %r2, %r3;", "sm_80", |a, b, _| {
        ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32
    });
    check("mul.hi.u32 %r5, %r2, %r3;", "sm_80", |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32);
    check("mad.lo.s32 %r5, %r2, %r3, %r4;", "sm_80", |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    check("min.s32 %r5, %r2, %r3;", "sm_80", |a, b, _| (a as i32).min(b as i32) as u32);
    check("max.u32 %r5, %r2, %r3;", "sm_80", |a, b, _| a.max(b));
    check("max.relu.s32 %r5, %r2, %r3;", "sm_90", |a, b, _| (a as i32).max(b as i32).max(0) as u32);
    check("abs.s32 %r5, %r2;", "sm_80", |a, _, _| (a as i32).wrapping_abs() as u32);
    check("neg.s32 %r5, %r2;", "sm_80", |a, _, _| a.wrapping_neg());
    check("sad.s32 %r5, %r2, %r3, %r4;", "sm_80", |a, b, c| c.wrapping_add((a as i32).abs_diff(b as i32)));
    check("div.s32 %r5, %r2, %r3;", "sm_80", |a, b, _| {
        if b == 0 { u32::MAX } else { (a as i32).wrapping_div(b as i32) as u32 }
    });
    check("rem.u32 %r5, %r2, %r3;", "sm_80", |a, b, _| if b == 0 { u32::MAX } else { a % b });
    check("dp4a.u32.s32 %r5, %r2, %r3, %r4;", "sm_80", |a, b, c| {
        let sum: i32 = (0..4).map(|k| (a >> (8 * k) & 255) as i32 * i32::from((b >> (8 * k)) as i8)).sum();
        c.wrapping_add(sum as u32)
    });
}

#[test]
fn wide_products_and_64_bits() {
    let fold = "mov.b64 {%r6, %r7}, %rd7; xor.b32 %r5, %r6, %r7;";
    let xor = |v: u64| v as u32 ^ (v >> 32) as u32;
    check(&format!("mul.wide.u32 %rd7, %r2, %r3; {fold}"), "sm_80", |a, b, _| {
        xor(u64::from(a) * u64::from(b))
    });
    check(&format!("mul.wide.s32 %rd7, %r2, %r3; {fold}"), "sm_80", |a, b, _| {
        xor((i64::from(a as i32) * i64::from(b as i32)) as u64)
    });
    check(
        &format!("cvt.s64.s32 %rd8, %r4; mad.wide.s32 %rd7, %r2, %r3, %rd8; {fold}"),
        "sm_80",
        |a, b, c| xor((i64::from(a as i32) * i64::from(b as i32) + i64::from(c as i32)) as u64),
    );
    let load = "mov.b64 %rd8, {%r2, %r3}; mov.b64 %rd9, {%r4, %r2};";
    let pair = |lo: u32, hi: u32| u64::from(lo) | u64::from(hi) << 32;
    check(&format!("{load} add.s64 %rd7, %rd8, %rd9; {fold}"), "sm_80", |a, b, c| {
        xor(pair(a, b).wrapping_add(pair(c, a)))
    });
    check(&format!("{load} mul.lo.s64 %rd7, %rd8, %rd9; {fold}"), "sm_80", |a, b, c| {
        xor(pair(a, b).wrapping_mul(pair(c, a)))
    });
    check(&format!("{load} mul.hi.s64 %rd7, %rd8, %rd9; {fold}"), "sm_80", |a, b, c| {
        xor(((i128::from(pair(a, b) as i64) * i128::from(pair(c, a) as i64)) >> 64) as u64)
    });
    check(&format!("{load} shr.s64 %rd7, %rd8, %r4; {fold}"), "sm_80", |a, b, c| {
        xor((pair(a, b) as i64 >> c.min(63)) as u64)
    });
    check("mov.b64 %rd8, {%r2, %r3}; popc.b64 %r5, %rd8;", "sm_80", |a, b, _| {
        a.count_ones() + b.count_ones()
    });
    check("mov.b64 %rd8, {%r2, %r3}; clz.b64 %r5, %rd8;", "sm_80", |a, b, _| pair(a, b).leading_zeros());
}

#[test]
fn logic_shifts_and_bits() {
    check("and.b32 %r5, %r2, %r3;", "sm_80", |a, b, _| a & b);
    check("or.b32 %r5, %r2, %r3;", "sm_80", |a, b, _| a | b);
    check("xor.b32 %r5, %r2, %r3;", "sm_80", |a, b, _| a ^ b);
    check("not.b32 %r5, %r2;", "sm_80", |a, _, _| !a);
    check("cnot.b32 %r5, %r2;", "sm_80", |a, _, _| u32::from(a == 0));
    check("lop3.b32 %r5, %r2, %r3, %r4, 0xE8;", "sm_80", |a, b, c| (a & b) | (a & c) | (b & c));
    check("lop3.b32 %r5, %r2, %r3, %r4, 0x96;", "sm_80", |a, b, c| a ^ b ^ c);
    check("shl.b32 %r5, %r2, %r3;", "sm_80", |a, b, _| if b > 31 { 0 } else { a << b });
    check("shr.u32 %r5, %r2, %r3;", "sm_80", |a, b, _| if b > 31 { 0 } else { a >> b });
    check("shr.s32 %r5, %r2, %r3;", "sm_80", |a, b, _| (a as i32 >> b.min(31)) as u32);
    check("shf.l.wrap.b32 %r5, %r2, %r3, %r4;", "sm_80", |a, b, c| {
        (((u64::from(b) << 32 | u64::from(a)) << (c & 31)) >> 32) as u32
    });
    check("shf.r.clamp.b32 %r5, %r2, %r3, %r4;", "sm_80", |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32
    });
    check("popc.b32 %r5, %r2;", "sm_80", |a, _, _| a.count_ones());
    check("clz.b32 %r5, %r2;", "sm_80", |a, _, _| a.leading_zeros());
    check("brev.b32 %r5, %r2;", "sm_80", |a, _, _| a.reverse_bits());
    check("bfind.u32 %r5, %r2;", "sm_80", |a, _, _| if a == 0 { u32::MAX } else { 31 - a.leading_zeros() });
    check("prmt.b32 %r5, %r2, %r3, 0x7420;", "sm_80", |a, b, _| {
        let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
        u32::from_le_bytes([bytes[0], bytes[2], bytes[4], bytes[7]])
    });
    check("bfe.u32 %r5, %r2, 4, 8;", "sm_80", |a, _, _| a >> 4 & 255);
    check("bfi.b32 %r5, %r2, %r3, 8, 4;", "sm_80", |a, b, _| (b & !0xf00) | (a & 15) << 8);
}

#[test]
fn halves_of_16_bits_keep_to_themselves() {
    let halves = "mov.b32 {%h1, %h2}, %r2; mov.b32 {%h3, %h4}, %r3;";
    check(
        &format!("{halves} add.u16 %h5, %h1, %h3; mul.lo.s16 %h6, %h2, %h4; mov.b32 %r5, {{%h5, %h6}};"),
        "sm_80",
        |a, b, _| {
            u32::from((a as u16).wrapping_add(b as u16))
                | u32::from(((a >> 16) as u16).wrapping_mul((b >> 16) as u16)) << 16
        },
    );
    check(&format!("{halves} mul.wide.s16 %r5, %h1, %h3;"), "sm_80", |a, b, _| {
        (i32::from(a as i16) * i32::from(b as i16)) as u32
    });
    check(
        &format!("{halves} setp.lt.s16 %p1, %h1, %h4; selp.b16 %h5, %h2, %h3, %p1; cvt.u32.u16 %r5, %h5;"),
        "sm_80",
        |a, b, _| {
            if (a as i16) < (b >> 16) as i16 { a >> 16 } else { b & 0xffff }
        },
    );
}

#[test]
fn comparisons_of_every_sort() {
    let one = |op: &str| format!("setp.{op} %p1, %r2, %r3; selp.u32 %r5, 1, 0, %p1;");
    check(&one("lt.s32"), "sm_80", |a, b, _| u32::from((a as i32) < b as i32));
    check(&one("lo.u32"), "sm_80", |a, b, _| u32::from(a < b));
    check(&one("hs.u32"), "sm_80", |a, b, _| u32::from(a >= b));
    check(&one("ne.b32"), "sm_80", |a, b, _| u32::from(a != b));
    let f = f32::from_bits;
    check(&one("lt.f32"), "sm_80", |a, b, _| u32::from(f(a) < f(b)));
    check(&one("ne.f32"), "sm_80", |a, b, _| u32::from(f(a) < f(b) || f(a) > f(b)));
    check(&one("neu.f32"), "sm_80", |a, b, _| u32::from(f(a) != f(b)));
    check(&one("nan.f32"), "sm_80", |a, b, _| u32::from(f(a).is_nan() || f(b).is_nan()));
    check(
        "setp.gt.u32 %p3, %r4, 40; setp.lt.and.s32 %p1|%p2, %r2, %r3, !%p3; selp.u32 %r5, 1, 0, %p1; @%p2 add.u32 %r5, %r5, 2;",
        "sm_80",
        |a, b, c| {
            let (less, with) = ((a as i32) < b as i32, c <= 40);
            u32::from(less && with) + 2 * u32::from(!less && with)
        },
    );
    check("set.gt.u32.u32 %r5, %r2, %r3;", "sm_80", |a, b, _| if a > b { u32::MAX } else { 0 });
    check("slct.u32.s32 %r5, %r2, %r3, %r4;", "sm_80", |a, b, c| if c as i32 >= 0 { a } else { b });
}

/// Equal bits, or both NaN.
fn float(expected: f32) -> u32 {
    if expected.is_nan() { 0x7fff_ffff } else { expected.to_bits() }
}

#[test]
fn floats_round_once_and_flush_only_when_told() {
    let f = f32::from_bits;
    check("add.f32 %r5, %r2, %r3;", "sm_100", |a, b, _| float(f(a) + f(b)));
    check("mul.rn.f32 %r5, %r2, %r3;", "sm_100", |a, b, _| float(f(a) * f(b)));
    check("fma.rn.f32 %r5, %r2, %r3, %r4;", "sm_100", |a, b, c| float(f(a).mul_add(f(b), f(c))));
    check("div.rn.f32 %r5, %r2, %r3;", "sm_100", |a, b, _| float(f(a) / f(b)));
    check("sqrt.rn.f32 %r5, %r2;", "sm_100", |a, _, _| float(f(a).sqrt()));
    let flush = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
    check("add.ftz.f32 %r5, %r2, %r3;", "sm_100", move |a, b, _| float(flush(flush(f(a)) + flush(f(b)))));
    check("copysign.f32 %r5, %r2, %r3;", "sm_100", |a, b, _| (a & 0x8000_0000) | (b & 0x7fff_ffff));
}

#[test]
fn conversions_clamp_and_place_their_halves() {
    let f = f32::from_bits;
    check("cvt.rzi.s32.f32 %r5, %r2;", "sm_100", |a, _, _| f(a) as i32 as u32);
    check("cvt.rzi.u32.f32 %r5, %r2;", "sm_100", |a, _, _| f(a) as u32);
    check("cvt.rn.f32.s32 %r5, %r2;", "sm_100", |a, _, _| (a as i32 as f32).to_bits());
    check("cvt.s8.s32 %r5, %r2;", "sm_100", |a, _, _| a as i8 as u32);
    check("cvt.sat.u8.s32 %r5, %r2;", "sm_100", |a, _, _| (a as i32).clamp(0, 255) as u32);
    check("cvt.s32.s16 %r5, %r2;", "sm_100", |a, _, _| a as i16 as u32);
    check(
        "mov.b32 %r6, 0f3F800000; mov.b32 %r7, 0f40000000; cvt.rn.bf16x2.f32 %r5, %r6, %r7;",
        "sm_100",
        |_, _, _| 0x3f80_4000,
    );
    check(
        "mov.b32 %r6, 0f3F800000; mov.b32 %r7, 0f40000000; cvt.rn.f16x2.f32 %r5, %r6, %r7;",
        "sm_100",
        |_, _, _| 0x3c00_4000,
    );
    check(
        "mov.b32 %r6, 0f3F800000; mov.b32 %r7, 0f40000000; cvt.rn.satfinite.e4m3x2.f32 %h1, %r6, %r7; cvt.u32.u16 %r5, %h1;",
        "sm_89",
        |_, _, _| 0x3840,
    );
}

#[test]
fn doubles_and_pairs_of_halves() {
    check(
        "cvt.f64.f32 %rd5, %r2; cvt.f64.f32 %rd6, %r3; mul.f64 %rd7, %rd5, %rd6; cvt.rn.f32.f64 %r5, %rd7;",
        "sm_100",
        |a, b, _| float((f64::from(f32::from_bits(a)) * f64::from(f32::from_bits(b))) as f32),
    );
    check(
        "mov.b32 %r6, 0x3C004000; mov.b32 %r7, 0x40003C00; add.f16x2 %r5, %r6, %r7;",
        "sm_80",
        |_, _, _| 0x4200_4200,
    );
    check(
        "mov.b32 %r6, 0x3F804000; mov.b32 %r7, 0x40004000; fma.rn.bf16x2 %r5, %r6, %r7, %r7;",
        "sm_80",
        |_, _, _| 0x4080_40c0,
    );
}

#[test]
fn atomics_wrap_compare_and_count() {
    let body = "
        atom.global.inc.u32 %r2, [%rd1], 3;
        atom.global.add.u32 %r3, [%rd1+4], %r1;
        red.global.max.s32 [%rd1+8], %r1;
        atom.global.cas.b32 %r4, [%rd1+12], 5, %r1;
        atom.global.exch.b32 %r5, [%rd1+16], %r1;
        red.global.add.f32 [%rd1+20], 0f3F000000;
        cvt.u64.u32 %rd5, %r1;
        red.global.add.u64 [%rd1+24], %rd5;
        atom.global.dec.u32 %r6, [%rd1+32], 4;";
    let out = one_warp("sm_80", "", body, &[0, 0, 0x8000_0000, 5, 99, 0, 0xffff_ffff, 0, 0]);
    assert_eq!(out[0], 0);
    assert_eq!(out[1], 496);
    assert_eq!(out[2], 31);
    assert!(out[3] < 32 && out[4] < 32);
    assert_eq!(out[5], 16f32.to_bits());
    assert_eq!((out[6], out[7]), (495, 1));
    // Counting down from 0 with a bound of 4 has period 5.
    assert_eq!(out[8], 3);
    let shared = ".shared .align 16 .b8 tile[64];";
    let body = "
        mov.u32 %r2, tile; mov.u32 %r3, 0;
        setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.v4.u32 [%r2], {%r3, %r3, %r3, %r3};
        bar.sync 0;
        red.shared.add.noftz.f16x2 [%r2], 0x3C003C00;
        red.shared.or.b32 [%r2+4], %r1;
        bar.sync 0;
        ld.shared.v2.u32 {%r4, %r5}, [%r2];
        add.u32 %r4, %r4, %r5;
        st.global.u32 [%rd3], %r4;";
    let body = body
        .replace("0x3C003C00", "%r6")
        .replace("mov.u32 %r3, 0;", "mov.u32 %r3, 0; mov.u32 %r6, 0x3C003C00;");
    assert_eq!(one_warp("sm_80", shared, &body, &[0; 32]), [0x5000_5000 + 31; 32]);
}
