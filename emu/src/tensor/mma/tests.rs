//! Every form against a plain triple loop over matrices that are written into the registers by the layouts.

use super::*;
use crate::tensor::decode::{f16_to_f32, f64_to_f16};
use crate::tensor::scale::ScaleSelector;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }
}

fn plain(m: usize, k: usize, a: Element, b: Element, accumulator: Accumulator) -> MmaSpec {
    MmaSpec {
        m,
        n: 8,
        k,
        a,
        b,
        c: accumulator,
        d: accumulator,
        kind: Kind::Plain,
        scaling: None,
        bits: BitOp::Xor,
        saturate: false,
    }
}

/// Codes of small values and what they mean, by a table written down here rather than by the decoders.
fn small(element: Element, byte_container: bool, random: &mut Random) -> (u32, f64) {
    let pick = random.next();
    let integer = f64::from(pick % 5) - 2.0;
    match element {
        Element::F16 => (u32::from(f64_to_f16(integer)), integer),
        Element::Bf16 => ((integer as f32).to_bits() >> 16, integer),
        // Low bits that a tensor core must not read.
        Element::Tf32 => ((integer as f32).to_bits() | 0x1ABC, integer),
        Element::E4m3 => {
            [(0x00, 0.0), (0x38, 1.0), (0xC0, -2.0), (0x3C, 1.5), (0x08, 0.015625)][pick as usize % 5]
        }
        Element::E5m2 => {
            [(0x00, 0.0), (0x3C, 1.0), (0xC0, -2.0), (0x3E, 1.5), (0x38, 0.5)][pick as usize % 5]
        }
        Element::E2m1 => {
            let (code, value) = [(0, 0.0), (2, 1.0), (12, -2.0), (7, 6.0), (1, 0.5)][pick as usize % 5];
            (if byte_container { code << 2 } else { code }, value)
        }
        Element::E2m3 => [(0, 0.0), (8, 1.0), (48, -2.0), (31, 7.5), (1, 0.125)][pick as usize % 5],
        Element::E3m2 => [(0, 0.0), (12, 1.0), (48, -2.0), (31, 28.0), (1, 0.0625)][pick as usize % 5],
        Element::S8 => (pick & 0xFF, f64::from(pick as u8 as i8)),
        Element::U8 => (pick & 0xFF, f64::from(pick as u8)),
        Element::S4 => (pick & 15, f64::from(((pick & 15) as i32) << 28 >> 28)),
        Element::U4 => (pick & 15, f64::from(pick & 15)),
        Element::B1 => (pick & 1, f64::from(pick & 1)),
        Element::F64 => (0, 0.0),
    }
}

type Registers = Vec<[u32; 32]>;

/// Random operand in registers, and the same as a matrix [outer][k].
fn operand(
    layout: OperandLayout,
    outer: usize,
    k: usize,
    element: Element,
    byte_container: bool,
    random: &mut Random,
) -> (Registers, Vec<Vec<f64>>) {
    let mut registers = vec![[0u32; 32]; layout.registers];
    let mut matrix = vec![vec![0.0; k]; outer];
    for (r, lanes) in registers.iter_mut().enumerate() {
        for (lane, word) in lanes.iter_mut().enumerate() {
            for part in 0..layout.parts {
                let (code, value) = small(element, byte_container, random);
                *word |= code << (32 / layout.parts * part);
                let (o, kk) = layout.element(r, lane, part);
                matrix[o][kk] = value;
            }
        }
    }
    (registers, matrix)
}

fn accumulator_bits(kind: Accumulator, value: f64) -> u32 {
    match kind {
        Accumulator::F16 => u32::from(f64_to_f16(value)),
        Accumulator::S32 => value as i32 as u32,
        _ => (value as f32).to_bits(),
    }
}

fn accumulator_value(kind: Accumulator, bits: u32) -> f64 {
    match kind {
        Accumulator::F16 => f64::from(f16_to_f32(bits as u16)),
        Accumulator::S32 => f64::from(bits as i32),
        _ => f64::from(f32::from_bits(bits)),
    }
}

fn check(spec: MmaSpec) {
    let mut random = Random(spec.k as u64 * 77 + spec.m as u64);
    let mma = Mma::new(spec).unwrap();
    let bytes = matches!(spec.kind, Kind::F8f6f4 | Kind::Mxf8f6f4);
    let (a, a_matrix) = operand(mma.a_layout(), spec.m, spec.k, spec.a, bytes, &mut random);
    let (b, b_matrix) = operand(mma.b_layout(), spec.n, spec.k, spec.b, bytes, &mut random);
    let layout = mma.c_layout();
    let mut c = vec![[0u32; 32]; layout.registers];
    let mut c_matrix = vec![vec![0.0; 8]; spec.m];
    for (r, lanes) in c.iter_mut().enumerate() {
        for (lane, word) in lanes.iter_mut().enumerate() {
            for part in 0..layout.parts {
                let value = f64::from(random.next() % 64) - 32.0;
                *word |= accumulator_bits(spec.c, value) << (16 * part);
                let (row, column) = layout.element(r, lane, part);
                c_matrix[row][column] = value;
            }
        }
    }
    let mut d = vec![[0xDEAD_BEEF; 32]; mma.registers().d];
    mma.execute(&a, &b, &c, &mut d, None, Accumulation::Exact).unwrap();
    let layout = mma.d_layout();
    for (r, lanes) in d.iter().enumerate() {
        for (lane, &word) in lanes.iter().enumerate() {
            for part in 0..layout.parts {
                let (row, column) = layout.element(r, lane, part);
                let mut expected = c_matrix[row][column];
                for k in 0..spec.k {
                    let (x, y) = (a_matrix[row][k], b_matrix[column][k]);
                    expected += match (spec.a, spec.bits) {
                        (Element::B1, BitOp::Xor) => f64::from(u8::from(x != y)),
                        _ => x * y,
                    };
                }
                let bits = if layout.parts == 2 { word >> (16 * part) & 0xFFFF } else { word };
                let rounded = accumulator_value(spec.d, accumulator_bits(spec.d, expected));
                assert_eq!(accumulator_value(spec.d, bits), rounded, "{} ({row}, {column})", describe(&spec));
            }
        }
    }
}

#[test]
fn every_form_equals_a_plain_product() {
    use Accumulator as To;
    use Element as E;
    for k in [8, 16] {
        check(plain(16, k, E::F16, E::F16, To::F32));
        check(plain(16, k, E::F16, E::F16, To::F16));
        check(MmaSpec { c: To::F16, ..plain(16, k, E::F16, E::F16, To::F32) });
        check(plain(16, k, E::Bf16, E::Bf16, To::F32));
    }
    check(plain(16, 4, E::Tf32, E::Tf32, To::F32));
    check(plain(16, 8, E::Tf32, E::Tf32, To::F32));
    for k in [16, 32] {
        for (a, b) in [(E::E4m3, E::E4m3), (E::E4m3, E::E5m2), (E::E5m2, E::E4m3)] {
            check(plain(16, k, a, b, To::F32));
            check(plain(16, k, a, b, To::F16));
        }
    }
    for (a, b) in [(E::S8, E::S8), (E::U8, E::U8), (E::S8, E::U8), (E::U8, E::S8)] {
        check(plain(8, 16, a, b, To::S32));
        check(plain(16, 16, a, b, To::S32));
        check(plain(16, 32, a, b, To::S32));
    }
    for (a, b) in [(E::S4, E::S4), (E::U4, E::S4)] {
        check(plain(8, 32, a, b, To::S32));
        check(plain(16, 32, a, b, To::S32));
        check(plain(16, 64, a, b, To::S32));
    }
    for bits in [BitOp::Xor, BitOp::And] {
        check(MmaSpec { bits, ..plain(8, 128, E::B1, E::B1, To::S32) });
        check(MmaSpec { bits, ..plain(16, 128, E::B1, E::B1, To::S32) });
        check(MmaSpec { bits, ..plain(16, 256, E::B1, E::B1, To::S32) });
    }
    for (a, b) in [(E::E2m1, E::E4m3), (E::E3m2, E::E2m3), (E::E5m2, E::E2m1), (E::E2m3, E::E3m2)] {
        check(MmaSpec { kind: Kind::F8f6f4, ..plain(16, 32, a, b, To::F32) });
    }
}

#[test]
fn register_counts_are_those_of_the_table() {
    use Accumulator as To;
    use Element as E;
    let counts = |spec| {
        let MmaRegisters { a, b, c, d } = Mma::new(spec).unwrap().registers();
        (a, b, c, d)
    };
    assert_eq!(counts(plain(16, 8, E::F16, E::F16, To::F16)), (2, 1, 2, 2));
    assert_eq!(counts(plain(16, 16, E::Bf16, E::Bf16, To::F32)), (4, 2, 4, 4));
    assert_eq!(counts(plain(16, 4, E::Tf32, E::Tf32, To::F32)), (2, 1, 4, 4));
    assert_eq!(counts(plain(16, 256, E::B1, E::B1, To::S32)), (4, 2, 4, 4));
    assert_eq!(counts(plain(8, 4, E::F64, E::F64, To::F64)), (1, 1, 2, 2));
    assert_eq!(counts(plain(16, 16, E::F64, E::F64, To::F64)), (8, 4, 4, 4));
}

#[test]
fn refuses_forms_that_do_not_exist() {
    use Accumulator as To;
    use Element as E;
    for spec in [
        plain(16, 32, E::F16, E::F16, To::F32),
        plain(16, 16, E::F16, E::Bf16, To::F32),
        plain(16, 16, E::Bf16, E::Bf16, To::F16),
        plain(8, 4, E::F16, E::F16, To::F32),
        plain(16, 32, E::S8, E::S4, To::S32),
        plain(16, 32, E::E2m1, E::E2m1, To::F32),
        MmaSpec { kind: Kind::Mxf4, ..plain(16, 64, E::E2m1, E::E2m1, To::F32) },
        MmaSpec { n: 16, ..plain(16, 16, E::F16, E::F16, To::F32) },
    ] {
        let message = Mma::new(spec).unwrap_err().to_string();
        assert!(message.starts_with("mma has no form"), "{message}");
    }
    let mma = Mma::new(plain(16, 16, E::F16, E::F16, To::F32)).unwrap();
    let zero = [[0; 32]; 4];
    let error = mma.execute(&zero, &zero, &zero, &mut zero.clone(), None, Accumulation::Exact).unwrap_err();
    assert_eq!(error.to_string(), "operand b has 4 registers, this form takes 2");
    let wide = [[0; 32]; 4];
    assert!(mma.execute_f64(&wide, &wide[..2], &wide, &mut wide.clone()).is_err());
    let mma = Mma::new(plain(16, 16, E::F64, E::F64, To::F64)).unwrap();
    let eight = [[0; 32]; 8];
    assert!(mma.execute(&eight, &zero, &zero, &mut zero.clone(), None, Accumulation::Exact).is_err());
}

#[test]
fn integers_wrap_or_clamp() {
    let spec = plain(16, 32, Element::U8, Element::U8, Accumulator::S32);
    let (a, b) = ([[0xFFFF_FFFF; 32]; 4], [[0xFFFF_FFFF; 32]; 2]);
    let c = [[i32::MAX as u32; 32]; 4];
    let run = |saturate| {
        let mut d = [[0; 32]; 4];
        Mma::new(MmaSpec { saturate, ..spec })
            .unwrap()
            .execute(&a, &b, &c, &mut d, None, Accumulation::Exact)
            .unwrap();
        d[3][31] as i32
    };
    assert_eq!(run(true), i32::MAX);
    assert_eq!(run(false), i32::MAX.wrapping_add(32 * 255 * 255));
}

#[test]
fn f64_is_a_chain_of_fused_additions() {
    for (m, k) in [(8, 4), (16, 4), (16, 8), (16, 16)] {
        let mma = Mma::new(plain(m, k, Element::F64, Element::F64, Accumulator::F64)).unwrap();
        let counts = mma.registers();
        let mut random = Random(9);
        let mut fill = |count: usize| -> Vec<[u64; 32]> {
            (0..count)
                .map(|_| std::array::from_fn(|_| (f64::from(random.next()) / 1e7 - 100.0).to_bits()))
                .collect()
        };
        let (a, b, c) = (fill(counts.a), fill(counts.b), fill(counts.c));
        let mut d = vec![[0; 32]; counts.d];
        mma.execute_f64(&a, &b, &c, &mut d).unwrap();
        // Where element (row, k) of A lies, from the ISA's words: rows g and g + 8 first, then four columns on.
        let element = |row: usize, kk: usize| a[kk / 4 * (m / 8) + row / 8][row % 8 * 4 + kk % 4];
        for row in 0..m {
            for column in 0..8 {
                let (register, lane) = (row / 8 * 2 + column % 2, row % 8 * 4 + column / 2);
                let mut expected = f64::from_bits(c[register][lane]);
                for kk in 0..k {
                    let y = f64::from_bits(b[kk / 4][column * 4 + kk % 4]);
                    expected = f64::from_bits(element(row, kk)).mul_add(y, expected);
                }
                assert_eq!(d[register][lane], expected.to_bits());
            }
        }
    }
}

#[test]
fn nan_results_are_canonical() {
    let mma = Mma::new(plain(16, 16, Element::F16, Element::F16, Accumulator::F32)).unwrap();
    let (a, b) = ([[0x7C00_7C00; 32]; 4], [[0; 32]; 2]);
    let mut d = [[0; 32]; 4];
    for how in [Accumulation::Exact, Accumulation::Sm80, Accumulation::Sm90] {
        mma.execute(&a, &b, &[[0xFFC0_1234; 32]; 4], &mut d, None, how).unwrap();
        assert_eq!(d, [[0x7FFF_FFFF; 32]; 4]);
    }
    let mma = Mma::new(plain(16, 16, Element::F16, Element::F16, Accumulator::F16)).unwrap();
    let mut d = [[0; 32]; 2];
    mma.execute(&a, &b, &[[0; 32]; 2], &mut d, None, Accumulation::Sm90).unwrap();
    assert_eq!(d, [[0x7FFF_7FFF; 32]; 2]);
}

/// fp8 of Hopper's mma.sync: each half is truncated to f32 on its own and C is added last.
#[test]
fn fp8_on_machines_without_it_adds_c_last() {
    let mma = Mma::new(plain(16, 32, Element::E4m3, Element::E4m3, Accumulator::F32)).unwrap();
    let ones = 0x3838_3838;
    let (a, b) = ([[ones; 32]; 4], [[ones; 32]; 2]);
    let mut d = [[0; 32]; 4];
    let c = [[(2f32.powi(28)).to_bits(); 32]; 4];
    mma.execute(&a, &b, &c, &mut d, None, Accumulation::Sm90).unwrap();
    assert_eq!(f32::from_bits(d[0][0]), 2f32.powi(28) + 32.0, "32 ones are summed before they meet C");
    mma.execute(&a, &b, &c, &mut d, None, Accumulation::Sm89).unwrap();
    assert_eq!(f32::from_bits(d[0][0]), 2f32.powi(28));
}

/// Scales are a power of two per (row, group) that encodes where it was read from.
#[test]
fn block_scales_come_from_the_right_lane_and_byte() {
    for (kind, vector, scale, selectors) in [
        (Kind::Mxf8f6f4, 1u8, ScaleType::Ue8m0, [(0, 0, 0, 0), (3, 1, 2, 3)]),
        (Kind::Mxf4, 2, ScaleType::Ue8m0, [(0, 1, 2, 1), (2, 0, 0, 2)]),
        (Kind::Mxf4nvf4, 4, ScaleType::Ue4m3, [(0, 0, 0, 0), (0, 1, 0, 3)]),
    ] {
        let k = if kind == Kind::Mxf8f6f4 { 32 } else { 64 };
        let spec = MmaSpec {
            kind,
            scaling: Some(Scaling { vector, kind: scale }),
            ..plain(16, k, Element::E2m1, Element::E2m1, Accumulator::F32)
        };
        let mma = Mma::new(spec).unwrap();
        let mut random = Random(5);
        let bytes = kind == Kind::Mxf8f6f4;
        let (a, a_matrix) = operand(mma.a_layout(), 16, k, Element::E2m1, bytes, &mut random);
        let (b, b_matrix) = operand(mma.b_layout(), 8, k, Element::E2m1, bytes, &mut random);
        let code = |random: &mut Random| match scale {
            ScaleType::Ue8m0 => 120 + random.next() % 16,
            ScaleType::Ue4m3 => 0x28 + random.next() % 0x20,
        };
        let mut word = || (0..4).fold(0, |word, byte| word | code(&mut random) << (8 * byte));
        let a_words: [u32; 32] = std::array::from_fn(|_| word());
        let b_words: [u32; 32] = std::array::from_fn(|_| word());
        let value = |code: u32| match scale {
            ScaleType::Ue8m0 => 2f64.powi(code as i32 - 127),
            ScaleType::Ue4m3 => (1.0 + f64::from(code & 7) / 8.0) * 2f64.powi((code >> 3) as i32 - 7),
        };
        for (a_byte, a_thread, b_byte, b_thread) in selectors {
            let scales = Scales {
                a: a_words,
                a_selector: ScaleSelector { byte: a_byte, thread: a_thread },
                b: b_words,
                b_selector: ScaleSelector { byte: b_byte, thread: b_thread },
            };
            let zero = [[0; 32]; 4];
            for how in [Accumulation::Exact, Accumulation::Sm100] {
                let mut d = zero;
                mma.execute(&a, &b, &zero, &mut d, Some(&scales), how).unwrap();
                for row in 0..16 {
                    for column in 0..8 {
                        let (mut expected, mut size) = (0.0, 0.0);
                        for kk in 0..k {
                            let group = (kk * usize::from(vector) / k) as u32;
                            let lane = row % 8 * 4 + usize::from(a_thread) * 2 + usize::from(row >= 8);
                            let x = value(a_words[lane] >> (8 * (u32::from(a_byte) + group)) & 0xFF);
                            let lane = column * 4 + usize::from(b_thread);
                            let y = value(b_words[lane] >> (8 * (u32::from(b_byte) + group)) & 0xFF);
                            let term = a_matrix[row][kk] * x * (b_matrix[column][kk] * y);
                            expected += term;
                            size += term.abs();
                        }
                        let bits = d[row / 8 * 2 + column % 2][row % 8 * 4 + column / 2];
                        let found = f64::from(f32::from_bits(bits));
                        // The f64 sum is exact here; the machine truncates below 2^-25 of the largest term.
                        match how {
                            Accumulation::Exact => assert_eq!(found, f64::from(expected as f32)),
                            _ => assert!((found - expected).abs() <= size * 2f64.powi(-19), "{kind:?}"),
                        }
                    }
                }
            }
            let wrong = Scales { a_selector: ScaleSelector { byte: 3, thread: 2 }, ..scales };
            let mut d = zero;
            assert!(mma.execute(&a, &b, &zero, &mut d, Some(&wrong), Accumulation::Exact).is_err());
        }
    }
}
