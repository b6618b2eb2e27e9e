//! What the default schedules do at slices of model shapes, counted on the emulator: bytes of global memory over what must
//! move, and passes through shared memory over what they would be without conflicts.

use crate::case::{Case, Operand};
use crate::dice::Dice;
use crate::{conv, dynamic_conv, nvrtc, quantise, rig, ssd};
use jet_codegen::arch;
use jet_codegen::kernel;

/// A slice of a problem, and the largest ratios.
struct Counted {
    what: &'static str,
    make: fn(&mut Dice) -> Case,
    /// Sizes of the whole problem, for which the schedule is chosen.
    whole: &'static [(&'static str, i64)],
    bytes: f64,
    wavefronts: f64,
}

const CASES: &[Counted] = &[
    Counted {
        what: "causal convolution",
        make: conv::model,
        whole: &[("tokens", 2048), ("channels", 12_288)],
        // The filter is read once a piece of 64 tokens.
        bytes: 1.2,
        wavefronts: 0.0,
    },
    Counted {
        what: "quantise",
        make: quantise::model,
        whole: &[("tokens", 2048)],
        // The scales of a row lie in a sector each with those of its neighbours.
        bytes: 1.1,
        wavefronts: 0.0,
    },
    Counted {
        what: "scan, prefill",
        make: ssd::prefill,
        whole: &[("tokens", 2048), ("heads", 128), ("groups", 8)],
        bytes: 1.4,
        wavefronts: 1.1,
    },
    Counted {
        what: "scan, prefill in float",
        make: ssd::prefill_f32,
        whole: &[("tokens", 2048), ("heads", 128), ("groups", 8)],
        bytes: 1.4,
        wavefronts: 1.1,
    },
    Counted {
        what: "scan, step",
        make: ssd::step,
        whole: &[("tokens", 64), ("heads", 128), ("groups", 8)],
        bytes: 1.1,
        wavefronts: 0.0,
    },
    Counted {
        what: "dynamic convolution",
        make: dynamic_conv::model,
        whole: &[("tokens", 2048), ("channels", 3072)],
        // Both operands of the product are read by two tiles each.
        bytes: 2.4,
        wavefronts: 1.2,
    },
];

/// Bytes of the states that are read and written.
fn state_bytes(case: &Case) -> f64 {
    let per_sequence = |o: &Operand| 2 * o.rows * o.cols * o.elem.bytes() * case.batch.segments.len();
    case.operands.iter().filter(|o| o.role == "state").map(per_sequence).sum::<usize>() as f64
}

#[test]
fn default_schedules_move_little_more_than_they_must() {
    let Some(nvrtc) = nvrtc("counts") else { return };
    let arch = arch::parse("sm_80").expect("it is a row");
    let mut wrong = Vec::new();
    for counted in CASES {
        let case = (counted.make)(&mut Dice::new(5));
        let kernel = kernel::find(&case.problem.family).expect("it is a family");
        let mut large = case.problem.clone();
        large.dims.extend(counted.whole.iter().map(|(name, size)| ((*name).to_owned(), *size)));
        let values = kernel.default_for(&large, arch).expect("it is served");
        let source = kernel.emit(&case.problem, &values, arch).expect("it is legal");
        let c = rig::counted(nvrtc, &case, &source, arch).unwrap_or_else(|e| panic!("{}: {e}", counted.what));
        // The states of a step are part of the family's own floor.
        let states = if case.problem.dim("step") > 0 { 0.0 } else { state_bytes(&case) };
        let floor = kernel.floor(&case.problem).bytes as f64 + states;
        let bytes = c.sector_bytes as f64 / floor;
        let wavefronts = c.wavefronts as f64 / c.ideal_wavefronts.max(1) as f64;
        let tensor = c.tensor_flops as f64 / kernel.floor(&case.problem).flops as f64;
        println!(
            "{}: {values}: bytes {bytes:.2} of the floor, wavefronts {wavefronts:.2} of ideal, {} warp \
             instructions, tensor flops {tensor:.2} of the floor's flops",
            counted.what, c.warp_instructions
        );
        let (mut conflicts, mut traffic) = (c.conflicts, c.traffic);
        conflicts.sort();
        traffic.sort();
        for (excess, what) in conflicts.iter().rev().take(6) {
            println!("    {excess} passes too many: {what}");
        }
        for (sectors, what) in traffic.iter().rev().take(6) {
            println!("    {sectors} sectors: {what}");
        }
        if bytes > counted.bytes || wavefronts > counted.wavefronts {
            wrong.push(format!("{}: bytes {bytes:.2}, wavefronts {wavefronts:.2}", counted.what));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
