//! `mma.sync`.

use super::decoder::{Dec, Refusal};
use super::form::{Form, form, only, refused};
use super::inst::{Flow, Inst, Slot};
use crate::exec::{Accumulation, Cx};
use crate::ptx::Type;
use crate::tensor::{
    Accumulator, BitOp, Element, Kind, Mma, MmaSpec, ScaleSelector, ScaleType, Scales, Scaling,
};

/// Targets with the block-scaled kinds.
const BLOCK: &[u32] = &[120, 121];

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.{f16,f32}.f16.f16.{f16,f32}", 75),
    form("mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.f32.bf16.bf16.f32", 80),
    form("mma.sync.aligned.{m16n8k4,m16n8k8}.row.col.f32.tf32.tf32.f32", 80),
    form("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64", 80),
    form("mma.sync.aligned.{m16n8k4,m16n8k8,m16n8k16}.row.col.f64.f64.f64.f64", 90),
    form("mma.sync.aligned.{m16n8k16,m16n8k32}.row.col.[satfinite].s32.{s8,u8}.{s8,u8}.s32", 80),
    form("mma.sync.aligned.{m16n8k32,m16n8k64}.row.col.[satfinite].s32.{s4,u4}.{s4,u4}.s32", 80),
    form("mma.sync.aligned.{m16n8k128,m16n8k256}.row.col.s32.b1.b1.s32.{xor,and}.popc", 80),
    form("mma.sync.aligned.{m16n8k16,m16n8k32}.row.col.{f16,f32}.{e4m3,e5m2}.{e4m3,e5m2}.{f16,f32}", 89),
    only(
        "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.{f16,f32}.{e4m3,e5m2,e2m1,e2m3,e3m2}.{e4m3,e5m2,e2m1,e2m3,e3m2}.{f16,f32}",
        BLOCK,
    ),
    only(
        "mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.[scale_vec::1X].f32.{e4m3,e5m2,e2m1,e2m3,e3m2}.{e4m3,e5m2,e2m1,e2m3,e3m2}.f32.ue8m0",
        BLOCK,
    ),
    only(
        "mma.sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale.[scale_vec::2X].f32.e2m1.e2m1.f32.ue8m0",
        BLOCK,
    ),
    only(
        "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.{scale_vec::2X,scale_vec::4X}.f32.e2m1.e2m1.f32.{ue8m0,ue4m3}",
        BLOCK,
    ),
    refused("mma.sp.[**]", 80, "sparse matrices"),
    refused("mma.sp::ordered_metadata.[**]", 80, "sparse matrices"),
    refused(
        "mma.sync.aligned.m8n8k4.{row,col}.{row,col}.{f16,f32}.f16.f16.{f16,f32}",
        70,
        "the layouts of sm_70",
    ),
    refused(
        "mma.sync.aligned.{m8n8k16,m8n8k32,m8n8k128}.row.col.[satfinite].s32.{s8,u8,s4,u4,b1}.{s8,u8,s4,u4,b1}.s32.[xor,and].[popc]",
        75,
        "the shapes of sm_75",
    ),
];

struct Plan {
    mma: Mma,
    a: Vec<Slot>,
    b: Vec<Slot>,
    c: Vec<Slot>,
    d: Vec<Slot>,
    scales: Option<Scale>,
}

struct Scale {
    a: Slot,
    a_selector: (Slot, Slot),
    b: Slot,
    b_selector: (Slot, Slot),
}

impl Scale {
    /// The registers of all lanes; selectors are the same in all lanes, so the first one's are read.
    fn fetch(&self, cx: &Cx<'_>) -> Scales {
        let selector = |(byte, thread): (Slot, Slot)| ScaleSelector {
            byte: cx.word(byte)[0] as u16,
            thread: cx.word(thread)[0] as u16,
        };
        Scales {
            a: cx.word(self.a),
            a_selector: selector(self.a_selector),
            b: cx.word(self.b),
            b_selector: selector(self.b_selector),
        }
    }
}

fn shape(word: &str) -> Option<(usize, usize, usize)> {
    let (m, rest) = word.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some((m.parse().ok()?, n.parse().ok()?, k.parse().ok()?))
}

fn spec(dec: &Dec<'_>) -> Result<MmaSpec, Refusal> {
    let words: Vec<&str> = dec.inst.modifiers.iter().map(String::as_str).collect();
    let (m, n, k) = words.iter().find_map(|w| shape(w)).ok_or("no shape")?;
    let types: Vec<&str> = words
        .iter()
        .copied()
        .filter(|w| Element::from_name(w).is_some() || Accumulator::from_name(w).is_some())
        .collect();
    let [d, a, b, c] = types[..] else { return Err("four types are needed".to_owned()) };
    let element = |w| Element::from_name(w).ok_or_else(|| format!("`.{w}` is no type of an operand"));
    let accumulator =
        |w| Accumulator::from_name(w).ok_or_else(|| format!("`.{w}` is no type of an accumulator"));
    let kind = match dec.with_prefix("kind::") {
        Some("kind::f8f6f4") => Kind::F8f6f4,
        Some("kind::mxf8f6f4") => Kind::Mxf8f6f4,
        Some("kind::mxf4") => Kind::Mxf4,
        Some("kind::mxf4nvf4") => Kind::Mxf4nvf4,
        _ => Kind::Plain,
    };
    let scaling = dec.has("block_scale").then(|| Scaling {
        vector: match (dec.with_prefix("scale_vec::"), kind) {
            (Some("scale_vec::4X"), _) => 4,
            (Some("scale_vec::2X"), _) | (None, Kind::Mxf4) => 2,
            _ => 1,
        },
        kind: if dec.has("ue4m3") { ScaleType::Ue4m3 } else { ScaleType::Ue8m0 },
    });
    Ok(MmaSpec {
        m,
        n,
        k,
        a: element(a)?,
        b: element(b)?,
        c: accumulator(c)?,
        d: accumulator(d)?,
        kind,
        scaling,
        bits: if dec.has("and") { BitOp::And } else { BitOp::Xor },
        saturate: dec.has("satfinite"),
    })
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let mma = Mma::new(spec(dec)?).map_err(|e| e.to_string())?;
    let registers = mma.registers();
    let double = mma.spec().a == Element::F64;
    let ty = if double { Type::B(64) } else { Type::B(32) };
    let operands = if mma.spec().scaling.is_some() { 8 } else { 4 };
    dec.expect(operands, operands)?;
    let mut take = |i: usize, n: usize| {
        let slots = dec.src_vector(i, ty)?;
        if slots.len() == n {
            Ok(slots)
        } else {
            Err(format!("operand {} has {} registers, {n} are needed", i + 1, slots.len()))
        }
    };
    let (a, b, c) = (take(1, registers.a)?, take(2, registers.b)?, take(3, registers.c)?);
    let scales = if operands == 8 {
        let register = |dec: &mut Dec<'_>, i: usize| Ok::<_, Refusal>(dec.src_vector(i, Type::B(32))?[0]);
        let (a, a_selector) = (register(dec, 4)?, selector(dec, 5)?);
        let (b, b_selector) = (register(dec, 6)?, selector(dec, 7)?);
        Some(Scale { a, a_selector, b, b_selector })
    } else {
        None
    };
    dec.all_critical();
    let d = dec.dst_vector(0, ty)?;
    if d.len() != registers.d {
        return Err(format!("D has {} registers, {} are needed", d.len(), registers.d));
    }
    let mut step = Inst::new(if double { run_double } else { run });
    step.x = dec.data(Plan { mma, a, b, c, d, scales });
    dec.emit(step);
    Ok(())
}

/// `{byte-id, thread-id}`: constants, or 16-bit registers that hold the same in all lanes.
fn selector(dec: &mut Dec<'_>, at: usize) -> Result<(Slot, Slot), Refusal> {
    match dec.src_vector(at, Type::B(16))?[..] {
        [byte, thread] => Ok((byte, thread)),
        _ => Err("a selector has a byte and a thread".to_owned()),
    }
}

fn fetch<const N: usize>(cx: &Cx<'_>, slots: &[Slot]) -> [[u32; 32]; N] {
    let mut all = [[0; 32]; N];
    slots.iter().zip(&mut all).for_each(|(slot, v)| *v = cx.word(*slot));
    all
}

fn run<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = cx.whole_warp(i, mask) {
        return flow;
    }
    let plan = cx.program.data::<Plan>(i.x);
    let (a, b, c) = (fetch::<4>(cx, &plan.a), fetch::<4>(cx, &plan.b), fetch::<4>(cx, &plan.c));
    let mut d = [[0; 32]; 4];
    let scales = plan.scales.as_ref().map(|s| s.fetch(cx));
    let how: Accumulation = cx.run.options.accumulation;
    let n = |slots: &[Slot]| slots.len().min(4);
    let (an, bn, cn, dn) = (n(&plan.a), n(&plan.b), n(&plan.c), n(&plan.d));
    let done = plan.mma.execute(&a[..an], &b[..bn], &c[..cn], &mut d[..dn], scales.as_ref(), how);
    if let Err(error) = done {
        return cx.abort(i, crate::exec::FindingKind::Undefined, 0, error.to_string());
    }
    for (slot, value) in plan.d.iter().zip(&d) {
        cx.set_word(*slot, value, mask);
    }
    count(cx, i, &plan.mma);
    Flow::Next
}

fn run_double<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = cx.whole_warp(i, mask) {
        return flow;
    }
    let plan = cx.program.data::<Plan>(i.x);
    let all = |slots: &[Slot]| slots.iter().map(|s| cx.long(*s)).collect::<Vec<_>>();
    let (a, b, c) = (all(&plan.a), all(&plan.b), all(&plan.c));
    let mut d = vec![[0u64; 32]; plan.d.len()];
    if let Err(error) = plan.mma.execute_f64(&a, &b, &c, &mut d) {
        return cx.abort(i, crate::exec::FindingKind::Undefined, 0, error.to_string());
    }
    for (slot, value) in plan.d.iter().zip(&d) {
        cx.set_long(*slot, value, mask);
    }
    count(cx, i, &plan.mma);
    Flow::Next
}

fn count(cx: &mut Cx<'_>, i: &Inst, mma: &Mma) {
    if let Some(counting) = &mut cx.cluster.counting {
        counting.tensor(i.site, mma.operations());
    }
}
