//! mma.sync: D = A * B + C by one warp (PTX ISA, mma).

use super::accumulate::{
    Accumulation, Aligned, Model, ScaleExponents, Unit, exponents, multiply, multiply_as,
};
use super::decode::{exponent, with_unpack};
use super::element::{Accumulator, Element, Packing, ScaleType};
use super::error::TensorError;
use super::fragment::{
    AccumulatorLayout, Block, Finish, OperandLayout, gather_a, gather_b, gather_block, scatter_block,
};
use super::scale::Scales;

/// The `.kind` of an mma, which decides how narrow floats are packed and whether they are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// No `.kind`.
    #[default]
    Plain,
    /// `.kind::f8f6f4`: one element a byte.
    F8f6f4,
    /// `.kind::mxf8f6f4`: the same, one scale per row.
    Mxf8f6f4,
    /// `.kind::mxf4`: packed e2m1, two scales per row.
    Mxf4,
    /// `.kind::mxf4nvf4`: packed e2m1, two or four scales per row.
    Mxf4nvf4,
}

/// `.scale_vec` and type of the block scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scaling {
    /// Scales per row or column: 1, 2 or 4.
    pub vector: u8,
    /// Their type.
    pub kind: ScaleType,
}

/// How single bits are combined before they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BitOp {
    /// `.xor.popc`
    #[default]
    Xor,
    /// `.and.popc`
    And,
}

/// The modifiers of an mma, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MmaSpec {
    /// Rows of A and D.
    pub m: usize,
    /// Columns of B and D.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// Type of A.
    pub a: Element,
    /// Type of B.
    pub b: Element,
    /// Type of C.
    pub c: Accumulator,
    /// Type of D.
    pub d: Accumulator,
    /// The `.kind`.
    pub kind: Kind,
    /// The block scales, of the mx kinds.
    pub scaling: Option<Scaling>,
    /// Operation on bits; read for b1 only.
    pub bits: BitOp,
    /// `.satfinite`: integers clamp instead of wrapping.
    pub saturate: bool,
}

/// Registers of each operand: of 32 bits, for f64 of 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MmaRegisters {
    /// Registers of A.
    pub a: usize,
    /// Registers of B.
    pub b: usize,
    /// Registers of C.
    pub c: usize,
    /// Registers of D.
    pub d: usize,
}

/// An mma whose combination of shape and types exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mma {
    spec: MmaSpec,
    packing: (Packing, Packing),
}

impl Mma {
    /// Checks that the form exists.
    pub fn new(spec: MmaSpec) -> Result<Self, TensorError> {
        if let Some(expected) = fault(&spec) {
            return Err(TensorError::Form { instruction: "mma", found: describe(&spec), expected });
        }
        let pack = |element| match spec.kind {
            Kind::F8f6f4 | Kind::Mxf8f6f4 => Packing::Byte(element),
            _ => Packing::Plain(element),
        };
        Ok(Self { spec, packing: (pack(spec.a), pack(spec.b)) })
    }

    /// The modifiers.
    pub const fn spec(&self) -> &MmaSpec {
        &self.spec
    }

    /// Multiplications and additions of one instruction.
    pub const fn operations(&self) -> u64 {
        2 * (self.spec.m * self.spec.n * self.spec.k) as u64
    }

    /// Layout of A.
    pub fn a_layout(&self) -> OperandLayout {
        OperandLayout::new(self.spec.m, self.spec.k, self.parts(self.packing.0))
    }

    /// Layout of B.
    pub fn b_layout(&self) -> OperandLayout {
        OperandLayout::new(self.spec.n, self.spec.k, self.parts(self.packing.1))
    }

    /// Layout of C.
    pub const fn c_layout(&self) -> AccumulatorLayout {
        AccumulatorLayout::new(self.spec.m, self.spec.n, self.spec.c)
    }

    /// Layout of D.
    pub const fn d_layout(&self) -> AccumulatorLayout {
        AccumulatorLayout::new(self.spec.m, self.spec.n, self.spec.d)
    }

    /// How many registers each operand has.
    pub fn registers(&self) -> MmaRegisters {
        MmaRegisters {
            a: self.a_layout().registers,
            b: self.b_layout().registers,
            c: self.c_layout().registers,
            d: self.d_layout().registers,
        }
    }

    /// Elements in a register; an f64 fills its 64-bit register.
    fn parts(&self, packing: Packing) -> usize {
        if packing.element() == Element::F64 { 1 } else { packing.parts() }
    }

    /// Executes a form of 32-bit registers, given register by register with 32 lanes each. `d` may hold what was in
    /// its registers before; all of it is overwritten.
    pub fn execute(
        &self,
        a: &[[u32; 32]],
        b: &[[u32; 32]],
        c: &[[u32; 32]],
        d: &mut [[u32; 32]],
        scales: Option<&Scales>,
        how: Accumulation,
    ) -> Result<(), TensorError> {
        self.check_registers(a.len(), b.len(), c.len(), d.len())?;
        if self.spec.a == Element::F64 {
            return Err(self.wrong_width("registers of 64 bits"));
        }
        if self.spec.a == Element::B1 {
            self.execute_bits(a, b, c, d);
            return Ok(());
        }
        let scales = match self.spec.scaling {
            None => None,
            Some(scaling) => {
                let found =
                    scales.ok_or(TensorError::Registers { operand: "scale-a", found: 0, expected: 1 })?;
                found.check(usize::from(scaling.vector))?;
                Some((found, scaling))
            }
        };
        match self.spec.k {
            4 => self.execute_dense::<4>(a, b, c, d, scales, how),
            8 => self.execute_dense::<8>(a, b, c, d, scales, how),
            16 => self.execute_dense::<16>(a, b, c, d, scales, how),
            32 => self.execute_dense::<32>(a, b, c, d, scales, how),
            _ => self.execute_dense::<64>(a, b, c, d, scales, how),
        }
        Ok(())
    }

    /// Executes an f64 form: a chain of fused multiply-adds in the order of k.
    pub fn execute_f64(
        &self,
        a: &[[u64; 32]],
        b: &[[u64; 32]],
        c: &[[u64; 32]],
        d: &mut [[u64; 32]],
    ) -> Result<(), TensorError> {
        self.check_registers(a.len(), b.len(), c.len(), d.len())?;
        if self.spec.a != Element::F64 {
            return Err(self.wrong_width("registers of 32 bits"));
        }
        let (a_layout, b_layout, c_layout) = (self.a_layout(), self.b_layout(), self.c_layout());
        let mut a_tile = [[0.0; 16]; 16];
        let mut b_tile = [[0.0; 8]; 16];
        for lane in 0..32 {
            for (register, lanes) in a.iter().enumerate() {
                let (row, k) = a_layout.element(register, lane, 0);
                a_tile[row][k] = f64::from_bits(lanes[lane]);
            }
            for (register, lanes) in b.iter().enumerate() {
                let (column, k) = b_layout.element(register, lane, 0);
                b_tile[k][column] = f64::from_bits(lanes[lane]);
            }
        }
        for (register, (from, to)) in c.iter().zip(d).enumerate() {
            for lane in 0..32 {
                let (row, column) = c_layout.element(register, lane, 0);
                let mut sum = f64::from_bits(from[lane]);
                for (x, y) in a_tile[row].iter().zip(&b_tile).take(self.spec.k) {
                    sum = fma_with_payload(*x, y[column], sum);
                }
                to[lane] = sum.to_bits();
            }
        }
        Ok(())
    }

    fn wrong_width(&self, expected: &'static str) -> TensorError {
        TensorError::Form { instruction: "mma", found: describe(&self.spec), expected }
    }

    fn check_registers(&self, a: usize, b: usize, c: usize, d: usize) -> Result<(), TensorError> {
        let expected = self.registers();
        for (operand, found, expected) in
            [("a", a, expected.a), ("b", b, expected.b), ("c", c, expected.c), ("d", d, expected.d)]
        {
            if found != expected {
                return Err(TensorError::Registers { operand, found, expected });
            }
        }
        Ok(())
    }

    fn execute_dense<const K: usize>(
        &self,
        a: &[[u32; 32]],
        b: &[[u32; 32]],
        c: &[[u32; 32]],
        d: &mut [[u32; 32]],
        scales: Option<(&Scales, Scaling)>,
        how: Accumulation,
    ) {
        let groups = self.spec.m / 8;
        let mut a_tile = [[0.0; K]; 16];
        let mut b_tile = [[0.0; 8]; K];
        let mut block: Block = [[0.0; 8]; 16];
        // Forms with other types have no dense tile and do not come here.
        with_unpack!(self.packing.0, U => gather_a::<U, K>(a, groups, &mut a_tile), else return);
        with_unpack!(self.packing.1, U => gather_b::<U, K>(b, &mut b_tile), else return);
        gather_block(self.spec.c, c, &mut block);
        let rows = self.spec.m.min(16);
        match Model::of(how, self.unit(), self.spec.a, self.spec.d) {
            None => {
                if let Some((scales, scaling)) = scales {
                    apply_scales(scales, scaling, &mut a_tile, &mut b_tile);
                }
                multiply(&a_tile[..rows], &b_tile, &mut block);
            }
            Some(model) => {
                let a_exponents = exponents(&a_tile, self.spec.a);
                let b_exponents = exponents(&b_tile, self.spec.b);
                let scales =
                    scales.map(|(scales, scaling)| apply_scales(scales, scaling, &mut a_tile, &mut b_tile));
                let operands = Aligned {
                    a: &a_tile[..rows],
                    b: &b_tile,
                    a_exponents: &a_exponents,
                    b_exponents: &b_exponents,
                    scales: scales.as_ref(),
                };
                multiply_as(&model, &operands, &mut block);
            }
        }
        scatter_block(self.finish(), &block, d);
    }

    const fn unit(&self) -> Unit {
        match self.spec.kind {
            Kind::Plain => Unit::Mma,
            Kind::F8f6f4 | Kind::Mxf8f6f4 => Unit::MmaKind,
            Kind::Mxf4 | Kind::Mxf4nvf4 => Unit::MmaMxf4,
        }
    }

    const fn finish(&self) -> Finish {
        match self.spec.d {
            Accumulator::F16 => Finish::F16,
            Accumulator::S32 if self.spec.saturate => Finish::Clamp,
            Accumulator::S32 => Finish::Wrap,
            _ => Finish::F32,
        }
    }

    /// Bits: rows and columns of words, combined and counted.
    fn execute_bits(&self, a: &[[u32; 32]], b: &[[u32; 32]], c: &[[u32; 32]], d: &mut [[u32; 32]]) {
        let words = self.spec.k / 32;
        let mut rows = [[0u32; 8]; 16];
        let mut columns = [[0u32; 8]; 8];
        let groups = self.spec.m / 8;
        for lane in 0..32 {
            for (register, lanes) in a.iter().enumerate() {
                rows[lane / 4 + 8 * (register % groups)][register / groups * 4 + lane % 4] = lanes[lane];
            }
            for (register, lanes) in b.iter().enumerate() {
                columns[lane / 4][register * 4 + lane % 4] = lanes[lane];
            }
        }
        let mut block: Block = [[0.0; 8]; 16];
        gather_block(Accumulator::S32, c, &mut block);
        multiply_bits(&rows, &columns, words, self.spec.bits, &mut block);
        scatter_block(Finish::Wrap, &block, d);
    }
}

/// Adds the number of bits set in the combination of each row with each column.
pub(super) fn multiply_bits(
    rows: &[[u32; 8]],
    columns: &[[u32; 8]],
    words: usize,
    op: BitOp,
    block: &mut Block,
) {
    for (row, sums) in rows.iter().zip(block) {
        for (column, sum) in columns.iter().zip(sums) {
            let pairs = row.iter().zip(column).take(words);
            let count: u32 = match op {
                BitOp::Xor => pairs.map(|(x, y)| (x ^ y).count_ones()).sum(),
                BitOp::And => pairs.map(|(x, y)| (x & y).count_ones()).sum(),
            };
            *sum += f64::from(count);
        }
    }
}

/// f64 keeps the payload of the first NaN operand, quieted.
fn fma_with_payload(a: f64, b: f64, c: f64) -> f64 {
    let result = a.mul_add(b, c);
    if !result.is_nan() {
        return result;
    }
    let first = [a, b, c].into_iter().find(|x| x.is_nan());
    f64::from_bits(first.map_or(0x7FF8_0000_0000_0000, |x| x.to_bits() | 0x0008_0000_0000_0000))
}

/// Multiplies the scales into the operands (exact: few bits each) and returns their exponents.
fn apply_scales<const K: usize>(
    scales: &Scales,
    scaling: Scaling,
    a: &mut [[f64; K]; 16],
    b: &mut [[f64; 8]; K],
) -> ScaleExponents {
    let vector = usize::from(scaling.vector);
    let (rows, columns) = (scales.rows(vector, scaling.kind), scales.columns(vector, scaling.kind));
    let group = K / vector;
    for (row, scales) in a.iter_mut().zip(&rows) {
        row.iter_mut().enumerate().for_each(|(k, value)| *value *= scales[k / group]);
    }
    for (k, row) in b.iter_mut().enumerate() {
        row.iter_mut().zip(&columns).for_each(|(value, scales)| *value *= scales[k / group]);
    }
    // Scales have one exponent per sixteen elements here, whatever their own group.
    let min = if scaling.kind == ScaleType::Ue4m3 { -6 } else { -127 };
    let of_row = |scales: &[f64; 4]| {
        std::array::from_fn(|sixteen| exponent(scales[(sixteen * 16 / group) & 3], min).unwrap_or(min))
    };
    ScaleExponents {
        a: std::array::from_fn(|r| of_row(&rows[r])),
        b: std::array::from_fn(|n| of_row(&columns[n])),
    }
}

/// The rule a form breaks, if any.
fn fault(spec: &MmaSpec) -> Option<&'static str> {
    match spec.kind {
        Kind::Plain if spec.scaling.is_some() => Some("block scales belong to the mx kinds"),
        Kind::Plain => plain_fault(spec),
        _ => kind_fault(spec),
    }
}

fn plain_fault(spec: &MmaSpec) -> Option<&'static str> {
    use Accumulator as To;
    let shape = (spec.m, spec.n, spec.k);
    let same = spec.a == spec.b;
    let floats = |c: To| matches!(c, To::F16 | To::F32);
    let (legal, rule) = match spec.a {
        Element::F16 => (
            same && floats(spec.c) && floats(spec.d) && matches!(shape, (16, 8, 8 | 16)),
            "f16 has m16n8k8 and m16n8k16, with accumulators f16 or f32",
        ),
        Element::Bf16 => (
            same && (spec.c, spec.d) == (To::F32, To::F32) && matches!(shape, (16, 8, 8 | 16)),
            "bf16 has m16n8k8 and m16n8k16, with accumulator f32",
        ),
        Element::Tf32 => (
            same && (spec.c, spec.d) == (To::F32, To::F32) && matches!(shape, (16, 8, 4 | 8)),
            "tf32 has m16n8k4 and m16n8k8, with accumulator f32",
        ),
        Element::F64 => (
            same && (spec.c, spec.d) == (To::F64, To::F64)
                && matches!(shape, (8, 8, 4) | (16, 8, 4 | 8 | 16)),
            "f64 has m8n8k4 and m16n8k4, k8 and k16, with accumulator f64",
        ),
        Element::E4m3 | Element::E5m2 => (
            spec.b.is_fp8() && floats(spec.c) && spec.c == spec.d && matches!(shape, (16, 8, 16 | 32)),
            "fp8 has m16n8k16 and m16n8k32, both operands fp8, one accumulator type f16 or f32",
        ),
        Element::S8 | Element::U8 => (
            matches!(spec.b, Element::S8 | Element::U8)
                && (spec.c, spec.d) == (To::S32, To::S32)
                && matches!(shape, (8, 8, 16) | (16, 8, 16 | 32)),
            "s8 and u8 have m8n8k16, m16n8k16 and m16n8k32, with accumulator s32",
        ),
        Element::S4 | Element::U4 => (
            matches!(spec.b, Element::S4 | Element::U4)
                && (spec.c, spec.d) == (To::S32, To::S32)
                && matches!(shape, (8, 8, 32) | (16, 8, 32 | 64)),
            "s4 and u4 have m8n8k32, m16n8k32 and m16n8k64, with accumulator s32",
        ),
        Element::B1 => (
            same && (spec.c, spec.d) == (To::S32, To::S32)
                && matches!(shape, (8, 8, 128) | (16, 8, 128 | 256)),
            "b1 has m8n8k128, m16n8k128 and m16n8k256, with accumulator s32",
        ),
        _ => (false, "e2m1, e2m3 and e3m2 need a .kind"),
    };
    (!legal).then_some(rule)
}

fn kind_fault(spec: &MmaSpec) -> Option<&'static str> {
    use Accumulator as To;
    let shape = (spec.m, spec.n, spec.k);
    let narrow = spec.a.is_narrow_float() && spec.b.is_narrow_float();
    let fp4 = (spec.a, spec.b) == (Element::E2m1, Element::E2m1);
    let f32s = (spec.c, spec.d) == (To::F32, To::F32);
    let scaling = spec.scaling.map(|s| (s.vector, s.kind));
    let (legal, rule) = match spec.kind {
        Kind::Plain => (true, ""),
        Kind::F8f6f4 => (
            shape == (16, 8, 32)
                && narrow
                && matches!(spec.c, To::F16 | To::F32)
                && spec.c == spec.d
                && scaling.is_none(),
            "kind::f8f6f4 has m16n8k32 of 8-, 6- and 4-bit floats, accumulator f16 or f32, no scales",
        ),
        Kind::Mxf8f6f4 => (
            shape == (16, 8, 32) && narrow && f32s && scaling == Some((1, ScaleType::Ue8m0)),
            "kind::mxf8f6f4 has m16n8k32 of 8-, 6- and 4-bit floats, accumulator f32, scale_vec::1X of ue8m0",
        ),
        Kind::Mxf4 => (
            shape == (16, 8, 64) && fp4 && f32s && scaling == Some((2, ScaleType::Ue8m0)),
            "kind::mxf4 has m16n8k64 of e2m1, accumulator f32, scale_vec::2X of ue8m0",
        ),
        Kind::Mxf4nvf4 => (
            shape == (16, 8, 64) && fp4 && f32s && matches!(scaling, Some((2, ScaleType::Ue8m0) | (4, _))),
            "kind::mxf4nvf4 has m16n8k64 of e2m1, accumulator f32, scale_vec::2X of ue8m0 or 4X",
        ),
    };
    (!legal).then_some(rule)
}

fn describe(spec: &MmaSpec) -> String {
    let MmaSpec { m, n, k, a, b, c, d, kind, scaling, .. } = spec;
    let mut text = format!("m{m}n{n}k{k}, D {d:?}, A {a:?}, B {b:?}, C {c:?}");
    if *kind != Kind::Plain {
        text += &format!(", kind {kind:?}");
    }
    if let Some(scaling) = scaling {
        text += &format!(", {} scales of {:?}", scaling.vector, scaling.kind);
    }
    text
}

#[cfg(test)]
mod tests;
