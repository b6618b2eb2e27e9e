//! The command as a user runs it: files in, files out, exit codes, messages.
#![allow(clippy::unwrap_used)]

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// `c[i] = s * a[i]` for i < n, by way of shared memory with a stride of two words; `a[i]` grows by one. The branch
/// parts the lanes of the warp that has n in it.
const SCALE: &str = r#".version 8.0
.target sm_80
.address_size 64

.visible .entry scale(
    .param .u64 scale_a,
    .param .u64 scale_c,
    .param .f32 scale_s,
    .param .u32 scale_n
)
{
    .reg .pred %p<2>;
    .reg .b32 %r<8>;
    .reg .f32 %f<6>;
    .reg .b64 %rd<6>;
    .shared .align 4 .b8 room[512];

    .file 1 "scale.cu"
    ld.param.u64 %rd1, [scale_a];
    ld.param.u64 %rd2, [scale_c];
    ld.param.f32 %f1, [scale_s];
    ld.param.u32 %r1, [scale_n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    mul.wide.u32 %rd3, %r5, 4;
    add.s64 %rd1, %rd1, %rd3;
    add.s64 %rd2, %rd2, %rd3;
    mov.u32 %r6, room;
    mad.lo.s32 %r6, %r4, 8, %r6;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra done;
    .loc 1 7 3
    ld.global.f32 %f2, [%rd1];
    st.shared.f32 [%r6], %f2;
    ld.shared.f32 %f3, [%r6];
    mul.f32 %f4, %f3, %f1;
    .loc 1 8 3
    st.global.f32 [%rd2], %f4;
    add.f32 %f5, %f2, 0f3F800000;
    st.global.f32 [%rd1], %f5;
done:
    ret;
}

.visible .entry scale_all(.param .u64 only) { ret; }
"#;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A folder with the kernel, an input `a` of these numbers, and the kernel's arguments.
    fn ready(a: &[f32]) -> Self {
        let folder = Folder::new();
        folder.put("k.ptx", SCALE);
        let bytes: Vec<u8> = a.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![a.len()], &bytes).unwrap();
        folder.put("in.safetensors", safetensors::serialize([("a", view)], None).unwrap());
        let n = a.len();
        let zeros = format!(r#"{{"zeros":"c","dtype":"F32","shape":[{n}]}}"#);
        folder.put("args.json", format!(r#"[{{"tensor":"a"}},{zeros},{{"f32":2.5}},{{"u32":{n}}}]"#));
        folder
    }

    fn run(&self, words: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jet-emu"));
        command.args(words.split_whitespace()).current_dir(self.0.path()).output().unwrap()
    }
}

fn out(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

fn err(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

/// A run that must fail with this code and these words.
fn refused(folder: &Folder, words: &str, code: i32, wanted: &[&str]) {
    let o = folder.run(words);
    assert_eq!(o.status.code(), Some(code), "{words}\n{}{}", out(&o), err(&o));
    for w in wanted {
        assert!(err(&o).contains(w), "{words}\nmissing: {w}\n{}", err(&o));
    }
}

fn floats(path: &Path, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

const RUN: &str = "k.ptx --kernel scale --grid 1,1,1 --block 64,1,1 --in in.safetensors --args args.json --out out.safetensors";

#[test]
fn tensors_go_in_by_name_and_come_out_as_the_kernel_left_them() {
    let a: Vec<f32> = (0..50).map(|i| i as f32 * 0.5 - 3.0).collect();
    let folder = Folder::ready(&a);
    let o = folder.run(RUN);
    assert_eq!(o.status.code(), Some(0), "{}{}", out(&o), err(&o));
    let scaled: Vec<f32> = a.iter().map(|x| x * 2.5).collect();
    let grown: Vec<f32> = a.iter().map(|x| x + 1.0).collect();
    assert_eq!(floats(&folder.path("out.safetensors"), "c"), scaled);
    assert_eq!(floats(&folder.path("out.safetensors"), "a"), grown);
    assert!(out(&o).contains("kernel    scale (k.ptx, sm_80)"), "{}", out(&o));
    assert!(out(&o).contains("result    clean;"), "{}", out(&o));
    let left: Vec<_> = std::fs::read_dir(folder.0.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(left.iter().all(|n| !n.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
fn dimensions_may_be_short_and_the_only_kernel_needs_no_name() {
    let folder = Folder::new();
    folder.put("k.ptx", ".version 8.0\n.target sm_80\n.address_size 64\n.entry nothing() { ret; }\n");
    assert_eq!(folder.run("k.ptx --grid 2 --block 32,2").status.code(), Some(0));
}

#[test]
fn the_report_has_the_counters_that_the_kernel_must_have() {
    let a: Vec<f32> = (0..50).map(|i| i as f32).collect();
    let folder = Folder::ready(&a);
    let o = folder.run(&format!("{RUN} --report report.json --seed 7"));
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    let report: Value = serde_json::from_str(&folder.text("report.json")).unwrap();
    let at =
        |pointer: &str| report.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {report}")).clone();
    assert_eq!(at("/kernel"), "scale");
    assert_eq!(at("/seed"), 7);
    assert_eq!(at("/clean"), true);
    // 14 instructions by all threads, the branch by the 14 that have no element, 7 by the 50 that have one, ret by all.
    assert_eq!(at("/counters/instructions/thread"), 14 * 64 + 14 + 7 * 50 + 64);
    assert_eq!(at("/counters/branches"), serde_json::json!({"executed": 2, "divergent": 1}));
    // Two warps read, two write c, two write a. The second warp has 18 elements: 72 bytes in 3 sectors.
    assert_eq!(at("/counters/global/requests"), 6);
    assert_eq!(at("/counters/global/read_bytes"), 200);
    assert_eq!(at("/counters/global/written_bytes"), 400);
    assert_eq!(at("/counters/global/sectors"), 3 * (4 + 3));
    let buffers = at("/counters/buffers");
    let of = |name: &str| buffers.as_array().unwrap().iter().find(|b| b["name"] == name).unwrap().clone();
    assert_eq!(of("a")["unique_read_bytes"], 200);
    assert_eq!(of("a")["unique_written_bytes"], 200);
    assert_eq!(of("c")["read_bytes"], 0);
    // A stride of two words: 32 lanes in 16 banks, two passes; 18 lanes wrap around once: two passes as well.
    assert_eq!(at("/counters/shared/requests"), 4);
    assert_eq!(at("/counters/shared/wavefronts"), 8);
    assert_eq!(at("/counters/shared/ideal_wavefronts"), 4);
    let lines = at("/counters/source_lines");
    let line = |n: u32| lines.as_array().unwrap().iter().find(|l| l["line"] == n).unwrap().clone();
    assert_eq!(line(7)["file"], "scale.cu");
    assert_eq!(line(7)["thread"], 4 * 50);
    assert_eq!(line(7)["bank_conflicts"], 4);
    let load = at("/counters/lines")
        .as_array()
        .unwrap()
        .iter()
        .find(|l| l["instruction"] == "ld.global.f32")
        .cloned();
    assert_eq!(load.unwrap()["global"]["sectors_per_request"], 3.5);
}

#[test]
fn the_summary_lines_up_and_the_listing_has_every_line_of_the_text() {
    let folder = Folder::ready(&[1.0; 64]);
    let o = folder.run(&format!("{RUN} --listing listing.txt"));
    let text = out(&o);
    let facts: Vec<&str> =
        text.lines().filter(|l| l.starts_with("  global ") || l.starts_with("  shared ")).collect();
    assert!(facts.len() >= 6, "{text}");
    let width = facts[0].chars().count();
    assert!(facts.iter().all(|l| l.chars().count() == width), "{text}");
    let listing = folder.text("listing.txt");
    assert!(listing.starts_with("Hot lines"), "{listing}");
    assert!(listing.contains("Bank conflicts"), "{listing}");
    for line in SCALE.lines().filter(|l| !l.trim().is_empty()) {
        assert!(listing.contains(line.trim()), "{line}\n{listing}");
    }
    let o = folder.run(&format!("{RUN} --no-counters"));
    assert!(!out(&o).contains("wavefronts"), "{}", out(&o));
}

#[test]
fn a_finding_gives_code_3_and_a_fault_code_1() {
    let folder = Folder::ready(&[1.0; 64]);
    let empty = r#"[{"empty":"x","dtype":"F32","shape":[64]},{"zeros":"c","dtype":"F32","shape":[64]},{"f32":1},{"u32":64}]"#;
    folder.put("args.json", empty);
    let o = folder.run(&format!("{RUN} --report report.json"));
    assert_eq!(o.status.code(), Some(3), "{}{}", out(&o), err(&o));
    assert!(out(&o).contains("uninitialised"), "{}", out(&o));
    let o = folder.run(&format!("{RUN} --check none"));
    assert_eq!(o.status.code(), Some(0), "{}", out(&o));

    let short = r#"[{"tensor":"a"},{"zeros":"c","dtype":"F32","shape":[63]},{"f32":1},{"u32":64}]"#;
    folder.put("args.json", short);
    let o = folder.run(&format!("{RUN} --report report.json"));
    assert_eq!(o.status.code(), Some(1), "{}{}", out(&o), err(&o));
    assert!(out(&o).contains("out_of_bounds") && out(&o).contains("ended by a fault"), "{}", out(&o));
    let report: Value = serde_json::from_str(&folder.text("report.json")).unwrap();
    assert_eq!(report["findings"][0]["kind"], "out_of_bounds");
    assert_eq!(report["findings"][0]["buffer"], "c");
    assert_eq!(report["findings"][0]["place"]["source"][1], 8);
    assert_eq!(report["completed"], false);
    assert!(folder.path("out.safetensors").exists());
}

#[test]
fn every_wrong_input_is_told_with_what_was_found_and_what_is_expected() {
    let folder = Folder::ready(&[1.0; 64]);
    let run = |from: &str, to: &str| RUN.replace(from, to);
    refused(&folder, &run("k.ptx", "absent.ptx"), 1, &["cannot read the PTX `absent.ptx`"]);
    refused(&folder, &run("k.ptx", "in.safetensors"), 1, &["in.safetensors"]);
    refused(&folder, &run("in.safetensors", "k.ptx"), 1, &["`k.ptx` is no valid safetensors file"]);
    refused(&folder, &run("args.json", "absent.json"), 1, &["cannot read the arguments `absent.json`"]);
    refused(
        &folder,
        &run("--args args.json", ""),
        1,
        &["`scale` has 4 parameters, 0 arguments were given", "scale_n"],
    );
    refused(&folder, &run("--in in.safetensors", ""), 1, &["argument 0: no tensor or buffer `a`", "--in"]);
    let wrong = ["no kernel `scal`", "did you mean `scale`?", "its kernels are", "scale_all"];
    refused(&folder, &run("--kernel scale", "--kernel scal"), 1, &wrong);
    refused(
        &folder,
        &run("--kernel scale", ""),
        1,
        &["has 2 kernels, name one with --kernel: scale, scale_all"],
    );
    refused(&folder, &run("64,1,1", "2048"), 1, &["2048 threads"]);
    refused(&folder, &run("--grid 1,1,1", "--grid 1 --smem 999999"), 1, &["shared memory"]);
    refused(
        &folder,
        &run("--out out.safetensors", "--out absent/out.safetensors"),
        1,
        &["cannot write the tensors"],
    );

    let args = [
        (
            r#"[{"tensor":"b"},{"null":true},{"f32":1},{"u32":1}]"#,
            &["no tensor or buffer `b`; there are a"][..],
        ),
        (
            r#"[{"tensor":"a"},{"u32":1},{"f32":1},{"u32":1}]"#,
            &["argument 1 has 4 bytes, and parameter 1 of `scale`, `scale_c`, has 8", "U32(1)", "<-"][..],
        ),
        (
            r#"[{"tensor":"a"},{"zeros":"a","dtype":"F32","shape":[1]},{"f32":1},{"u32":1}]"#,
            &["argument 1: the input has a tensor `a` already"][..],
        ),
        (
            r#"[{"zeros":"c","dtype":"F32","shape":[1]},{"zeros":"c","dtype":"F32","shape":[1]},{"f32":1},{"u32":1}]"#,
            &["argument 1: two entries make a buffer `c`"][..],
        ),
        ("[1", &["the arguments `args.json`: it is no valid JSON"][..]),
        (r#"[{"u33":1}]"#, &["argument 0: the object has none of the keys"][..]),
    ];
    for (text, wanted) in args {
        folder.put("args.json", text);
        refused(&folder, RUN, 1, wanted);
    }
    folder.put("k.ptx", SCALE.replace("mul.f32", "mul.f33"));
    refused(&folder, RUN, 1, &["`k.ptx` cannot be run", "line 38", "f33"]);
    folder.put("k.ptx", [0x7f, b'E', b'L', b'F', 0xff]);
    refused(&folder, RUN, 1, &["compile to PTX instead"]);
}

#[test]
fn a_wrong_command_line_gives_code_2_and_help_names_the_codes() {
    let folder = Folder::ready(&[1.0; 64]);
    refused(&folder, &RUN.replace("--grid 1,1,1", ""), 2, &["--grid"]);
    refused(&folder, &RUN.replace("--grid 1,1,1", "--grid 0"), 2, &["`0` is no dimension", "64,1,1"]);
    refused(&folder, &format!("{RUN} --check some"), 2, &["all", "none"]);
    refused(&folder, &format!("{RUN} --colour"), 2, &["--colour"]);
    let o = folder.run("--help");
    assert_eq!(o.status.code(), Some(0));
    assert!(out(&o).contains("0 clean, 1 an error"), "{}", out(&o));
}

#[test]
fn a_tensor_map_and_a_structure_go_in_by_value() {
    let folder = Folder::ready(&[1.0; 64]);
    folder.put(
        "k.ptx",
        r#".version 8.0
.target sm_90a
.address_size 64
.visible .entry peek(.param .align 64 .b8 map[128], .param .align 4 .b8 pair[8], .param .u64 to)
{
    .reg .b32 %r<3>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [to];
    ld.param.u64 %rd2, [map+0];
    ld.param.u32 %r1, [pair];
    ld.param.u32 %r2, [pair+4];
    st.global.v2.u32 [%rd1], {%r1, %r2};
    ld.param.u64 %rd3, [map+120];
    ret;
}
"#,
    );
    let map = r#"{"tensor_map":{"tensor":"m","dtype":"f32","dims":[8,8],"box":[4,4]}}"#;
    let entries =
        format!(r#"[{map},{{"bytes":"01000000 00010000"}},{{"zeros":"to","dtype":"U32","shape":[2]}}]"#);
    let buffers = r#"[{"zeros":"m","dtype":"F32","shape":[8,8]}]"#;
    folder.put("args.json", format!(r#"{{"buffers":{buffers},"args":{entries}}}"#));
    let run = "k.ptx --grid 1 --block 1 --args args.json --out out.safetensors";
    let o = folder.run(run);
    assert_eq!(o.status.code(), Some(0), "{}{}", out(&o), err(&o));
    let bytes = std::fs::read(folder.path("out.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("to").unwrap().data(), [1, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(file.tensor("m").unwrap().shape(), [8, 8]);
    folder.put("args.json", entries.replace("\"box\":[4,4]", "\"box\":[4]"));
    refused(&folder, run, 1, &["argument 0", "no tensor or buffer `m`"]);
    let wrong = entries.replace("\"box\":[4,4]", "\"box\":[4]");
    folder.put("args.json", format!(r#"{{"buffers":{buffers},"args":{wrong}}}"#));
    refused(&folder, run, 1, &["argument 0", "box"]);
}

/// What Triton compiles, run as its users would: two scratch pointers behind the kernel's own parameters.
#[test]
fn kernels_that_triton_made_run_from_their_files() {
    let folder = Folder::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ptx");
    let (rows, columns) = (3, 389);
    let x: Vec<f32> =
        (0..rows * columns).map(|i| ((i * 2_654_435_761usize) % 1000) as f32 * 0.016 - 8.0).collect();
    let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![rows, columns], &bytes).unwrap();
    folder.put("in.safetensors", safetensors::serialize([("x", view)], None).unwrap());
    let args = r#"[{"tensor":"x"},{"zeros":"y","dtype":"F32","shape":[3,389]},{"i32":389},{"null":true},{"null":true}]"#;
    folder.put("args.json", args);
    for target in ["sm_80", "sm_90a"] {
        let file = fixtures.join(format!("triton_softmax.{target}.triton-3.9.0.ptx"));
        let o = folder.run(&format!(
            "{} --kernel softmax --grid 3 --block 128 --smem 16 --in in.safetensors --args args.json --out out.safetensors",
            file.display()
        ));
        assert_eq!(o.status.code(), Some(0), "{}{}", out(&o), err(&o));
        let y = floats(&folder.path("out.safetensors"), "y");
        for (row, got) in x.chunks(columns).zip(y.chunks(columns)) {
            let top = row.iter().copied().fold(f32::MIN, f32::max);
            let powers: Vec<f64> = row.iter().map(|v| f64::from(v - top).exp()).collect();
            let sum: f64 = powers.iter().sum();
            for (p, g) in powers.iter().zip(got) {
                assert!(
                    (p / sum - f64::from(*g)).abs() <= 1e-5 * (p / sum) + 1e-7,
                    "{target}: {g} for {}",
                    p / sum
                );
            }
        }
    }
}
