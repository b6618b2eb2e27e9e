//! One problem with its operands and what must come out.

use crate::dice::Dice;
use half::{bf16, f16};
use jet_codegen::kernel::Elem;
use jet_codegen::schedule::Problem;

/// A family's part of the tests.
pub trait Family: Sync {
    fn name(&self) -> &'static str;
    /// Problems whose sources are goldens, each with a name for the file. The schedule is the default.
    fn goldens(&self) -> Vec<(&'static str, Problem)>;
    /// A random problem of small ragged sizes, with operands and expectations from a plain f64 reference.
    fn random(&self, dice: &mut Dice) -> Case;
    /// The operands of a layer that counters are taken of; none where the family has no such layers here. The sizes are
    /// the problem's, the sequences the batch's.
    fn layer(&self, _dice: &mut Dice, _problem: &Problem, _batch: Batch) -> Option<Case> {
        None
    }
    /// How many random cases parity takes.
    fn cases(&self) -> usize {
        12
    }
}

/// A run's batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Per sequence: slot, new tokens, tokens before, position of the first of all.
    pub segments: Vec<Segment>,
    /// Ids of the new tokens.
    pub token_ids: Vec<usize>,
    /// Rows that outputs are asked for.
    pub out_rows: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub slot: usize,
    pub len: usize,
    pub past: usize,
    pub first: usize,
}

impl Batch {
    /// One sequence of `rows` tokens.
    pub fn one(rows: usize) -> Self {
        Self { segments: vec![Segment { slot: 0, len: rows, past: 0, first: 0 }], ..Self::default() }
    }

    pub fn tokens(&self) -> usize {
        self.segments.iter().map(|s| s.len).sum()
    }

    /// First row of each segment.
    pub fn starts(&self) -> Vec<usize> {
        let start = |at: &mut usize, s: &Segment| {
            let first = *at;
            *at += s.len;
            Some(first)
        };
        self.segments.iter().scan(0, start).collect()
    }
}

/// What an operand holds before the launch.
#[derive(Clone, Debug)]
pub enum Content {
    /// Values of its format, row by row.
    Values(Vec<f64>),
    /// Nothing: reading it before it is written is a mistake.
    Unwritten,
    /// Bytes as they are, for operands that are no floats.
    Bytes(Vec<u8>),
}

/// An operand.
#[derive(Clone, Debug)]
pub struct Operand {
    pub role: &'static str,
    pub elem: Elem,
    pub rows: usize,
    pub cols: usize,
    /// Elements from row to row; what lies between is poisoned.
    pub stride: usize,
    /// Elements before the first one, poisoned too.
    pub lead: usize,
    /// For states: elements from one sequence's part to the next, and how many there are; rows are of one part.
    pub slots: Option<(usize, usize)>,
    pub content: Content,
}

impl Operand {
    /// Random values between -1 and 1, rounded to `elem`, with rows further apart than they are long.
    pub fn random(
        dice: &mut Dice,
        role: &'static str,
        elem: Elem,
        (rows, cols): (usize, usize),
        align: usize,
    ) -> Self {
        let values = (0..rows * cols).map(|_| round(elem, dice.unit())).collect();
        let gap = dice.below(3) * align;
        Self {
            role,
            elem,
            rows,
            cols,
            stride: cols.next_multiple_of(align) + gap,
            lead: dice.below(3) * align,
            slots: None,
            content: Content::Values(values),
        }
    }

    /// The same place without values.
    pub fn unwritten(
        dice: &mut Dice,
        role: &'static str,
        elem: Elem,
        shape: (usize, usize),
        align: usize,
    ) -> Self {
        Self { content: Content::Unwritten, ..Self::random(dice, role, elem, shape, align) }
    }

    /// A vector of f32 without gaps.
    pub fn vector(dice: &mut Dice, role: &'static str, len: usize) -> Self {
        let o = Self::random(dice, role, Elem::F32, (1, len), 1);
        Self { stride: len, lead: 0, ..o }
    }

    /// Bytes as they are.
    pub fn bytes(role: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            role,
            elem: Elem::F32,
            rows: 1,
            cols: bytes.len() / 4,
            stride: bytes.len() / 4,
            lead: 0,
            slots: None,
            content: Content::Bytes(bytes),
        }
    }

    /// Its values.
    pub fn values(&self) -> &[f64] {
        match &self.content {
            Content::Values(v) => v,
            _ => panic!("`{}` has no values", self.role),
        }
    }

    /// One row of its values.
    pub fn row(&self, r: usize) -> &[f64] {
        &self.values()[r * self.cols..(r + 1) * self.cols]
    }
}

/// A problem set up.
pub struct Case {
    pub problem: Problem,
    pub batch: Batch,
    /// Rows of the operands.
    pub rows: usize,
    pub operands: Vec<Operand>,
    pub scalars: Vec<(&'static str, f32)>,
    /// What operands hold afterwards, row by row; operands that are not here must be unchanged.
    pub expected: Vec<(&'static str, Vec<f64>)>,
    /// Largest root mean square of the error over that of the reference.
    pub tolerance: f64,
}

impl Case {
    pub fn operand(&self, role: &str) -> &Operand {
        self.operands.iter().find(|o| o.role == role).unwrap_or_else(|| panic!("no operand `{role}`"))
    }

    /// What a kernel is told of an operand's rows: of a KV cache the places of the ring, which each of its heads has.
    pub fn rows_of(&self, o: &Operand) -> usize {
        let heads = if o.role.ends_with("_cache") { self.problem.dim("kv_heads").max(1) } else { 1 };
        o.rows / heads
    }
}

/// `x` rounded to nearest even.
pub fn round(elem: Elem, x: f64) -> f64 {
    match elem {
        Elem::F32 => f64::from(x as f32),
        Elem::Bf16 => bf16::from_f64(x).to_f64(),
        Elem::F16 => f16::from_f64(x).to_f64(),
        Elem::E4m3 => decode_e4m3(encode_e4m3(x)),
    }
}

/// The bytes of `x` in `elem`.
pub fn encode(elem: Elem, x: f64) -> Vec<u8> {
    match elem {
        Elem::F32 => (x as f32).to_le_bytes().to_vec(),
        Elem::Bf16 => bf16::from_f64(x).to_le_bytes().to_vec(),
        Elem::F16 => f16::from_f64(x).to_le_bytes().to_vec(),
        Elem::E4m3 => vec![encode_e4m3(x)],
    }
}

/// The value of bytes in `elem`.
pub fn decode(elem: Elem, bytes: &[u8]) -> f64 {
    match (elem, bytes) {
        (Elem::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        (Elem::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f64(),
        (Elem::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
        (Elem::E4m3, &[a]) => decode_e4m3(a),
        _ => panic!("{} bytes are no {elem}", bytes.len()),
    }
}

fn decode_e4m3(code: u8) -> f64 {
    let (sign, exponent, mantissa) = (code >> 7, i32::from(code >> 3 & 15), f64::from(code & 7));
    let magnitude = match (exponent, code & 7) {
        (15, 7) => f64::NAN,
        (0, _) => mantissa / 8.0 * 2f64.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

/// The nearest of all codes, even on a tie.
fn encode_e4m3(x: f64) -> u8 {
    let codes = (0..=255u8).filter(|c| c & 0x7f != 0x7f && (c >> 7 == 1) == x.is_sign_negative());
    codes
        .min_by(|a, b| {
            let distance = |c: &u8| (decode_e4m3(*c) - x).abs();
            distance(a).total_cmp(&distance(b)).then((a & 1).cmp(&(b & 1)))
        })
        .expect("there are codes of either sign")
}
