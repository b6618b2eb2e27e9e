use super::*;

/// Offset of the tile in shared memory: the first user byte.
const BASE: u32 = 1024;

/// How an operand lies: span of the swizzle, whether M or N is the fast direction, the two strides, the start.
#[derive(Clone, Copy)]
struct Layout {
    span: u32,
    transposed: bool,
    leading: u32,
    stride: u32,
    start: u32,
}

impl Layout {
    /// The physical address of an element, by the canonical layouts of the ISA in bytes.
    fn address(&self, element: u32, mn: u32, k: u32) -> u32 {
        let Layout { span, leading, stride, .. } = *self;
        let per16 = 16 / element;
        let offset = match (self.transposed, span) {
            (false, 0) => mn % 8 * 16 + mn / 8 * stride + k / per16 * leading + k % per16 * element,
            (false, _) => mn % 8 * span + mn / 8 * stride + k * element,
            (true, 0) => mn % per16 * element + mn / per16 * stride + k % 8 * 16 + k / 8 * leading,
            (true, _) => {
                mn % (span / element) * element
                    + mn / (span / element) * leading
                    + k % 8 * span
                    + k / 8 * stride
            }
        };
        let logical = self.start + offset;
        // One bit of the line number for 32 bytes, two for 64, three for 128.
        let mask = span.saturating_sub(1) >> 4;
        logical ^ (logical >> 7 & mask) << 4
    }

    fn descriptor(&self) -> u64 {
        let field = |value: u32, at: u32| u64::from(value >> 4 & 0x3fff) << at;
        let layout = match self.span {
            128 => 1,
            64 => 2,
            32 => 3,
            _ => 0u64,
        };
        field(self.start, 0) | field(self.leading, 16) | field(self.stride, 32) | layout << 62
    }
}

/// A matrix of small integers by (row or column, k).
fn matrix(seed: u64, rows: u32, k: u32, limit: u32) -> Vec<Vec<i32>> {
    let mut next = numbers(seed);
    (0..rows).map(|_| (0..k).map(|_| (next() % (2 * limit + 1)) as i32 - limit as i32).collect()).collect()
}

fn bf16(value: i32) -> u32 {
    (value as f32).to_bits() >> 16
}

/// Small integers as f16: exact.
fn f16(value: i32) -> u32 {
    let bits = (value as f32).to_bits();
    if value == 0 { 0 } else { bits >> 16 & 0x8000 | ((bits >> 23 & 0xff) - 112) << 10 | bits >> 13 & 0x3ff }
}

fn e4m3(value: i32) -> u32 {
    let bits = (value as f32).to_bits();
    if value == 0 { 0 } else { bits >> 24 & 0x80 | ((bits >> 23 & 0xff) - 120) << 3 | bits >> 20 & 7 }
}

/// A memory image that holds both operands.
struct Image(Vec<u8>);

impl Image {
    fn put(&mut self, matrix: &[Vec<i32>], layout: &Layout, element: u32, encode: fn(i32) -> u32) {
        for (mn, row) in (0u32..).zip(matrix) {
            for (k, value) in (0u32..).zip(row) {
                let at = (layout.address(element, mn, k) - BASE) as usize;
                let bytes = encode(*value).to_le_bytes();
                self.0[at..at + element as usize].copy_from_slice(&bytes[..element as usize]);
            }
        }
    }
}

/// One warpgroup: fills shared memory from `p1`, runs `middle`, stores its `n` registers `%q0`, … to `p0`.
fn text(n: usize, middle: &str) -> String {
    let store: Vec<String> = (0..n).map(|i| format!("st.global.b32 [%d0+{}], %q{i};", i * 4)).collect();
    format!(
        ".version 8.8\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 p0, .param .u64 p1, .param .u64 p2)\n{{\n\
         .reg .pred %p<8>; .reg .b32 %r<32>, %q<130>, %x<8>; .reg .b64 %a<4>, %d<32>; .shared .align 1024 .b8 tile[65536];\n\
         ld.param.u64 %a0, [p0]; ld.param.u64 %a1, [p1]; ld.param.u64 %a2, [p2]; mov.u32 %r0, %tid.x; mov.u32 %r1, tile;\n\
         mov.u32 %r2, %r0; FILL: shl.b32 %r3, %r2, 4; cvt.u64.u32 %d1, %r3; add.u64 %d1, %a1, %d1; add.u32 %r4, %r1, %r3;\n\
         ld.global.v4.u32 {{%r5, %r6, %r7, %r8}}, [%d1]; st.shared.v4.u32 [%r4], {{%r5, %r6, %r7, %r8}};\n\
         add.u32 %r2, %r2, 128; setp.lt.u32 %p1, %r2, 4096; @%p1 bra FILL;\n\
         fence.proxy.async.shared::cta; bar.sync 0; mul.lo.u32 %r9, %r0, {}; cvt.u64.u32 %d0, %r9; add.u64 %d0, %a0, %d0;\n\
         {middle}\n{}\nret;\n}}\n",
        n * 4,
        store.join(" ")
    )
}

fn list(n: usize) -> String {
    (0..n).map(|i| format!("%q{i}")).collect::<Vec<_>>().join(",")
}

fn launch(text: &str, seed: u64, n: usize, image: &Image, extra: &[u32]) -> (Report, Vec<u32>) {
    let mut bench = Bench::new(text, seed);
    let result = bench.buffer("result", &vec![0; 128 * n * 4]);
    let given = bench.buffer("image", &image.0);
    let more = bench.buffer("extra", &bytes(extra));
    let report = bench.launch(1, 128, 1, &[Arg::Buffer(result), Arg::Buffer(given), Arg::Buffer(more)]);
    let words = bench.words(result);
    (report, words)
}

/// Element (row, column) of D among the results of 128 threads with `n` registers each.
fn of_d(words: &[u32], n: usize, row: usize, column: usize) -> u32 {
    let lane = row % 8 * 4 + column % 8 / 2;
    let thread = row / 16 * 32 + lane;
    words[thread * n + column / 8 * 4 + row % 16 / 8 * 2 + column % 2]
}

fn product(a: &[Vec<i32>], b: &[Vec<i32>], row: usize, column: usize) -> i32 {
    a[row].iter().zip(&b[column]).map(|(x, y)| x * y).sum()
}

fn one(types: &str, n: usize, registers: usize, a: &Layout, b: &Layout, tail: &str) -> String {
    let k = if types.contains("f16") {
        16
    } else if types.contains("tf32") {
        8
    } else {
        32
    };
    let zero: Vec<String> = (0..registers).map(|i| format!("mov.b32 %q{i}, 0;")).collect();
    format!(
        "{} mov.b64 %d10, {:#x}; mov.b64 %d11, {:#x}; wgmma.fence.sync.aligned;
        wgmma.mma_async.sync.aligned.m64n{n}k{k}.{types} {{{}}}, %d10, %d11, 1{tail};
        wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;",
        zero.join(" "),
        a.descriptor(),
        b.descriptor(),
        list(registers)
    )
}

fn flat(span: u32, start: u32) -> Layout {
    let stride = if span == 0 { 256 } else { 8 * span };
    Layout { span, transposed: false, leading: 128, stride, start }
}

/// The eight rows of the layout table, for A and B alike, with start addresses inside the pattern.
#[test]
fn leading_and_stride_offsets_have_their_roles_in_every_layout() {
    let (m, n) = (64, 64);
    let rows = [
        (flat(128, 0x40), flat(128, 0x4020)),
        (flat(64, 0x20), flat(64, 0x4000)),
        (flat(32, 0), flat(32, 0x4000)),
        (flat(0, 0), Layout { leading: 1024, stride: 128, ..flat(0, 0x4000) }),
        (
            Layout { span: 128, transposed: true, leading: 64 * 128, stride: 1024, start: 0x800 },
            Layout { span: 128, transposed: true, leading: 64 * 128, stride: 1024, start: 0x4400 },
        ),
        (
            Layout { span: 64, transposed: true, leading: 64 * 64, stride: 512, start: 0x400 },
            Layout { span: 64, transposed: true, leading: 2048, stride: 512, start: 0x4000 },
        ),
        (
            Layout { span: 32, transposed: true, leading: 1024, stride: 256, start: 0 },
            Layout { span: 32, transposed: true, leading: 512, stride: 256, start: 0x4000 },
        ),
        (
            Layout { span: 0, transposed: true, leading: 1024, stride: 128, start: 0 },
            Layout { span: 0, transposed: true, leading: 128, stride: 256, start: 0x4000 },
        ),
    ];
    for (index, (mut a, mut b)) in rows.into_iter().enumerate() {
        (a.start, b.start) = (a.start + BASE, b.start + BASE);
        let (x, y) = (matrix(1, m, 16, 8), matrix(2, n, 16, 8));
        let mut image = Image(vec![0xff; 65536]);
        image.put(&x, &a, 2, bf16);
        image.put(&y, &b, 2, bf16);
        let flags = format!(", 1, 1, {}, {}", u32::from(a.transposed), u32::from(b.transposed));
        let text = text(32, &one("f32.bf16.bf16", 64, 32, &a, &b, &flags));
        for seed in 0..3 {
            let (report, words) = launch(&text, seed, 32, &image, &[]);
            assert!(report.clean(), "row {index}: {}", show(&report));
            for (row, column) in (0..64).flat_map(|r| (0..64).map(move |c| (r, c))) {
                let got = f32::from_bits(of_d(&words, 32, row, column));
                assert_eq!(got, product(&x, &y, row, column) as f32, "row {index}, ({row}, {column})");
            }
        }
    }
}

#[test]
fn a_transposed_a_times_a_plain_b() {
    let a = Layout { span: 128, transposed: true, leading: 8192, stride: 1024, start: BASE };
    let b = flat(64, BASE + 0x4000);
    let (x, y) = (matrix(3, 64, 16, 8), matrix(4, 8, 16, 8));
    let mut image = Image(vec![0; 65536]);
    image.put(&x, &a, 2, f16);
    image.put(&y, &b, 2, f16);
    let text = text(4, &one("f32.f16.f16", 8, 4, &a, &b, ", 1, 1, 1, 0"));
    let (report, words) = launch(&text, 0, 4, &image, &[]);
    assert!(report.clean(), "{}", show(&report));
    for (row, column) in (0..64).flat_map(|r| (0..8).map(move |c| (r, c))) {
        assert_eq!(f32::from_bits(of_d(&words, 4, row, column)), product(&x, &y, row, column) as f32);
    }
}

/// Four steps of 32 bytes inside a panel of 128 make one product of 64, in one accumulator and in two groups.
#[test]
fn steps_along_k_inside_a_panel_add_up() {
    let (a, b) = (flat(128, BASE), flat(128, BASE + 0x4000));
    let (x, y) = (matrix(5, 64, 64, 4), matrix(6, 32, 64, 4));
    let mut image = Image(vec![0; 65536]);
    image.put(&x, &a, 2, bf16);
    image.put(&y, &b, 2, bf16);
    let mut middle = "wgmma.fence.sync.aligned;\n".to_owned();
    for step in 0..4 {
        let (da, db) = (a.descriptor() + step * 2, b.descriptor() + step * 2);
        let group = if step == 1 { "wgmma.commit_group.sync.aligned;" } else { "" };
        let scale = u32::from(step > 0);
        middle += &format!(
            "mov.b64 %d10, {da:#x}; mov.b64 %d11, {db:#x};
            wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {{{}}}, %d10, %d11, {scale}, 1, 1, 0, 0; {group}\n",
            list(16)
        );
    }
    middle +=
        "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 1; wgmma.wait_group.sync.aligned 0;";
    let text = text(16, &middle);
    for seed in SEEDS {
        let (report, words) = launch(&text, seed, 16, &image, &[]);
        assert!(report.clean(), "{}", show(&report));
        for (row, column) in (0..64).flat_map(|r| (0..32).map(move |c| (r, c))) {
            assert_eq!(f32::from_bits(of_d(&words, 16, row, column)), product(&x, &y, row, column) as f32);
        }
    }
}

#[test]
fn other_types_and_half_accumulators() {
    let (a, b) = (flat(128, BASE), flat(128, BASE + 0x4000));
    // fp8 in both mixtures of signs; tf32 with low bits that must not matter; bytes of both signs.
    let cases: [(&str, u32, u32, fn(i32) -> u32, fn(i32) -> u32, &str); 4] = [
        ("f32.e4m3.e4m3", 1, 32, e4m3, e4m3, ", 1, -1"),
        (
            "f32.tf32.tf32",
            4,
            8,
            |v| (v as f32).to_bits() | 0x1fff,
            |v| (v as f32).to_bits() | 0x0fff,
            ", 1, 1",
        ),
        ("s32.s8.u8", 1, 32, |v| v as u32 & 0xff, |v| (v + 8) as u32, ""),
        ("f32.f16.f16", 2, 16, f16, f16, ", -1, -1, 0, 0"),
    ];
    for (types, element, k, encode_a, encode_b, tail) in cases {
        let (x, y) = (matrix(7, 64, k, 8), matrix(8, 16, k, 8));
        let mut image = Image(vec![0; 65536]);
        image.put(&x, &a, element, encode_a);
        image.put(&y, &b, element, encode_b);
        let text = text(8, &one(types, 16, 8, &a, &b, tail));
        let (report, words) = launch(&text, 1, 8, &image, &[]);
        assert!(report.clean(), "{types}: {}", show(&report));
        for (row, column) in (0..64).flat_map(|r| (0..16).map(move |c| (r, c))) {
            let word = of_d(&words, 8, row, column);
            if types.starts_with("s32") {
                let shifted: i32 = x[row].iter().zip(&y[column]).map(|(x, y)| x * (y + 8)).sum();
                assert_eq!(word as i32, shifted, "{types}");
            } else {
                let sign = if types.contains("e4m3") { -1 } else { 1 };
                assert_eq!(f32::from_bits(word), (sign * product(&x, &y, row, column)) as f32, "{types}");
            }
        }
    }
    let (x, y) = (matrix(9, 64, 16, 4), matrix(10, 16, 16, 4));
    let mut image = Image(vec![0; 65536]);
    image.put(&x, &a, 2, f16);
    image.put(&y, &b, 2, f16);
    let text = text(4, &one("f16.f16.f16", 16, 4, &a, &b, ", 1, 1, 0, 0"));
    let (report, words) = launch(&text, 1, 4, &image, &[]);
    assert!(report.clean(), "{}", show(&report));
    for (row, column) in (0..64).flat_map(|r| (0..16).map(move |c| (r, c))) {
        let thread = row / 16 * 32 + row % 8 * 4 + column % 8 / 2;
        let word = words[thread * 4 + column / 8 * 2 + row % 16 / 8];
        assert_eq!(word >> (column % 2 * 16) & 0xffff, f16(product(&x, &y, row, column)));
    }
}

#[test]
fn a_from_registers_and_a_d_that_is_not_read() {
    let b = flat(128, BASE + 0x4000);
    let (x, y) = (matrix(11, 64, 16, 8), matrix(12, 32, 16, 8));
    let mut image = Image(vec![0; 65536]);
    image.put(&y, &b, 2, bf16);
    let mut registers = Vec::new();
    for thread in 0..128 {
        let (warp, group, t) = (thread / 32, thread % 32 / 4, thread % 4);
        for (row, k) in [(0, 0), (8, 0), (0, 8), (8, 8)] {
            let row = &x[warp * 16 + group + row];
            registers.push(bf16(row[k + 2 * t]) | bf16(row[k + 2 * t + 1]) << 16);
        }
    }
    let nan: Vec<String> = (0..16).map(|i| format!("mov.b32 %q{i}, 0x7fffffff;")).collect();
    let middle = format!(
        "shl.b32 %r10, %r0, 4; cvt.u64.u32 %d12, %r10; add.u64 %d12, %a2, %d12; ld.global.v4.b32 {{%x0, %x1, %x2, %x3}}, [%d12];
        {} mov.b64 %d11, {:#x}; setp.ne.u32 %p2, %r1, %r1; wgmma.fence.sync.aligned;
        wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {{{}}}, {{%x0, %x1, %x2, %x3}}, %d11, %p2, 1, 1, 0;
        wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;",
        nan.join(" "),
        b.descriptor(),
        list(16)
    );
    let text = text(16, &middle);
    for seed in SEEDS {
        let (report, words) = launch(&text, seed, 16, &image, &registers);
        assert!(report.clean(), "{}", show(&report));
        for (row, column) in (0..64).flat_map(|r| (0..32).map(move |c| (r, c))) {
            assert_eq!(f32::from_bits(of_d(&words, 16, row, column)), product(&x, &y, row, column) as f32);
        }
    }
}

fn simple(before: &str, after: &str) -> String {
    let (a, b) = (flat(128, BASE), flat(128, BASE + 0x4000));
    let middle = format!(
        "mov.b32 %q0, 0; mov.b32 %q1, 0; mov.b32 %q2, 0; mov.b32 %q3, 0; mov.b64 %d10, {:#x}; mov.b64 %d11, {:#x}; {before}
        wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%q0, %q1, %q2, %q3}}, %d10, %d11, 1, 1, 1, 0, 0; // PRODUCT
        {after}",
        a.descriptor(),
        b.descriptor()
    );
    text(4, &middle)
}

const FENCE: &str = "wgmma.fence.sync.aligned;";
const DONE: &str = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;";

#[test]
fn mistakes_are_reported_at_their_line_under_every_seed() {
    let commit = "wgmma.commit_group.sync.aligned;";
    let cases = [
        // What, before and after the product, the kind, words of the message, the line.
        (
            FENCE,
            format!("{commit} add.f32 %r20, %q1, %q1; // MARK\n wgmma.wait_group.sync.aligned 0;"),
            FindingKind::RegisterInFlight,
            "%q1",
            "MARK",
        ),
        (
            FENCE,
            format!("{commit} mov.b32 %q2, 0; // MARK\n wgmma.wait_group.sync.aligned 0;"),
            FindingKind::RegisterInFlight,
            "%q2",
            "MARK",
        ),
        (
            FENCE,
            format!("wgmma.wait_group.sync.aligned 0; mov.b32 %r20, %q0; // MARK\n {DONE}"),
            FindingKind::RegisterInFlight,
            "%q0",
            "MARK",
        ),
        (FENCE, "exit;".to_owned(), FindingKind::AsyncMisuse, "without having waited", "PRODUCT"),
        ("", DONE.to_owned(), FindingKind::AsyncMisuse, "no `wgmma.fence`", "PRODUCT"),
        (
            "wgmma.fence.sync.aligned; shr.u32 %r21, %r0, 5; cvt.u64.u32 %d13, %r21; add.u64 %d11, %d11, %d13;",
            DONE.to_owned(),
            FindingKind::AsyncMisuse,
            "differ in descriptors",
            "PRODUCT",
        ),
        (
            "wgmma.fence.sync.aligned; cvt.u64.u32 %d13, %r0; add.u64 %d11, %d11, %d13;",
            DONE.to_owned(),
            FindingKind::AsyncMisuse,
            "lanes of the warp differ",
            "PRODUCT",
        ),
        (
            "wgmma.fence.sync.aligned; mov.b64 %d11, 0x4000004000010000;",
            DONE.to_owned(),
            FindingKind::OutOfBounds,
            "matrix b",
            "PRODUCT",
        ),
        (
            "wgmma.fence.sync.aligned; mov.b64 %d11, 0x4000004000013fff;",
            DONE.to_owned(),
            FindingKind::OutOfBounds,
            "matrix b",
            "PRODUCT",
        ),
        (
            "setp.ge.u32 %p3, %r0, 96; @%p3 exit; wgmma.fence.sync.aligned;",
            DONE.to_owned(),
            FindingKind::MissingLanes,
            "warp 3 of the warpgroup ended",
            "wait_group",
        ),
        (
            "wgmma.fence.sync.aligned; setp.eq.u32 %p3, %r0, 5; @%p3 exit;",
            DONE.to_owned(),
            FindingKind::MissingLanes,
            "have ended",
            "PRODUCT",
        ),
    ];
    for (before, after, kind, message, mark) in &cases {
        let text = simple(before, after);
        for seed in 0..6 {
            let (report, _) = launch(&text, seed, 4, &Image(vec![0; 65536]), &[]);
            let found = finding(&report, *kind, message);
            assert_eq!(found.place.line, line_of(&text, mark), "{before} {after}, seed {seed}: {found}");
        }
    }
    let (report, _) = launch(&simple(FENCE, DONE), 0, 4, &Image(vec![0; 65536]), &[]);
    assert!(report.clean(), "{}", show(&report));
}

#[test]
fn warps_that_execute_different_products_are_reported() {
    let other = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%q0, %q1, %q2, %q3}, %d10, %d11, 1, 1, 1, 0, 0;";
    let before = format!("{FENCE} setp.ge.u32 %p3, %r0, 64; @%p3 bra OTHER;");
    let text = simple(&before, &format!("bra.uni BOTH; OTHER: {other} BOTH: {DONE}"));
    let (report, _) = launch(&text, 0, 4, &Image(vec![0; 65536]), &[]);
    finding(&report, FindingKind::MissingLanes, "different wgmma");
    let text = text.replace(&format!("OTHER: {other}"), "OTHER: bar.sync 1, 128;");
    let (report, _) = launch(&text, 0, 4, &Image(vec![0; 65536]), &[]);
    finding(&report, FindingKind::Deadlock, "misses warps [2, 3]");
}

#[test]
fn operands_are_read_late_and_a_missing_proxy_fence_is_found() {
    // The stage is overwritten before the wait.
    let after = "wgmma.commit_group.sync.aligned; bar.sync 1; mov.b32 %r20, 0x40004000; st.shared.u32 [%r1], %r20; wgmma.wait_group.sync.aligned 0;";
    let mut image = Image(vec![0; 65536]);
    let b = flat(128, BASE + 0x4000);
    image.put(&matrix(1, 8, 16, 8), &b, 2, bf16);
    let text = simple(FENCE, after);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (report, words) = launch(&text, seed, 4, &image, &[]);
        assert!(report.of(FindingKind::SharedRace).next().is_some(), "seed {seed}: {}", show(&report));
        seen.insert(words);
    }
    assert!(seen.len() > 1, "some seed reads early and some late");
    let unfenced = simple(FENCE, DONE).replace("fence.proxy.async.shared::cta;", "");
    let (report, _) = launch(&unfenced, 0, 4, &image, &[]);
    finding(&report, FindingKind::MissingProxyFence, "");
}

#[test]
fn forms_that_do_not_exist_are_refused() {
    let d = list(20);
    for (instruction, why) in [
        (
            format!("wgmma.mma_async.sync.aligned.m64n40k32.s32.s8.s8 {{{d}}}, %d10, %d11, 1;"),
            "N of integer types",
        ),
        (
            format!("wgmma.mma_async.sync.aligned.m64n40k16.f32.bf16.bf16 {{{d}}}, %d10, %d11, 1, 1, 1;"),
            "operand",
        ),
        (
            format!(
                "wgmma.mma_async.sync.aligned.m64n48k16.f32.bf16.bf16 {{{d}}}, %d10, %d11, 1, 1, 1, 0, 0;"
            ),
            "20 registers",
        ),
        (
            format!("wgmma.mma_async.sync.aligned.m64n40k32.f32.e4m3.e5m2 {{{d}}}, %d10, %d11, 1, 2, 1;"),
            "1 and -1",
        ),
        (
            format!(
                "wgmma.mma_async.sp.sync.aligned.m64n40k32.f32.bf16.bf16 {{{d}}}, %d10, %d11, %r1, 0, 1, 1, 1, 0, 0;"
            ),
            "sparse",
        ),
    ] {
        let mut emulator = Emulator::new(EmulatorOptions::default());
        let error = emulator.load(&text(1, &instruction)).expect_err(&instruction).to_string();
        assert!(error.contains(why), "{instruction}: {error}");
    }
    let old = text(1, FENCE).replace("sm_90a", "sm_100a");
    assert!(Emulator::new(EmulatorOptions::default()).load(&old).is_err());
}
