//! `cvt` and `cvt.pack`.

use super::decoder::{Dec, Refusal};
use super::float::rounding;
use super::form::{Form, deviating, form, only, refused};
use super::inst::{Class, Flow, Handler, Inst, Slot};
use super::mov;
use crate::exec::{Cx, lanes};
use crate::num::IntRounding;
use crate::num::cvt::packed::{self, PackTarget};
use crate::num::cvt::{Conversion, Options, Type as Element, fast};
use crate::ptx::Type;

/// Targets with the narrow formats of Blackwell.
const NARROW: &[u32] = &[100, 101, 103, 110, 120, 121];

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("cvt.[sat].{u8,s8,u16,s16,u32,s32,u64,s64}.{u8,s8,u16,s16,u32,s32,u64,s64}", 50),
    form("cvt.{rni,rzi,rmi,rpi}.[ftz].[sat].{u8,s8,u16,s16,u32,s32,u64,s64}.{f16,f32,f64}", 50),
    form("cvt.{rn,rz,rm,rp}.[ftz].[sat].{f16,f32,f64}.{u8,s8,u16,s16,u32,s32,u64,s64}", 50),
    form("cvt.[rn,rz,rm,rp,rni,rzi,rmi,rpi].[ftz].[sat].{f16,f32,f64}.{f16,f32,f64}", 50),
    form("cvt.{rn,rz}.[relu].[satfinite].{f16,bf16}.f32", 80),
    form("cvt.f32.bf16", 80),
    form("cvt.[ftz].f32.bf16", 90),
    form("cvt.{rni,rzi,rmi,rpi}.[sat].{u8,s8,u16,s16,u32,s32,u64,s64}.bf16", 90),
    form("cvt.{rn,rz,rm,rp}.[sat].bf16.{u8,s8,u16,s16,u32,s32,u64,s64}", 90),
    form("cvt.[rn,rz,rm,rp,rni,rzi,rmi,rpi].[ftz].[sat].[relu].[satfinite].bf16.{f16,bf16,f32,f64}", 90),
    form("cvt.[rn,rz,rm,rp].[sat].{f16,f64}.bf16", 90),
    form("cvt.rna.[satfinite].tf32.f32", 80),
    form("cvt.{rn,rz}.[relu].[satfinite].tf32.f32", 90),
    form("cvt.{rn,rz}.[relu].[satfinite].{f16x2,bf16x2}.f32", 80),
    form("cvt.rn.satfinite.[relu].{e4m3x2,e5m2x2}.{f32,f16x2}", 89),
    form("cvt.rn.[relu].f16x2.{e4m3x2,e5m2x2}", 89),
    only("cvt.rn.satfinite.[relu].{e2m1x2,e2m3x2,e3m2x2}.{f32,f16x2,bf16x2}", NARROW),
    only("cvt.rn.satfinite.[relu].{e4m3x2,e5m2x2}.bf16x2", NARROW),
    only("cvt.rn.[relu].f16x2.{e2m1x2,e2m3x2,e3m2x2}", NARROW),
    only("cvt.{rz,rp}.[satfinite].ue8m0x2.{f32,bf16x2}", NARROW),
    only("cvt.rn.bf16x2.ue8m0x2", NARROW),
    only("cvt.rs.[relu].[satfinite].{f16x2,bf16x2}.f32", &[100, 103]),
    Form {
        need: super::form::Need::Only(&[100, 103]),
        ..deviating(
            "cvt.rs.[relu].satfinite.{e4m3x4,e5m2x4,e2m3x4,e3m2x4,e2m1x4}.f32",
            100,
            "the ISA does not say how the random bits lie within an element's share",
        )
    },
    refused(
        "cvt.[rn,rz,rp].[satfinite].[relu].scaled::n2::ue8m0.{bf16x2,f16x2,e4m3x2,e5m2x2,e2m1x2,e2m3x2,e3m2x2}.{f32,bf16x2,f16x2,e4m3x2,e5m2x2,e2m1x2,e2m3x2,e3m2x2}",
        100,
        "conversions with a scale operand",
    ),
    form("cvt.pack.sat.{u16,s16}.s32", 72),
    form("cvt.pack.sat.{u8,s8,u4,s4,u2,s2}.s32.b32", 72),
];

const ELEMENTS: [(&str, Element, Type); 13] = [
    ("u8", Element::U8, Type::U(8)),
    ("s8", Element::S8, Type::S(8)),
    ("u16", Element::U16, Type::U(16)),
    ("s16", Element::S16, Type::S(16)),
    ("u32", Element::U32, Type::U(32)),
    ("s32", Element::S32, Type::S(32)),
    ("u64", Element::U64, Type::U(64)),
    ("s64", Element::S64, Type::S(64)),
    ("f16", Element::F16, Type::F(16)),
    ("bf16", Element::Bf16, Type::Bf16),
    ("f32", Element::F32, Type::F(32)),
    ("f64", Element::F64, Type::F(64)),
    ("tf32", Element::Tf32, Type::B(32)),
];

/// Packed formats: element, register, elements.
const PACKED: [(&str, Element, Type, u32); 13] = [
    ("f16x2", Element::F16, Type::B(32), 2),
    ("bf16x2", Element::Bf16, Type::B(32), 2),
    ("e4m3x2", Element::E4m3, Type::B(16), 2),
    ("e5m2x2", Element::E5m2, Type::B(16), 2),
    ("e2m3x2", Element::E2m3, Type::B(16), 2),
    ("e3m2x2", Element::E3m2, Type::B(16), 2),
    ("e2m1x2", Element::E2m1, Type::B(8), 2),
    ("ue8m0x2", Element::Ue8m0, Type::B(16), 2),
    ("e4m3x4", Element::E4m3, Type::B(32), 4),
    ("e5m2x4", Element::E5m2, Type::B(32), 4),
    ("e2m3x4", Element::E2m3, Type::B(32), 4),
    ("e3m2x4", Element::E3m2, Type::B(32), 4),
    ("e2m1x4", Element::E2m1, Type::B(16), 4),
];

fn options(dec: &Dec<'_>) -> Options {
    let to_integer = match dec.which(&["rni", "rzi", "rmi", "rpi"]) {
        Some(0) => Some(IntRounding::Nearest),
        Some(1) => Some(IntRounding::Zero),
        Some(2) => Some(IntRounding::Down),
        Some(_) => Some(IntRounding::Up),
        None => None,
    };
    Options {
        rounding: rounding(dec),
        to_integer,
        ftz: dec.has("ftz"),
        sat: dec.has("sat"),
        satfinite: dec.has("satfinite"),
        relu: dec.has("relu"),
    }
}

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    if dec.has("pack") {
        return pack_integers(dec);
    }
    let words: Vec<&str> = dec.inst.modifiers.iter().map(String::as_str).collect();
    let formats: Vec<&str> = words
        .iter()
        .copied()
        .filter(|w| ELEMENTS.iter().any(|e| e.0 == *w) || PACKED.iter().any(|p| p.0 == *w))
        .collect();
    let [to, from] = formats[..] else { return Err("a target and a source type are needed".to_owned()) };
    let packed = |w: &str| PACKED.iter().find(|p| p.0 == w).copied();
    match (packed(to), packed(from)) {
        (None, None) => scalar(dec, to, from),
        (Some(to), _) if dec.has("rs") => stochastic(dec, to.1, to.2, to.3),
        (Some(to), None) => join(dec, to.1, to.2),
        (Some(to), Some(from)) => repack(dec, (to.1, to.2), (from.1, from.2)),
        (None, Some(_)) => Err("a packed source needs a packed target".to_owned()),
    }
}

fn scalar(dec: &mut Dec<'_>, to: &str, from: &str) -> Result<(), Refusal> {
    let element = |w: &str| ELEMENTS.iter().find(|e| e.0 == w).copied().ok_or("an unknown type");
    let ((_, to, to_ty), (_, from, from_ty)) = (element(to)?, element(from)?);
    dec.expect(2, 2)?;
    let options = options(dec);
    if from == Element::F64
        && matches!(to, Element::F32 | Element::F16)
        && dec.which(&["rn", "rz", "rm", "rp"]).is_none()
    {
        return Err("a rounding is needed".to_owned());
    }
    let conversion = Conversion::new(from, to, options);
    let (source_long, target_long) = (from_ty.bits() == 64, to_ty.bits() == 64);
    let run = quick(from, to, options).unwrap_or(match (source_long, target_long) {
        (false, false) => word_to_word,
        (false, true) => word_to_long,
        (true, false) => long_to_word,
        (true, true) => long_to_long,
    });
    let mut step = Inst::new(run);
    step.a = dec.src_wide(1, from_ty)?;
    step.x = dec.data(conversion);
    let (slot, bits) = dec.dst_wide(dec.operand(0)?, to_ty)?;
    if bits == 64 && !target_long {
        return widened(dec, step, slot, to.is_signed());
    }
    step.d = slot;
    dec.emit(step);
    Ok(())
}

/// A narrow result for a 64-bit register.
fn widened(dec: &mut Dec<'_>, mut step: Inst, slot: Slot, signed: bool) -> Result<(), Refusal> {
    dec.defs.clear();
    let temp = dec.temp(Class::Word);
    step.d = temp;
    dec.note_def(Class::Word, temp);
    step.flags.internal = true;
    dec.emit(step);
    let mut last = Inst::new(mov::widen);
    (last.d, last.a, last.x) = (slot, temp, signed.into());
    dec.note_use(Class::Word, temp);
    dec.note_def(Class::Long, slot);
    dec.emit(last);
    Ok(())
}

/// The frequent conversions, on all lanes.
fn quick(from: Element, to: Element, options: Options) -> Option<Handler> {
    use Element::{Bf16, F16, F32, S8, S16, S32, S64, U8, U16, U32, U64};
    if options.sat || options.ftz || options.relu || options.satfinite {
        return None;
    }
    Some(match (from, to) {
        (U32, U64 | S64) => every!(L = |a: u32| u64::from(a); W),
        (S32, U64 | S64) => every!(L = |a: u32| a as i32 as u64; W),
        (U64 | S64, U32 | S32) => every!(W = |a: u64| a as u32; L),
        (U32 | S32, U32 | S32) => every!(W = |a: u32| a; W),
        (U16, U32 | S32) | (U32 | S32, U16) => every!(W = |a: u32| a & 0xffff; W),
        (S16, U32 | S32) | (U32 | S32, S16) => every!(W = |a: u32| a as i16 as u32; W),
        (U8, U16 | S16 | U32 | S32) | (U16 | S16 | U32 | S32, U8) => every!(W = |a: u32| a & 0xff; W),
        (S8, S32) | (U16 | S16 | U32 | S32, S8) => every!(W = |a: u32| a as i8 as u32; W),
        (F16, F32) if options.to_integer.is_none() => every!(W = |a: u32| fast::f32_from_f16(a as u16); W),
        (Bf16, F32) if options.to_integer.is_none() => every!(W = |a: u32| fast::f32_from_bf16(a as u16); W),
        (F32, F16) if plain(options) => every!(W = |a: u32| u32::from(fast::f16_from_f32(a)); W),
        (F32, Bf16) if plain(options) => every!(W = |a: u32| u32::from(fast::bf16_from_f32(a)); W),
        _ => return None,
    })
}

fn plain(options: Options) -> bool {
    options == Options::default()
}

/// A signed narrow result fills its register with its sign.
fn fitted(conversion: &Conversion, value: u64) -> u32 {
    match conversion.to() {
        Element::S8 => value as i8 as u32,
        Element::S16 => value as i16 as u32,
        _ => value as u32,
    }
}

macro_rules! scalar_handler {
    ($name:ident, $get:ident, $set:ident, $zero:expr, |$c:ident, $v:ident| $fit:expr) => {
        fn $name<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
            let $c = cx.program.data::<Conversion>(i.x);
            let a = cx.$get(i.a);
            let mut d = [$zero; 32];
            for l in lanes(mask) {
                let $v = $c.apply(u64::from(a[l]));
                d[l] = $fit;
            }
            cx.$set(i.d, &d, mask);
            Flow::Next
        }
    };
}

scalar_handler!(word_to_word, word, set_word, 0u32, |c, v| fitted(c, v));
scalar_handler!(long_to_word, long, set_word, 0u32, |c, v| fitted(c, v));
scalar_handler!(word_to_long, word, set_long, 0u64, |_c, v| v);
scalar_handler!(long_to_long, long, set_long, 0u64, |_c, v| v);

/// `cvt.rn.f16x2.f32 d, a, b`: a becomes the upper element.
fn join(dec: &mut Dec<'_>, to: Element, register: Type) -> Result<(), Refusal> {
    let options = options(dec);
    let f32s = Type::F(32);
    let run = match to {
        Element::F16 if plain(options) => every!(W = fast::f16x2_from_f32; W, W),
        Element::Bf16 if plain(options) => every!(W = fast::bf16x2_from_f32; W, W),
        _ => handler!(|cx, i, mask| {
            let conversion = cx.program.data::<Conversion>(i.x);
            let (a, b) = (cx.word(i.a), cx.word(i.b));
            let mut d = [0; 32];
            for l in lanes(mask) {
                d[l] = packed::pack2(conversion, a[l].into(), b[l].into()) as u32;
            }
            cx.set_word(i.d, &d, mask);
            Flow::Next
        }),
    };
    let x = dec.data(Conversion::new(Element::F32, to, options));
    dec.plain_x(run, x, register, &[f32s, f32s])
}

fn repack(dec: &mut Dec<'_>, to: (Element, Type), from: (Element, Type)) -> Result<(), Refusal> {
    let run = handler!(|cx, i, mask| {
        let conversion = cx.program.data::<Conversion>(i.x);
        let a = cx.word(i.a);
        let mut d = [0; 32];
        for l in lanes(mask) {
            d[l] = packed::repack2(conversion, a[l].into()) as u32;
        }
        cx.set_word(i.d, &d, mask);
        Flow::Next
    });
    let x = dec.data(Conversion::new(from.0, to.0, options(dec)));
    dec.plain_x(run, x, to.1, &[from.1])
}

/// What `.rs` needs.
struct Stochastic(Element, Options);

fn stochastic(dec: &mut Dec<'_>, to: Element, register: Type, count: u32) -> Result<(), Refusal> {
    let x = dec.data(Stochastic(to, options(dec)));
    let f32s = Type::F(32);
    if count == 2 {
        let run = handler!(|cx, i, mask| {
            let Stochastic(to, options) = *cx.program.data::<Stochastic>(i.x);
            let (a, b, random) = (cx.word(i.a), cx.word(i.b), cx.word(i.c));
            let mut d = [0; 32];
            for l in lanes(mask) {
                d[l] = packed::stochastic2(to, options, a[l], b[l], random[l]);
            }
            cx.set_word(i.d, &d, mask);
            Flow::Next
        });
        return dec.plain_x(run, x, register, &[f32s, f32s, Type::B(32)]);
    }
    dec.expect(3, 3)?;
    let sources = dec.src_vector(1, f32s)?;
    if sources.len() != 4 {
        return Err("four sources in braces are needed".to_owned());
    }
    let mut step = Inst::new(handler!(|cx, i, mask| {
        let Stochastic(to, options) = *cx.program.data::<Stochastic>(i.x);
        let random = cx.word(i.c);
        let mut from = [[0u32; 32]; 4];
        cx.program.list(i.list).iter().zip(&mut from).for_each(|(slot, v)| *v = cx.word(*slot));
        let mut d = [0; 32];
        for l in lanes(mask) {
            d[l] = packed::stochastic4(to, options, from.map(|v| v[l]), random[l]);
        }
        cx.set_word(i.d, &d, mask);
        Flow::Next
    }));
    step.c = dec.src(2, Type::B(32))?;
    step.list = dec.list(&sources);
    step.x = x;
    step.d = dec.dst(0, register)?;
    dec.emit(step);
    Ok(())
}

const PACK_TARGETS: [(&str, PackTarget); 8] = [
    ("u16", PackTarget { bits: 16, signed: false }),
    ("s16", PackTarget { bits: 16, signed: true }),
    ("u8", PackTarget { bits: 8, signed: false }),
    ("s8", PackTarget { bits: 8, signed: true }),
    ("u4", PackTarget { bits: 4, signed: false }),
    ("s4", PackTarget { bits: 4, signed: true }),
    ("u2", PackTarget { bits: 2, signed: false }),
    ("s2", PackTarget { bits: 2, signed: true }),
];

fn pack_integers(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let x = dec.which(&PACK_TARGETS.map(|(word, _)| word)).ok_or("no target type")? as u32;
    let word = Type::B(32);
    if x < 2 {
        let run =
            active_x!(W = |x: u32, (a, b)| packed::pack_saturated(PACK_TARGETS[x as usize].1, a, b, 0); W, W);
        return dec.plain_x(run, x, word, &[word, word]);
    }
    let run = active_x!(W = |x: u32, (a, b, c)| packed::pack_saturated(PACK_TARGETS[x as usize].1, a, b, c); W, W, W);
    dec.plain_x(run, x, word, &[word, word, word])
}
