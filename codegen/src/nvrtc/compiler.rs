//! Compiled sources from wherever they can be had: a store that was packed for a machine without NVRTC, or NVRTC.

use super::pool::run;
use super::store::digest;
use super::{Compiled, CubinStore, Job, Nvrtc, NvrtcError};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The file of a packed store that says which compiler filled it.
const STAMP: &str = "nvrtc.version";

impl CubinStore {
    fn stamp(&self) -> PathBuf {
        self.folder().join(STAMP)
    }

    /// Says in the store that what it has was made by NVRTC `version`, so that it serves where there is none.
    pub fn seal(&self, version: &str) -> std::io::Result<()> {
        fs::create_dir_all(self.folder())?;
        fs::write(self.stamp(), version)
    }

    /// The compiler that a sealed store was filled by.
    pub fn sealed(&self) -> Option<String> {
        let text = fs::read_to_string(self.stamp()).ok()?;
        Some(text.trim().to_owned()).filter(|v| !v.is_empty())
    }
}

/// What gives compiled sources.
#[derive(Clone)]
pub struct Compiler {
    nvrtc: Option<&'static Nvrtc>,
    store: Option<CubinStore>,
    sealed: Option<String>,
    missing: Option<NvrtcError>,
}

impl Compiler {
    /// NVRTC with `store` in front of it; a sealed store alone where there is no NVRTC.
    ///
    /// # Errors
    /// There is neither NVRTC nor a sealed store.
    pub fn find(store: Option<&CubinStore>) -> Result<Compiler, NvrtcError> {
        Self::with(Nvrtc::get(), store)
    }

    fn with(
        nvrtc: Result<&'static Nvrtc, NvrtcError>,
        store: Option<&CubinStore>,
    ) -> Result<Self, NvrtcError> {
        let sealed = store.and_then(CubinStore::sealed);
        let (nvrtc, missing) = match nvrtc {
            Ok(n) => (Some(n), None),
            Err(why) if sealed.is_some() => (None, Some(why)),
            Err(why) => return Err(why),
        };
        Ok(Self { nvrtc, store: store.cloned(), sealed, missing })
    }

    /// What the store has of `job`; nothing is compiled.
    pub fn kept(&self, job: &Job) -> Option<Compiled> {
        let store = self.store.as_ref()?;
        let versions = self.sealed.clone().into_iter().chain(self.nvrtc.map(Nvrtc::version));
        let options = Nvrtc::options(job.arch, job.output);
        versions.into_iter().find_map(|v| store.get(&digest(&job.source, &options, &v)))
    }

    /// The version of NVRTC behind what it gives: of the sealed store where there is one, since that is asked first.
    pub fn version(&self) -> String {
        let own = || self.nvrtc.map(Nvrtc::version).unwrap_or_default();
        self.sealed.clone().unwrap_or_else(own)
    }

    /// One source.
    pub fn compile(&self, job: &Job) -> Result<Compiled, NvrtcError> {
        let key = (&*job.source, job.arch, job.output);
        if let (Some(store), Some(version)) = (&self.store, &self.sealed)
            && let Some(found) = store.get(&digest(key.0, &Nvrtc::options(key.1, key.2), version))
        {
            return Ok(found);
        }
        let Some(nvrtc) = self.nvrtc else {
            let missing = self.missing.as_ref().map_or_else(String::new, ToString::to_string);
            let folder = self.store.as_ref().map(|s| s.folder().display().to_string()).unwrap_or_default();
            return Err(NvrtcError::NotPacked { folder, missing });
        };
        let compile = || nvrtc.compile(key.0, key.1, key.2);
        match &self.store {
            Some(store) => store.get_or_compile(key, &nvrtc.version(), compile),
            None => compile(),
        }
    }

    /// All of `jobs` in order, on `threads` threads (0: as many as there are cores), each within `deadline`.
    pub fn compile_all(
        &self,
        jobs: &[Job],
        threads: usize,
        deadline: Duration,
    ) -> Vec<Result<Compiled, NvrtcError>> {
        let this = Arc::new(self.clone());
        run(jobs, threads, deadline, None, move |job, _| this.compile(job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch;
    use crate::nvrtc::Output;

    #[test]
    fn a_sealed_store_serves_what_it_has_where_there_is_no_compiler_and_names_itself_where_it_has_not() {
        let folder = std::env::temp_dir().join(format!("jet-sealed-{}", std::process::id()));
        let store = CubinStore::new(&folder);
        let none = || Err(NvrtcError::Lost);
        assert!(Compiler::with(none(), Some(&store)).is_err(), "a store that nobody sealed is none");
        assert!(Compiler::with(none(), None).is_err());
        store.seal("12.9").unwrap();
        assert_eq!(store.sealed().as_deref(), Some("12.9"));
        let arch = arch::parse("sm_90a").unwrap();
        let job = |source: &str| Job { source: Arc::from(source), arch, output: Output::Cubin };
        let kept = Compiled { cubin: vec![7], ..Compiled::default() };
        store.put(&digest("known", &Nvrtc::options(arch, Output::Cubin), "12.9"), &kept).unwrap();
        let compiler = Compiler::with(none(), Some(&store)).unwrap();
        assert_eq!(compiler.kept(&job("known")).unwrap().cubin, [7]);
        assert!(compiler.kept(&job("unknown")).is_none());
        let mut got = compiler.compile_all(&[job("known"), job("unknown")], 2, Duration::from_secs(60));
        let why = got.pop().unwrap().unwrap_err().to_string();
        assert!(why.contains(folder.to_str().unwrap()) && why.contains("ended without a result"), "{why}");
        assert_eq!(got.pop().unwrap().unwrap().cubin, [7]);
        fs::remove_dir_all(folder).unwrap();
    }
}
