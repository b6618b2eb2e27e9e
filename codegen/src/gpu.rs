//! GPUs by name, one row each: what their makers promise. With it a schedule can be chosen for a GPU that is not there.
//!
//! Where each figure comes from is written in `codegen/docs/gpus.md`. Rates are dense (no sparsity) and, for GeForce cards,
//! with f32 accumulation, which is what the kernels use.

use crate::arch::{self, Arch, Peaks};
use serde::Serialize;

/// Part of a promised bandwidth that kernels reach, as measured on an H200.
const REACHED_BANDWIDTH: f64 = 0.9;
/// Part of a promised tensor rate that kernels reach, as measured on an H200.
const REACHED_TENSOR: f64 = 0.8;

/// Dense rates of the tensor cores in TFLOP/s (TOP/s for `int8`); `None` where the type has no instruction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tensor {
    /// bf16 and f16.
    pub bf16: f64,
    /// tf32.
    pub tf32: f64,
    /// fp8, either kind.
    pub fp8: Option<f64>,
    /// int8.
    pub int8: f64,
    /// fp4 with block scales.
    pub fp4: Option<f64>,
}

/// One GPU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gpu {
    /// As on the command line, `h100`.
    pub name: &'static str,
    /// What the driver calls it. Schedules are found by this name.
    pub device: &'static str,
    /// Its architecture, a row of [`arch::ALL`]: shared memory, registers, threads and CTAs of an SM stand there.
    pub arch: &'static str,
    /// Streaming multiprocessors.
    pub sms: u32,
    /// Boost clock of the SMs in MHz.
    pub mhz: u32,
    /// GB/s from device memory.
    pub gbs: f64,
    /// MiB of L2 cache.
    pub l2_mib: u32,
    /// f32 operations of an SM and clock, outside the tensor cores.
    pub f32_per_clock: u32,
    /// Tensor cores.
    pub tensor: Tensor,
}

const fn tensor(bf16: f64, tf32: f64, fp8: Option<f64>, int8: f64, fp4: Option<f64>) -> Tensor {
    Tensor { bf16, tf32, fp8, int8, fp4 }
}

const HOPPER: Tensor = tensor(989.4, 494.7, Some(1_978.9), 1_978.9, None);
const AMPERE: Tensor = tensor(312.0, 156.0, None, 624.0, None);

/// All of them, by architecture.
#[rustfmt::skip]
pub const ALL: &[Gpu] = &[
    row("a100", "NVIDIA A100-SXM4-80GB", "sm_80", [108, 1410, 40, 128], 2_039.0, AMPERE),
    row("a100-40gb", "NVIDIA A100-SXM4-40GB", "sm_80", [108, 1410, 40, 128], 1_555.0, AMPERE),
    row("a100-pcie", "NVIDIA A100 80GB PCIe", "sm_80", [108, 1410, 40, 128], 1_935.0, AMPERE),
    row("a10", "NVIDIA A10", "sm_86", [72, 1695, 6, 256], 600.0, tensor(125.0, 62.5, None, 250.0, None)),
    row("a40", "NVIDIA A40", "sm_86", [84, 1740, 6, 256], 696.0, tensor(149.7, 74.8, None, 299.3, None)),
    row("rtx3090", "NVIDIA GeForce RTX 3090", "sm_86", [82, 1695, 6, 256], 936.0, tensor(71.0, 35.6, None, 284.0, None)),
    row("l4", "NVIDIA L4", "sm_89", [58, 2040, 48, 256], 300.0, tensor(121.0, 60.0, Some(242.0), 242.0, None)),
    row("l40s", "NVIDIA L40S", "sm_89", [142, 2520, 96, 256], 864.0, tensor(362.0, 183.0, Some(733.0), 733.0, None)),
    row("rtx4090", "NVIDIA GeForce RTX 4090", "sm_89", [128, 2520, 72, 256], 1_008.0, tensor(165.2, 82.6, Some(330.3), 660.6, None)),
    row("h100", "NVIDIA H100 80GB HBM3", "sm_90a", [132, 1980, 50, 256], 3_350.0, HOPPER),
    row("h100-pcie", "NVIDIA H100 PCIe", "sm_90a", [114, 1755, 50, 256], 2_039.0, tensor(756.0, 378.0, Some(1_513.0), 1_513.0, None)),
    row("h200", "NVIDIA H200", "sm_90a", [132, 1980, 60, 256], 4_800.0, HOPPER),
    row("gh200", "NVIDIA GH200 480GB", "sm_90a", [132, 1980, 60, 256], 4_000.0, HOPPER),
    row("b200", "NVIDIA B200", "sm_100a", [148, 1965, 126, 256], 8_000.0, tensor(2_250.0, 1_100.0, Some(4_500.0), 4_500.0, Some(9_000.0))),
    row("rtx5080", "NVIDIA GeForce RTX 5080", "sm_120a", [84, 2617, 64, 256], 960.0, tensor(112.6, 56.3, Some(225.1), 450.2, Some(900.4))),
    row("rtx5090", "NVIDIA GeForce RTX 5090", "sm_120a", [170, 2407, 96, 256], 1_792.0, tensor(209.5, 104.8, Some(419.0), 838.0, Some(1_676.0))),
];

const fn row(
    name: &'static str,
    device: &'static str,
    arch: &'static str,
    [sms, mhz, l2_mib, f32_per_clock]: [u32; 4],
    gbs: f64,
    tensor: Tensor,
) -> Gpu {
    Gpu { name, device, arch, sms, mhz, gbs, l2_mib, f32_per_clock, tensor }
}

/// A name that is no GPU of the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no GPU is called `{found}`; there are: {}", names().join(", "))]
pub struct UnknownGpu {
    /// What was given.
    pub found: String,
}

/// Names of all GPUs.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|g| g.name).collect()
}

/// The GPU called `text`, in any case and with or without `-`, spaces and `nvidia`, or by the driver's name.
///
/// # Errors
/// [`UnknownGpu`] with the names there are.
pub fn parse(text: &str) -> Result<&'static Gpu, UnknownGpu> {
    let plain = |name: &str| {
        let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        letters.to_ascii_lowercase().replace("nvidia", "").replace("geforce", "")
    };
    let wanted = plain(text);
    let is = |g: &&Gpu| plain(g.name) == wanted || plain(g.device) == wanted;
    ALL.iter().find(is).ok_or_else(|| UnknownGpu { found: text.to_owned() })
}

impl Gpu {
    /// Its architecture.
    pub fn arch(&self) -> &'static Arch {
        arch::parse(self.arch).expect("every row names a row of the architectures")
    }

    /// What kernels reach of what is promised: the cost model's input.
    pub fn peaks(&self) -> Peaks {
        let tera = |x: f64| REACHED_TENSOR * x * 1e12;
        Peaks {
            device: self.device,
            sms: self.sms,
            clock: f64::from(self.mhz) * 1e6,
            bandwidth: REACHED_BANDWIDTH * self.gbs * 1e9,
            bf16: tera(self.tensor.bf16),
            fp8: tera(self.tensor.fp8.unwrap_or(self.tensor.bf16)),
            f32: f64::from(self.sms * self.f32_per_clock) * f64::from(self.mhz) * 1e6,
            l2: u64::from(self.l2_mib) << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_is_found_by_its_names_and_has_an_architecture() {
        let unique: BTreeSet<_> = ALL.iter().flat_map(|g| [g.name, g.device]).collect();
        assert_eq!(unique.len(), 2 * ALL.len());
        for g in ALL {
            for text in [g.name.to_owned(), g.name.to_uppercase(), g.device.to_owned()] {
                assert_eq!(parse(&text).unwrap().name, g.name, "{text}");
            }
            assert_eq!(g.arch().name, g.arch);
        }
        for name in ["h100", "h200", "a100", "l40s", "b200", "rtx5090", "RTX 5090", "rtx-4090"] {
            assert!(parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_unknown_gpu_is_told_with_all_there_are() {
        let e = parse("mi300x").unwrap_err().to_string();
        assert!(e.contains("`mi300x`") && ALL.iter().all(|g| e.contains(g.name)), "{e}");
        assert!(parse("").is_err());
    }

    #[test]
    fn rates_are_whole_powers_of_two_per_sm_and_clock() {
        // A promise is made at a clock of its own, so some per cent are free; a wrong row is out by far more.
        for g in ALL {
            let per_clock = g.tensor.bf16 * 1e12 / (f64::from(g.sms) * f64::from(g.mhz) * 1e6);
            let off = per_clock / 2f64.powf(per_clock.log2().round());
            assert!((0.9..1.1).contains(&off), "{}: {per_clock}", g.name);
            let fp8 = g.tensor.fp8.map_or(2.0, |fp8| fp8 / g.tensor.bf16);
            assert!(
                (1.98..2.03).contains(&fp8) && g.tensor.fp8.is_some() == (g.arch().sm >= 89),
                "{}",
                g.name
            );
        }
    }

    #[test]
    fn the_device_that_stands_for_an_architecture_is_near_its_row() {
        for g in ALL {
            let stands = g.arch().peaks;
            if g.device.ends_with(stands.device) {
                let (own, near) = (g.peaks(), |a: f64, b: f64| (0.75..1.3).contains(&(a / b)));
                assert_eq!((own.sms, own.l2), (stands.sms, stands.l2), "{}", g.name);
                assert!(near(own.bandwidth, stands.bandwidth) && near(own.bf16, stands.bf16), "{}", g.name);
                assert!(near(own.f32, stands.f32) && near(own.clock, stands.clock), "{}", g.name);
            }
        }
    }
}
