//! The kernels of the GPU devices: one family a file, its templates beside it in `codegen/cuda/`.
//!
//! A family serves one kind of [`Problem`] with one schedule space. It may have several *forms* (plain FMA, `mma.sync`,
//! warpgroup instructions), each a file of its own with its own legality, budget and emitter; the schedule's parameter
//! `form` says which, so that legality and tuning choose between them as between tile sizes. What a kernel needs from
//! outside stands in the signature of its entries: a parameter's name is its binding, see [`launch`].

pub mod argmax;
pub mod attention;
pub mod attention_decode;
pub mod conv;
pub mod dynamic_conv;
pub mod elementwise;
pub mod experts;
pub mod family;
pub mod format;
pub mod gated_delta;
pub mod gemm;
pub mod kv_append;
pub mod launch;
pub mod norm;
pub mod quantise;
pub mod route;
pub mod ssd;

pub use family::{ArchFamily, families};
pub use format::{Elem, Formats};
pub use launch::{Arg, Entry, Extent, Scratch, Size, Source, Table, TensorMap};

use crate::arch::{Arch, SMEM_RESERVED};
use crate::schedule::{Illegal, Param, Problem, Values, candidates, check_values, default_values};
use serde::Serialize;

/// Every kernel family.
pub const ALL: &[&dyn Kernel] = &[
    &norm::NormKernel,
    &elementwise::ElementwiseKernel,
    &gemm::GemmKernel,
    &kv_append::KvAppendKernel,
    &attention::AttentionKernel,
    &attention_decode::AttentionDecodeKernel,
    &conv::ConvKernel,
    &ssd::SsdKernel,
    &dynamic_conv::DynamicConvKernel,
    &gated_delta::GatedDeltaKernel,
    &route::RouteKernel,
    &experts::ExpertsKernel,
    &argmax::ArgmaxKernel,
    &quantise::QuantiseKernel,
];

/// The family called `name`.
pub fn find(name: &str) -> Option<&'static dyn Kernel> {
    ALL.iter().copied().find(|k| k.name() == name)
}

/// What one CTA takes. Registers are an estimate made before compiling; the assembler's report is the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Threads of a CTA.
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory, static and dynamic.
    pub smem: u32,
}

impl Budget {
    /// CTAs that an SM of `arch` holds.
    pub fn occupancy(&self, arch: &Arch) -> u32 {
        arch.occupancy(self.threads, self.registers, self.smem)
    }

    /// Whether one CTA fits on an SM at all.
    pub fn fits(&self, arch: &Arch) -> Result<(), Illegal> {
        let limit = |what: &str, found: u32, most: u32| {
            if found <= most {
                Ok(())
            } else {
                Err(Illegal(format!("{found} {what}, and {arch} has {most}")))
            }
        };
        limit("threads in a CTA", self.threads, 1024)?;
        limit("bytes of shared memory", self.smem, arch.smem_per_cta)?;
        limit("registers in a thread", self.registers, crate::arch::REGISTERS_PER_THREAD)?;
        let warps = self.threads.div_ceil(32);
        limit(
            "registers in a CTA",
            (self.registers * 32).next_multiple_of(256) * warps,
            arch.registers_per_sm,
        )?;
        debug_assert!(arch.smem_per_cta + SMEM_RESERVED <= arch.smem_per_sm);
        Ok(())
    }
}

/// What a problem takes at least, however it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Floor {
    /// Every input once and every output once.
    pub bytes: u64,
    /// Additions and multiplications.
    pub flops: u64,
}

/// A form of a family: one way to write the kernel.
pub trait Form: Sync {
    /// Its name in reports and sources.
    fn name(&self) -> &'static str;
    /// Whether it can serve `problem` with `values` on `arch`, apart from the budget, which the caller holds it to.
    fn legal(&self, problem: &Problem, values: &Values, arch: &Arch) -> Result<(), Illegal>;
    /// What it takes. Only asked where [`Form::legal`] agreed.
    fn budget(&self, problem: &Problem, values: &Values, arch: &Arch) -> Budget;
    /// The source. Only asked where [`Form::legal`] agreed and the budget fits. It must not depend on the problem's
    /// `tokens`, so that all buckets with one schedule share a cubin.
    fn emit(&self, problem: &Problem, values: &Values, arch: &Arch) -> Source;
}

/// A kernel family.
pub trait Kernel: Sync {
    /// Name; the same as its problems' and as the stem of its files.
    fn name(&self) -> &'static str;
    /// Version of the schedule's meaning.
    fn version(&self) -> u32;
    /// Schedule parameters. With more than one form, one of them is `form`, its values indices into [`Kernel::forms`].
    fn params(&self) -> &'static [Param];
    /// Its forms.
    fn forms(&self) -> &'static [&'static dyn Form];
    /// What a problem must have for any form to serve it.
    fn serves(&self, problem: &Problem) -> Result<(), Illegal>;
    /// What `problem` takes at least.
    fn floor(&self, problem: &Problem) -> Floor;
    /// Schedules to prefer when nothing was tuned, the best guess first; the first legal one becomes the default.
    fn prefers(&self, _problem: &Problem, _arch: &Arch) -> Vec<Values> {
        vec![default_values(self.params())]
    }

    /// The schedules that tuning looks at, legal or not: all combinations of the parameters, unless a family leaves out
    /// what none of its forms would take.
    fn space(&self) -> Vec<Values> {
        candidates(self.params())
    }

    /// The form that `values` name.
    fn form(&self, values: &Values) -> Result<&'static dyn Form, Illegal> {
        let index = values.get("form").unwrap_or(0);
        let form = usize::try_from(index).ok().and_then(|i| self.forms().get(i));
        form.copied().ok_or_else(|| Illegal(format!("{} has no form {index}", self.name())))
    }

    /// The one legality function.
    fn legal(&self, problem: &Problem, values: &Values, arch: &Arch) -> Result<(), Illegal> {
        if problem.family != self.name() {
            return Err(Illegal(format!("a problem of {} is none of {}", problem.family, self.name())));
        }
        check_values(self.params(), values)?;
        self.serves(problem)?;
        let form = self.form(values)?;
        form.legal(problem, values, arch).map_err(|why| Illegal(format!("form {}: {why}", form.name())))?;
        form.budget(problem, values, arch)
            .fits(arch)
            .map_err(|why| Illegal(format!("form {}: {why}", form.name())))
    }

    /// What runs when nothing was tuned, or why nothing can run.
    fn default_for(&self, problem: &Problem, arch: &Arch) -> Result<Values, Illegal> {
        let mut reason = None;
        let rest = std::iter::once_with(|| self.space()).flatten();
        for values in self.prefers(problem, arch).into_iter().chain(rest) {
            match self.legal(problem, &values, arch) {
                Ok(()) => return Ok(values),
                Err(why) => reason = reason.or(Some(why)),
            }
        }
        let reason = reason.map_or_else(|| "it has no schedules".to_owned(), |r| r.0);
        Err(Illegal(format!("no schedule of {} serves {problem} on {arch}: {reason}", self.name())))
    }

    /// All legal schedules of `problem`, the default first.
    fn candidates(&self, problem: &Problem, arch: &Arch) -> Vec<Values> {
        let Ok(default) = self.default_for(problem, arch) else { return vec![] };
        let mut all = self.space();
        all.retain(|v| *v != default && self.legal(problem, v, arch).is_ok());
        all.insert(0, default);
        all
    }

    /// What one CTA takes.
    fn budget(&self, problem: &Problem, values: &Values, arch: &Arch) -> Result<Budget, Illegal> {
        self.legal(problem, values, arch)?;
        Ok(self.form(values)?.budget(problem, values, arch))
    }

    /// The source for `problem` with `values` on `arch`.
    fn emit(&self, problem: &Problem, values: &Values, arch: &Arch) -> Result<Source, Illegal> {
        self.legal(problem, values, arch)?;
        Ok(self.form(values)?.emit(problem, values, arch))
    }
}

/// Fails with `reason` unless `holds`.
pub(crate) fn require(holds: bool, reason: impl FnOnce() -> String) -> Result<(), Illegal> {
    if holds { Ok(()) } else { Err(Illegal(reason())) }
}

/// Fails unless `problem` has every size of `names`, none of them zero.
pub(crate) fn require_sizes(problem: &Problem, names: &[&str]) -> Result<(), Illegal> {
    for name in names {
        require(problem.dim(name) > 0, || format!("{problem} lacks the size `{name}`"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_forms_have_their_parameter() {
        let names: BTreeSet<_> = ALL.iter().map(|k| k.name()).collect();
        assert_eq!(names.len(), ALL.len());
        for k in ALL {
            let form = k.params().iter().find(|p| p.name == "form");
            let listed = form.map_or(vec![0], |p| p.values.to_vec());
            assert_eq!(listed, (0..k.forms().len() as i64).collect::<Vec<_>>(), "{}", k.name());
        }
    }

    #[test]
    fn a_budget_beyond_the_architecture_is_refused_with_the_limit() {
        let arch = crate::arch::parse("sm_86").unwrap();
        let fits = Budget { threads: 256, registers: 128, smem: 99 * 1024 };
        assert_eq!(fits.fits(arch), Ok(()));
        let why = Budget { smem: 100 * 1024, ..fits }.fits(arch).unwrap_err();
        assert!(why.0.contains("101376"), "{why}");
        assert!(Budget { registers: 255, threads: 512, smem: 0 }.fits(arch).is_err());
    }
}
