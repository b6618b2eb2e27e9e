//! Where a source becomes a kernel: what was shipped with its schedule, what was compiled on this machine before, and only
//! then the compiler, unless the schedules are frozen.

use super::fault;
use crate::Error;
use crate::select::ScheduleSource;
use jet_codegen::arch::Arch;
use jet_codegen::kernel::{Source, families};
use jet_codegen::nvrtc::{Compiled, Compiler, CubinStore, Job, NvrtcError, Output, source_name};
use jet_codegen::program::Rows;
use jet_codegen::schedule::Problem;
use std::sync::Arc;
use std::time::Duration;

/// Longest time that one source may take to compile.
pub(super) const DEADLINE: Duration = Duration::from_secs(300);

/// A source that has to be found or compiled.
pub(super) struct Needed {
    pub(super) source: Source,
    /// The rows it counts by.
    pub(super) rows: Rows,
    /// The first problem that it solves.
    pub(super) problem: Problem,
}

impl Needed {
    fn job(&self, arch: &'static Arch, output: Output) -> Job {
        Job { source: Arc::from(self.source.text.as_str()), arch, output }
    }
}

/// For whom sources are compiled, and what may be asked before the compiler.
pub(super) struct Kernels<'a> {
    pub(super) device: &'a str,
    pub(super) arch: &'static Arch,
    pub(super) image: Output,
    pub(super) store: Option<&'a CubinStore>,
    pub(super) schedules: &'a dyn ScheduleSource,
}

impl Kernels<'_> {
    /// Each of `sources`, compiled.
    ///
    /// # Errors
    /// The compiler refuses one, or is not there; the schedules are frozen and one would have to be compiled.
    pub(super) fn all(&self, sources: &[Needed]) -> Result<Vec<Compiled>, Error> {
        let mut found: Vec<Option<Compiled>> = sources.iter().map(|n| self.shipped(n)).collect();
        let missing: Vec<&Needed> =
            sources.iter().zip(&found).filter(|(_, c)| c.is_none()).map(|(n, _)| n).collect();
        if !missing.is_empty() {
            // A machine without the compiler runs what was shipped, so it is looked for only here.
            let compiler = Compiler::find(self.store);
            let made = match self.schedules.frozen() {
                true => self.kept(&missing, compiler.ok().as_ref())?,
                false => self.compile(&missing, &compiler.map_err(|e| fault(self.device, e))?)?,
            };
            let mut made = made.into_iter();
            found.iter_mut().filter(|c| c.is_none()).for_each(|c| *c = made.next());
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// What was stored with a schedule and can be loaded here.
    fn shipped(&self, needed: &Needed) -> Option<Compiled> {
        let family = families(self.arch).iter().find(|f| f.name() == needed.problem.family)?;
        let bytes = self.schedules.kernel(*family, &needed.problem, &source_name(&needed.source.text))?;
        let fits = |c: &Compiled| match self.image {
            Output::Cubin => !c.cubin.is_empty(),
            Output::Ptx => !c.ptx.is_empty(),
        };
        Compiled::from_bytes(&bytes).filter(fits)
    }

    /// What this machine has compiled before.
    fn kept(&self, missing: &[&Needed], compiler: Option<&Compiler>) -> Result<Vec<Compiled>, Error> {
        let kept = |n: &&Needed| {
            let found = compiler.and_then(|c| c.kept(&n.job(self.arch, self.image)));
            found.ok_or_else(|| Error::FrozenKernel { task: n.problem.to_string() })
        };
        missing.iter().map(kept).collect()
    }

    fn compile(&self, missing: &[&Needed], compiler: &Compiler) -> Result<Vec<Compiled>, Error> {
        let jobs: Vec<Job> = missing.iter().map(|n| n.job(self.arch, self.image)).collect();
        let results = compiler.compile_all(&jobs, 0, DEADLINE);
        let named = |(needed, result): (&&Needed, Result<Compiled, NvrtcError>)| {
            result.map_err(|e| {
                let first = needed.source.text.lines().next().unwrap_or_default();
                fault(self.device, format!("{first}: {e}"))
            })
        };
        missing.iter().zip(results).map(named).collect()
    }
}
