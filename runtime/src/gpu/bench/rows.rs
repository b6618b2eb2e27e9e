//! Cases of kernels whose rows are independent.

use super::case::{Case, Maker};
use jet_codegen::kernel::Elem;
use jet_codegen::kernel::elementwise::function_of;
use jet_codegen::op::{GateOrder, Op, RopeSpec, Unary};
use jet_codegen::program::Rows;
use jet_dsl::block::{Act, RopeScaling};
use jet_dsl::weight::Role;

/// A few roundings of f32, or one of the result.
fn allowed(m: &Maker<'_>, roles: &[&str]) -> f64 {
    if roles.iter().all(|r| m.elem(r) == Elem::F32) { 4e-6 } else { 4e-3 }
}

pub(super) fn norm(mut m: Maker<'_>) -> Result<Case, String> {
    let [width, group, align] = m.sizes(["width", "group", "align"])?;
    let (shared, first, last) = (m.flag("shared") > 0, m.flag("gate_first") > 0, m.flag("gate_last") > 0);
    let (eps, groups) = (1e-5, width / group);
    let weight = m.weight(Role::Norm, &[if shared { group } else { width }]);
    let near = allowed(&m, &["out"]);
    if shared && !last {
        let x = m.in_place("x", width, align);
        return m.finish(Op::HeadNorm { x, heads: groups, weight, eps }, false, near);
    }
    let x = m.input("x", width, align);
    if !first && !last {
        let out = m.output("out", width, align, Rows::Tokens);
        return m.finish(Op::RmsNorm { x, weight, eps, out }, false, near);
    }
    let z = m.input("z", width, align);
    let out = m.output("out", width, align, Rows::Tokens);
    let order = if first { GateOrder::GateFirst } else { GateOrder::NormFirst };
    m.finish(Op::GatedNorm { x, z, weight, groups, eps, order, out }, false, near)
}

/// Rows of the table of a look-up.
const VOCAB: usize = 97;

pub(super) fn elementwise(mut m: Maker<'_>) -> Result<Case, String> {
    let [width, align] = m.sizes(["width", "align"])?;
    let function = function_of(m.problem).map_err(|e| e.0)?.name;
    m.flag(function);
    let near = match function {
        // The table's format alone says how the result is rounded.
        "embed" | "copy" | "gather" => allowed(&m, &["out"]),
        "rope" => allowed(&m, &["x"]),
        "gates" => 4e-6,
        _ => allowed(&m, &["x", "gate", "up", "out"]),
    };
    let rows = if function == "gather" { Rows::Outputs } else { Rows::Tokens };
    let op = match function {
        "embed" => {
            let table = m.weight(Role::Embedding, &[VOCAB, width]);
            m.program.vocab = VOCAB;
            Op::Embed { table, vocab: VOCAB, out: m.output("out", width, align, rows) }
        }
        "rope" => {
            let head = m.size("head")?;
            let rope = RopeSpec { theta: 1e4, scaling: RopeScaling::None };
            let x = m.in_place("x", 2 * width, align);
            Op::Rope { x, heads: 2 * width / head, rope }
        }
        "gates" => {
            let (a, b) = (m.in_place("a", width, align), m.in_place("b", width, align));
            let (a_log, dt_bias) = (m.weight(Role::ALog, &[width]), m.weight(Role::DtBias, &[width]));
            Op::JetGates { a, b, a_log, dt_bias }
        }
        "swiglu" | "geglu" => {
            let (gate, up) = (m.input("gate", width, align), m.input("up", width, align));
            let act = if function == "swiglu" { Act::Swiglu } else { Act::Geglu };
            Op::Glu { gate, up, act, out: m.output("out", width, align, rows) }
        }
        "add" => {
            let x = m.input("x", width, align);
            Op::Add { x, out: m.in_place("out", width, align) }
        }
        _ => {
            let x = m.input("x", width, align);
            let out = m.output("out", width, align, rows);
            match function {
                "silu" => Op::Unary { f: Unary::Silu, x, out },
                "relu2" => Op::Unary { f: Unary::Relu2, x, out },
                "gather" => Op::Gather { x, out },
                "copy" => Op::Copy { x, out },
                other => return Err(format!("`{other}` is unknown here")),
            }
        }
    };
    m.finish(op, false, near)
}
