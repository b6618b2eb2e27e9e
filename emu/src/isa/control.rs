//! Branches, calls, returns and the end of threads.

use super::cfg::RETURN;
use super::decoder::{Dec, Refusal, describe};
use super::form::{Form, form};
use super::inst::{Class, Flow, Inst, Slot};
use super::layout::Layout;
use super::library;
use super::program::{Carrier, Code, Program};
use crate::exec::report::{FindingKind, Severity};
use crate::exec::words::{Words, WordsMut};
use crate::exec::{Cx, lanes};
use crate::ptx::{FunctionId, Operand, Type};

/// The forms.
pub(super) const FORMS: &[Form] = &[
    form("bra.[uni]", 50),
    form("brx.idx.[uni]", 50),
    form("call.[uni]", 50),
    form("ret.[uni]", 50),
    form("exit", 50),
];

/// Deepest chain of calls.
const DEPTH: usize = 4096;
/// Bytes of local memory of a thread.
const LOCAL_LIMIT: u32 = 1 << 22;

/// Decodes.
pub(super) fn decode(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    match dec.opcode() {
        "bra" => bra(dec),
        "brx" => brx(dec),
        "call" => call(dec),
        "ret" => {
            dec.expect(0, 0)?;
            dec.emit(Inst::new(ret));
            Ok(())
        }
        _ => {
            dec.expect(0, 0)?;
            dec.emit(Inst::new(|cx, _, mask| cx.exit(mask)));
            Ok(())
        }
    }
}

// Branches. Targets are instructions of the text until [`resolve`] turns them into steps.

/// `x`: target; `imm`: where lanes that part meet, and in the upper half the instruction of the text.
fn bra(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(1, 1)?;
    let Operand::Label(target) = dec.operand(0)? else {
        return Err(format!("{} where a label is needed", describe(dec.operand(0)?)));
    };
    let mut step = Inst::new(if dec.has("uni") { branch_uniform } else { branch });
    step.x = *target as u32;
    step.c = BRANCH;
    step.flags.branch = true;
    dec.emit(step);
    Ok(())
}

/// Marks in `c` what [`resolve`] has to do.
const BRANCH: Slot = 1;
const TABLE: Slot = 2;

fn branch<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let rest = cx.group.mask & !mask;
    if rest == 0 {
        return Flow::Jump(i.x);
    }
    let next = cx.group.pc + 1;
    cx.split(i, &[(mask, i.x), (rest, next)], i.imm as u32)
}

fn branch_uniform<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if cx.group.mask & !mask != 0 {
        let lane = mask.trailing_zeros() as usize;
        let message = "lanes disagree at a branch that is said to be uniform".to_owned();
        cx.report(i.site, FindingKind::Undefined, Severity::Error, lane, message);
    }
    branch(cx, i, mask)
}

fn brx(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(2, 2)?;
    let Operand::BranchTargets(list) = dec.operand(1)? else {
        return Err("a list of branch targets is needed".to_owned());
    };
    let targets = dec.function.branch_targets.get(*list).ok_or("an unknown list of branch targets")?;
    let mut step = Inst::new(branch_table);
    step.a = dec.critical(0, Type::U(32))?;
    let slots: Vec<Slot> = targets.iter().map(|t| *t as u32).collect();
    step.list = dec.list(&slots);
    step.c = TABLE;
    step.flags.branch = true;
    dec.emit(step);
    Ok(())
}

fn branch_table<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let index = cx.word(i.a);
    let targets = cx.program.list(i.list);
    if let Some(lane) = lanes(mask).find(|l| index[*l] as usize >= targets.len()) {
        let message = format!("index {} into a branch table of {} targets", index[lane], targets.len());
        return cx.abort(i, FindingKind::Undefined, lane, message);
    }
    let mut parts: Vec<(u32, u32)> = Vec::new();
    let mut add = |bits: u32, target: u32| match parts.iter_mut().find(|p| p.1 == target) {
        Some(part) => part.0 |= bits,
        None => parts.push((bits, target)),
    };
    lanes(mask).for_each(|l| add(1 << l, targets[index[l] as usize]));
    let rest = cx.group.mask & !mask;
    if rest != 0 {
        add(rest, cx.group.pc + 1);
    }
    match parts[..] {
        [(_, target)] => Flow::Jump(target),
        _ => cx.split(i, &parts, i.imm as u32),
    }
}

/// Turns instructions of the text into steps, once all are decoded: `starts[i]` is the first step of instruction i.
pub(super) fn resolve(code: &mut Code, program: &mut Program, starts: &[u32], dominators: &[usize]) {
    let step_of = |text: usize| starts.get(text).or(starts.last()).copied().unwrap_or(0);
    let mut text = 0;
    for (at, step) in code.insts.iter_mut().enumerate() {
        while text + 1 < starts.len() && starts[text + 1] as usize <= at {
            text += 1;
        }
        if !step.flags.branch {
            continue;
        }
        let join = dominators.get(text).copied().unwrap_or(RETURN);
        step.imm = if join == RETURN { u32::MAX.into() } else { step_of(join).into() };
        if step.c == BRANCH {
            step.x = step_of(step.x as usize);
        } else if let Some(list) = program.lists.get_mut(step.list.0 as usize..step.list.1 as usize) {
            list.iter_mut().for_each(|t| *t = step_of(*t as usize));
        }
        step.c = 0;
    }
}

// Calls.

/// Who is called.
enum Callee {
    Known(u32),
    /// A function of the run-time library.
    Library(library::Routine),
    /// The register that holds a handle.
    Indirect(Slot),
}

struct Call {
    callee: Callee,
    arguments: Vec<Carrier>,
    results: Vec<Carrier>,
}

fn call(dec: &mut Dec<'_>) -> Result<(), Refusal> {
    dec.expect(3, 4)?;
    let results = carriers(dec, 0, false)?;
    let arguments = carriers(dec, 2, true)?;
    let callee = match dec.operand(1)? {
        Operand::Function(id) => known(dec, *id)?,
        Operand::Register(_) => Callee::Indirect(dec.critical(1, Type::B(64))?),
        other => return Err(format!("{} cannot be called", describe(other))),
    };
    let mut step = Inst::new(match callee {
        Callee::Library(_) => call_library,
        _ => call_function,
    });
    step.x = dec.data(Call { callee, arguments, results });
    dec.emit(step);
    Ok(())
}

fn known(dec: &Dec<'_>, id: FunctionId) -> Result<Callee, Refusal> {
    if let Some(index) = dec.program.index.get(&id) {
        return Ok(Callee::Known(*index));
    }
    let name = dec.module.functions.get(id.0 as usize).map_or("?", |f| f.name.as_str());
    library::find(name)
        .map(Callee::Library)
        .ok_or_else(|| format!("`{name}` has no body, and is none of {}", library::names()))
}

fn carriers(dec: &mut Dec<'_>, operand: usize, source: bool) -> Result<Vec<Carrier>, Refusal> {
    let Operand::List(list) = dec.operand(operand)? else {
        return Err("a list in parentheses is needed".to_owned());
    };
    list.iter().map(|op| carrier(dec, op, source)).collect()
}

fn carrier(dec: &mut Dec<'_>, op: &'_ Operand, source: bool) -> Result<Carrier, Refusal> {
    match op {
        Operand::Symbol(symbol, 0) => {
            let place = dec.place(*symbol)?;
            let size = dec.module.variables.get(symbol.0 as usize).map_or(0, |v| v.size);
            Ok(Carrier::Frame(place.address as u32, size as u32))
        }
        Operand::Register(id) => {
            let ty = dec.function.registers.get(id.0 as usize).map_or(Type::B(32), |r| r.ty);
            let class = super::decoder::class_of(ty);
            let slot = dec.regs.slot(*id).ok_or("a register that is not declared")?;
            if source {
                dec.note_use(class, slot);
            } else {
                dec.note_def(class, slot);
            }
            Ok(Carrier::Register(super::Reg { class, slot, critical: false }))
        }
        other => Err(format!("{} as an argument of a call", describe(other))),
    }
}

/// What a caller hands over: bytes, or a register's lanes.
enum Parcel {
    Bytes(Vec<(usize, Vec<u8>, bool)>),
    Register(Box<[u64; 32]>, u32),
}

fn take(cx: &Cx<'_>, carrier: &Carrier, base: u32, mask: u32) -> Parcel {
    match carrier {
        Carrier::Register(reg) => {
            let values = match reg.class {
                Class::Pred => {
                    let p = cx.pred(reg.slot);
                    std::array::from_fn(|l| u64::from(p >> l & 1))
                }
                Class::Word => cx.word(reg.slot).map(u64::from),
                Class::Long => cx.long(reg.slot),
            };
            Parcel::Register(Box::new(values), cx.defined(reg.class, reg.slot))
        }
        Carrier::Frame(offset, size) => {
            let from = u64::from(base + offset);
            let one = |l: usize| {
                let mut bytes = vec![0; *size as usize];
                cx.warp.local[l][..].bytes(from, &mut bytes);
                (l, bytes, cx.local_defined(l, from, *size))
            };
            Parcel::Bytes(lanes(mask).map(one).collect())
        }
    }
}

fn put(cx: &mut Cx<'_>, parcel: &Parcel, carrier: &Carrier, base: u32, mask: u32) {
    match (parcel, carrier) {
        (Parcel::Register(values, defined), Carrier::Register(reg)) => {
            match reg.class {
                Class::Pred => {
                    let bits = (0..32).filter(|l| values[*l] != 0).fold(0, |m, l| m | 1 << l);
                    cx.set_pred(reg.slot, bits, mask);
                }
                Class::Word => cx.set_word(reg.slot, &values.map(|v| v as u32), mask),
                Class::Long => cx.set_long(reg.slot, values, mask),
            }
            cx.set_defined(reg.class, reg.slot, *defined, mask);
        }
        (Parcel::Bytes(all), Carrier::Frame(offset, size)) => {
            for (lane, bytes, defined) in all {
                let n = bytes.len().min(*size as usize);
                let at = u64::from(base + offset);
                cx.warp.local[*lane][..].set_bytes(at, &bytes[..n]);
                cx.set_local_defined(*lane, at, n as u32, *defined);
            }
        }
        _ => {}
    }
}

fn call_function<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let call = cx.program.data::<Call>(i.x);
    let target = match &call.callee {
        Callee::Known(index) => *index,
        Callee::Indirect(slot) => return call_indirect(cx, i, *slot, mask),
        Callee::Library(_) => return Flow::Next,
    };
    enter(cx, i, call, target, mask)
}

/// Lanes that call different functions go one group after another; they meet behind the call.
fn call_indirect<'a>(cx: &mut Cx<'a>, i: &'a Inst, slot: Slot, mask: u32) -> Flow {
    let handles = cx.long(slot);
    let first = mask.trailing_zeros() as usize % 32;
    let same = lanes(mask).filter(|l| handles[*l] == handles[first]).fold(0, |m, l| m | 1 << l);
    if same != cx.group.mask {
        let (pc, others) = (cx.group.pc, cx.group.mask & !same & mask);
        let idle = cx.group.mask & !mask;
        let mut parts = vec![(same, pc)];
        if others != 0 {
            parts.push((others, pc));
        }
        if idle != 0 {
            parts.push((idle, pc + 1));
        }
        if parts.len() > 1 {
            cx.split(i, &parts, pc + 1);
            return Flow::Again;
        }
    }
    let target = Layout::function_of(handles[first]).and_then(|id| cx.program.index.get(&id).copied());
    let call = cx.program.data::<Call>(i.x);
    let fits = target.filter(|t| cx.program.functions[*t as usize].params.len() == call.arguments.len());
    match fits {
        Some(target) => enter(cx, i, call, target, same),
        None => {
            let message =
                format!("{:#x} is no function with {} parameters", handles[first], call.arguments.len());
            cx.abort(i, FindingKind::Undefined, first, message)
        }
    }
}

fn enter<'a>(cx: &mut Cx<'a>, i: &'a Inst, call: &'a Call, target: u32, mask: u32) -> Flow {
    if mask != cx.group.mask {
        let rest = cx.group.mask & !mask;
        let pc = cx.group.pc;
        cx.split(i, &[(mask, pc), (rest, pc + 1)], pc + 1);
        return Flow::Again;
    }
    let program = cx.program;
    let code = &program.functions[target as usize];
    let own = cx.frame.local_base;
    let parcels: Vec<Parcel> = call.arguments.iter().map(|c| take(cx, c, own, mask)).collect();
    let base = lanes(mask).map(|l| cx.warp.local_top[l]).max().unwrap_or(0).next_multiple_of(16);
    let depth = cx.warp.frames.len();
    if base + code.local_bytes > LOCAL_LIMIT || depth > DEPTH {
        let lane = mask.trailing_zeros() as usize % 32;
        return cx.abort(
            i,
            FindingKind::OutOfBounds,
            lane,
            format!("the stack of `{}` overflows", code.name),
        );
    }
    let number = cx.warp.new_frame();
    let mut frame = std::mem::take(&mut cx.warp.frames[number as usize]);
    frame.reset(target, code, mask);
    frame.caller = Some((cx.group.frame, cx.group.pc + 1));
    frame.local_base = base;
    frame.results.extend_from_slice(&call.results);
    let caller = std::mem::replace(&mut cx.frame, frame);
    cx.warp.frames[cx.group.frame as usize] = caller;
    cx.group.frame = number;
    cx.group.pc = 0;
    for lane in lanes(mask) {
        cx.warp.local_top[lane] = base + code.local_bytes;
        cx.clear_local(lane, base, code.local_bytes);
    }
    for (parcel, param) in parcels.iter().zip(&code.params) {
        put(cx, parcel, param, base, mask);
    }
    Flow::Reload
}

/// `ret`: in the kernel it ends the lanes.
pub(super) fn ret<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let Some((caller, pc)) = cx.frame.caller else { return cx.exit(mask) };
    if mask != cx.group.mask {
        let (rest, at) = (cx.group.mask & !mask, cx.group.pc);
        cx.split(i, &[(mask, at), (rest, at + 1)], u32::MAX);
        return Flow::Again;
    }
    let program = cx.program;
    let code = &program.functions[cx.frame.function as usize];
    let base = cx.frame.local_base;
    let parcels: Vec<Parcel> = code.returns.iter().map(|c| take(cx, c, base, mask)).collect();
    let results = cx.frame.results.clone();
    cx.frame.lanes &= !mask;
    let left = cx.frame.lanes;
    let number = cx.group.frame;
    let frame = std::mem::replace(&mut cx.frame, std::mem::take(&mut cx.warp.frames[caller as usize]));
    cx.warp.frames[number as usize] = frame;
    if left == 0 {
        cx.warp.free_frame(number);
    }
    for lane in lanes(mask) {
        cx.warp.local_top[lane] = base;
    }
    let own = cx.frame.local_base;
    for (parcel, result) in parcels.iter().zip(&results) {
        put(cx, parcel, result, own, mask);
    }
    (cx.group.frame, cx.group.pc) = (caller, pc);
    Flow::Reload
}

fn call_library<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    let call = cx.program.data::<Call>(i.x);
    let Callee::Library(routine) = call.callee else { return Flow::Next };
    let base = cx.frame.local_base;
    let arguments: Vec<[u64; 32]> =
        call.arguments.iter().map(|c| as_numbers(&take(cx, c, base, mask))).collect();
    let mut result = [0; 32];
    for lane in lanes(mask) {
        let values: Vec<u64> = arguments.iter().map(|a| a[lane]).collect();
        match routine(cx, i, lane, &values) {
            Some(value) => result[lane] = value,
            None => return Flow::Abort,
        }
    }
    if let Some(to) = call.results.first() {
        let parcel = match to {
            Carrier::Register(_) => Parcel::Register(Box::new(result), u32::MAX),
            Carrier::Frame(_, size) => {
                let bytes = |l: usize| result[l].to_le_bytes()[..(*size as usize).min(8)].to_vec();
                Parcel::Bytes(lanes(mask).map(|l| (l, bytes(l), true)).collect())
            }
        };
        put(cx, &parcel, to, base, mask);
    }
    Flow::Next
}

fn as_numbers(parcel: &Parcel) -> [u64; 32] {
    match parcel {
        Parcel::Register(values, _) => **values,
        Parcel::Bytes(all) => {
            let mut values = [0; 32];
            for (lane, bytes, _) in all {
                let mut eight = [0; 8];
                let n = bytes.len().min(8);
                eight[..n].copy_from_slice(&bytes[..n]);
                values[*lane] = u64::from_le_bytes(eight);
            }
            values
        }
    }
}
