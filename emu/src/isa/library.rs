//! The functions that compilers call without giving their text: printing, assertions, the heap.

use super::inst::Inst;
use crate::exec::Cx;
use crate::exec::report::{FindingKind, Severity};
use crate::exec::space::{LOCAL_BITS, MemSpace, classify};
use crate::exec::words::Words;

/// Executes for one lane; `None` ends the launch.
pub(super) type Routine = fn(&mut Cx<'_>, &Inst, usize, &[u64]) -> Option<u64>;

const ROUTINES: &[(&str, Routine)] =
    &[("vprintf", vprintf), ("__assertfail", assertfail), ("malloc", malloc), ("free", free)];

/// Longest text that is followed for a `%s` or a format.
const TEXT_LIMIT: usize = 1 << 16;

pub(super) fn find(name: &str) -> Option<Routine> {
    ROUTINES.iter().find(|(n, _)| *n == name).map(|(_, r)| *r)
}

pub(super) fn names() -> String {
    ROUTINES.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ")
}

/// A byte at a generic address, as the lane sees it.
fn byte(cx: &Cx<'_>, lane: usize, address: u64) -> Option<u8> {
    let (space, inner) = classify(address);
    Some(match space {
        MemSpace::Global => {
            let (_, buffer, offset) = cx.run.global.find(address, 1)?;
            buffer.words().part(offset, 1) as u8
        }
        MemSpace::Local => cx.warp.local[lane][..].part(inner & ((1 << LOCAL_BITS) - 1), 1) as u8,
        MemSpace::Const => cx.run.consts.part(inner, 1) as u8,
        MemSpace::Shared => {
            let (rank, offset) = crate::exec::access::split_shared(inner);
            cx.cluster.ctas.get(rank)?.shared[..].part(offset, 1) as u8
        }
        _ => cx.run.params[..].part(inner, 1) as u8,
    })
}

fn number(cx: &Cx<'_>, lane: usize, address: u64, bytes: u64) -> Option<u64> {
    (0..bytes).try_fold(0, |n, k| Some(n | u64::from(byte(cx, lane, address + k)?) << (8 * k)))
}

fn text(cx: &Cx<'_>, lane: usize, address: u64) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < TEXT_LIMIT {
        match byte(cx, lane, address.wrapping_add(bytes.len() as u64))? {
            0 => break,
            b => bytes.push(b),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn wrong_pointer(cx: &mut Cx<'_>, i: &Inst, lane: usize, address: u64) -> Option<u64> {
    let message = "a pointer to a text that leads nowhere".to_owned();
    cx.bad_address(i, FindingKind::OutOfBounds, lane, message, address);
    None
}

fn argument(values: &[u64], index: usize) -> u64 {
    values.get(index).copied().unwrap_or(0)
}

/// `vprintf(format, arguments)`: arguments packed with natural alignment; gives how many there were.
fn vprintf(cx: &mut Cx<'_>, i: &Inst, lane: usize, values: &[u64]) -> Option<u64> {
    let Some(format) = text(cx, lane, argument(values, 0)) else {
        return wrong_pointer(cx, i, lane, argument(values, 0));
    };
    let mut packed = Packed { lane, at: argument(values, 1), count: 0 };
    let Some(out) = print(cx, &format, &mut packed) else {
        return wrong_pointer(cx, i, lane, packed.at);
    };
    let mut output = cx.run.output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    output.extend_from_slice(out.as_bytes());
    Some(packed.count)
}

struct Packed {
    lane: usize,
    at: u64,
    count: u64,
}

impl Packed {
    fn next(&mut self, cx: &Cx<'_>, bytes: u64) -> Option<u64> {
        self.at = self.at.next_multiple_of(bytes);
        let value = number(cx, self.lane, self.at, bytes)?;
        self.at += bytes;
        self.count += 1;
        Some(value)
    }
}

/// One conversion of a format: flags, width, precision, long, letter.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    long: bool,
}

fn print(cx: &Cx<'_>, format: &str, from: &mut Packed) -> Option<String> {
    let mut out = String::new();
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(f) = rest.next_if(|c| "-+ #0".contains(*c)) {
            match f {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '#' => spec.alternate = true,
                _ => spec.zero = true,
            }
        }
        spec.width = digits(&mut rest).or_else(|| star(&mut rest, cx, from)).unwrap_or(0).min(4096);
        if rest.next_if_eq(&'.').is_some() {
            spec.precision =
                Some(digits(&mut rest).or_else(|| star(&mut rest, cx, from)).unwrap_or(0).min(4096));
        }
        while let Some(l) = rest.next_if(|c| "hljztL".contains(*c)) {
            spec.long |= l != 'h' && l != 'L';
        }
        match rest.next() {
            Some('%') => out.push('%'),
            Some(letter) => out += &convert(cx, &spec, letter, from)?,
            None => out.push('%'),
        }
    }
    Some(out)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn digits(rest: &mut Chars<'_>) -> Option<usize> {
    let mut n = None;
    while let Some(d) = rest.next_if(char::is_ascii_digit) {
        n = Some(n.unwrap_or(0usize).saturating_mul(10).saturating_add(d as usize - '0' as usize));
    }
    n
}

fn star(rest: &mut Chars<'_>, cx: &Cx<'_>, from: &mut Packed) -> Option<usize> {
    rest.next_if_eq(&'*')?;
    from.next(cx, 4).map(|v| v as usize)
}

fn convert(cx: &Cx<'_>, spec: &Spec, letter: char, from: &mut Packed) -> Option<String> {
    let bytes = if spec.long { 8 } else { 4 };
    let (negative, digits) = match letter {
        'd' | 'i' => {
            let raw = from.next(cx, bytes)?;
            let value = if spec.long { raw as i64 } else { i64::from(raw as u32 as i32) };
            (value < 0, value.unsigned_abs().to_string())
        }
        'u' => (false, from.next(cx, bytes)?.to_string()),
        'x' => (false, format!("{}{:x}", if spec.alternate { "0x" } else { "" }, from.next(cx, bytes)?)),
        'X' => (false, format!("{}{:X}", if spec.alternate { "0X" } else { "" }, from.next(cx, bytes)?)),
        'o' => (false, format!("{:o}", from.next(cx, bytes)?)),
        'p' => (false, format!("{:#x}", from.next(cx, 8)?)),
        'c' => (false, char::from(from.next(cx, 4)? as u8).to_string()),
        's' => {
            let address = from.next(cx, 8)?;
            let whole = text(cx, from.lane, address)?;
            (false, whole.chars().take(spec.precision.unwrap_or(usize::MAX)).collect())
        }
        'f' | 'F' | 'e' | 'E' | 'g' | 'G' | 'a' | 'A' => {
            let value = f64::from_bits(from.next(cx, 8)?);
            (value.is_sign_negative() && !value.is_nan(), float(value.abs(), spec, letter))
        }
        other => return Some(format!("%{other}")),
    };
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) if "dieEfFgG".contains(letter) => "+",
        (_, _, true) if "dieEfFgG".contains(letter) => " ",
        _ => "",
    };
    let pad = spec.width.saturating_sub(sign.len() + digits.chars().count());
    Some(match (spec.left, spec.zero && !"csp".contains(letter)) {
        (true, _) => format!("{sign}{digits}{}", " ".repeat(pad)),
        (_, true) => format!("{sign}{}{digits}", "0".repeat(pad)),
        _ => format!("{}{sign}{digits}", " ".repeat(pad)),
    })
}

fn float(value: f64, spec: &Spec, letter: char) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "nan".to_owned() } else { "inf".to_owned() };
    }
    let precision = spec.precision.unwrap_or(6);
    match letter {
        'f' | 'F' => format!("{value:.precision$}"),
        'e' | 'E' | 'a' | 'A' => exponent(value, precision, letter.is_ascii_uppercase()),
        _ => general(value, precision.max(1), letter == 'G'),
    }
}

fn exponent(value: f64, precision: usize, upper: bool) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}{}{sign}{:02}", if upper { 'E' } else { 'e' }, power.abs())
}

fn general(value: f64, precision: usize, upper: bool) -> String {
    let text = format!("{value:.*e}", precision - 1);
    let power: i32 = text.split_once('e').and_then(|(_, p)| p.parse().ok()).unwrap_or(0);
    if power < -4 || power >= precision as i32 {
        let full = exponent(value, precision - 1, upper);
        let (mantissa, tail) = full.split_at(full.find(['e', 'E']).unwrap_or(full.len()));
        return format!("{}{tail}", trimmed(mantissa));
    }
    trimmed(&format!("{value:.*}", (precision as i32 - 1 - power).max(0) as usize)).to_owned()
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// `__assertfail(message, file, line, function, size)`.
fn assertfail(cx: &mut Cx<'_>, i: &Inst, lane: usize, values: &[u64]) -> Option<u64> {
    let part = |k: usize| text(cx, lane, argument(values, k)).unwrap_or_else(|| "?".to_owned());
    let (message, file, function) = (part(0), part(1), part(3));
    let line = argument(values, 2) as u32;
    let message = format!("assertion `{message}` failed in {function} at {file}:{line}");
    cx.abort(i, FindingKind::Trap, lane, message);
    None
}

fn malloc(cx: &mut Cx<'_>, _: &Inst, _: usize, values: &[u64]) -> Option<u64> {
    Some(cx.run.heap.as_ref().map_or(0, |heap| heap.malloc(argument(values, 0))))
}

fn free(cx: &mut Cx<'_>, i: &Inst, lane: usize, values: &[u64]) -> Option<u64> {
    let address = argument(values, 0);
    if !cx.run.heap.as_ref().is_some_and(|heap| heap.free(address)) {
        let message = "`free` of what is not allocated".to_owned();
        cx.report_at(i.site, FindingKind::UseAfterFree, Severity::Error, lane, message, Some(address), None);
    }
    Some(0)
}
