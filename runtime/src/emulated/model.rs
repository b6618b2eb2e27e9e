//! What the counters of a launch would take on a GPU: a roofline with four roofs.
//!
//! It ranks schedules of one kernel where there is no GPU. Its inputs are the emulator's counters, the assembler's report of
//! registers, and a row of figures of the GPU. Its own figures are graded as modelled.

use crate::device::{Counted, Roofs};
use jet_codegen::arch::{Arch, Peaks};
use jet_codegen::nvrtc::Resources;
use jet_emu::count::Counters;

/// Seconds between the host's call and the first instruction, and after the last.
const LAUNCH: f64 = 2e-6;
/// How many times faster the L2 cache gives its sectors than device memory.
const L2: f64 = 3.0;
/// Part of the other roofs' time that the highest does not hide.
const EXPOSED: f64 = 0.15;
/// Seconds from a request to device memory until its bytes are there; half of it from the L2 cache.
const LATENCY: f64 = 0.6e-6;
/// Bytes that a thread has under way by loads into registers.
const THREAD_BYTES: f64 = 28.0;
/// Part of a CTA's shared memory that asynchronous copies have under way, where there are any.
const COPY_PART: f64 = 0.75;
/// Bytes that an SM takes in a clock.
const PORT: f64 = 64.0;
/// Registers of a thread where no assembler said how many.
const REGISTERS: u32 = 64;

/// A launch's shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// CTAs.
    pub(super) ctas: u64,
    /// CTAs that were run and counted, the others being like them.
    pub(super) ran: u64,
    /// Threads of one.
    pub(super) threads: u32,
    /// Bytes of its dynamic shared memory.
    pub(super) smem: u32,
    /// What the assembler says of the kernel; nothing where it was not asked.
    pub(super) resources: Option<Resources>,
}

impl Shape {
    /// CTAs that an SM holds at a time; zero where the kernel does not fit.
    pub(super) fn resident(&self, arch: &Arch) -> u32 {
        let r = self.resources.unwrap_or(Resources { registers: REGISTERS, ..Resources::default() });
        arch.occupancy(self.threads, r.registers, self.smem + r.static_smem)
    }

    /// How much more the whole launch does than what was run of it.
    fn factor(&self) -> f64 {
        self.ctas as f64 / self.ran.max(1) as f64
    }
}

/// Adds a launch to what was counted.
pub(super) fn add(sum: &mut Counted, arch: &Arch, peaks: &Peaks, shape: Shape, c: &Counters) {
    let whole = |n: u64| (n as f64 * shape.factor()).round() as u64;
    let (resident, roofs) = (shape.resident(arch), roofs(arch, peaks, shape, c));
    let resources = shape.resources.unwrap_or_default();
    sum.resident = if sum.launches == 0 { resident } else { sum.resident.min(resident) };
    sum.launches += 1;
    sum.ctas += shape.ctas;
    sum.ran += shape.ran;
    sum.registers = sum.registers.max(resources.registers);
    sum.spilled_bytes += u64::from(resources.spill_stores + resources.spill_loads);
    sum.warp_instructions += whole(c.instructions.warp);
    sum.tensor_flops += whole(c.tensor.iter().map(|t| t.flops).sum::<u64>());
    sum.sector_bytes += whole(32 * c.global.sectors);
    sum.unique_bytes += unique(c, shape.factor());
    sum.wavefronts += whole(c.shared.wavefronts);
    sum.ideal_wavefronts += whole(c.shared.ideal_wavefronts);
    sum.roofs = sum.roofs.plus(roofs);
    sum.seconds += seconds(roofs);
}

/// Different bytes that a launch touches, where `factor` times as much runs as was counted: no more than the buffers have.
fn unique(c: &Counters, factor: f64) -> u64 {
    let whole = |n: u64, len: u64| ((n as f64 * factor).round() as u64).min(len.max(n));
    c.buffers.iter().map(|b| whole(b.unique_read_bytes, b.len) + whole(b.unique_written_bytes, b.len)).sum()
}

/// Seconds that each resource of the machine is busy with a launch.
fn roofs(arch: &Arch, peaks: &Peaks, shape: Shape, c: &Counters) -> Roofs {
    let sms = f64::from(peaks.sms);
    let clocks = sms * peaks.clock;
    let factor = shape.factor();
    let rate = |inputs: &str| match inputs {
        i if i.starts_with("e4m3") || i.starts_with("e5m2") || i.starts_with("s8") || i.starts_with("u8") => {
            peaks.fp8
        }
        "tf32" => peaks.bf16 / 2.0,
        "f64" => peaks.f32 / 2.0,
        _ => peaks.bf16,
    };
    let tensor: f64 = c.tensor.iter().map(|t| t.flops as f64 * factor / rate(&t.inputs)).sum();
    let issue = c.instructions.warp as f64 * factor / (4.0 * clocks);
    let shared = c.shared.wavefronts as f64 * factor / clocks;

    // A grid that does not fill the machine, or fills it once and a little more, leaves SMs idle.
    let resident = f64::from(shape.resident(arch).max(1));
    let waves = shape.ctas as f64 / (resident * sms);
    let busy = if waves > 1.0 { waves / waves.ceil() } else { (shape.ctas as f64 / sms).min(1.0) };
    Roofs {
        memory: memory(arch, peaks, shape, c),
        tensor: tensor / busy,
        issue: issue / busy,
        shared: shared / busy,
    }
}

/// Seconds that device memory and the L2 cache take. An SM gets bytes no faster than it has them under way (Little's law),
/// nor than its port takes them.
fn memory(arch: &Arch, peaks: &Peaks, shape: Shape, c: &Counters) -> f64 {
    let (sms, ctas) = (f64::from(peaks.sms), shape.ctas as f64);
    let copies = c.copies.iter().any(|copy| copy.bytes > 0);
    let smem = shape.smem + shape.resources.map_or(0, |r| r.static_smem);
    let copied = if copies { COPY_PART * f64::from(smem) } else { 0.0 };
    let of_cta = (THREAD_BYTES * f64::from(shape.threads)).max(copied);
    let under_way = of_cta * (ctas / sms).clamp(1.0, f64::from(shape.resident(arch).max(1)));
    let rate = |most: f64, latency: f64| {
        let of_sm = (under_way / latency).min(PORT * peaks.clock);
        most.min(of_sm * ctas.min(sms))
    };
    let unique = unique(c, shape.factor()) as f64;
    let through_l2 = (32 * c.global.sectors) as f64 * shape.factor();
    let from_memory = unique / rate(peaks.bandwidth, LATENCY);
    from_memory.max(through_l2 / rate(L2 * peaks.bandwidth, LATENCY / 2.0))
}

/// Seconds of a launch: its highest roof, and what that does not hide of the others.
fn seconds(roofs: Roofs) -> f64 {
    let (_, highest) = roofs.highest();
    LAUNCH + highest + EXPOSED * (roofs.all().into_iter().map(|(_, s)| s).sum::<f64>() - highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_emu::count::{BufferCounters, CopyCounters, TensorCounters};

    fn arch() -> &'static Arch {
        jet_codegen::arch::parse("sm_90a").unwrap()
    }

    const FULL: Shape = Shape { ctas: 132 * 64, ran: 132 * 64, threads: 256, smem: 0, resources: None };

    fn time(shape: Shape, c: &Counters) -> f64 {
        seconds(roofs(arch(), &arch().peaks, shape, c))
    }

    #[test]
    fn a_stream_takes_its_bytes_over_the_bandwidth() {
        let len = 4_300_000_000;
        let buffer = BufferCounters { unique_read_bytes: len, len, ..Default::default() };
        let c = Counters { buffers: vec![buffer], ..Default::default() };
        assert!((time(FULL, &c) - 1e-3).abs() < 1e-5);
        // The same bytes from one CTA take many times as long.
        assert!(time(Shape { ctas: 1, ran: 1, ..FULL }, &c) > 0.1);
    }

    #[test]
    fn copies_under_way_feed_an_sm_that_has_few_threads() {
        let len = 2 << 20;
        let buffer = BufferCounters { unique_read_bytes: len, len, ..Default::default() };
        let mut c = Counters { buffers: vec![buffer], ..Default::default() };
        let few = Shape { ctas: 16, ran: 16, threads: 64, smem: 24 << 10, ..FULL };
        let by_loads = time(few, &c);
        c.copies = vec![CopyCounters { bytes: len, ..Default::default() }];
        let by_copies = time(few, &c);
        assert!(by_copies < 0.2 * by_loads && by_copies > 3e-6, "{by_loads} {by_copies}");
        // Nobody gets more than the port of an SM, or the bandwidth, gives.
        let huge = Shape { smem: 220 << 10, ..few };
        assert!(time(huge, &c) - LAUNCH >= len as f64 / (16.0 * PORT * arch().peaks.clock));
    }

    #[test]
    fn narrow_products_are_faster_and_bank_conflicts_cost() {
        let product = |inputs: &str| {
            let t = TensorCounters { inputs: inputs.into(), flops: 1_500_000_000_000, ..Default::default() };
            Counters { tensor: vec![t], ..Default::default() }
        };
        let (fp8, bf16) = (time(FULL, &product("e4m3")), time(FULL, &product("bf16")));
        assert!(fp8 < 0.6 * bf16 && fp8 > 0.9e-3, "{fp8} {bf16}");
        let mut conflicts = product("bf16");
        conflicts.shared.wavefronts = 100_000_000_000;
        assert!(time(FULL, &conflicts) > 10.0 * bf16);
    }

    #[test]
    fn a_sample_stands_for_the_whole_but_no_buffer_has_more_bytes_than_it_has() {
        let buffer = |len| BufferCounters { unique_read_bytes: 1000, len, ..Default::default() };
        let mut c = Counters { buffers: vec![buffer(1_000_000), buffer(3000)], ..Default::default() };
        (c.instructions.warp, c.shared.wavefronts, c.global.sectors) = (500, 40, 7);
        let mut sum = Counted::default();
        add(&mut sum, arch(), &arch().peaks, Shape { ran: 132, ..FULL }, &c);
        assert_eq!(
            (sum.warp_instructions, sum.wavefronts, sum.sector_bytes),
            (500 * 64, 40 * 64, 32 * 7 * 64)
        );
        assert_eq!((sum.unique_bytes, sum.ctas, sum.ran), (64_000 + 3000, 132 * 64, 132));
    }

    #[test]
    fn registers_decide_how_many_ctas_an_sm_holds() {
        let with =
            |registers| Shape { resources: Some(Resources { registers, ..Resources::default() }), ..FULL };
        assert_eq!([32, 64, 128, 255].map(|r| with(r).resident(arch())), [8, 4, 2, 1]);
        assert_eq!(Shape { threads: 512, ..with(255) }.resident(arch()), 0);
    }
}
