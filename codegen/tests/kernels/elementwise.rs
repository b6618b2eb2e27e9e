//! Elementwise functions.

use crate::case::{Batch, Case, Content, Family, Operand, Segment};
use crate::dice::Dice;
use jet_codegen::kernel::elementwise::FUNCTIONS;
use jet_codegen::kernel::{Elem, Formats};
use jet_codegen::schedule::Problem;

pub struct Elementwise;

impl Family for Elementwise {
    fn name(&self) -> &'static str {
        "elementwise"
    }

    fn cases(&self) -> usize {
        3 * FUNCTIONS.len()
    }

    fn goldens(&self) -> Vec<(&'static str, Problem)> {
        let of = |f: &'static str, format: &str, width: usize| {
            let sizes = [("width", width), ("align", 8), ("tokens", 64), (f, 1), ("head", 128)];
            Problem::new("elementwise", format, &sizes[..if f == "rope" { 5 } else { 4 }])
        };
        vec![
            ("silu", of("silu", "bf16", 1536)),
            ("relu2", of("relu2", "bf16", 15_680)),
            ("swiglu", of("swiglu", "bf16", 8960)),
            ("geglu", of("geglu", "bf16", 8960)),
            ("add", of("add", "bf16 out=f32", 1536)),
            ("embed", of("embed", "bf16 out=f32", 1536)),
            ("gather", of("gather", "f32", 1536)),
            ("copy", of("copy", "bf16 x=f32", 12)),
            ("rope", of("rope", "bf16", 768)),
            ("gates", of("gates", "f32", 12)),
        ]
    }

    fn random(&self, d: &mut Dice) -> Case {
        let f = &FUNCTIONS[d.below(FUNCTIONS.len())];
        let align = d.of(&[1, 2, 4, 8]);
        let main = d.of(&[Elem::F32, Elem::Bf16]);
        let mixed = f.roles.iter().map(|r| (*r, d.of(&[main, Elem::F32]))).collect::<Vec<_>>();
        let formats = Formats::new(main, &mixed);
        let head = 2 * align * (1 + d.below(6));
        let width = if f.name == "rope" { head / 2 * (1 + d.below(4)) } else { align * (1 + d.below(40)) };
        let batch = batch(d);
        let rows = if f.name == "gather" { batch.out_rows.len() } else { batch.tokens() };
        let mut dims = vec![("width", width), ("align", align), ("tokens", rows), (f.name, 1)];
        if f.name == "rope" {
            dims.push(("head", head));
        }
        let mut case = Case {
            problem: Problem::new("elementwise", &formats.to_string(), &dims),
            batch,
            rows,
            operands: vec![],
            scalars: vec![],
            expected: vec![],
            tolerance: 0.0,
        };
        let last = f.roles[f.roles.len() - 1];
        for role in f.roles {
            let shape = match (f.name, *role) {
                ("embed", "table") => (VOCAB, width),
                ("gather", "x") => (case.batch.tokens(), width),
                ("rope", _) => (rows, 2 * width),
                _ => (rows, width),
            };
            let reads = *role != "out" || f.name == "add";
            let make = if reads { Operand::random } else { Operand::unwritten };
            case.operands.push(make(d, role, formats.get(role), shape, align));
        }
        match f.name {
            "rope" => rope(d, &mut case, head),
            "gates" => gates(d, &mut case, width),
            _ => {
                let want = (0..rows * width).map(|i| value(f.name, &case, i / width, i % width)).collect();
                case.expected.push((last, want));
            }
        }
        let worst = if f.roles.iter().all(|r| formats.get(r) == Elem::F32) { 1e-6 } else { 3e-3 };
        case.tolerance = worst;
        case
    }
}

const VOCAB: usize = 11;

fn batch(d: &mut Dice) -> Batch {
    let lens: Vec<usize> = (0..1 + d.below(3)).map(|_| 1 + d.below(5)).collect();
    let segments: Vec<Segment> = lens
        .iter()
        .enumerate()
        .map(|(slot, len)| Segment { slot, len: *len, past: d.below(9), first: d.below(2) * 100_000 })
        .collect();
    let tokens = lens.iter().sum();
    Batch {
        segments,
        token_ids: (0..tokens).map(|_| d.below(VOCAB)).collect(),
        out_rows: (0..1 + d.below(tokens)).map(|_| d.below(tokens)).collect(),
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn value(function: &str, case: &Case, row: usize, col: usize) -> f64 {
    let at = |role: &str, row: usize| case.operand(role).row(row)[col];
    let gelu = |x: f64| {
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
        0.5 * x * (1.0 + inner.tanh())
    };
    match function {
        "silu" => at("x", row) * sigmoid(at("x", row)),
        "relu2" => at("x", row).max(0.0).powi(2),
        "copy" => at("x", row),
        "add" => at("x", row) + at("out", row),
        "swiglu" => at("gate", row) * sigmoid(at("gate", row)) * at("up", row),
        "geglu" => gelu(at("gate", row)) * at("up", row),
        "gather" => at("x", case.batch.out_rows[row]),
        "embed" => at("table", case.batch.token_ids[row]),
        other => panic!("{other} has a reference of its own"),
    }
}

fn rope(d: &mut Dice, case: &mut Case, head: usize) {
    let pairs = head / 2;
    let turns: Vec<f64> = (0..pairs).map(|_| (d.unit() + 1.0) / 12.0).collect();
    let fixed: Vec<u8> = turns.iter().flat_map(|t| ((t * 2f64.powi(64)) as u64).to_le_bytes()).collect();
    let x = case.operand("x").clone();
    let places = case.batch.segments.iter().flat_map(|s| (0..s.len).map(|t| s.first + s.past + t));
    let mut want = Vec::new();
    for (row, position) in places.enumerate() {
        let x = x.row(row);
        for c in 0..x.len() {
            let (first, i) = (c / head * head, c % head);
            let angle = std::f64::consts::TAU * (position as f64 * turns[i % pairs]).fract();
            let (low, high) = (x[first + i % pairs], x[first + i % pairs + pairs]);
            want.push(if i < pairs {
                low * angle.cos() - high * angle.sin()
            } else {
                high * angle.cos() + low * angle.sin()
            });
        }
    }
    case.expected.push(("x", want));
    case.operands.push(Operand::bytes("frequencies", fixed));
}

fn gates(d: &mut Dice, case: &mut Case, heads: usize) {
    let (a_log, dt_bias) = (Operand::vector(d, "a_log", heads), Operand::vector(d, "dt_bias", heads));
    let (a, b) = (case.operand("a").clone(), case.operand("b").clone());
    let decay = |(i, a): (usize, &f64)| {
        let h = i % heads;
        -a_log.row(0)[h].exp() * (a + dt_bias.row(0)[h]).exp().ln_1p()
    };
    case.expected.push(("a", a.values().iter().enumerate().map(decay).collect()));
    case.expected.push(("b", b.values().iter().map(|b| sigmoid(*b)).collect()));
    for o in [&a_log, &dt_bias] {
        assert!(matches!(o.content, Content::Values(_)));
    }
    case.operands.extend([a_log, dt_bias]);
}
