//! What schedules, mostly the default ones, do at the layers of `bench/counters/shapes.json`, counted on the emulator:
//! bytes of global memory over what must move, passes through shared memory over what they would be without conflicts,
//! and the tensor instructions that the assembler put into the main loops.
//!
//! Bytes are counted twice: as accesses ask for them (`bytes`), and each once an entry (`distinct`), which is what passes
//! an L2 cache that holds what CTAs share, as the keys of a group of heads.
//!
//! A layer may be counted with fewer heads, channels, sequences or tokens than it has (`counted`); the schedule and the
//! distances between rows are those of the whole. `JET_KERNEL` looks at one family, `JET_LAYER` at layers whose names
//! begin with it, in more detail.

use crate::case::{Batch, Case, Content, Family, Operand, Segment};
use crate::dice::Dice;
use crate::{families, nvrtc, rig, sass};
use jet_codegen::arch::{self, Arch};
use jet_codegen::kernel::{self, Kernel};
use jet_codegen::nvrtc::{Nvrtc, Output};
use jet_codegen::schedule::{Problem, Values, default_values};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The layers.
const LAYERS: &str = include_str!("../../../bench/counters/shapes.json");

/// One kernel of one layer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    name: String,
    /// Where the sizes are from, for readers.
    #[serde(rename = "model")]
    _model: String,
    #[serde(rename = "layer")]
    _layer: String,
    phase: Phase,
    /// The whole of it.
    problem: Problem,
    /// Parameters in which the schedule is not the default one: what a tuner may choose for such a layer.
    #[serde(default)]
    schedule: BTreeMap<String, i64>,
    /// Sizes that are smaller in the run.
    counted: BTreeMap<String, i64>,
    bars: Bars,
    /// Per entry the instruction that its main loop must have.
    #[serde(default)]
    loops: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// One sequence of all tokens.
    Prefill,
    /// Sequences of one new token.
    Decode,
}

/// The largest ratios; what has no bar is printed only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bars {
    /// Bytes of all requests over the floor.
    bytes: Option<f64>,
    /// Bytes that are different within an entry over the floor.
    distinct: Option<f64>,
    /// Passes through shared memory in loops over the ideal.
    wavefronts: Option<f64>,
}

impl Layer {
    fn all() -> Vec<Self> {
        serde_json::from_str(LAYERS).expect("bench/counters/shapes.json is a list of layers")
    }

    /// The problem that runs.
    fn cut(&self) -> Problem {
        let mut p = self.problem.clone();
        p.dims.extend(self.counted.clone());
        p
    }

    /// How many times narrower rows are in the run.
    fn narrower(&self) -> usize {
        let sizes = self.counted.iter().filter(|(name, _)| *name != "tokens");
        sizes.map(|(name, size)| self.problem.dim(name) / *size as usize).max().unwrap_or(1)
    }

    fn values(&self, kernel: &dyn Kernel, arch: &Arch) -> Values {
        if self.schedule.is_empty() {
            return kernel.default_for(&self.problem, arch).expect("it is served");
        }
        let mut values = default_values(kernel.params());
        values.0.extend(self.schedule.clone());
        values
    }

    fn batch(&self) -> Batch {
        let p = self.cut();
        let (tokens, context) = (p.dim("tokens"), p.dim("context"));
        let (sequences, len) = if self.phase == Phase::Decode { (tokens, 1) } else { (1, tokens) };
        let past = if context > 0 { context - len } else { 0 };
        // Slots in another order than sequences.
        let segments = (0..sequences).map(|i| Segment { slot: sequences - i, len, past, first: 0 }).collect();
        Batch { segments, ..Batch::default() }
    }

    /// The operands as they lie in a program: rows as far apart as in the whole, everything aligned.
    fn case(&self, family: &dyn Family) -> Option<Case> {
        let mut case = family.layer(&mut Dice::new(5), &self.cut(), self.batch())?;
        let (rows, narrower) = (case.rows, self.narrower());
        for o in case.operands.iter_mut().filter(|o| !matches!(o.content, Content::Bytes(_))) {
            o.lead = 0;
            match &mut o.slots {
                Some((slot, _)) => *slot = o.rows * o.stride,
                None if o.rows == rows => o.stride = o.cols * narrower,
                None => {}
            }
        }
        Some(case)
    }
}

/// Bytes of the states that are read and written.
fn state_bytes(case: &Case) -> f64 {
    let per_sequence = |o: &Operand| 2 * o.rows * o.cols * o.elem.bytes() * case.batch.segments.len();
    case.operands.iter().filter(|o| o.role == "state").map(per_sequence).sum::<usize>() as f64
}

/// The larger of the two, to three digits, over the bar.
fn over(what: &str, found: f64, bar: Option<f64>) -> Option<String> {
    let bar = bar.filter(|b| (found * 1e3).round() / 1e3 > *b)?;
    Some(format!("{what} {found:.3}, the bar is {bar}"))
}

/// What is wrong with a layer.
fn judge(nvrtc: &Nvrtc, layer: &Layer, kernel: &dyn Kernel, case: &Case) -> Vec<String> {
    let arch = arch::parse("sm_80").expect("it is a row");
    let problem = layer.cut();
    let values = layer.values(kernel, arch);
    let source = kernel.emit(&problem, &values, arch).expect("the schedule of the whole suits a part of it");
    let c = match rig::counted(nvrtc, case, &source, arch) {
        Ok(c) => c,
        Err(e) => return vec![e],
    };
    let floor = kernel.floor(&problem);
    // Most families leave the states out of their floor where they cannot know how many there are.
    let known = problem.dim("step") > 0 || problem.family == "gated_delta";
    let states = if known { 0.0 } else { state_bytes(case) };
    let least = floor.bytes as f64 + states;
    let (bytes, distinct) = (c.sector_bytes as f64 / least, c.distinct_bytes as f64 / least);
    let looped = c.looped[0] as f64 / c.looped[1].max(1) as f64;
    println!(
        "{}: {values}: bytes {bytes:.3} of the floor, distinct ones {distinct:.3}, wavefronts {:.3} of ideal, in \
         loops {:.3}, {} warp instructions, tensor flops {:.2} of the floor's flops",
        layer.name,
        c.wavefronts as f64 / c.ideal_wavefronts.max(1) as f64,
        looped,
        c.warp_instructions,
        c.tensor_flops as f64 / floor.flops as f64
    );
    let (mut conflicts, mut traffic) = (c.conflicts, c.traffic);
    conflicts.sort();
    traffic.sort();
    let shown = if std::env::var_os("JET_LAYER").is_some() { 60 } else { 4 };
    for (excess, what) in conflicts.iter().rev().take(shown) {
        println!("    {excess} passes too many: {what}");
    }
    for (sectors, what) in traffic.iter().rev().take(shown) {
        println!("    {sectors} sectors: {what}");
    }
    let bars = &layer.bars;
    [
        over("bytes", bytes, bars.bytes),
        over("distinct bytes", distinct, bars.distinct),
        over("wavefronts in loops", looped, bars.wavefronts),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Layers that were asked for, each with its kernel and that family's tests.
fn layers() -> Vec<(Layer, &'static dyn Kernel, &'static dyn Family)> {
    let wanted = std::env::var("JET_LAYER").unwrap_or_default();
    let families = families();
    let with_kernel = |layer: Layer| {
        let name = layer.problem.family.as_str();
        assert!(kernel::find(name).is_some(), "{} is of a family {name}, which is not there", layer.name);
        let (kernel, family) = families.iter().find(|(k, _)| k.name() == name)?;
        Some((layer, *kernel, *family))
    };
    Layer::all().into_iter().filter(|l| l.name.starts_with(&wanted)).filter_map(with_kernel).collect()
}

#[test]
fn schedules_of_the_layers_move_little_more_than_they_must() {
    let Some(nvrtc) = nvrtc("counts") else { return };
    let mut wrong = Vec::new();
    for (layer, kernel, family) in layers() {
        let Some(case) = layer.case(family) else {
            panic!("{} makes no operands of {}", family.name(), layer.name);
        };
        wrong.extend(judge(nvrtc, &layer, kernel, &case).iter().map(|why| format!("{}: {why}", layer.name)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn main_loops_have_their_tensor_instructions_and_nothing_spills() {
    let Some(nvrtc) = nvrtc("tensor instructions") else { return };
    let tool = match sass::disassembler() {
        Ok(tool) => tool,
        Err(why) => return println!("skipped: tensor instructions: {why}"),
    };
    let arch = arch::parse("sm_80").expect("it is a row");
    // Layers with one source are looked at once.
    let mut seen = BTreeMap::new();
    for (layer, kernel, _) in layers().into_iter().filter(|(l, ..)| !l.loops.is_empty()) {
        let values = layer.values(kernel, arch);
        let source = kernel.emit(&layer.problem, &values, arch).expect("it is legal");
        let functions = seen.entry(source.text.clone()).or_insert_with(|| {
            let compiled = nvrtc.compile(&source.text, arch, Output::Cubin).expect("it compiles");
            for entry in &source.entries {
                let r = compiled.resources_of(&entry.name).expect("the log names every entry");
                println!("{}: {} has {} registers", layer.name, entry.name, r.registers);
                assert!(
                    !r.spills(),
                    "{}: {} spills with {values}: {r:?}\n{}",
                    layer.name,
                    entry.name,
                    source.text
                );
            }
            sass::functions(&tool, &compiled.cubin, &layer.name).expect("it can be disassembled")
        });
        for (entry, instruction) in &layer.loops {
            let Some(function) = functions.get(entry) else {
                panic!("{}: {values} has no entry {entry}, but {:?}", layer.name, functions.keys());
            };
            let has = sass::in_loop(function, instruction);
            assert!(has, "{}: no {instruction} in a loop of {entry} with {values}", layer.name);
        }
    }
}

#[test]
fn a_loop_is_what_lies_between_a_label_and_a_jump_back() {
    let ptx = "\t@%p1 bra \t$L__BB0_2;\n$L__BB0_1:\n\tadd.s32 %r1, %r1, 1;\n\t@%p2 bra \t$L__BB0_1;\n$L__BB0_2:\n\tret;";
    assert_eq!(sass::ptx_loops(ptx).into_iter().collect::<Vec<_>>(), [2, 3, 4]);
    let sass = ".L_x_0:\n/*0010*/  HMMA.16816.F32.BF16 R4, R8, R12, R4 ;\n/*0020*/ @!P0 BRA `(.L_x_0) ;\n/*0030*/ IMAD R1 ;";
    assert!(sass::in_loop(sass, "HMMA") && !sass::in_loop(sass, "IMAD"));
    let forward =
        "/*0000*/ @P0 BRA `(.L_x_0) ;\n/*0010*/  HMMA.16816.F32.BF16 R4 ;\n.L_x_0:\n/*0030*/ EXIT ;";
    assert!(!sass::in_loop(forward, "HMMA"));
}
