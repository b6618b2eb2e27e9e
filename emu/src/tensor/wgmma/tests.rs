//! Random tiles, written into shared memory by a layout of their own, through descriptors against plain products.

use super::*;
use crate::tensor::descriptor::shared_reader;
use crate::tensor::swizzle::Swizzle;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }
}

fn spec(n: usize, k: usize, element: Element, d: Accumulator) -> WgmmaSpec {
    WgmmaSpec {
        n,
        k,
        a: element,
        b: element,
        d,
        a_major: Major::K,
        b_major: Major::K,
        negate_a: false,
        negate_b: false,
        saturate: false,
    }
}

fn layout_code(swizzle: Swizzle) -> u64 {
    match swizzle {
        Swizzle::B128 => 1,
        Swizzle::B64 => 2,
        Swizzle::B32 => 3,
        _ => 0,
    }
}

/// A tile of bf16 in shared memory the way a kernel fills it: as panels one swizzle span wide that a tensor copy
/// would write (row after row, then the swizzle over the address), without any formula of the descriptor.
struct Tile {
    start: u64,
    leading: u64,
    stride: u64,
    /// What a step of 16 along k adds to the start.
    step: u64,
}

impl Tile {
    fn fill(memory: &mut [u8], base: u32, values: &[Vec<f32>], major: Major, swizzle: Swizzle) -> Self {
        let (rows, depth) = (values.len() as u32, values[0].len() as u32);
        let span = swizzle.span().unwrap_or(16);
        let panel = span / 2;
        for mn in 0..rows {
            for k in 0..depth {
                // Inside a panel one index runs along the span and the other over the rows of the panel.
                let (along, across, lines) = if major == Major::K { (k, mn, rows) } else { (mn, k, depth) };
                let linear = base + along / panel * (lines * span) + across * span + along % panel * 2;
                let at = swizzle.apply(linear) as usize;
                let bits = (values[mn as usize][k as usize].to_bits() >> 16) as u16;
                memory[at..at + 2].copy_from_slice(&bits.to_le_bytes());
            }
        }
        let (span, base, rows, depth) = (u64::from(span), u64::from(base), u64::from(rows), u64::from(depth));
        match (major, swizzle) {
            (Major::K, Swizzle::None) => {
                Self { start: base, leading: rows * 16, stride: 8 * 16, step: 2 * rows * 16 }
            }
            // Inside a panel the start moves along the span; a panel of 32 bytes holds one step only.
            (Major::K, Swizzle::B32) => Self { start: base, leading: 0, stride: 8 * span, step: rows * span },
            (Major::K, _) => Self { start: base, leading: 0, stride: 8 * span, step: 32 },
            (Major::Mn, Swizzle::None) => {
                Self { start: base, leading: 8 * 16, stride: depth * 16, step: 16 * 16 }
            }
            (Major::Mn, _) => Self { start: base, leading: depth * span, stride: 8 * span, step: 16 * span },
        }
    }

    fn descriptor(&self, step: u64, swizzle: Swizzle) -> Descriptor {
        let start = self.start + step * self.step;
        Descriptor::decode(
            start >> 4 | (self.leading >> 4) << 16 | (self.stride >> 4) << 32 | layout_code(swizzle) << 62,
        )
    }
}

fn matrix(rows: usize, depth: usize, random: &mut Random) -> Vec<Vec<f32>> {
    let mut value = || (random.next() % 17) as f32 / 4.0 - 2.0;
    (0..rows).map(|_| (0..depth).map(|_| value()).collect()).collect()
}

fn element(d: &[Vec<[u32; 32]>], layout: AccumulatorLayout, visit: &mut dyn FnMut(usize, usize, u32)) {
    for (warp, registers) in d.iter().enumerate() {
        for (r, lanes) in registers.iter().enumerate() {
            for (lane, &word) in lanes.iter().enumerate() {
                for part in 0..layout.parts {
                    let (row, column) = layout.element(r, lane, part);
                    visit(16 * warp + row, column, word >> (16 * part));
                }
            }
        }
    }
}

/// Two or more k steps over every pair of layouts: the advance of the start is what kernels do.
#[test]
fn random_tiles_through_descriptors_equal_a_plain_product() {
    let mut random = Random(3);
    let all = [
        (Major::K, Swizzle::B128, 64),
        (Major::K, Swizzle::B64, 32),
        (Major::K, Swizzle::B32, 64),
        (Major::K, Swizzle::None, 64),
        (Major::Mn, Swizzle::B128, 64),
        (Major::Mn, Swizzle::B64, 64),
        (Major::Mn, Swizzle::B32, 32),
        (Major::Mn, Swizzle::None, 64),
    ];
    for (i, &(a_major, a_swizzle, a_depth)) in all.iter().enumerate() {
        let (b_major, b_swizzle, b_depth) = all[(i * 3 + 4) % 8];
        let depth = usize::min(a_depth, b_depth);
        let n = if b_major == Major::Mn { 128 } else { 24 + 8 * i };
        let (a, b) = (matrix(64, a_depth, &mut random), matrix(n, b_depth, &mut random));
        let mut memory = vec![0xEE; 0x10000];
        let a_tile = Tile::fill(&mut memory, 0x2000, &a, a_major, a_swizzle);
        let b_tile = Tile::fill(&mut memory, 0x8000, &b, b_major, b_swizzle);
        let wgmma =
            Wgmma::new(WgmmaSpec { a_major, b_major, ..spec(n, 16, Element::Bf16, Accumulator::F32) })
                .unwrap();
        let layout = wgmma.d_layout();
        // NaN in D must not leak where scale-d is false.
        let mut d = vec![vec![[0x7FFF_FFFF; 32]; layout.registers]; 4];
        let (mut x, mut y) = (OperandTile::default(), OperandTile::default());
        for step in 0..depth as u64 / 16 {
            wgmma.fetch_a(a_tile.descriptor(step, a_swizzle), shared_reader(&memory), &mut x).unwrap();
            wgmma.fetch_b(b_tile.descriptor(step, b_swizzle), shared_reader(&memory), &mut y).unwrap();
            for (warp, d) in d.iter_mut().enumerate() {
                wgmma.execute_warp(warp, &x, &y, d, step > 0, Accumulation::Exact).unwrap();
            }
        }
        element(&d, layout, &mut |row, column, word| {
            let expected: f32 = (0..depth).map(|k| a[row][k] * b[column][k]).sum();
            assert_eq!(f32::from_bits(word), expected, "{a_swizzle:?} {b_swizzle:?} ({row}, {column})");
        });
    }
}

#[test]
fn registers_as_a_equal_shared_memory_as_a() {
    let mut random = Random(11);
    let mut memory = vec![0u8; 0x4000];
    for byte in &mut memory {
        // No exponent of all ones in any of the types, so that no NaN hides a difference.
        *byte = random.next() as u8 & 0xBB;
    }
    let plain = |start: u64| Descriptor::decode(start >> 4 | 8 << 16 | 16 << 32);
    for (element, k, d) in [
        (Element::F16, 16, Accumulator::F16),
        (Element::Bf16, 16, Accumulator::F32),
        (Element::Tf32, 8, Accumulator::F32),
        (Element::E4m3, 32, Accumulator::F32),
        (Element::E5m2, 32, Accumulator::F16),
        (Element::S8, 32, Accumulator::S32),
        (Element::U8, 32, Accumulator::S32),
        (Element::B1, 256, Accumulator::S32),
    ] {
        let wgmma = Wgmma::new(spec(16, k, element, d)).unwrap();
        let (mut a, mut b, mut a_registers) = Default::default();
        wgmma.fetch_a(plain(0), shared_reader(&memory), &mut a).unwrap();
        wgmma.fetch_b(plain(0x2000), shared_reader(&memory), &mut b).unwrap();
        for warp in 0..4 {
            // 32-bit words of A, k chunk by k chunk, as the no-swizzle layout has them.
            let registers: [[u32; 32]; 4] = std::array::from_fn(|r| {
                std::array::from_fn(|lane| {
                    let row = 16 * warp + lane / 4 + 8 * (r % 2);
                    let at = row / 8 * 256 + row % 8 * 16 + r / 2 * 128 + lane % 4 * 4;
                    u32::from_le_bytes(memory[at..at + 4].try_into().unwrap())
                })
            });
            wgmma.gather_a(&registers, &mut a_registers);
            let count = wgmma.d_layout().registers;
            let (mut x, mut y) = (vec![[7; 32]; count], vec![[7; 32]; count]);
            wgmma.execute_warp(warp, &a, &b, &mut x, true, Accumulation::Exact).unwrap();
            wgmma.execute_warp(warp, &a_registers, &b, &mut y, true, Accumulation::Exact).unwrap();
            assert_eq!(x, y, "{element:?}");
        }
    }
}

#[test]
fn bytes_and_bits_count_as_a_plain_loop_does() {
    let mut random = Random(23);
    let memory: Vec<u8> = (0..0x4000).map(|_| random.next() as u8).collect();
    let plain = |start: u64| Descriptor::decode(start >> 4 | 8 << 16 | 16 << 32);
    let byte =
        |base: usize, mn: usize, k: usize| memory[base + mn / 8 * 256 + mn % 8 * 16 + k / 16 * 128 + k % 16];
    for (a, b, bits) in [(Element::S8, Element::U8, false), (Element::B1, Element::B1, true)] {
        let k = if bits { 256 } else { 32 };
        let wgmma = Wgmma::new(WgmmaSpec { b, ..spec(24, k, a, Accumulator::S32) }).unwrap();
        let (mut x, mut y) = Default::default();
        wgmma.fetch_a(plain(0), shared_reader(&memory), &mut x).unwrap();
        wgmma.fetch_b(plain(0x2000), shared_reader(&memory), &mut y).unwrap();
        let layout = wgmma.d_layout();
        let mut d = vec![vec![[5; 32]; layout.registers]; 4];
        for (warp, d) in d.iter_mut().enumerate() {
            wgmma.execute_warp(warp, &x, &y, d, true, Accumulation::Exact).unwrap();
        }
        element(&d, layout, &mut |row, column, word| {
            let expected: i32 = (0..32)
                .map(|k| {
                    let (x, y) = (byte(0, row, k), byte(0x2000, column, k));
                    if bits { (x & y).count_ones() as i32 } else { i32::from(x as i8) * i32::from(y) }
                })
                .sum();
            assert_eq!(word as i32, expected + 5);
        });
    }
}

#[test]
fn negated_operands_subtract() {
    let mut memory = vec![0u8; 0x4000];
    memory.as_chunks_mut::<2>().0.iter_mut().for_each(|pair| *pair = 0x3C00u16.to_le_bytes());
    let plain = |start: u64| Descriptor::decode(start >> 4 | 8 << 16 | 16 << 32);
    for (negate_a, negate_b, expected) in
        [(false, false, 26.0), (true, false, -6.0), (false, true, -6.0), (true, true, 26.0)]
    {
        let form = WgmmaSpec { negate_a, negate_b, ..spec(8, 16, Element::F16, Accumulator::F32) };
        let wgmma = Wgmma::new(form).unwrap();
        let (mut a, mut b) = Default::default();
        wgmma.fetch_a(plain(0), shared_reader(&memory), &mut a).unwrap();
        wgmma.fetch_b(plain(0), shared_reader(&memory), &mut b).unwrap();
        let mut d = [[10f32.to_bits(); 32]; 4];
        wgmma.execute_warp(2, &a, &b, &mut d, true, Accumulation::Exact).unwrap();
        assert_eq!(f32::from_bits(d[3][31]), expected);
        wgmma.gather_a(&[[0x3C00_3C00; 32]; 4], &mut a);
        let mut d = [[10f32.to_bits(); 32]; 4];
        wgmma.execute_warp(2, &a, &b, &mut d, true, Accumulation::Sm90).unwrap();
        assert_eq!(f32::from_bits(d[3][31]), expected);
    }
}

#[test]
fn refuses_shapes_that_do_not_assemble() {
    let fails = |form: WgmmaSpec| Wgmma::new(form).unwrap_err().to_string();
    assert!(fails(spec(40, 32, Element::S8, Accumulator::S32)).contains("multiple of 16"));
    assert!(fails(spec(12, 16, Element::F16, Accumulator::F32)).contains("multiple of 8"));
    assert!(fails(spec(264, 16, Element::F16, Accumulator::F32)).contains("8 to 256"));
    assert!(fails(spec(64, 16, Element::Tf32, Accumulator::F32)).contains("k8"));
    let transposed = WgmmaSpec { b_major: Major::Mn, ..spec(64, 32, Element::E4m3, Accumulator::F32) };
    assert!(fails(transposed).contains("transposed"));
    for n in [8, 16, 24, 32, 48, 256] {
        Wgmma::new(spec(n, 32, Element::U8, Accumulator::S32)).unwrap();
    }
    Wgmma::new(spec(40, 8, Element::Tf32, Accumulator::F32)).unwrap();
}

#[test]
fn a_descriptor_beyond_shared_memory_is_an_error_with_its_address() {
    let memory = vec![0u8; 0x1000];
    let wgmma = Wgmma::new(spec(8, 16, Element::Bf16, Accumulator::F32)).unwrap();
    let descriptor = Descriptor::decode(0xFC0 >> 4 | 8 << 16 | 16 << 32);
    let error = wgmma.fetch_b(descriptor, shared_reader(&memory), &mut OperandTile::default()).unwrap_err();
    assert_eq!(error, TensorError::OutOfShared { operand: "b", address: 0x1040 });
    let mut short = [[0; 32]; 3];
    let tile = OperandTile::default();
    assert!(wgmma.execute_warp(0, &tile, &tile, &mut short, true, Accumulation::Exact).is_err());
}
