//! `ldmatrix`, `stmatrix`, `movmatrix` (ptx.md 6.3): weak generic accesses of rows of 16 bytes.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form, only};
use super::inst::{Flow, Inst, Slot};
use super::memory::{put_address, space_of};
use crate::exec::Cx;
use crate::exec::access::Request;
use crate::ptx::Type;
use crate::shadow;
use crate::tensor::{LoadMatrix, MatrixShape, StoreMatrix, transpose_matrix};

/// Targets with the 8-bit forms.
const BYTES: &[u32] = &[100, 101, 103, 110, 120, 121];

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("ldmatrix.sync.aligned.m8n8.{x1,x2,x4}.[trans].[shared,shared::cta].b16", 75),
    only("ldmatrix.sync.aligned.m16n16.{x1,x2}.trans.[shared,shared::cta].b8", BYTES),
    only(
        "ldmatrix.sync.aligned.m16n16.{x1,x2}.trans.[shared,shared::cta].b8x16.{b6x16_p32,b4x16_p64}",
        BYTES,
    ),
    only("ldmatrix.sync.aligned.m8n16.{x1,x2,x4}.[shared,shared::cta].b8x16.{b6x16_p32,b4x16_p64}", BYTES),
    form("stmatrix.sync.aligned.m8n8.{x1,x2,x4}.[trans].[shared,shared::cta].b16", 90),
    only("stmatrix.sync.aligned.m16n8.{x1,x2,x4}.trans.[shared,shared::cta].b8", BYTES),
    form("movmatrix.sync.aligned.m8n8.trans.b16", 75),
];

const WORD: Type = Type::B(32);

enum Matrix {
    Load(LoadMatrix),
    Store(StoreMatrix),
}

struct Plan {
    matrix: Matrix,
    request: Request,
    registers: Vec<Slot>,
}

fn shape(dec: &Dec<'_>) -> MatrixShape {
    match (dec.has("m8n8"), dec.has("m16n16"), dec.has("b6x16_p32"), dec.has("b4x16_p64")) {
        (true, ..) => MatrixShape::M8n8B16,
        (_, true, true, _) => MatrixShape::M16n16B6,
        (_, true, _, true) => MatrixShape::M16n16B4,
        (_, true, ..) => MatrixShape::M16n16B8,
        (_, _, true, _) => MatrixShape::M8n16B6,
        (_, _, _, true) => MatrixShape::M8n16B4,
        _ => MatrixShape::M16n8B8,
    }
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    if dec.opcode() == "movmatrix" {
        dec.plain(moved, WORD, &[WORD])?;
        return Ok(());
    }
    dec.expect(2, 2)?;
    let count = 1 << dec.which(&["x1", "x2", "x4"]).unwrap_or(0);
    let load = dec.opcode() == "ldmatrix";
    let address = dec.address(usize::from(load))?;
    let (kind, matrix) = if load {
        let matrix = LoadMatrix::new(shape(dec), count, dec.has("trans")).map_err(|e| e.to_string())?;
        (shadow::Kind::Read, Matrix::Load(matrix))
    } else {
        let matrix = StoreMatrix::new(shape(dec), count, dec.has("trans")).map_err(|e| e.to_string())?;
        (shadow::Kind::Write, Matrix::Store(matrix))
    };
    let (registers, needed) = match &matrix {
        Matrix::Load(m) => (dec.dst_vector(0, WORD)?, m.registers()),
        Matrix::Store(m) => (dec.src_vector(1, WORD)?, m.registers()),
    };
    if registers.len() != needed {
        return Err(format!("{} registers, {needed} are needed", registers.len()));
    }
    let access = shadow::Access { piece: 4, ..shadow::Access::weak(dec.site, kind, 16) };
    let request = Request { space: space_of(dec, &address), bytes: 16, access };
    let mut step = Inst::new(if load { loaded } else { stored });
    put_address(&mut step, &address);
    step.c = dec.data(Plan { matrix, request, registers });
    step.flags.own_definedness = load;
    // Lanes beyond the rows have addresses that nobody reads.
    dec.uses.iter_mut().for_each(|r| r.critical = false);
    dec.emit(step);
    Ok(())
}

fn moved<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = cx.whole_warp(i, mask) {
        return flow;
    }
    let d = transpose_matrix(&cx.word(i.a));
    cx.set_word(i.d, &d, mask);
    Flow::Next
}

/// Lanes whose addresses count.
fn rows_of(count: usize) -> u32 {
    if count >= 32 { u32::MAX } else { (1 << count) - 1 }
}

fn loaded<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = cx.whole_warp(i, mask) {
        return flow;
    }
    let plan = cx.program.data::<Plan>(i.c);
    let Matrix::Load(matrix) = &plan.matrix else { return Flow::Next };
    let addresses = cx.addresses(i.x, i.a, i.imm);
    let used = rows_of(matrix.address_lanes()) & mask;
    let mut words = cx.take_rows();
    let flow = match cx.load(i, &plan.request, &addresses, used, &mut words) {
        Ok(defined) => {
            let mut out = [[0u32; 32]; 4];
            let n = plan.registers.len().min(4);
            matrix.load_words(&words, &mut out[..n]);
            let whole = if defined & used == used { u32::MAX } else { 0 };
            for (slot, value) in plan.registers.iter().zip(&out) {
                cx.set_word(*slot, value, mask);
                cx.loaded(super::Class::Word, *slot, whole, mask);
            }
            Flow::Next
        }
        Err(flow) => flow,
    };
    cx.give_rows(words);
    flow
}

fn stored<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = cx.whole_warp(i, mask) {
        return flow;
    }
    let plan = cx.program.data::<Plan>(i.c);
    let Matrix::Store(matrix) = &plan.matrix else { return Flow::Next };
    let addresses = cx.addresses(i.x, i.a, i.imm);
    let used = rows_of(matrix.address_lanes()) & mask;
    let mut registers = [[0u32; 32]; 4];
    let mut defined = u32::MAX;
    for (slot, value) in plan.registers.iter().zip(&mut registers) {
        *value = cx.word(*slot);
        defined &= cx.defined(super::Class::Word, *slot);
    }
    let mut rows = [[0u8; 16]; 32];
    matrix.store(&registers[..plan.registers.len().min(4)], &mut rows[..matrix.address_lanes().min(32)]);
    let mut words = cx.take_rows();
    for (lane, row) in rows.iter().enumerate() {
        for (k, word) in row.as_chunks::<4>().0.iter().enumerate() {
            words[k][lane] = u32::from_le_bytes(*word);
        }
    }
    let whole = if !cx.checks_definedness() || defined == u32::MAX { u32::MAX } else { 0 };
    if whole == 0 {
        cx.warp.byte_definedness = [0; 32];
    }
    let done = cx.store(i, &plan.request, &addresses, used, &words, whole);
    cx.give_rows(words);
    match done {
        Ok(()) => Flow::Next,
        Err(flow) => flow,
    }
}
