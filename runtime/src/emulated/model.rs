//! What the counters of a launch would take on the device that stands for an architecture: a roofline with four roofs.
//!
//! It ranks schedules of one kernel where there is no GPU. Its figures are graded as modelled.

use crate::device::Counted;
use jet_codegen::arch::Arch;
use jet_emu::count::Counters;

/// Seconds between the host's call and the first instruction, and after the last.
const LAUNCH: f64 = 2e-6;
/// How many times faster the L2 cache gives its sectors than device memory.
const L2: f64 = 3.0;
/// Part of the other roofs' time that the highest does not hide.
const EXPOSED: f64 = 0.15;
/// Threads of an SM that keep its memory pipes busy.
const BUSY_THREADS: f64 = 512.0;

/// A launch's shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// CTAs.
    pub(super) ctas: u64,
    /// Threads of one.
    pub(super) threads: u32,
    /// Bytes of its dynamic shared memory.
    pub(super) smem: u32,
}

/// Adds a launch to what was counted.
pub(super) fn add(sum: &mut Counted, arch: &Arch, shape: Shape, c: &Counters) {
    sum.launches += 1;
    sum.warp_instructions += c.instructions.warp;
    sum.tensor_flops += c.tensor.iter().map(|t| t.flops).sum::<u64>();
    sum.sector_bytes += 32 * c.global.sectors;
    sum.unique_bytes += unique(c);
    sum.wavefronts += c.shared.wavefronts;
    sum.ideal_wavefronts += c.shared.ideal_wavefronts;
    sum.seconds += seconds(arch, shape, c);
}

fn unique(c: &Counters) -> u64 {
    c.buffers.iter().map(|b| b.unique_read_bytes + b.unique_written_bytes).sum()
}

/// Seconds of a launch.
fn seconds(arch: &Arch, shape: Shape, c: &Counters) -> f64 {
    let peaks = &arch.peaks;
    let sms = f64::from(peaks.sms);
    // Two operations a lane and clock, 128 lanes an SM.
    let clock = peaks.f32 / (sms * 256.0);
    let through_l2 = (32 * c.global.sectors) as f64;
    let memory = (unique(c) as f64 / peaks.bandwidth).max(through_l2 / (L2 * peaks.bandwidth));
    let rate = |inputs: &str| match inputs {
        i if i.starts_with("e4m3") || i.starts_with("e5m2") || i.starts_with("s8") || i.starts_with("u8") => {
            peaks.fp8
        }
        "tf32" => peaks.bf16 / 2.0,
        "f64" => peaks.f32 / 2.0,
        _ => peaks.bf16,
    };
    let tensor: f64 = c.tensor.iter().map(|t| t.flops as f64 / rate(&t.inputs)).sum();
    let issue = c.instructions.warp as f64 / (4.0 * sms * clock);
    let shared = c.shared.wavefronts as f64 / (sms * clock);

    // A grid that does not fill the machine, or fills it once and a little more, leaves SMs idle.
    let resident = f64::from(arch.occupancy(shape.threads, 64, shape.smem).max(1));
    let waves = shape.ctas as f64 / (resident * sms);
    let busy = if waves > 1.0 { waves / waves.ceil() } else { (shape.ctas as f64 / sms).min(1.0) };
    let per_sm = f64::from(shape.threads) * (shape.ctas as f64 / sms).clamp(1.0, resident);
    let feeding = (per_sm / BUSY_THREADS).min(1.0) * (shape.ctas as f64 / sms).min(1.0);
    let roofs = [memory / feeding.max(1e-3), tensor / busy, issue / busy, shared / busy];
    let highest = roofs.into_iter().fold(0.0, f64::max);
    LAUNCH + highest + EXPOSED * (roofs.iter().sum::<f64>() - highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jet_emu::count::{BufferCounters, TensorCounters};

    fn arch() -> &'static Arch {
        jet_codegen::arch::parse("sm_90a").unwrap()
    }

    const FULL: Shape = Shape { ctas: 132 * 64, threads: 256, smem: 0 };

    #[test]
    fn a_stream_takes_its_bytes_over_the_bandwidth() {
        let buffer = BufferCounters { unique_read_bytes: 4_300_000_000, ..Default::default() };
        let c = Counters { buffers: vec![buffer], ..Default::default() };
        assert!((seconds(arch(), FULL, &c) - 1e-3).abs() < 1e-5);
        // The same bytes from one CTA take many times as long.
        assert!(seconds(arch(), Shape { ctas: 1, ..FULL }, &c) > 0.1);
    }

    #[test]
    fn narrow_products_are_faster_and_bank_conflicts_cost() {
        let product = |inputs: &str| {
            let t = TensorCounters { inputs: inputs.into(), flops: 1_500_000_000_000, ..Default::default() };
            Counters { tensor: vec![t], ..Default::default() }
        };
        let (fp8, bf16) = (seconds(arch(), FULL, &product("e4m3")), seconds(arch(), FULL, &product("bf16")));
        assert!(fp8 < 0.6 * bf16 && fp8 > 0.9e-3, "{fp8} {bf16}");
        let mut conflicts = product("bf16");
        conflicts.shared.wavefronts = 100_000_000_000;
        assert!(seconds(arch(), FULL, &conflicts) > 10.0 * bf16);
    }
}
