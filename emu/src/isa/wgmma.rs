//! wgmma: products of a warpgroup whose operands lie in shared memory, under way until they are waited for (ptx.md 6.4).
//!
//! Each of the four warps brings its part; when all four have come a product is whole. It takes effect then or at the
//! latest when a warp waits for a group that holds it, as the seed draws, and reads shared memory when it does.
//! Accumulators live here while a product of theirs is under way, and come back to the registers with the wait.

use std::collections::VecDeque;

use super::decoder::{Dec, Refusal};
use super::form::{Form, only, refused};
use super::inst::{Class, Flow, Inst, Reg, Slot};
use crate::exec::group::Group;
use crate::exec::report::{Finding, FindingKind, Severity};
use crate::exec::warp::{Frame, Warp};
use crate::exec::{Cluster, Cx, SHARED_FIRST};
use crate::ptx::{Operand, Type};
use crate::shadow::{self, Access, AsyncId, AsyncKind, AsyncPart, Lanes, Proxy};
use crate::tensor::{Accumulator, Descriptor, Element, Major, OperandTile, TensorError, Wgmma, WgmmaSpec};

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
enum Source {
    Descriptor(Slot),
    Registers([Slot; 4]),
}

struct Plan {
    wgmma: Wgmma,
    a: Source,
    b: Slot,
    d: Vec<Slot>,
    scale_d: Slot,
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

/// A product of which parts are there, or that is under way.
struct Product {
    site: u32,
    /// Index of the plan in the program's data.
    plan: u32,
    a: u64,
    b: u64,
    scale_d: bool,
    /// Warps that brought their part.
    parts: u8,
    /// A from registers, by warp.
    registers: Vec<[[u32; 32]; 4]>,
    accumulator: usize,
    watched: Option<AsyncId>,
}

/// The registers of D of the four warps while products on them are under way.
#[derive(Default)]
struct Held {
    slots: Vec<Slot>,
    values: [Vec<[u32; 32]>; 4],
    /// Warps whose registers are here.
    warps: u8,
    /// One past the last product on them, by warp.
    last: [u64; 4],
    /// Frames that the registers belong to.
    frames: [u32; 4],
}

/// What a warpgroup has under way.
#[derive(Default)]
struct Warpgroup {
    /// Products in order of issue, from number `first` on.
    products: VecDeque<Product>,
    first: u64,
    /// Products that took effect.
    done: u64,
    /// By warp: products it took part in.
    issued: [u64; 4],
    /// By warp: ends of the groups that it has not waited for.
    groups: [VecDeque<u64>; 4],
    held: Vec<Held>,
    /// Products that took effect and that warps have not waited for: number, name, warps that have.
    unjoined: VecDeque<(u64, AsyncId, u8)>,
    a: OperandTile,
    b: OperandTile,
}

/// By number in the cluster.
#[derive(Default)]
struct Warpgroups(Vec<Warpgroup>);

impl Warpgroup {
    fn part_missing(&self, through: u64) -> Option<&Product> {
        let until = through.saturating_sub(self.first) as usize;
        self.products.iter().take(until).find(|p| p.parts != 0xf)
    }
}

/// Number of the warp's group in the cluster, and of the warp in the group.
fn place(cx: &Cx<'_>) -> (usize, usize) {
    let per = cx.run.warps().div_ceil(4);
    ((cx.rank() * per + cx.warp.id / 4) as usize, (cx.warp.id % 4) as usize)
}

/// Takes the group out of the cluster's state, so that memory can be reached beside it.
fn take(cx: &mut Cx<'_>, index: usize) -> Warpgroup {
    let groups = &mut cx.cluster.extra.get::<Warpgroups>().0;
    if groups.len() <= index {
        groups.resize_with(index + 1, Warpgroup::default);
    }
    std::mem::take(&mut groups[index])
}

fn give(cx: &mut Cx<'_>, index: usize, group: Warpgroup) {
    cx.cluster.extra.get::<Warpgroups>().0[index] = group;
}

/// All four warps must exist, with all their lanes here.
fn whole(cx: &mut Cx<'_>, i: &Inst, mask: u32) -> Option<Flow> {
    if let Some(flow) = cx.whole_warp(i, mask) {
        return Some(flow);
    }
    let warps = cx.run.warps();
    if cx.warp.live() != u32::MAX {
        return Some(abort_stopped(cx));
    }
    if (cx.warp.id / 4 + 1) * 4 > warps {
        let lane = mask.trailing_zeros() as usize % 32;
        let message = format!("a CTA of {warps} warps has no whole warpgroup here");
        return Some(cx.abort(i, FindingKind::MissingLanes, lane, message));
    }
    None
}

fn abort_stopped(cx: &Cx<'_>) -> Flow {
    cx.run.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    Flow::Abort
}

fn fence<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = whole(cx, i, mask) {
        return flow;
    }
    cx.frame.tick += 1;
    cx.frame.fenced = cx.frame.tick;
    Flow::Next
}

fn commit<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = whole(cx, i, mask) {
        return flow;
    }
    let (index, warp) = place(cx);
    let mut group = take(cx, index);
    let end = group.issued[warp];
    group.groups[warp].push_back(end);
    give(cx, index, group);
    Flow::Next
}

fn run<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = whole(cx, i, mask) {
        return flow;
    }
    let plan = cx.program.data::<Plan>(i.x);
    let (index, warp) = place(cx);
    let mut group = take(cx, index);
    let flow = part(cx, i, plan, &mut group, warp);
    give(cx, index, group);
    if let Some(counting) = &mut cx.cluster.counting {
        counting.tensor(i.site, plan.wgmma.operations() / 4);
    }
    flow
}

/// A value that all lanes must have in common.
fn uniform<T: Copy + PartialEq>(cx: &mut Cx<'_>, i: &Inst, values: &[T; 32], what: &str) -> T {
    if let Some(lane) = values.iter().position(|v| *v != values[0]) {
        let message = format!("lanes of the warp differ in {what}");
        cx.report(i.site, FindingKind::AsyncMisuse, Severity::Error, lane, message);
    }
    values[0]
}

/// A warp brings its part of a product.
fn part(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, group: &mut Warpgroup, warp: usize) -> Flow {
    let number = group.issued[warp];
    let a = match plan.a {
        Source::Descriptor(slot) => uniform(cx, i, &cx.long(slot), "the descriptor of A"),
        Source::Registers(_) => 0,
    };
    let b = uniform(cx, i, &cx.long(plan.b), "the descriptor of B");
    let scale = cx.pred(plan.scale_d);
    let scale_d = scale & 1 == 1;
    if scale != 0 && scale != u32::MAX {
        let message = "lanes of the warp differ in scale-d".to_owned();
        cx.report(i.site, FindingKind::AsyncMisuse, Severity::Error, 0, message);
    }
    let at = number.saturating_sub(group.first) as usize;
    if at == group.products.len() {
        let registers =
            if matches!(plan.a, Source::Registers(_)) { vec![[[0; 32]; 4]; 4] } else { Vec::new() };
        let accumulator = accumulator(group, &plan.d);
        let site = i.site;
        group.products.push_back(Product {
            site,
            plan: i.x,
            a,
            b,
            scale_d,
            parts: 0,
            registers,
            accumulator,
            watched: None,
        });
    } else if let Some(flow) = disagreement(cx, i, &group.products[at], (a, b, scale_d)) {
        return flow;
    }
    if cx.run.checks.any() {
        check_registers(cx, i, plan, group, warp);
    }
    let product = &mut group.products[at];
    if let Source::Registers(slots) = plan.a {
        product.registers[warp] = slots.map(|s| cx.word(s));
        if cx.run.checks.any() {
            cx.frame.busy.extend(slots.map(|slot| Reg { class: Class::Word, slot, critical: false }));
        }
    }
    product.parts |= 1 << warp;
    let complete = product.parts == 0xf;
    let accumulator = product.accumulator;
    load(cx, i, plan, &mut group.held[accumulator], warp, scale_d);
    group.held[accumulator].last[warp] = number + 1;
    group.issued[warp] = number + 1;
    if !complete {
        return Flow::Next;
    }
    group.products[at].watched = fork(cx, i, plan, a, b);
    // Either as early as it may be or as late.
    if cx.cluster.rng.below(3) == 0 && !execute(cx, group, number + 1) {
        return abort_stopped(cx);
    }
    Flow::Next
}

/// The warps of a group must agree about the instruction and what is not theirs alone.
fn disagreement(cx: &mut Cx<'_>, i: &Inst, product: &Product, own: (u64, u64, bool)) -> Option<Flow> {
    if product.plan != i.x {
        let other = cx.place(product.site).line;
        let message = format!(
            "the warps of a warpgroup execute different wgmma together: another one is at line {other}"
        );
        return Some(cx.abort(i, FindingKind::MissingLanes, 0, message));
    }
    if (product.a, product.b, product.scale_d) != own {
        let message = format!(
            "the warps of a warpgroup differ in descriptors or scale-d: {:#x}, {:#x}, {} and {:#x}, {:#x}, {}",
            product.a, product.b, product.scale_d, own.0, own.1, own.2
        );
        cx.report(i.site, FindingKind::AsyncMisuse, Severity::Error, 0, message);
    }
    None
}

/// The place of an accumulator among those that are held.
fn accumulator(group: &mut Warpgroup, slots: &[Slot]) -> usize {
    if let Some(at) = group.held.iter().position(|h| h.slots == slots) {
        return at;
    }
    let free = group.held.iter().position(|h| h.warps == 0 && h.last.iter().all(|l| *l <= group.done));
    let at = free.unwrap_or_else(|| {
        group.held.push(Held::default());
        group.held.len() - 1
    });
    group.held[at].slots = slots.to_vec();
    at
}

/// Takes the registers of D of a warp, unless a product on them is under way already.
fn load(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, held: &mut Held, warp: usize, scale_d: bool) {
    if held.warps >> warp & 1 == 1 {
        return;
    }
    held.warps |= 1 << warp;
    held.frames[warp] = cx.group.frame;
    held.values[warp].clear();
    held.values[warp].extend(plan.d.iter().map(|s| cx.frame.words[*s as usize]));
    if !cx.run.checks.any() {
        return;
    }
    for &slot in &plan.d {
        let reg = Reg { class: Class::Word, slot, critical: true };
        if scale_d && cx.run.checks.definedness {
            let defined = cx.defined(Class::Word, slot);
            if defined != u32::MAX {
                cx.undefined(i, reg, !defined);
            }
        }
        cx.frame.busy.push(reg);
        // Whoever reads the register before the wait reads this.
        cx.frame.words[slot as usize] = [POISON; 32];
    }
}

/// A NaN that no kernel makes.
const POISON: u32 = 0x7fba_dbad;

/// Registers of a wgmma must have been written before a fence, and may not be part of another accumulator's.
fn check_registers(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, group: &Warpgroup, warp: usize) {
    let own = |h: &&Held| h.warps >> warp & 1 == 1 && h.slots != plan.d;
    let taken = group.held.iter().filter(own).flat_map(|h| &h.slots).find(|s| plan.d.contains(s)).copied();
    if let Some(slot) = taken {
        let name = cx.register_name(Reg { class: Class::Word, slot, critical: true });
        let message = format!("`{name}` is part of another accumulator that is under way");
        cx.report(i.site, FindingKind::RegisterInFlight, Severity::Error, 0, message);
    }
    let fenced = cx.frame.fenced;
    if fenced == 0 {
        let message = "no `wgmma.fence` before the first wgmma".to_owned();
        cx.report(i.site, FindingKind::AsyncMisuse, Severity::Error, 0, message);
        cx.frame.tick += 1;
        cx.frame.fenced = cx.frame.tick;
        return;
    }
    let a: &[Slot] = match &plan.a {
        Source::Registers(slots) => slots,
        Source::Descriptor(_) => &[],
    };
    let written = |s: &&Slot| cx.frame.written.get(**s as usize).is_some_and(|w| *w > fenced);
    if let Some(&slot) = plan.d.iter().chain(a).find(written) {
        // By the letter a mistake; compilers put the zeros of an accumulator after the fence, and the assembler copes.
        let name = cx.register_name(Reg { class: Class::Word, slot, critical: true });
        let message = format!("`{name}` was written after the last `wgmma.fence`");
        cx.report(i.site, FindingKind::AsyncMisuse, Severity::Note, 0, message);
        plan.d.iter().chain(a).for_each(|s| {
            if let Some(written) = cx.frame.written.get_mut(*s as usize) {
                *written = 0;
            }
        });
    }
}

/// Names a whole product to the detector, and says what it reads.
fn fork(cx: &mut Cx<'_>, i: &Inst, plan: &Plan, a: u64, b: u64) -> Option<AsyncId> {
    let cta = cx.cluster.ctas[cx.warp.cta].watched?;
    let first = cx.warp.id / 4 * 4;
    let issuers = [0, 1, 2, 3].map(|k| Lanes { warp: cta.warp(first + k), mask: u32::MAX });
    let base = u64::from(cx.shared_base());
    let spec = plan.wgmma.spec();
    let mut watch = cx.run.watch();
    let id = watch.detector.fork(&issuers, AsyncKind::Whole);
    let mut tell = |descriptor: u64, major, rows| {
        for range in Descriptor::decode(descriptor).byte_ranges(major, rows) {
            let access = Access::weak(i.site, shadow::Kind::Read, range.end - range.start).via(Proxy::Async);
            let (start, len) = (base + u64::from(range.start), u64::from(range.end - range.start));
            watch.detector.access_async(id, shadow::Space::Shared, start, len, &access);
        }
    };
    if matches!(plan.a, Source::Descriptor(_)) {
        tell(a, spec.a_major, 64);
    }
    tell(b, spec.b_major, spec.n as u32);
    if watch.detector.any() {
        cx.run.drain(&mut watch);
    }
    Some(id)
}

/// Lets all products before a number take effect; they must be whole. `false` if one faulted.
fn execute(cx: &mut Cx<'_>, group: &mut Warpgroup, through: u64) -> bool {
    while group.done < through {
        let at = (group.done - group.first) as usize;
        let (a, b) = (std::mem::take(&mut group.a), std::mem::take(&mut group.b));
        let mut tiles = (a, b);
        let product = &group.products[at];
        let held = &mut group.held[product.accumulator];
        let site = product.site;
        let result = multiply(cx, product, held, &mut tiles);
        if let Err(error) = result {
            let kind = FindingKind::OutOfBounds;
            cx.report(site, kind, Severity::Error, 0, error.to_string());
            return false;
        }
        (group.a, group.b) = tiles;
        if let Some(id) = product.watched {
            group.unjoined.push_back((group.done, id, 0));
        }
        group.done += 1;
    }
    while group.first < group.done {
        group.products.pop_front();
        group.first += 1;
    }
    true
}

fn multiply(
    cx: &mut Cx<'_>,
    product: &Product,
    held: &mut Held,
    tiles: &mut (OperandTile, OperandTile),
) -> Result<(), TensorError> {
    let plan = cx.program.data::<Plan>(product.plan);
    let how = cx.run.options.accumulation;
    let (a, b) = tiles;
    let shared: &[u32] = &cx.cluster.ctas[cx.warp.cta].shared;
    let read = |address: u32| {
        let first = (address / 4) as usize;
        let words: &[u32; 4] = shared.get(first..first + 4)?.first_chunk()?;
        (address >= SHARED_FIRST).then(|| {
            let mut bytes = [0; 16];
            bytes.as_chunks_mut::<4>().0.iter_mut().zip(words).for_each(|(c, w)| *c = w.to_le_bytes());
            bytes
        })
    };
    if matches!(plan.a, Source::Descriptor(_)) {
        plan.wgmma.fetch_a(Descriptor::decode(product.a), read, a)?;
    }
    plan.wgmma.fetch_b(Descriptor::decode(product.b), read, b)?;
    if cx.run.checks.definedness {
        check_operands(cx, product, plan);
    }
    for warp in 0..4 {
        if let Some(registers) = product.registers.get(warp) {
            plan.wgmma.gather_a(registers, a);
        }
        plan.wgmma.execute_warp(warp, a, b, &mut held.values[warp], product.scale_d, how)?;
    }
    Ok(())
}

/// Reports bytes of an operand that nobody wrote.
fn check_operands(cx: &mut Cx<'_>, product: &Product, plan: &Plan) {
    let spec = plan.wgmma.spec();
    let from_memory = matches!(plan.a, Source::Descriptor(_));
    let operands = [("A", product.a, spec.a_major, 64), ("B", product.b, spec.b_major, spec.n as u32)];
    for (name, bits, major, rows) in operands.into_iter().skip(usize::from(!from_memory)) {
        let shadow = &cx.cluster.ctas[cx.warp.cta].shared_defined;
        let ranges = Descriptor::decode(bits).byte_ranges(major, rows);
        let first =
            ranges.iter().find_map(|r| shadow.first_undefined(r.start.into(), (r.end - r.start).into()));
        if let Some(offset) = first {
            let buffer = cx.program.shared_name(offset as u32).map(str::to_owned);
            let address = u64::from(cx.shared_base()) | offset;
            let message = format!("operand {name} reads shared offset {offset}, which nobody wrote");
            let kind = FindingKind::Uninitialised;
            cx.report_at(product.site, kind, Severity::Error, 0, message, Some(address), buffer);
        }
    }
}

fn wait<'a>(cx: &mut Cx<'a>, i: &'a Inst, mask: u32) -> Flow {
    if let Some(flow) = whole(cx, i, mask) {
        return flow;
    }
    let (index, warp) = place(cx);
    let mut group = take(cx, index);
    let flow = wait_for(cx, i, &mut group, warp);
    give(cx, index, group);
    flow
}

fn wait_for(cx: &mut Cx<'_>, i: &Inst, group: &mut Warpgroup, warp: usize) -> Flow {
    let open = group.groups[warp].len();
    let closing = open.saturating_sub(i.imm as usize);
    if closing == 0 {
        return Flow::Next;
    }
    let through = group.groups[warp][closing - 1];
    if group.done < through {
        if let Some(product) = group.part_missing(through) {
            return missing_part(cx, i, product);
        }
        if !execute(cx, group, through) {
            return abort_stopped(cx);
        }
    }
    group.groups[warp].drain(..closing);
    for held in group.held.iter_mut().filter(|h| h.warps >> warp & 1 == 1 && h.last[warp] <= through) {
        give_back(cx, held, warp);
    }
    join(cx, group, warp, through);
    Flow::Next
}

/// Puts an accumulator back into a warp's registers.
fn give_back(cx: &mut Cx<'_>, held: &mut Held, warp: usize) {
    held.warps &= !(1 << warp);
    let number = held.frames[warp];
    let frame: &mut Frame =
        if number == cx.group.frame { &mut cx.frame } else { &mut cx.warp.frames[number as usize] };
    for (slot, value) in held.slots.iter().zip(&held.values[warp]) {
        frame.words[*slot as usize] = *value;
        frame.defined.words[*slot as usize] = u32::MAX;
    }
    frame.busy.retain(|r| r.critical && !held.slots.contains(&r.slot));
}

/// What the products read comes before what the warp does from now on.
fn join(cx: &mut Cx<'_>, group: &mut Warpgroup, warp: usize, through: u64) {
    for (_, id, warps) in group.unjoined.iter_mut().filter(|(n, _, _)| *n < through) {
        if *warps >> warp & 1 == 0 {
            *warps |= 1 << warp;
            cx.tell(u32::MAX, |detector, who| detector.join_lanes(*id, AsyncPart::All, who));
        }
    }
    while group.unjoined.front().is_some_and(|(_, _, warps)| *warps == 0xf) {
        group.unjoined.pop_front();
    }
}

/// A product cannot take effect before all four warps have come: waits for them, unless one never will.
fn missing_part(cx: &mut Cx<'_>, i: &Inst, product: &Product) -> Flow {
    let first = (cx.warp.id / 4 * 4) as usize + cx.warp.cta * cx.run.warps() as usize;
    let gone = |w: &usize| {
        product.parts >> w & 1 == 0
            && cx.cluster.warps[first + w].present != 0
            && cx.cluster.warps[first + w].live() == 0
    };
    match (0..4).filter(|w| first + w != own_index(cx)).find(gone) {
        None => Flow::Wait,
        Some(warp) => {
            let line = cx.place(product.site).line;
            let message = format!("warp {warp} of the warpgroup ended without the wgmma at line {line}");
            cx.abort(i, FindingKind::MissingLanes, 0, message)
        }
    }
}

fn own_index(cx: &Cx<'_>) -> usize {
    cx.warp.cta * cx.run.warps() as usize + cx.warp.id as usize
}

/// Reports products that a warp leaves under way at its end.
pub(super) fn warp_ended(cx: &mut Cx<'_>) {
    if cx.cluster.extra.peek::<Warpgroups>().is_none() {
        return;
    }
    let (index, warp) = place(cx);
    let group = take(cx, index);
    let waited = group.held.iter().all(|h| h.warps >> warp & 1 == 0);
    if !waited {
        let last = group.products.back().map(|p| p.site);
        let site = last.or_else(|| last_site(cx));
        let message = "the warp ends without having waited for its last wgmma".to_owned();
        let thread = Some(cx.thread(0));
        cx.run.add(Finding {
            kind: FindingKind::AsyncMisuse,
            severity: Severity::Error,
            message,
            place: cx.place(site.unwrap_or(0)),
            other: None,
            thread,
            address: None,
            buffer: None,
            count: 1,
        });
    }
    give(cx, index, group);
}

/// The last wgmma of the text, for a report about products that took effect already.
fn last_site(cx: &Cx<'_>) -> Option<u32> {
    cx.program.sites.iter().rposition(|s| s.text.starts_with("wgmma.mma_async")).map(|k| k as u32)
}

/// Which warps a group that stands at a wait is short of.
pub(super) fn waits_for(cluster: &Cluster, warp: &Warp, group: &Group) -> Option<String> {
    let groups = cluster.extra.peek::<Warpgroups>()?;
    let per = (cluster.warps.len() / cluster.ctas.len().max(1)).div_ceil(4);
    let own = groups.0.get(warp.cta * per + warp.id as usize / 4)?;
    let _ = group;
    let product = own.products.iter().find(|p| p.parts != 0xf && p.parts >> (warp.id % 4) & 1 == 1)?;
    let absent: Vec<u32> =
        (0..4).filter(|w| product.parts >> w & 1 == 0).map(|w| warp.id / 4 * 4 + w).collect();
    Some(format!(" (the warpgroup's wgmma misses warps {absent:?})"))
}
