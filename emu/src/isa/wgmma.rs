//! wgmma: its forms. What happens is in [`super::warpgroup`].

use super::decoder::{Dec, Refusal};
use super::form::{Form, only, refused};
use super::inst::{Inst, Slot};
use super::warpgroup::{commit, fence, run, wait};
use crate::ptx::{Operand, Type};
use crate::tensor::{Accumulator, Element, Major, Wgmma, WgmmaSpec};

const TARGETS: &[u32] = &[90];

/// The forms.
pub(super) const FORMS: &[Form] = &[
    only("wgmma.fence.sync.aligned", TARGETS),
    only("wgmma.commit_group.sync.aligned", TARGETS),
    only("wgmma.wait_group.sync.aligned", TARGETS),
    only("wgmma.mma_async.sync.aligned.m64n*.{f16,f32}.f16.f16", TARGETS),
    only("wgmma.mma_async.sync.aligned.m64n*.f32.bf16.bf16", TARGETS),
    only("wgmma.mma_async.sync.aligned.m64n*.f32.tf32.tf32", TARGETS),
    only("wgmma.mma_async.sync.aligned.m64n*.{f16,f32}.{e4m3,e5m2}.{e4m3,e5m2}", TARGETS),
    only("wgmma.mma_async.sync.aligned.m64n*.[satfinite].s32.{s8,u8}.{s8,u8}", TARGETS),
    only("wgmma.mma_async.sync.aligned.m64n*.s32.b1.b1.and.popc", TARGETS),
    refused("wgmma.mma_async.sp.[**]", 90, "wgmma with a sparse A is not emulated"),
];

/// Where A comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Descriptor(Slot),
    Registers([Slot; 4]),
}

/// What a product is, decoded.
pub(super) struct Plan {
    pub(super) wgmma: Wgmma,
    pub(super) a: Source,
    pub(super) b: Slot,
    pub(super) d: Vec<Slot>,
    pub(super) scale_d: Slot,
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    match dec.which(&["fence", "commit_group", "wait_group"]) {
        Some(0) => {
            dec.expect(0, 0)?;
            dec.emit(Inst::new(fence));
            Ok(())
        }
        Some(1) => {
            dec.expect(0, 0)?;
            dec.emit(Inst::new(commit));
            Ok(())
        }
        Some(_) => {
            dec.expect(1, 1)?;
            let mut step = Inst::new(wait);
            step.imm = dec.immediate(0)?;
            dec.emit(step);
            Ok(())
        }
        None => product(dec),
    }
}

/// `m64n128k16`.
fn shape(word: &str) -> Option<(usize, usize)> {
    let (n, k) = word.strip_prefix("m64n")?.split_once('k')?;
    Some((n.parse().ok()?, k.parse().ok()?))
}

fn immediate_flag(dec: &Dec<'_>, at: usize, allowed: [i64; 2]) -> Result<bool, Refusal> {
    let value = dec.immediate(at)? as i64;
    match allowed.iter().position(|a| *a == value) {
        Some(k) => Ok(k == 1),
        None => Err(format!("operand {} is {value}; {} and {} are allowed", at + 1, allowed[0], allowed[1])),
    }
}

fn product(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let word = dec.with_prefix("m64n").ok_or("no shape among the modifiers")?;
    let (n, k) = shape(word).ok_or_else(|| format!("`.{word}` is no shape"))?;
    let types: Vec<&str> = dec.inst.modifiers.iter().map(String::as_str).filter(|m| is_type(m)).collect();
    let [d, a, b] = types[..] else { return Err("a wgmma has three types".to_owned()) };
    let none = || "a type that wgmma does not have".to_owned();
    let (a, b) = (Element::from_name(a).ok_or_else(none)?, Element::from_name(b).ok_or_else(none)?);
    let d = Accumulator::from_name(d).ok_or_else(none)?;
    let from_registers = matches!(dec.operand(1)?, Operand::Vector(_));
    let scaled = !a.is_integer();
    let transposed = a.bits() == 16;
    let mut count = 4;
    let mut flags = |dec: &Dec<'_>, present: bool, allowed| -> Result<bool, Refusal> {
        if !present {
            return Ok(false);
        }
        count += 1;
        immediate_flag(dec, count - 1, allowed)
    };
    let negate_a = flags(dec, scaled, [1, -1])?;
    let negate_b = flags(dec, scaled, [1, -1])?;
    let transpose_a = flags(dec, transposed && !from_registers, [0, 1])?;
    let transpose_b = flags(dec, transposed, [0, 1])?;
    dec.expect(count, count)?;
    let major = |transpose| if transpose { Major::Mn } else { Major::K };
    let (a_major, b_major) = (major(transpose_a), major(transpose_b));
    let saturate = dec.has("satfinite");
    let spec = WgmmaSpec { n, k, a, b, d, a_major, b_major, negate_a, negate_b, saturate };
    let wgmma = Wgmma::new(spec).map_err(|e| e.to_string())?;
    emit(dec, wgmma, from_registers)
}

fn is_type(word: &str) -> bool {
    Element::from_name(word).is_some() || Accumulator::from_name(word).is_some()
}

fn emit(dec: &mut Dec<'_>, wgmma: Wgmma, from_registers: bool) -> Result<(), Refusal> {
    let word = if wgmma.spec().d == Accumulator::F32 { Type::F(32) } else { Type::B(32) };
    let registers = wgmma.d_layout().registers;
    let d = dec.elements(0)?.len();
    if d != registers {
        return Err(format!("D has {d} registers, this form takes {registers}"));
    }
    let a = if from_registers {
        let slots = dec.src_vector(1, Type::B(32))?;
        Source::Registers(slots.try_into().map_err(|_| "A has four registers".to_owned())?)
    } else {
        Source::Descriptor(dec.src(1, Type::B(64))?)
    };
    let b = dec.src(2, Type::B(64))?;
    let scale_d = dec.src(3, Type::Pred)?;
    dec.all_critical();
    let d = dec.dst_vector(0, word)?;
    let mut step = Inst::new(run);
    step.x = dec.data(Plan { wgmma, a, b, d, scale_d });
    step.flags.own_definedness = true;
    dec.emit(step);
    Ok(())
}
