//! Launching a kernel: what is asked is checked against the kernel and the target before anything runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

use super::emulator::{Emulator, ModuleId};
use super::global::BufferId;
use super::report::{Findings, Report};
use super::schedule::worker;
use super::space::SHARED_FIRST;
use super::state::Run;
use super::words::WordsMut;
use crate::count::Counting;
use crate::isa::{Program, Target};

/// Largest grid in threads of control that is not a typing mistake.
const GRID_LIMIT: [u64; 3] = [(1 << 31) - 1, 65_535, 65_535];

/// What to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchConfig {
    /// The kernel's name.
    pub kernel: String,
    /// CTAs.
    pub grid: [u32; 3],
    /// Threads of a CTA.
    pub block: [u32; 3],
    /// CTAs of a cluster, where the launch asks for clusters.
    pub cluster: Option<[u32; 3]>,
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
}

impl LaunchConfig {
    /// A launch in one dimension, without clusters and dynamic shared memory.
    pub fn new(kernel: &str, grid: u32, block: u32) -> Self {
        LaunchConfig {
            kernel: kernel.to_owned(),
            grid: [grid, 1, 1],
            block: [block, 1, 1],
            cluster: None,
            dynamic_shared: 0,
        }
    }
}

/// An argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// The address of a buffer.
    Buffer(BufferId),
    /// An address inside a buffer.
    BufferAt(BufferId, u64),
    /// An 8-bit value or bool.
    U8(u8),
    /// A 16-bit value, f16 and bf16 included.
    U16(u16),
    /// A 32-bit value.
    U32(u32),
    /// A 32-bit signed value.
    I32(i32),
    /// A 64-bit value.
    U64(u64),
    /// A 64-bit signed value.
    I64(i64),
    /// An f32.
    F32(f32),
    /// An f64.
    F64(f64),
    /// A null pointer.
    Null,
    /// The bytes of a structure, a tensor map among them.
    Bytes(Vec<u8>),
}

/// Why a launch was refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaunchError {
    /// No such kernel.
    #[error("no kernel `{name}` in the module; it has: {}", known.join(", "))]
    UnknownKernel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A wrong number of arguments.
    #[error("`{kernel}` has {expected} parameters, {given} arguments were given")]
    ArgumentCount {
        /// The kernel.
        kernel: String,
        /// Its parameters.
        expected: usize,
        /// Arguments.
        given: usize,
    },
    /// An argument that does not fit its parameter.
    #[error("argument {index}: parameter `{name}` has {expected} bytes, the argument has {given}")]
    ArgumentSize {
        /// Which, from 0.
        index: usize,
        /// The parameter.
        name: String,
        /// Its bytes.
        expected: u64,
        /// The argument's.
        given: u64,
    },
    /// A buffer that was freed.
    #[error("argument {index}: the buffer does not exist or was freed")]
    ArgumentBuffer {
        /// Which, from 0.
        index: usize,
    },
    /// Numbers that the kernel or the target does not allow.
    #[error("{0}")]
    Shape(String),
}

/// Bytes of shared memory that a CTA may have on a target.
pub fn shared_limit(target: Option<Target>) -> u32 {
    match target.map_or(80, |t| t.number) {
        86 | 89 | 120 | 121 => 99 * 1024,
        75 => 64 * 1024,
        80 | 87 => 163 * 1024,
        n if n >= 90 => 227 * 1024,
        _ => 96 * 1024,
    }
}

impl Emulator {
    /// Runs a kernel to its end, or to a fault, and says what was found.
    pub fn launch(
        &mut self,
        module: ModuleId,
        config: &LaunchConfig,
        args: &[Arg],
    ) -> Result<Report, LaunchError> {
        let unknown = || LaunchError::UnknownKernel {
            name: config.kernel.clone(),
            known: self.kernels(module).into_iter().map(str::to_owned).collect(),
        };
        let program = self.program(module, &config.kernel).ok_or_else(unknown)?;
        let cluster = check_shape(&program, config)?;
        let params = self.parameters(&program, args)?;
        let checks = self.options.checks;
        let run = Run {
            global: &self.global,
            consts: &self.consts,
            params,
            grid: config.grid,
            block: config.block,
            cluster,
            explicit_cluster: config.cluster.is_some() || program.bounds.reqnctapercluster.is_some(),
            dynamic_shared: config.dynamic_shared,
            shared_bytes: shared_bytes(&program, config),
            options: &self.options,
            checks,
            heap: self
                .heap
                .and_then(|id| self.global.buffer(id))
                .map(|b| super::heap::Heap::new(b.base, b.len)),
            findings: Mutex::new(Findings::default()),
            output: Mutex::default(),
            stop: AtomicBool::new(false),
            executed: AtomicU64::new(0),
            locks: (0..64).map(|_| Mutex::new(())).collect(),
            watch: Mutex::new(self.watch(checks)),
            program,
        };
        let counting = run_all(&run);
        let watch = std::mem::take(&mut *run.watch());
        let report = report(run, counting);
        self.written = watch.defined;
        Ok(report)
    }

    /// What the checks of a launch begin with: what earlier launches wrote.
    fn watch(&self, checks: super::Checks) -> super::watch::Watch {
        let options = crate::shadow::Options { strict: checks.strict, ..Default::default() };
        let mut detector = crate::shadow::Detector::new(options);
        detector.start_grid();
        super::watch::Watch { detector, defined: self.written.clone() }
    }

    fn parameters(&self, program: &Program, args: &[Arg]) -> Result<Vec<u32>, LaunchError> {
        if args.len() != program.params.len() {
            let (expected, given) = (program.params.len(), args.len());
            return Err(LaunchError::ArgumentCount { kernel: program.name.clone(), expected, given });
        }
        let mut words = vec![0u32; (program.param_bytes as usize).div_ceil(4)];
        for (index, (arg, param)) in args.iter().zip(&program.params).enumerate() {
            let bytes = self.argument_bytes(arg).ok_or(LaunchError::ArgumentBuffer { index })?;
            if bytes.len() as u64 != param.size {
                let (name, given) = (param.name.clone(), bytes.len() as u64);
                return Err(LaunchError::ArgumentSize { index, name, expected: param.size, given });
            }
            words.set_bytes(param.offset, &bytes);
        }
        Ok(words)
    }

    fn argument_bytes(&self, arg: &Arg) -> Option<Vec<u8>> {
        Some(match arg {
            Arg::Buffer(id) => self.address(*id).ok()?.to_le_bytes().to_vec(),
            Arg::BufferAt(id, offset) => self.address(*id).ok()?.wrapping_add(*offset).to_le_bytes().to_vec(),
            Arg::U8(v) => vec![*v],
            Arg::U16(v) => v.to_le_bytes().to_vec(),
            Arg::U32(v) => v.to_le_bytes().to_vec(),
            Arg::I32(v) => v.to_le_bytes().to_vec(),
            Arg::U64(v) => v.to_le_bytes().to_vec(),
            Arg::I64(v) => v.to_le_bytes().to_vec(),
            Arg::F32(v) => v.to_le_bytes().to_vec(),
            Arg::F64(v) => v.to_le_bytes().to_vec(),
            Arg::Null => vec![0; 8],
            Arg::Bytes(bytes) => bytes.clone(),
        })
    }
}

fn shared_bytes(program: &Program, config: &LaunchConfig) -> u32 {
    if config.dynamic_shared == 0 {
        program.shared_end.max(SHARED_FIRST)
    } else {
        program.dynamic_start.saturating_add(config.dynamic_shared)
    }
}

fn product(dims: [u32; 3]) -> u64 {
    dims.iter().map(|d| u64::from(*d)).product()
}

fn refuse<T>(message: String) -> Result<T, LaunchError> {
    Err(LaunchError::Shape(message))
}

fn check_shape(program: &Program, config: &LaunchConfig) -> Result<[u32; 3], LaunchError> {
    let (grid, block, bounds) = (config.grid, config.block, &program.bounds);
    if grid.iter().zip(GRID_LIMIT).any(|(d, limit)| *d == 0 || u64::from(*d) > limit) {
        return refuse(format!(
            "the grid {grid:?} has a dimension that is 0 or over the limit {GRID_LIMIT:?}"
        ));
    }
    let threads = product(block);
    if threads == 0 || threads > 1024 || block[2] > 64 {
        return refuse(format!(
            "a CTA of {block:?} has {threads} threads; 1 to 1024 are allowed, at most 64 in z"
        ));
    }
    if let Some(required) = bounds.reqntid
        && required != block
    {
        return refuse(format!(
            "`{}` requires CTAs of {required:?} threads, {block:?} were given",
            program.name
        ));
    }
    if let Some(most) = bounds.maxntid
        && threads > product(most)
    {
        return refuse(format!(
            "`{}` allows CTAs of {} threads, {threads} were given",
            program.name,
            product(most)
        ));
    }
    let used = shared_bytes(program, config) - SHARED_FIRST;
    let limit = shared_limit(program.target);
    if used > limit {
        return refuse(format!(
            "the kernel needs {used} bytes of shared memory, the target has {limit} for a CTA"
        ));
    }
    check_cluster(program, config)
}

fn check_cluster(program: &Program, config: &LaunchConfig) -> Result<[u32; 3], LaunchError> {
    let bounds = &program.bounds;
    let required = bounds.reqnctapercluster.filter(|r| product(*r) > 0);
    if let (Some(required), Some(given)) = (required, config.cluster)
        && required != given
    {
        return refuse(format!(
            "`{}` requires clusters of {required:?} CTAs, {given:?} were given",
            program.name
        ));
    }
    let cluster = config.cluster.or(required).unwrap_or([1, 1, 1]);
    let size = product(cluster);
    let most = u64::from(bounds.maxclusterrank.unwrap_or(16)).min(16);
    if size == 0 || size > most {
        return refuse(format!("a cluster of {cluster:?} has {size} CTAs; 1 to {most} are allowed"));
    }
    if size > 1 && program.target.is_some_and(|t| t.number < 90) {
        return refuse("clusters need sm_90 or later".to_owned());
    }
    if config.grid.iter().zip(cluster).any(|(g, c)| g % c != 0) {
        return refuse(format!("the grid {:?} is no multiple of the cluster {cluster:?}", config.grid));
    }
    Ok(cluster)
}

fn run_all(run: &Run<'_>) -> Option<Counting> {
    let all = product(run.grid) / u64::from(run.cluster_size());
    let total = run.options.sample.map_or(all, |most| most.clamp(1, all));
    let next = AtomicU64::new(0);
    // One thread where things are checked: the seed alone decides then.
    let threads = if run.checks.any() { 1 } else { run.options.threads.max(1) };
    let threads = threads.min(usize::try_from(total).unwrap_or(usize::MAX)).max(1);
    let work = |slot: usize| {
        let slot = slot as u32 * 1000;
        match (run.checks.any(), run.options.counters) {
            (false, false) => worker::<false, false>(run, &next, [total, all], slot),
            (false, true) => worker::<false, true>(run, &next, [total, all], slot),
            (true, false) => worker::<true, false>(run, &next, [total, all], slot),
            (true, true) => worker::<true, true>(run, &next, [total, all], slot),
        }
    };
    if threads == 1 {
        return work(0);
    }
    let parts: Vec<Option<Counting>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|slot| scope.spawn(move || work(slot))).collect();
        handles
            .into_iter()
            .map(|h| h.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    parts.into_iter().flatten().reduce(|mut all, part| {
        all.merge(&part);
        all
    })
}

fn report(run: Run<'_>, counting: Option<Counting>) -> Report {
    let findings = run.findings.into_inner().unwrap_or_else(PoisonError::into_inner).take();
    let output = run.output.into_inner().unwrap_or_else(PoisonError::into_inner);
    Report {
        kernel: run.program.name.clone(),
        completed: !run.stop.load(Relaxed),
        findings,
        output: String::from_utf8_lossy(&output).into_owned(),
        warp_instructions: run.executed.load(Relaxed),
        counters: counting.map(|c| c.finish(&run.program)),
    }
}
