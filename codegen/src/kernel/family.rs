//! The kernels of one architecture as the tuner and the cache see them.

use super::{ALL, Kernel};
use crate::arch::{self, Arch};
use crate::schedule::{Family, Illegal, Param, Problem, Values, default_values};
use std::sync::OnceLock;

/// A kernel family bound to an architecture.
#[derive(Clone, Copy)]
pub struct ArchFamily {
    /// The family.
    pub kernel: &'static dyn Kernel,
    /// The architecture.
    pub arch: &'static Arch,
}

impl Family for ArchFamily {
    fn name(&self) -> &'static str {
        self.kernel.name()
    }

    fn version(&self) -> u32 {
        self.kernel.version()
    }

    fn params(&self) -> &'static [Param] {
        self.kernel.params()
    }

    fn legal(&self, problem: &Problem, values: &Values) -> Result<(), Illegal> {
        self.kernel.legal(problem, values, self.arch)
    }

    fn candidates(&self, problem: &Problem) -> Vec<Values> {
        self.kernel.candidates(problem, self.arch)
    }

    /// Where nothing serves the problem, the plain default, which [`Family::legal`] then refuses with the reason.
    fn default_values(&self, problem: &Problem) -> Values {
        self.kernel.default_for(problem, self.arch).unwrap_or_else(|_| default_values(self.params()))
    }
}

/// The families of `arch`, in the order of [`ALL`].
pub fn families(arch: &'static Arch) -> &'static [&'static dyn Family] {
    static TABLE: OnceLock<Vec<Vec<&'static dyn Family>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        // One small value per family and architecture, made once and kept: families are compared and stored by
        // reference for the life of the process.
        let bind = |arch: &'static Arch, kernel: &'static dyn Kernel| -> &'static dyn Family {
            Box::leak(Box::new(ArchFamily { kernel, arch }))
        };
        arch::ALL.iter().map(|a| ALL.iter().map(|k| bind(a, *k)).collect()).collect()
    });
    let row = arch::ALL.iter().position(|a| a.name == arch.name).expect("an architecture is one of the rows");
    &table[row]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_has_every_family() {
        for a in arch::ALL {
            let names: Vec<_> = families(a).iter().map(|f| f.name()).collect();
            assert_eq!(names, ALL.iter().map(|k| k.name()).collect::<Vec<_>>());
        }
    }
}
