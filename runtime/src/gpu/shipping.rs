//! Kernels that travel with their schedules: what a pack holds for machines that have no compiler.

use super::fault;
use super::kernels::DEADLINE;
use crate::Error;
use jet_codegen::arch::{self, Arch};
use jet_codegen::kernel::find;
use jet_codegen::nvrtc::{Compiler, CubinStore, Job, Output, source_name};
use jet_codegen::schedule::{Problem, Values};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kinds of devices whose kernels are compiled, with what they load.
const KINDS: &[(&str, Output)] = &[("cuda", Output::Cubin), ("emulated", Output::Ptx)];

/// The devices of one kind and architecture, by what the key of a task says of them. None of them has to be there.
pub struct Shipping {
    device: String,
    arch: &'static Arch,
    image: Output,
}

/// A source that can be compiled and shipped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shippable {
    /// By its text: a schedule whose source has changed finds no kernel.
    pub name: String,
    text: Arc<str>,
}

impl Shipping {
    /// For the devices of `kind` with these facts; `None` where such a device compiles nothing.
    ///
    /// # Errors
    /// The architecture is not said, or none of those that are known.
    pub fn to(kind: &str, facts: &BTreeMap<String, String>) -> Option<Result<Self, Error>> {
        let (_, image) = KINDS.iter().find(|(known, _)| *known == kind)?;
        let named = facts.get("arch").map_or("", String::as_str);
        let arch = arch::parse(named).map_err(|e| fault(kind, e));
        Some(arch.map(|arch| Self { device: format!("{kind} {arch}"), arch, image: *image }))
    }

    /// The architecture, as in `sm_90a`.
    pub fn arch(&self) -> &'static str {
        self.arch.name
    }

    /// The source of `problem` with the schedule `values`.
    ///
    /// # Errors
    /// There is no such family, or the schedule is not legal there.
    pub fn source(&self, problem: &Problem, values: &Values) -> Result<Shippable, Error> {
        let refused = |why: String| Error::Data(format!("no kernel of {problem} for {}: {why}", self.device));
        let kernel = find(&problem.family).ok_or_else(|| refused("no such family".to_owned()))?;
        let source = kernel.emit(problem, values, self.arch).map_err(|why| refused(why.0))?;
        Ok(Shippable { name: source_name(&source.text), text: Arc::from(source.text) })
    }

    /// The bytes of each of `sources`, as a session takes them from a pack. What `store` has is not compiled.
    pub fn compile(&self, sources: &[Shippable], store: Option<&CubinStore>) -> Vec<Result<Vec<u8>, Error>> {
        let compiler = match Compiler::find(store) {
            Ok(compiler) => compiler,
            Err(why) => return sources.iter().map(|_| Err(fault(&self.device, &why))).collect(),
        };
        let job = |s: &Shippable| Job { source: Arc::clone(&s.text), arch: self.arch, output: self.image };
        let jobs: Vec<Job> = sources.iter().map(job).collect();
        let results = compiler.compile_all(&jobs, 0, DEADLINE).into_iter();
        results.map(|r| r.map(|c| c.to_bytes()).map_err(|e| fault(&self.device, e))).collect()
    }
}
