//! The GPU architectures that kernels are generated for, one row each. Everything that depends on an architecture asks
//! its row: legality, budgets, the choice of a form, floors.

use serde::Serialize;
use std::fmt;

/// What an architecture can do beyond the common base: `mma.sync` for 16-bit types and tf32, `ldmatrix`, `cp.async`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Abilities {
    /// `mma.sync` with fp8 operands at its own rate; elsewhere the compiler turns it into f16.
    pub fp8_mma: bool,
    /// Bulk and tensor copies (TMA), `mbarrier` transactions, `stmatrix`, clusters, `griddepcontrol`.
    pub tma: bool,
    /// Warpgroup matrix instructions.
    pub wgmma: bool,
    /// Moving registers between warps.
    pub setmaxnreg: bool,
    /// Tensor memory and its matrix instructions.
    pub tcgen05: bool,
    /// `mma.sync` with block-scaled fp4 operands.
    pub fp4_mma: bool,
}

/// Peaks of the device that stands for an architecture. They make floors and the cost model, and grade as *modelled*.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peaks {
    /// The device.
    pub device: &'static str,
    /// Streaming multiprocessors.
    pub sms: u32,
    /// Clocks of an SM per second.
    pub clock: f64,
    /// Bytes per second from device memory.
    pub bandwidth: f64,
    /// Dense bf16 FLOP/s with f32 accumulation.
    pub bf16: f64,
    /// Dense fp8 FLOP/s.
    pub fp8: f64,
    /// f32 FLOP/s outside the tensor cores.
    pub f32: f64,
    /// Bytes of the L2 cache.
    pub l2: u64,
}

/// One architecture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Arch {
    /// As on the command line and as the compiler's target, `sm_90a`.
    pub name: &'static str,
    /// The number in the name.
    pub sm: u32,
    /// Bytes of shared memory that a CTA may have, dynamic and static together.
    pub smem_per_cta: u32,
    /// Bytes of shared memory that the CTAs of an SM share; each CTA takes [`SMEM_RESERVED`] more than it asks for.
    pub smem_per_sm: u32,
    /// 32-bit registers of an SM.
    pub registers_per_sm: u32,
    /// Threads resident on an SM.
    pub threads_per_sm: u32,
    /// CTAs resident on an SM.
    pub ctas_per_sm: u32,
    /// What it can do.
    pub can: Abilities,
    /// The device that stands for it.
    pub peaks: Peaks,
}

/// Bytes of shared memory that the system takes for each CTA.
pub const SMEM_RESERVED: u32 = 1024;
/// Registers that a thread can have.
pub const REGISTERS_PER_THREAD: u32 = 255;

const KIB: u32 = 1024;
const AMPERE: Abilities =
    Abilities { fp8_mma: false, tma: false, wgmma: false, setmaxnreg: false, tcgen05: false, fp4_mma: false };
const HOPPER: Abilities = Abilities { tma: true, wgmma: true, setmaxnreg: true, ..AMPERE };
const BLACKWELL: Abilities = Abilities { wgmma: false, tcgen05: true, ..HOPPER };
const CONSUMER_BLACKWELL: Abilities = Abilities { fp8_mma: true, tcgen05: false, fp4_mma: true, ..BLACKWELL };

const fn row(
    name: &'static str,
    sm: u32,
    smem: [u32; 2],
    resident: [u32; 2],
    can: Abilities,
    peaks: Peaks,
) -> Arch {
    Arch {
        name,
        sm,
        smem_per_cta: smem[0] * KIB,
        smem_per_sm: smem[1] * KIB,
        registers_per_sm: 65_536,
        threads_per_sm: resident[0],
        ctas_per_sm: resident[1],
        can,
        peaks,
    }
}

const fn peaks(device: &'static str, [sms, mhz]: [u32; 2], gbs: f64, tflops: [f64; 3], l2_mib: u64) -> Peaks {
    let [bf16, fp8, f32] = tflops;
    Peaks {
        device,
        sms,
        clock: mhz as f64 * 1e6,
        bandwidth: gbs * 1e9,
        bf16: bf16 * 1e12,
        fp8: fp8 * 1e12,
        f32: f32 * 1e12,
        l2: l2_mib << 20,
    }
}

/// All of them, oldest first. Where an architecture has no fp8 rate of its own, its bf16 rate stands there.
#[rustfmt::skip]
pub const ALL: &[Arch] = &[
    row("sm_80", 80, [163, 164], [2048, 32], AMPERE, peaks("A100", [108, 1410], 1_800.0, [312.0, 312.0, 19.5], 40)),
    row("sm_86", 86, [99, 100], [1536, 16], AMPERE, peaks("A40", [84, 1740], 696.0, [149.7, 149.7, 37.4], 6)),
    row("sm_89", 89, [99, 100], [1536, 24], Abilities { fp8_mma: true, ..AMPERE }, peaks("L40S", [142, 2520], 864.0, [362.0, 733.0, 91.6], 96)),
    row("sm_90a", 90, [227, 228], [2048, 32], HOPPER, peaks("H200", [132, 1980], 4_300.0, [790.0, 1_500.0, 67.0], 60)),
    row("sm_100a", 100, [227, 228], [2048, 32], BLACKWELL, peaks("B200", [148, 1965], 7_700.0, [2_250.0, 4_500.0, 80.0], 126)),
    row("sm_103a", 103, [227, 228], [2048, 32], BLACKWELL, peaks("B300", [148, 1965], 7_700.0, [2_500.0, 5_000.0, 80.0], 126)),
    row("sm_120a", 120, [99, 100], [1536, 24], CONSUMER_BLACKWELL, peaks("RTX 5090", [170, 2407], 1_792.0, [209.5, 419.0, 104.8], 96)),
    row("sm_121a", 121, [99, 100], [1536, 24], CONSUMER_BLACKWELL, peaks("GB10", [48, 2523], 273.0, [125.0, 250.0, 31.0], 24)),
];

/// A name that is no architecture of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{found}`; there are: {}{}", names().join(", "), hint.map(|h| format!("; did you mean {h}?")).unwrap_or_default())]
pub struct UnknownArch {
    /// What was given.
    pub found: String,
    /// One that was probably meant.
    pub hint: Option<&'static str>,
}

/// Names of all architectures.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|a| a.name).collect()
}

/// The architecture called `text`: `sm_90a`, and also `90a`, `sm90a` and `sm_90`, which can only mean that row.
pub fn parse(text: &str) -> Result<&'static Arch, UnknownArch> {
    let lower = text.to_ascii_lowercase();
    let short = lower.strip_prefix("sm_").or(lower.strip_prefix("sm")).unwrap_or(&lower);
    let wanted = |a: &&Arch| {
        let own = &a.name["sm_".len()..];
        own == short || own.strip_suffix('a') == Some(short)
    };
    ALL.iter().find(wanted).ok_or_else(|| {
        let digits: String = short.chars().filter(char::is_ascii_digit).collect();
        let near = |a: &&Arch| digits.parse::<u32>().is_ok_and(|n| n.abs_diff(a.sm) < 5);
        UnknownArch { found: text.to_owned(), hint: ALL.iter().rev().find(near).map(|a| a.name) }
    })
}

impl Arch {
    /// CTAs that an SM holds of a kernel with these needs; zero where not even one fits.
    pub fn occupancy(&self, threads: u32, registers: u32, smem: u32) -> u32 {
        if threads == 0 || threads > 1024 || smem > self.smem_per_cta || registers > REGISTERS_PER_THREAD {
            return 0;
        }
        let warps = threads.div_ceil(32);
        // Registers are given to warps in units of 256.
        let per_warp = (registers.max(1) * 32).next_multiple_of(256);
        let by_registers = self.registers_per_sm / (per_warp * warps);
        let by_threads = self.threads_per_sm / (warps * 32);
        let by_smem = self.smem_per_sm / (smem + SMEM_RESERVED);
        by_registers.min(by_threads).min(by_smem).min(self.ctas_per_sm)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_architecture_finds_its_row() {
        for a in ALL {
            let number = a.sm.to_string();
            for text in [a.name.to_owned(), a.name.to_uppercase(), format!("sm{number}"), number] {
                assert_eq!(parse(&text).unwrap().name, a.name, "{text}");
            }
        }
    }

    #[test]
    fn an_unknown_architecture_is_told_with_what_there_is() {
        let e = parse("sm_92").unwrap_err().to_string();
        assert!(e.contains("`sm_92`") && e.contains("sm_120a") && e.contains("did you mean sm_90a?"), "{e}");
        assert_eq!(parse("gfx942").unwrap_err().hint, None);
    }

    #[test]
    fn occupancy_is_bound_by_the_scarcest_resource() {
        let h = parse("sm_90a").unwrap();
        assert_eq!(h.occupancy(128, 128, 1024), 4);
        assert_eq!(h.occupancy(128, 32, 1024), 16);
        assert_eq!(h.occupancy(128, 32, 100 * 1024), 2);
        assert_eq!(h.occupancy(32, 16, 0), 32);
        assert_eq!(h.occupancy(128, 32, 228 * 1024), 0);
        assert_eq!(parse("sm_86").unwrap().occupancy(256, 32, 0), 6);
    }
}
