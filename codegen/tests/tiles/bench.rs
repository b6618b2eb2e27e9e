//! A small kernel around a primitive: from text to the bytes it writes.

use jet_codegen::arch;
use jet_codegen::emit::library::{reached, tiles};
use jet_codegen::nvrtc::{Nvrtc, Output};
use jet_emu::exec::{Arg, Emulator, EmulatorOptions, LaunchConfig};
use jet_emu::tensor::{MapElement, SwizzleMode, TensorMapSpec};

/// Runs `kernel`, a function `void k(const In*, …, Out*)`, on one CTA of `threads` threads, with `inputs` and an
/// output of `len` bytes behind them. `None` where there is no NVRTC.
pub fn run(kernel: &str, target: &str, threads: u32, inputs: &[Vec<u8>], len: usize) -> Option<Vec<u8>> {
    run_mapped(kernel, target, threads, inputs, &[], len)
}

/// A tensor map over 16-bit values of an input, the rows one after the other, under the 128-byte swizzle.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    pub input: usize,
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
    pub box_rows: u32,
}

/// The same for a kernel with tensor maps between its inputs and its output.
pub fn run_mapped(
    kernel: &str,
    target: &str,
    threads: u32,
    inputs: &[Vec<u8>],
    maps: &[Mapped],
    len: usize,
) -> Option<Vec<u8>> {
    let nvrtc = match Nvrtc::get() {
        Ok(n) => n,
        Err(e) => {
            println!("skipped: tiles: {e}");
            return None;
        }
    };
    let mut text = String::new();
    for item in reached(tiles(), &[kernel]) {
        text += &format!("{}\n\n", item.text);
    }
    text += kernel;
    let target = arch::parse(target).expect("it is a row");
    let compiled = nvrtc.compile(&text, target, Output::Ptx).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut emulator = Emulator::new(EmulatorOptions::default());
    let module = emulator.load(&compiled.ptx).unwrap_or_else(|e| panic!("{e}"));
    let buffer = |(i, bytes): (usize, &Vec<u8>)| {
        emulator.alloc_bytes(&format!("in{i}"), bytes).expect("there is room")
    };
    let buffers: Vec<_> = inputs.iter().enumerate().map(buffer).collect();
    let mut args: Vec<_> = buffers.iter().map(|b| Arg::Buffer(*b)).collect();
    for m in maps {
        let mut spec = TensorMapSpec {
            tensor: format!("in{}", m.input),
            offset: 0,
            dtype: MapElement::Bf16,
            dims: vec![m.cols as u64, m.rows as u64],
            strides: Some(vec![2 * m.stride as u64]),
            box_dims: vec![64, m.box_rows],
            element_strides: None,
            swizzle: Default::default(),
            fill: Default::default(),
            interleave: Default::default(),
            l2_promotion: Default::default(),
        };
        spec.swizzle.mode = SwizzleMode::B128;
        let address = emulator.address(buffers[m.input]).expect("it is there");
        args.push(Arg::Bytes(spec.build(address).unwrap_or_else(|e| panic!("{e}")).encode().to_vec()));
    }
    let out = emulator.alloc("out", len as u64).expect("there is room");
    args.push(Arg::Buffer(out));
    let report =
        emulator.launch(module, &LaunchConfig::new("k", 1, threads), &args).expect("it can be launched");
    assert!(report.clean(), "{:#?}\n{text}", report.findings);
    Some(emulator.read(out).expect("it is there"))
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Values between -1 and 1 from a seed (splitmix64).
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    let word = |i: usize| {
        let x = (seed << 32).wrapping_add(i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let a = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    };
    (0..len).map(|i| (word(i) >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}
