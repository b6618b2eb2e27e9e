use super::*;
use jet_emu::tensor::TensorMapSpec;

/// The kernel of a map in the first parameter: `%d60` points to it. Results and the tensor are parameters 1 and 2.
fn mapped(target: &str, shared: &str, body: &str) -> String {
    let registers =
        ".reg .pred %p<16>; .reg .b16 %h<16>; .reg .b32 %r<64>; .reg .f32 %f<16>; .reg .b64 %a<8>, %d<64>;";
    format!(
        ".version 8.8\n.target {target}\n.address_size 64\n\
         .visible .entry k(.param .align 64 .b8 map[128], .param .u64 p0, .param .u64 p1)\n{{ {registers} {}\n\
         ld.param.u64 %a0, [p0]; ld.param.u64 %a1, [p1]; mov.u32 %r0, %tid.x; mov.b64 %d59, map; cvta.param.u64 %d60, %d59;\n\
         mov.u32 %r1, tile; mov.u32 %r2, bar; setp.eq.u32 %p1, %r0, 0;\n\
         @%p1 mbarrier.init.shared::cta.b64 [%r2], 1; fence.mbarrier_init.release.cluster; bar.sync 0;\n{body}\nret;\n}}\n",
        shared.replace('\n', " "),
    )
}

const TILE: &str = ".shared .align 1024 .b8 tile[9216]; .shared .align 8 .b64 bar;";
const WAIT: &str = "W: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0; @!%p2 bra W;";

/// Copies `words` words of the tile to the results, by all threads of a warp.
fn out(words: u32) -> String {
    format!(
        "shl.b32 %r50, %r0, 2; OUT: setp.ge.u32 %p15, %r50, {}; @%p15 bra OVER; add.u32 %r51, %r1, %r50; ld.shared.u32 %r52, [%r51];
        cvt.u64.u32 %d50, %r50; add.u64 %d50, %a0, %d50; st.global.u32 [%d50], %r52; add.u32 %r50, %r50, 128; bra.uni OUT; OVER:",
        words * 4
    )
}

fn spec(json: &str) -> TensorMapSpec {
    serde_json::from_str(json).unwrap()
}

/// Runs with a tensor of words; gives the report, the results and the tensor afterwards.
fn run_map(
    text: &str,
    seed: u64,
    json: &str,
    out: usize,
    tensor: &[u32],
    cluster: u32,
) -> (Report, Vec<u32>, Vec<u32>) {
    let mut bench = Bench::new(text, seed);
    let result = bench.buffer("result", &vec![0; out * 4]);
    let given = bench.buffer("tensor", &bytes(tensor));
    let map = bench.emulator.tensor_map(&spec(json)).unwrap();
    let report = bench.launch(cluster, 32, cluster, &[map, Arg::Buffer(result), Arg::Buffer(given)]);
    let words = (bench.words(result), bench.words(given));
    (report, words.0, words.1)
}

fn load(dims: &str, coordinates: &str, bytes: u32, words: u32) -> String {
    format!(
        "@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], {bytes};
        @%p1 cp.async.bulk.tensor.{dims}.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r1], [%d60, {{{coordinates}}}], [%r2];
        {WAIT} {}",
        out(words)
    )
}

/// A tensor of {5, 3, 4} words, rows of 32 bytes, planes of 112 bytes; the box {4, 2, 2} over every edge.
#[test]
fn a_box_over_every_edge_is_filled_with_zeros_and_counts_whole() {
    let json =
        r#"{"tensor": "tensor", "dtype": "u32", "dims": [5, 3, 4], "strides": [32, 112], "box": [4, 2, 2]}"#;
    let tensor: Vec<u32> = (0..112).map(|i| i + 1).collect();
    let element = |c: [i64; 3]| {
        let inside = (0..5).contains(&c[0]) && (0..3).contains(&c[1]) && (0..4).contains(&c[2]);
        if inside { tensor[(c[0] + c[1] * 8 + c[2] * 28) as usize] } else { 0 }
    };
    for at in [[0, 0, 0], [-2, -1, -1], [3, 2, 3], [1, -1, 2], [-4, 0, 0], [5, 0, 0], [2, 1, 4], [0, 7, 0]] {
        let coordinates = at.map(|c: i64| c.to_string()).join(", ");
        let text = mapped("sm_90", TILE, &load("3d", &coordinates, 64, 16));
        for seed in 0..3 {
            let (report, words, _) = run_map(&text, seed, json, 16, &tensor, 1);
            assert!(report.clean(), "{at:?} {}", show(&report));
            for (i, word) in words.iter().enumerate() {
                let i = i as i64;
                let wanted = element([at[0] + i % 4, at[1] + i / 4 % 2, at[2] + i / 8]);
                assert_eq!(*word, wanted, "at {at:?}, element {i}");
            }
        }
    }
}

#[test]
fn element_strides_take_every_second_row_and_nan_fills_floats() {
    let json = r#"{"tensor": "tensor", "dtype": "f32", "dims": [8, 6], "box": [4, 5], "element_strides": [1, 2], "fill": "nan"}"#;
    let tensor: Vec<u32> = (0..48).collect();
    let text = mapped("sm_90", TILE, &load("2d", "6, 1", 48, 12));
    let (report, words, _) = run_map(&text, 2, json, 12, &tensor, 1);
    assert!(report.clean(), "{}", show(&report));
    let wanted = |i: u32| {
        let (x, y) = (6 + i % 4, 1 + i / 4 * 2);
        if x < 8 && y < 6 { y * 8 + x } else { 0x7FFF_FFFF }
    };
    assert_eq!(words, (0..12).map(wanted).collect::<Vec<u32>>());
}

/// The swizzle is of the address, not of the place in the tile: the tile begins on any line of 128 bytes.
#[test]
fn the_swizzle_is_of_absolute_addresses() {
    for (name, mask, width) in [("128B", 7, 32), ("64B", 3, 16), ("32B", 1, 8)] {
        let json = format!(
            r#"{{"tensor": "tensor", "dtype": "u32", "dims": [{width}, 8], "box": [{width}, 8], "swizzle": "{name}"}}"#
        );
        let tensor: Vec<u32> = (1..=width * 8).collect();
        for line in 0..8 {
            let body =
                format!("add.u32 %r1, %r1, {};\n{}", line * 128, load("2d", "0, 0", width * 32, width * 8));
            let (report, words, _) =
                run_map(&mapped("sm_90", TILE, &body), u64::from(line), &json, 256, &tensor, 1);
            assert!(report.clean(), "{}", show(&report));
            for (i, &word) in (0u32..).zip(&words[..width as usize * 8]) {
                // The tile's array is on a multiple of 1024.
                let address = line * 128 + i * 4;
                let logical = address ^ ((address >> 7) & mask) << 4;
                assert_eq!(word, (logical - line * 128) / 4 + 1, "{name}, line {line}, word {i}");
            }
        }
    }
}

fn stored(instruction: &str, dims: &str, coordinates: &str, words: u32) -> String {
    format!(
        "shl.b32 %r3, %r0, 2; FILL: add.u32 %r4, %r1, %r3; shr.u32 %r5, %r3, 2; add.u32 %r5, %r5, 100; st.shared.u32 [%r4], %r5;
        add.u32 %r3, %r3, 128; setp.lt.u32 %p3, %r3, {}; @%p3 bra FILL;
        fence.proxy.async.shared::cta; bar.sync 0;
        @%p1 {instruction}.{dims}.global.shared::cta{} [%d60, {{{coordinates}}}], [%r1];
        @%p1 cp.async.bulk.commit_group; @%p1 cp.async.bulk.wait_group 0;",
        words * 4,
        if instruction.starts_with("cp.reduce") { ".add.tile.bulk_group" } else { ".tile.bulk_group" },
    )
}

#[test]
fn stores_and_reductions_leave_out_what_lies_outside() {
    let json = r#"{"tensor": "tensor", "dtype": "u32", "dims": [6, 4], "strides": [32], "box": [4, 3]}"#;
    let tensor: Vec<u32> = (0..32).map(|i| i * 1000).collect();
    for (instruction, keeps) in [("cp.async.bulk.tensor", 0), ("cp.reduce.async.bulk.tensor", 1)] {
        for at in [[0, 0], [4, 2], [-3, -1], [-1, 3]] {
            let coordinates = at.map(|c: i64| c.to_string()).join(", ");
            let text = mapped("sm_90", TILE, &stored(instruction, "2d", &coordinates, 12));
            for seed in 0..3 {
                let (report, _, after) = run_map(&text, seed, json, 1, &tensor, 1);
                assert!(report.clean(), "{}", show(&report));
                let mut wanted = tensor.clone();
                for i in 0..12 {
                    let (x, y) = (at[0] + i % 4, at[1] + i / 4);
                    if (0..6).contains(&x) && (0..4).contains(&y) {
                        let cell = &mut wanted[(y * 8 + x) as usize];
                        *cell = *cell * keeps + 100 + i as u32;
                    }
                }
                assert_eq!(after, wanted, "{instruction} at {at:?}");
            }
        }
    }
}

#[test]
fn reductions_follow_the_type_of_the_map() {
    let json = r#"{"tensor": "tensor", "dtype": "f16", "dims": [8], "box": [8]}"#;
    // Halves: 100 is 0x64 and 101 0x65, subnormal halves; adding them to 1.0 changes the last places.
    let text = mapped("sm_90", TILE, &stored("cp.reduce.async.bulk.tensor", "1d", "0", 4));
    let (report, _, after) = run_map(&text, 0, json, 1, &[0x0000_0000; 4], 1);
    assert!(report.clean(), "{}", show(&report));
    assert_eq!(after, [100, 101, 102, 103]);
    let json = json.replace("f16", "u8").replace("[8]", "[16]");
    let (report, _, _) = run_map(&text, 0, &json, 1, &[0; 4], 1);
    finding(&report, FindingKind::AsyncMisuse, "does not exist for elements of type U8");
}

#[test]
fn rows_are_gathered_and_scattered() {
    let json = r#"{"tensor": "tensor", "dtype": "u32", "dims": [8, 6], "box": [4, 1]}"#;
    let tensor: Vec<u32> = (0..48).collect();
    let gather = load("2d", "2, 5, 0, -1, 3", 64, 16).replace(".global.tile.", ".global.tile::gather4.");
    let (report, words, _) = run_map(&mapped("sm_100a", TILE, &gather), 0, json, 16, &tensor, 1);
    assert!(report.clean(), "{}", show(&report));
    assert_eq!(words, [42, 43, 44, 45, 2, 3, 4, 5, 0, 0, 0, 0, 26, 27, 28, 29]);
    let scatter =
        stored("cp.async.bulk.tensor", "2d", "6, 1, 9, 0, 4", 16).replace(".tile.", ".tile::scatter4.");
    let (report, _, after) = run_map(&mapped("sm_100a", TILE, &scatter), 0, json, 1, &tensor, 1);
    assert!(report.clean(), "{}", show(&report));
    let mut wanted = tensor.clone();
    for (row, first) in [(1, 100), (0, 108), (4, 112)] {
        wanted[row * 8 + 6] = first;
        wanted[row * 8 + 7] = first + 1;
    }
    assert_eq!(after, wanted);
}

#[test]
fn a_multicast_tile_fills_both_ctas() {
    let json = r#"{"tensor": "tensor", "dtype": "u32", "dims": [8, 4], "box": [8, 4]}"#;
    let meet = "barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;";
    let body = format!(
        "{meet} mov.u32 %r9, %cluster_ctarank; mad.lo.u32 %r50, %r9, 128, 0; cvt.u64.u32 %d1, %r50; add.u64 %a0, %a0, %d1;
        @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 128; mov.u16 %h1, 3; setp.eq.and.u32 %p3, %r9, 0, %p1;
        @%p3 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r1], [%d60, {{0, 0}}], [%r2], %h1;
        {WAIT} {} {meet}",
        out(32)
    );
    let tensor: Vec<u32> = (0..32).collect();
    for seed in SEEDS {
        let (report, words, _) = run_map(&mapped("sm_90", TILE, &body), seed, json, 64, &tensor, 2);
        assert!(report.clean(), "{}", show(&report));
        assert_eq!(words, [&tensor[..], &tensor[..]].concat());
    }
}

#[test]
fn wrong_uses_of_a_map_are_reported() {
    let json = r#"{"tensor": "tensor", "dtype": "u32", "dims": [8, 4], "box": [8, 4]}"#;
    let copy = "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes";
    let cases = [
        (
            format!("{} [%r1], [%d60, {{0, 0, 0}}], [%r2];", copy.replace("2d", "3d")),
            FindingKind::AsyncMisuse,
            "tensorRank",
        ),
        (format!("{copy} [%r1+64], [%d60, {{0, 0}}], [%r2];"), FindingKind::Misaligned, "no multiple of 128"),
        (
            format!("add.u64 %d1, %d60, 32; {copy} [%r1], [%d1, {{0, 0}}], [%r2];"),
            FindingKind::Misaligned,
            "no multiple of 64",
        ),
        (
            format!("cvt.u64.u32 %d1, %r1; cvta.shared.u64 %d2, %d1; {copy} [%r1], [%d2, {{0, 0}}], [%r2];"),
            FindingKind::WrongSpace,
            "shared memory",
        ),
        (format!("{copy} [%r1], [%a1, {{0, 0}}], [%r2];"), FindingKind::AsyncMisuse, "not a tensor map"),
        (format!("{copy} [%r1+9088], [%d60, {{0, 0}}], [%r2+8];"), FindingKind::OutOfBounds, "the box"),
    ];
    for (statement, kind, message) in cases {
        // The barrier comes first so that the end of shared memory is the tile's.
        let shared = ".shared .align 8 .b64 bar; .shared .align 1024 .b8 tile[9184];";
        let text = mapped("sm_90", shared, &format!("{statement} // MARK"));
        let (report, _, _) = run_map(&text, 0, json, 1, &(1..=32).collect::<Vec<u32>>(), 1);
        let found = finding(&report, kind, message);
        assert_eq!(found.place.line, line_of(&text, "MARK"), "{statement}");
    }
    // A map of more than the buffer.
    let wide = json.replace("[8, 4], \"box\"", "[8, 5], \"box\"");
    let text = mapped("sm_90", TILE, &load("2d", "0, 1", 128, 32));
    let (report, _, _) = run_map(&text, 0, &wide, 32, &[1; 32], 1);
    let found =
        finding(&report, FindingKind::OutOfBounds, "128 bytes at offset 32 of the buffer `tensor` of 128");
    assert_eq!(found.buffer.as_deref(), Some("tensor"));
}

/// Makes a map in shared memory, publishes it to a global scratch, and loads by it, as compilers do.
#[test]
fn a_map_made_on_the_device_works_after_its_fences() {
    let fields = "tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%r10], %a1;
        tensormap.replace.tile.rank.shared::cta.b1024.b32 [%r10], 1;
        tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%r10], 0, 8;
        tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%r10], 1, 2;
        tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%r10], 0, 8;
        tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%r10], 1, 4;
        mov.b64 %d9, 32;
        tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%r10], 0, %d9;
        tensormap.replace.tile.element_stride.shared::cta.b1024.b32 [%r10], 0, 1;
        tensormap.replace.tile.element_stride.shared::cta.b1024.b32 [%r10], 1, 1;
        tensormap.replace.tile.elemtype.shared::cta.b1024.b32 [%r10], 2;
        tensormap.replace.tile.interleave_layout.shared::cta.b1024.b32 [%r10], 0;
        tensormap.replace.tile.swizzle_mode.shared::cta.b1024.b32 [%r10], 0;
        tensormap.replace.tile.fill_mode.shared::cta.b1024.b32 [%r10], 0;";
    let fields: Vec<String> = fields.lines().map(|l| format!("@%p1 {}", l.trim())).collect();
    let body = format!(
        "mov.u32 %r1, tile; mov.u32 %r2, bar; setp.eq.u32 %p1, %r0, 0; mov.u32 %r10, map;
        @%p1 mbarrier.init.shared::cta.b64 [%r2], 1; fence.mbarrier_init.release.cluster;
        shl.b32 %r3, %r0, 2; add.u32 %r4, %r10, %r3; mov.u32 %r5, 0; st.shared.u32 [%r4], %r5; bar.warp.sync -1;
        {}
        bar.warp.sync -1;
        tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%a2], [%r10], 128;
        fence.proxy.tensormap::generic.acquire.gpu [%a2], 128;
        bar.sync 0;
        @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 64;
        @%p1 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%a2, {{0, 2}}], [%r2];
        {WAIT} {}",
        fields.join("\n"),
        out(16)
    );
    let shared =
        ".shared .align 128 .b8 tile[64]; .shared .align 128 .b8 map[128]; .shared .align 8 .b64 bar;";
    let text = kernel("sm_90a", shared, &body);
    for seed in SEEDS {
        let mut bench = Bench::new(&text, seed);
        let result = bench.buffer("result", &[0; 64]);
        let tensor = bench.buffer("tensor", &bytes(&(0..32).collect::<Vec<u32>>()));
        let scratch = bench.emulator.alloc("scratch", 128).unwrap();
        let report =
            bench.launch(1, 32, 1, &[Arg::Buffer(result), Arg::Buffer(tensor), Arg::Buffer(scratch)]);
        assert!(report.clean(), "{}", show(&report));
        assert_eq!(bench.words(result), (16..32).collect::<Vec<u32>>());
    }
    // Without the fence the map is of no use to the copy.
    let unfenced =
        kernel("sm_90a", shared, &body.replace("fence.proxy.tensormap::generic.acquire.gpu [%a2], 128;", ""));
    let mut bench = Bench::new(&unfenced, 0);
    let result = bench.buffer("result", &[0; 64]);
    let tensor = bench.buffer("tensor", &bytes(&[1; 32]));
    let scratch = bench.emulator.alloc("scratch", 128).unwrap();
    let report = bench.launch(1, 32, 1, &[Arg::Buffer(result), Arg::Buffer(tensor), Arg::Buffer(scratch)]);
    finding(&report, FindingKind::MissingProxyFence, "tensormap");
}

#[test]
fn im2col_and_unknown_coordinates_are_refused() {
    let copy = "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%r1], [%d60, {0, 0, 0}], [%r2], {%h1};";
    let two = "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%d60, {0}], [%r2];";
    for (statement, why) in [(copy, "im2col"), (two, "1 coordinates where the form has 2")] {
        let mut emulator = Emulator::new(EmulatorOptions::default());
        let error = emulator.load(&mapped("sm_90", TILE, statement)).expect_err(statement).to_string();
        assert!(error.contains(why), "{error}");
    }
}
