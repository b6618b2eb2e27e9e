//! A GPU that is not there: its kernels are compiled for it, a sample of their CTAs is run by the PTX interpreter and
//! counted, and a model makes times of the counts. Nothing is computed on it.

use super::Machine;
use crate::Error;
use crate::device::{Fingerprint, Grade};
use crate::gpu::{Backend, Driver, GpuDevice, identity, store};
use jet_codegen::arch::Arch;
use jet_codegen::gpu::Gpu;
use jet_emu::exec::{Checks, Emulator, EmulatorOptions};
use std::collections::BTreeMap;

/// Clusters of a launch that are run; the others are taken to be like them. Of the ranges of keys into which a decode is cut
/// for the longest context most have nothing to do at a shorter one: so few that a sample of four would miss all others.
const SAMPLE: u64 = 32;
/// Warp instructions of a launch's sample: what goes on longer is refused as a schedule.
const PATIENCE: u64 = 200_000_000;

/// A GPU of the table, for [`crate::device::Bench::counted`]. It goes by the fingerprint that the GPU will have, so that what
/// is chosen here is found there.
pub struct AbsentGpu {
    gpu: &'static Gpu,
}

impl AbsentGpu {
    /// The device that stands in for `gpu`.
    pub fn open(gpu: &'static Gpu) -> GpuDevice<AbsentGpu> {
        GpuDevice::new(Self { gpu }, store())
    }
}

impl Driver for AbsentGpu {
    fn name(&self) -> String {
        format!("absent:{}", self.gpu.name)
    }

    fn describe(&self) -> String {
        let g = self.gpu;
        format!("{} ({}, {} SMs, {} GB/s), absent: times are modelled", g.device, g.arch, g.sms, g.gbs)
    }

    fn arch(&self) -> &'static Arch {
        self.gpu.arch()
    }

    fn grade(&self) -> Grade {
        Grade::Emulated
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint { hard: identity(self.arch(), self.gpu.device, self.gpu.sms), soft: BTreeMap::new() }
    }

    fn memory_available(&self) -> Option<u64> {
        None
    }

    fn open(&self) -> Result<Box<dyn Backend>, Error> {
        let emulator = Emulator::new(EmulatorOptions {
            checks: Checks::NONE,
            sample: Some(SAMPLE),
            instruction_limit: PATIENCE,
            ..EmulatorOptions::default()
        });
        Ok(Box::new(Machine {
            cubins: true,
            ..Machine::new(self.name(), self.gpu.arch(), self.gpu.peaks(), emulator)
        }))
    }
}
