//! Arithmetic on f32, f64 and pairs of f32.

use super::decoder::{Dec, Refusal};
use super::form::{Form, deviating, form};
use super::inst::{Flow, Handler};
use crate::num::{Class, MinMax, Mode, Rounding, approx, f32, f64, mixed, packed};
use crate::ptx::Type;

const APPROXIMATE: &str = "gives the correctly rounded value, which is within the stated error";

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("add.[rn,rz,rm,rp].[ftz].[sat].f32", 50),
    form("sub.[rn,rz,rm,rp].[ftz].[sat].f32", 50),
    form("mul.[rn,rz,rm,rp].[ftz].[sat].f32", 50),
    form("fma.{rn,rz,rm,rp}.[ftz].[sat].f32", 50),
    form("mad.{rn,rz,rm,rp}.[ftz].[sat].f32", 50),
    form("add.[rn,rz,rm,rp].f64", 50),
    form("sub.[rn,rz,rm,rp].f64", 50),
    form("mul.[rn,rz,rm,rp].f64", 50),
    form("fma.{rn,rz,rm,rp}.f64", 50),
    form("mad.{rn,rz,rm,rp}.f64", 50),
    form("add.[rn,rz,rm,rp].[ftz].f32x2", 100),
    form("sub.[rn,rz,rm,rp].[ftz].f32x2", 100),
    form("mul.[rn,rz,rm,rp].[ftz].f32x2", 100),
    form("fma.{rn,rz,rm,rp}.[ftz].f32x2", 100),
    form("add.[rn,rz,rm,rp].[sat].f32.{f16,bf16}", 100),
    form("sub.[rn,rz,rm,rp].[sat].f32.{f16,bf16}", 100),
    form("fma.{rn,rz,rm,rp}.[sat].f32.{f16,bf16}", 100),
    form("div.{rn,rz,rm,rp}.[ftz].f32", 50),
    form("div.{rn,rz,rm,rp}.f64", 50),
    deviating("div.{approx,full}.[ftz].f32", 50, APPROXIMATE),
    form("rcp.{rn,rz,rm,rp}.[ftz].f32", 50),
    form("rcp.{rn,rz,rm,rp}.f64", 50),
    deviating("rcp.approx.[ftz].f32", 50, APPROXIMATE),
    form("rcp.approx.ftz.f64", 50),
    form("sqrt.{rn,rz,rm,rp}.[ftz].f32", 50),
    form("sqrt.{rn,rz,rm,rp}.f64", 50),
    deviating("sqrt.approx.[ftz].f32", 50, APPROXIMATE),
    deviating("rsqrt.approx.[ftz].f32", 50, APPROXIMATE),
    deviating("rsqrt.approx.[ftz].f64", 50, "as the form with `.ftz`"),
    deviating("sin.approx.[ftz].f32", 50, APPROXIMATE),
    deviating("cos.approx.[ftz].f32", 50, APPROXIMATE),
    deviating("lg2.approx.[ftz].f32", 50, APPROXIMATE),
    deviating("ex2.approx.[ftz].f32", 50, APPROXIMATE),
    deviating("tanh.approx.f32", 75, APPROXIMATE),
    form("neg.[ftz].{f32,f64}", 50),
    form("abs.[ftz].{f32,f64}", 50),
    form("min.[ftz].[NaN].[xorsign].[abs].f32", 50),
    form("max.[ftz].[NaN].[xorsign].[abs].f32", 50),
    form("min.f64", 50),
    form("max.f64", 50),
    form("testp.{finite,infinite,number,notanumber,normal,subnormal}.{f32,f64}", 50),
    form("copysign.{f32,f64}", 50),
];

/// The rounding of an instruction, nearest where it names none.
pub(super) fn rounding(dec: &Dec<'_>) -> Rounding {
    match dec.which(&["rz", "rm", "rp", "rna"]) {
        Some(0) => Rounding::Zero,
        Some(1) => Rounding::Down,
        Some(2) => Rounding::Up,
        Some(_) => Rounding::NearestAway,
        None => Rounding::Nearest,
    }
}

/// Rounding and modifiers of an instruction, packed.
pub(super) fn pack_mode(dec: &Dec<'_>) -> u32 {
    let rounding = match rounding(dec) {
        Rounding::Nearest => 0,
        Rounding::NearestAway => 1,
        Rounding::Zero => 2,
        Rounding::Down => 3,
        Rounding::Up => 4,
    };
    rounding
        | u32::from(dec.has("ftz")) << 3
        | u32::from(dec.has("sat")) << 4
        | u32::from(dec.has("relu")) << 5
}

/// The inverse of [`pack_mode`].
#[inline]
pub(super) fn mode(x: u32) -> Mode {
    let rounding = match x & 7 {
        1 => Rounding::NearestAway,
        2 => Rounding::Zero,
        3 => Rounding::Down,
        4 => Rounding::Up,
        _ => Rounding::Nearest,
    };
    Mode { rounding, ftz: x & 8 != 0, sat: x & 16 != 0, relu: x & 32 != 0 }
}

const F32: Type = Type::F(32);
const F64: Type = Type::F(64);

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let double = dec.has("f64");
    match dec.opcode() {
        "add" | "sub" | "mul" | "fma" | "mad" if dec.has("f32x2") => pairs(dec),
        "add" | "sub" | "fma" if dec.has("f16") || dec.has("bf16") => mixed_precision(dec),
        "add" | "sub" | "mul" if double => binary64(dec),
        "add" | "sub" | "mul" => binary32(dec),
        "fma" | "mad" if double => dec.plain_x(
            active_x!(L = |x, (a, b, c)| f64::fma_mode(a, b, c, mode(x)); L, L, L),
            pack_mode(dec),
            F64,
            &[F64, F64, F64],
        ),
        "fma" | "mad" => fma32(dec),
        "div" => div(dec, double),
        "rcp" | "sqrt" if !dec.has("approx") => unary_rounded(dec, double),
        "neg" | "abs" => sign(dec, double),
        "min" | "max" => min_max(dec, double),
        "testp" => testp(dec, double),
        "copysign" if double => dec.plain(every!(L = f64::copysign; L, L), F64, &[F64, F64]),
        "copysign" => dec.plain(every!(W = f32::copysign; W, W), F32, &[F32, F32]),
        _ => approximate(dec, double),
    }
}

fn binary32(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let x = pack_mode(dec);
    let run: Handler = match (dec.opcode(), x) {
        ("add", 0) => every!(W = f32::add; W, W),
        ("sub", 0) => every!(W = f32::sub; W, W),
        ("mul", 0) => every!(W = f32::mul; W, W),
        ("add", 8) => every!(W = f32::add_ftz; W, W),
        ("sub", 8) => every!(W = f32::sub_ftz; W, W),
        ("mul", 8) => every!(W = f32::mul_ftz; W, W),
        ("add", _) => active_x!(W = |x, (a, b)| f32::add_mode(a, b, mode(x)); W, W),
        ("sub", _) => active_x!(W = |x, (a, b)| f32::sub_mode(a, b, mode(x)); W, W),
        _ => active_x!(W = |x, (a, b)| f32::mul_mode(a, b, mode(x)); W, W),
    };
    dec.plain_x(run, x, F32, &[F32, F32])
}

fn fma32(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let x = pack_mode(dec);
    let run: Handler = match x {
        0 => handler!(|cx, i, mask| {
            let mut d = [0; 32];
            f32::fma_lanes(&cx.word(i.a), &cx.word(i.b), &cx.word(i.c), &mut d);
            cx.set_word(i.d, &d, mask);
            Flow::Next
        }),
        8 => every!(W = f32::fma_ftz; W, W, W),
        _ => active_x!(W = |x, (a, b, c)| f32::fma_mode(a, b, c, mode(x)); W, W, W),
    };
    dec.plain_x(run, x, F32, &[F32, F32, F32])
}

fn binary64(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let x = pack_mode(dec);
    let run: Handler = match (dec.opcode(), x) {
        ("add", 0) => every!(L = f64::add; L, L),
        ("sub", 0) => every!(L = f64::sub; L, L),
        ("mul", 0) => every!(L = f64::mul; L, L),
        ("add", _) => active_x!(L = |x, (a, b)| f64::add_mode(a, b, mode(x)); L, L),
        ("sub", _) => active_x!(L = |x, (a, b)| f64::sub_mode(a, b, mode(x)); L, L),
        _ => active_x!(L = |x, (a, b)| f64::mul_mode(a, b, mode(x)); L, L),
    };
    dec.plain_x(run, x, F64, &[F64, F64])
}

fn pairs(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let long = Type::B(64);
    let run: Handler = match dec.opcode() {
        "add" => active_x!(L = |x, (a, b)| packed::wide2(|a, b| f32::add_mode(a, b, mode(x)), a, b); L, L),
        "sub" => active_x!(L = |x, (a, b)| packed::wide2(|a, b| f32::sub_mode(a, b, mode(x)), a, b); L, L),
        "mul" => active_x!(L = |x, (a, b)| packed::wide2(|a, b| f32::mul_mode(a, b, mode(x)), a, b); L, L),
        _ => {
            let run = active_x!(L = |x, (a, b, c)| packed::wide3(|a, b, c| f32::fma_mode(a, b, c, mode(x)), a, b, c); L, L, L);
            return dec.plain_x(run, pack_mode(dec), long, &[long, long, long]);
        }
    };
    dec.plain_x(run, pack_mode(dec), long, &[long, long])
}

/// The half operands are widened exactly, then one rounding.
fn mixed_precision(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    let half = if dec.has("f16") { Type::F(16) } else { Type::Bf16 };
    let run: Handler = match (dec.opcode(), half) {
        ("add", Type::Bf16) => active_x!(W = |x, (a, c)| mixed::add_bf16(a as u16, c, mode(x)); W, W),
        ("add", _) => active_x!(W = |x, (a, c)| mixed::add_f16(a as u16, c, mode(x)); W, W),
        ("sub", Type::Bf16) => active_x!(W = |x, (a, c)| mixed::sub_bf16(a as u16, c, mode(x)); W, W),
        ("sub", _) => active_x!(W = |x, (a, c)| mixed::sub_f16(a as u16, c, mode(x)); W, W),
        (_, Type::Bf16) => {
            active_x!(W = |x, (a, b, c)| mixed::fma_bf16(a as u16, b as u16, c, mode(x)); W, W, W)
        }
        _ => active_x!(W = |x, (a, b, c)| mixed::fma_f16(a as u16, b as u16, c, mode(x)); W, W, W),
    };
    let x = pack_mode(dec);
    if dec.opcode() == "fma" {
        dec.plain_x(run, x, F32, &[half, half, F32])
    } else {
        dec.plain_x(run, x, F32, &[half, F32])
    }
}

fn div(dec: &mut Dec<'_>, double: bool) -> Result<(), Refusal> {
    let x = pack_mode(dec);
    if double {
        let run = active_x!(L = |x, (a, b)| f64::div_mode(a, b, mode(x)); L, L);
        return dec.plain_x(run, x, F64, &[F64, F64]);
    }
    let run: Handler = match (dec.has("approx"), dec.has("full"), dec.has("ftz")) {
        (true, _, false) => active!(W = approx::div; W, W),
        (true, _, true) => active!(W = approx::div_ftz; W, W),
        (_, true, false) => active!(W = approx::div_full; W, W),
        (_, true, true) => active!(W = approx::div_full_ftz; W, W),
        _ => active_x!(W = |x, (a, b)| f32::div_mode(a, b, mode(x)); W, W),
    };
    dec.plain_x(run, x, F32, &[F32, F32])
}

fn unary_rounded(dec: &mut Dec<'_>, double: bool) -> Result<(), Refusal> {
    let x = pack_mode(dec);
    let run: Handler = match (dec.opcode(), double) {
        ("rcp", false) => active_x!(W = |x, a| f32::rcp_mode(a, mode(x)); W),
        ("rcp", true) => active_x!(L = |x, a| f64::rcp_mode(a, mode(x)); L),
        (_, false) => active_x!(W = |x, a| f32::sqrt_mode(a, mode(x)); W),
        (_, true) => active_x!(L = |x, a| f64::sqrt_mode(a, mode(x)); L),
    };
    let ty = if double { F64 } else { F32 };
    dec.plain_x(run, x, ty, &[ty])
}

fn approximate(dec: &mut Dec<'_>, double: bool) -> Result<(), Refusal> {
    if double {
        let run = if dec.opcode() == "rcp" {
            active!(L = approx::rcp_f64; L)
        } else {
            active!(L = approx::rsqrt_f64; L)
        };
        return dec.plain(run, F64, &[F64]);
    }
    let run: Handler = match (dec.opcode(), dec.has("ftz")) {
        ("rcp", false) => active!(W = approx::rcp; W),
        ("rcp", true) => active!(W = approx::rcp_ftz; W),
        ("sqrt", false) => active!(W = approx::sqrt; W),
        ("sqrt", true) => active!(W = approx::sqrt_ftz; W),
        ("rsqrt", false) => active!(W = approx::rsqrt; W),
        ("rsqrt", true) => active!(W = approx::rsqrt_ftz; W),
        ("sin", false) => active!(W = approx::sin; W),
        ("sin", true) => active!(W = approx::sin_ftz; W),
        ("cos", false) => active!(W = approx::cos; W),
        ("cos", true) => active!(W = approx::cos_ftz; W),
        ("lg2", false) => active!(W = approx::lg2; W),
        ("lg2", true) => active!(W = approx::lg2_ftz; W),
        ("ex2", false) => active!(W = approx::ex2; W),
        ("ex2", true) => active!(W = approx::ex2_ftz; W),
        ("tanh", _) => active!(W = approx::tanh; W),
        (other, _) => return Err(format!("`{other}` is no approximation")),
    };
    dec.plain(run, F32, &[F32])
}

fn sign(dec: &mut Dec<'_>, double: bool) -> Result<(), Refusal> {
    let run: Handler = match (dec.opcode(), double, dec.has("ftz")) {
        ("neg", true, _) => every!(L = f64::neg; L),
        ("neg", _, false) => every!(W = f32::neg; W),
        ("neg", _, true) => every!(W = |a| f32::neg(f32::flush(a)); W),
        (_, true, _) => every!(L = f64::abs; L),
        (_, _, false) => every!(W = f32::abs; W),
        (_, _, true) => every!(W = |a| f32::abs(f32::flush(a)); W),
    };
    let ty = if double { F64 } else { F32 };
    dec.plain(run, ty, &[ty])
}

/// The modifiers of `min` and `max`, packed.
pub(super) fn pack_min_max(dec: &Dec<'_>) -> u32 {
    let bit = |word: &str, at: u32| u32::from(dec.has(word)) << at;
    bit("ftz", 0) | bit("NaN", 1) | bit("abs", 2) | bit("xorsign", 3)
}

/// The inverse of [`pack_min_max`].
#[inline]
pub(super) fn min_max_mode(x: u32) -> MinMax {
    MinMax { ftz: x & 1 != 0, nan: x & 2 != 0, abs: x & 4 != 0, xorsign: x & 8 != 0 }
}

fn min_max(dec: &mut Dec<'_>, double: bool) -> Result<(), Refusal> {
    let x = pack_min_max(dec);
    let three = dec.count() == 4;
    if three && (double || !dec.target_at_least(100)) {
        return Err("three sources need f32 and sm_100".to_owned());
    }
    let run: Handler = match (dec.opcode(), double) {
        ("min", true) => active_x!(L = |x, (a, b)| f64::min_mode(a, b, min_max_mode(x)); L, L),
        (_, true) => active_x!(L = |x, (a, b)| f64::max_mode(a, b, min_max_mode(x)); L, L),
        ("min", _) if three => {
            active_x!(W = |x, (a, b, c)| f32::min3_mode(a, b, c, min_max_mode(x)); W, W, W)
        }
        (_, _) if three => {
            active_x!(W = |x, (a, b, c)| f32::max3_mode(a, b, c, min_max_mode(x)); W, W, W)
        }
        ("min", _) => active_x!(W = |x, (a, b)| f32::min_mode(a, b, min_max_mode(x)); W, W),
        _ => active_x!(W = |x, (a, b)| f32::max_mode(a, b, min_max_mode(x)); W, W),
    };
    let ty = if double { F64 } else { F32 };
    dec.plain_x(run, x, ty, &[ty, ty, ty][..if three { 3 } else { 2 }])
}

const CLASSES: [(&str, Class); 6] = [
    ("finite", Class::Finite),
    ("infinite", Class::Infinite),
    ("number", Class::Number),
    ("notanumber", Class::NotANumber),
    ("normal", Class::Normal),
    ("subnormal", Class::Subnormal),
];

fn testp(dec: &mut Dec<'_>, double: bool) -> Result<(), Refusal> {
    let x = dec.which(&CLASSES.map(|(word, _)| word)).unwrap_or(0) as u32;
    let run: Handler = if double {
        handler!(|cx, i, mask| {
            let a = cx.long(i.a);
            let class = CLASSES[i.x as usize].1;
            let p = (0..32).filter(|l| f64::testp(class, a[*l])).fold(0, |m, l| m | 1 << l);
            cx.set_pred(i.d, p, mask);
            Flow::Next
        })
    } else {
        handler!(|cx, i, mask| {
            let a = cx.word(i.a);
            let class = CLASSES[i.x as usize].1;
            let p = (0..32).filter(|l| f32::testp(class, a[*l])).fold(0, |m, l| m | 1 << l);
            cx.set_pred(i.d, p, mask);
            Flow::Next
        })
    };
    dec.plain_x(run, x, Type::Pred, &[if double { F64 } else { F32 }])
}
