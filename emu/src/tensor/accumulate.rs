//! How a tensor core sums: the default, and models of what machines were measured to do.
//!
//! The ISA promises neither order nor rounding inside one instruction. The default forms every product exactly and
//! sums C and the products in f64, in the order of k, with one rounding (to nearest even) to the accumulator type.
//! Products of f16 and tf32 have 22 significant bits, of bf16 16, of fp8 and below 8: all exact in f64. An f64 sum
//! is inexact only where its terms spread over more than 53 bits; then each addition errs by at most 2^-53 of a
//! partial sum, where hardware drops everything below 2^-24 (or 2^-25, 2^-13) of the largest term. So the default is
//! tighter than any machine by more than 20 bits. Integer sums stay below 2^53 and are exact.
//!
//! The models are those of two bit-accurate studies that agree with each other (arXiv 2511.10909, 2512.07004): terms
//! are aligned to the largest exponent and truncated to F bits below it, summed exactly, and rounded once.

use super::decode::{exponent, f16_to_f32, f64_to_f16, f64_to_f32_toward_zero, power_of_two};
use super::element::{Accumulator, Element};
use super::fragment::Block;

/// How the sum of one tensor-core instruction is formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Accumulation {
    /// Exact products, f64 sums, one rounding to nearest even.
    #[default]
    Exact,
    /// A100: steps of 8 terms (tf32: 4) truncated to 24 bits below the largest exponent.
    Sm80,
    /// Ada: as A100, and fp8 in steps of 16 terms and 13 bits.
    Sm89,
    /// H100: steps of 16 terms (tf32: 8) and 25 bits; wgmma on fp8 32 terms and 13 bits; mma on fp8 as pairs of f16.
    Sm90,
    /// B200 and RTX Blackwell: as H100, the mx kinds with 25 or 35 bits.
    Sm100,
}

/// Which instruction asks: fp8 differs between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// mma.sync without a kind.
    Mma,
    /// mma.sync of the kinds f8f6f4 and mxf8f6f4: a native instruction of RTX Blackwell.
    MmaKind,
    /// mma.sync of the kinds mxf4 and mxf4nvf4.
    MmaMxf4,
    /// wgmma.mma_async.
    Wgmma,
}

/// In which portions the terms of one sum are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Chained steps of this many terms, low k first.
    Steps(usize),
    /// Terms with k mod 4 in {0, 1}, then the others, from zero; C is added last, as an f32 addition.
    Pairs,
    /// Exact sums of sixteen, each with its scales, and C.
    Sixteens,
}

/// A machine's way of summing one kind of operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    order: Order,
    /// Bits kept below the largest exponent.
    fraction: i32,
    /// Low bits of an f32 result that are cleared.
    dropped: u32,
    /// Type of C and D.
    accumulator: Accumulator,
}

impl Model {
    /// The model for an operand type, `None` where the sum is exact anyway or asked to be.
    pub(super) fn of(
        how: Accumulation,
        unit: Unit,
        element: Element,
        accumulator: Accumulator,
    ) -> Option<Self> {
        if how == Accumulation::Exact || element.is_integer() || element == Element::F64 {
            return None;
        }
        let old = matches!(how, Accumulation::Sm80 | Accumulation::Sm89);
        let (order, fraction, dropped) = match unit {
            Unit::MmaMxf4 => (Order::Sixteens, 35, 0),
            Unit::MmaKind => (Order::Steps(32), 25, 0),
            Unit::Wgmma if element.is_fp8() => (Order::Steps(32), 13, 10),
            Unit::Mma if element.is_fp8() && old => (Order::Steps(16), 13, 10),
            Unit::Mma if element.is_fp8() => (Order::Pairs, 25, 0),
            _ => {
                let terms = if old { 8 } else { 16 };
                let terms = if element == Element::Tf32 { terms / 2 } else { terms };
                (Order::Steps(terms), if old { 24 } else { 25 }, 0)
            }
        };
        Some(Self { order, fraction, dropped, accumulator })
    }

    /// One rounding of an exact sum to the accumulator type.
    fn round(&self, sum: f64) -> f64 {
        match self.accumulator {
            Accumulator::F16 => f64::from(f16_to_f32(f64_to_f16(sum))),
            _ if !sum.is_finite() => sum,
            _ => f64::from(f32::from_bits(f64_to_f32_toward_zero(sum) & (u32::MAX << self.dropped))),
        }
    }
}

/// Exponents of operands as their types store them, before any scale, in the shape of the tile; [`ZERO`] for zero.
pub(super) fn exponents<const WIDTH: usize, const ROWS: usize>(
    tile: &[[f64; WIDTH]],
    element: Element,
) -> [[i32; WIDTH]; ROWS] {
    let min = element.min_exponent();
    let mut found = [[ZERO; WIDTH]; ROWS];
    for (to, from) in found.iter_mut().zip(tile) {
        for (to, &value) in to.iter_mut().zip(from) {
            *to = exponent(value, min).unwrap_or(ZERO);
        }
    }
    found
}

/// Exponent of zero: far below all others, and safe to add a few times.
const ZERO: i32 = -100_000;

/// Exponents of the block scales: per row of A and column of B, per group of sixteen along k.
pub(super) struct ScaleExponents {
    pub(super) a: [[i32; 4]; 16],
    pub(super) b: [[i32; 4]; 8],
}

/// Adds A * B to the block in f64, k by k. Two rows at a time: the sums of one row alone would wait for each other.
#[inline]
pub(super) fn multiply<const K: usize>(a: &[[f64; K]], b: &[[f64; 8]; K], block: &mut Block) {
    let (pairs, last) = a.as_chunks::<2>();
    for (rows, sums) in pairs.iter().zip(block.as_chunks_mut::<2>().0) {
        multiply_rows(rows, b, sums);
    }
    if let ([row], Some(sums)) = (last, block.get_mut(2 * pairs.len())) {
        multiply_rows(&[*row], b, std::array::from_mut(sums));
    }
}

#[inline(always)]
fn multiply_rows<const ROWS: usize, const K: usize>(
    rows: &[[f64; K]; ROWS],
    b: &[[f64; 8]; K],
    block: &mut [[f64; 8]; ROWS],
) {
    let mut kept = *block;
    for (k, columns) in b.iter().enumerate() {
        for (row, sums) in rows.iter().zip(&mut kept) {
            let x = row[k];
            for (sum, &y) in sums.iter_mut().zip(columns) {
                *sum += x * y;
            }
        }
    }
    *block = kept;
}

/// One operand pair with the exponents that terms are aligned by.
pub(super) struct Aligned<'a, const K: usize> {
    /// Rows of A, with their scales multiplied in.
    pub(super) a: &'a [[f64; K]],
    /// Columns of B, likewise.
    pub(super) b: &'a [[f64; 8]; K],
    /// [`exponents`] of A before the scales.
    pub(super) a_exponents: &'a [[i32; K]; 16],
    /// [`exponents`] of B before the scales.
    pub(super) b_exponents: &'a [[i32; 8]; K],
    /// Exponents of the scales.
    pub(super) scales: Option<&'a ScaleExponents>,
}

impl<const K: usize> Aligned<'_, K> {
    /// Products of `row` at `k` with all columns.
    #[inline]
    fn products(&self, row: usize, k: usize) -> Columns<f64> {
        self.b[k].map(|y| self.a[row][k] * y)
    }

    /// Exponents of the scales of sixteen elements from `k`.
    #[inline]
    fn scale(&self, row: usize, k: usize) -> Columns<i32> {
        let group = k / 16 % 4;
        self.scales.map_or([0; 8], |s| std::array::from_fn(|n| s.a[row][group] + s.b[n][group]))
    }

    #[inline]
    fn term(&self, row: usize, k: usize) -> (Columns<f64>, Columns<i32>) {
        let scale = self.scale(row, k);
        let of_row = self.a_exponents[row][k];
        (self.products(row, k), std::array::from_fn(|n| of_row + self.b_exponents[k][n] + scale[n]))
    }
}

/// Adds A * B to the block as a machine would; results are rounded to the accumulator type.
pub(super) fn multiply_as<const K: usize>(model: &Model, operands: &Aligned<'_, K>, block: &mut Block) {
    let mut terms = Terms::default();
    for (row, sums) in block.iter_mut().enumerate().take(operands.a.len()) {
        *sums = match model.order {
            Order::Steps(length) => {
                let mut total = *sums;
                for first in (0..K).step_by(length) {
                    terms.start(total, model.accumulator);
                    (first..K.min(first + length)).for_each(|k| terms.push(operands.term(row, k)));
                    total = terms.fused(model.fraction).map(|sum| model.round(sum));
                }
                total
            }
            Order::Pairs => {
                // Two f16 steps from zero, then C by an f32 addition.
                let inner = Model { accumulator: Accumulator::F32, ..*model };
                let mut total = [0.0; 8];
                for half in [0, 2] {
                    terms.start(total, Accumulator::F32);
                    (0..K).filter(|k| k % 4 / 2 * 2 == half).for_each(|k| terms.push(operands.term(row, k)));
                    total = terms.fused(model.fraction).map(|sum| inner.round(sum));
                }
                std::array::from_fn(|n| f64::from(total[n] as f32 + sums[n] as f32))
            }
            Order::Sixteens => {
                terms.start(*sums, model.accumulator);
                for first in (0..K).step_by(16) {
                    let mut exact = [0.0; 8];
                    for k in first..K.min(first + 16) {
                        let products = operands.products(row, k);
                        exact.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
                    }
                    terms.push((exact, operands.scale(row, first)));
                }
                terms.fused(model.fraction).map(|sum| model.round(sum))
            }
        };
    }
}

/// One number for each of eight columns.
type Columns<T> = [T; 8];

/// The terms of one fused step of eight columns: values and the exponents they are aligned by.
#[derive(Default)]
struct Terms {
    list: Vec<(Columns<f64>, Columns<i32>)>,
}

impl Terms {
    fn start(&mut self, c: Columns<f64>, accumulator: Accumulator) {
        self.list.clear();
        let min = accumulator.min_exponent();
        self.list.push((c, c.map(|c| exponent(c, min).unwrap_or(ZERO))));
    }

    #[inline]
    fn push(&mut self, term: (Columns<f64>, Columns<i32>)) {
        self.list.push(term);
    }

    /// The exact sums of the terms after each was truncated to a multiple of 2^(largest exponent - fraction).
    fn fused(&self, fraction: i32) -> Columns<f64> {
        let (mut plain, mut largest) = ([0.0; 8], [ZERO; 8]);
        for (values, exponents) in &self.list {
            for n in 0..8 {
                plain[n] += values[n];
                largest[n] = largest[n].max(exponents[n]);
            }
        }
        // No term exceeds 2^(fraction + 10), so i64 holds every sum. Infinite terms are dealt with below.
        let scale = largest.map(|largest| power_of_two(fraction - largest));
        let mut sums = [0i64; 8];
        for (values, _) in &self.list {
            for n in 0..8 {
                sums[n] = sums[n].wrapping_add((values[n] * scale[n]) as i64);
            }
        }
        std::array::from_fn(|n| {
            if !plain[n].is_finite() {
                plain[n]
            } else if largest[n] <= ZERO / 2 {
                0.0
            } else {
                sums[n] as f64 * power_of_two(largest[n] - fraction)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(how: Accumulation, unit: Unit, element: Element, c: f64, a: [f64; 16], b: [f64; 16]) -> f64 {
        let mut block = [[0.0; 8]; 16];
        block[0][0] = c;
        let mut columns = [[0.0; 8]; 16];
        (0..16).for_each(|k| columns[k][0] = b[k]);
        match Model::of(how, unit, element, Accumulator::F32) {
            None => multiply(&[a], &columns, &mut block),
            Some(model) => {
                let operands = Aligned {
                    a: &[a],
                    b: &columns,
                    a_exponents: &exponents(&[a], element),
                    b_exponents: &exponents(&columns, element),
                    scales: None,
                };
                multiply_as(&model, &operands, &mut block);
            }
        }
        f64::from(block[0][0] as f32)
    }

    #[test]
    fn sixteen_ones_beside_a_large_c_survive_or_not_as_measured() {
        let ones = [1.0; 16];
        let at = |how, c| sum(how, Unit::Mma, Element::Bf16, c, ones, ones);
        let (c25, c26) = (2f64.powi(25), 2f64.powi(26));
        assert_eq!(at(Accumulation::Exact, c25), c25 + 16.0);
        assert_eq!(at(Accumulation::Sm90, c25), c25 + 16.0);
        assert_eq!(at(Accumulation::Sm80, c25), c25);
        assert_eq!(at(Accumulation::Sm90, c26), c26);
        assert_eq!(at(Accumulation::Exact, c26), c26 + 16.0);
    }

    #[test]
    fn fp8_of_wgmma_loses_what_is_13_bits_below_the_largest_term() {
        let mut a = [0.0; 16];
        (a[0], a[1]) = (256.0, 2f64.powi(-6));
        let mut b = [1.0; 16];
        b[0] = 1.0;
        let at = |how, unit| sum(how, unit, Element::E4m3, 0.0, a, b);
        assert_eq!(at(Accumulation::Exact, Unit::Wgmma), 256.0 + 2f64.powi(-6));
        assert_eq!(at(Accumulation::Sm90, Unit::Wgmma), 256.0);
        assert_eq!(at(Accumulation::Sm90, Unit::Mma), 256.0 + 2f64.powi(-6));
        assert_eq!(at(Accumulation::Sm100, Unit::MmaKind), 256.0 + 2f64.powi(-6));
        (a[0], a[1]) = (128.0, 2f64.powi(-6));
        let kept = sum(Accumulation::Sm89, Unit::Mma, Element::E4m3, 0.0, a, b);
        assert_eq!(kept, 128.0 + 2f64.powi(-6), "exactly 13 bits below");
    }

    /// An independent formulation with integers: every term as a count of units 2^(largest - F), the largest
    /// exponent found by comparing magnitudes instead of reading it.
    #[test]
    fn fused_steps_agree_with_a_model_on_integers() {
        let mut state = 12345u64;
        let mut next = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        for _ in 0..500 {
            // Significands 2^7..2^8, so that values are bf16 and log2 floors are the stored exponents.
            let mut pick = || {
                let significand = (128 + next() % 128) as f64 * if next() % 2 == 0 { 1.0 } else { -1.0 };
                significand * 2f64.powi((next() % 24) as i32 - 12)
            };
            let (mut a, mut b) = ([0.0; 16], [0.0; 16]);
            a.iter_mut().chain(b.iter_mut()).for_each(|v| *v = pick());
            let c = pick() * 16.0;
            for (how, steps, bits) in [(Accumulation::Sm80, 2usize, 24), (Accumulation::Sm90, 1, 25)] {
                let mut total = c;
                for step in 0..steps {
                    let range = step * 16 / steps..(step + 1) * 16 / steps;
                    let log = |x: f64| (x.abs().log2() + 1e-9).floor() as i32;
                    let mut largest = if total == 0.0 { -9999 } else { log(total) };
                    range.clone().for_each(|k| largest = largest.max(log(a[k]) + log(b[k])));
                    // In units of 2^-64, exact in i128.
                    let unit = 1i128 << (64 + largest - bits);
                    let cut = |x: f64| (x * 2f64.powi(40)) as i128 * (1 << 24) / unit * unit;
                    let exact = range.map(|k| cut(a[k] * b[k])).sum::<i128>() + cut(total);
                    let width = 128 - exact.unsigned_abs().leading_zeros();
                    let grid = 1i128 << width.saturating_sub(24);
                    total = (exact / grid * grid) as f64 * 2f64.powi(-64);
                }
                assert_eq!(sum(how, Unit::Mma, Element::Bf16, c, a, b), total, "{how:?}");
            }
        }
    }

    #[test]
    fn exceptions_and_subnormals_pass_through_the_models() {
        let ones = [1.0; 16];
        let mut a = ones;
        a[3] = f64::INFINITY;
        let at = |a, c| sum(Accumulation::Sm90, Unit::Mma, Element::F16, c, a, ones);
        assert_eq!(at(a, 0.0), f64::INFINITY);
        assert!(at(a, f64::NEG_INFINITY).is_nan());
        let mut tiny = [0.0; 16];
        tiny[0] = 2f64.powi(-24);
        assert_eq!(sum(Accumulation::Sm80, Unit::Mma, Element::F16, 0.0, tiny, ones), 2f64.powi(-24));
        assert_eq!(sum(Accumulation::Sm80, Unit::Mma, Element::F16, 0.0, [0.0; 16], ones), 0.0);
    }
}
