//! The schedule cache: which schedule serves a task on this device, and the evidence for it.
//!
//! The tuner (`jet-autotune`) writes here, a session only reads. A schedule is seen as *named integers*; what they
//! mean is the kernel family's business, and what is not legal any more is a miss with a reason. Without
//! the cache, or with a damaged one, jet is slower and never wrong.
//!
//! Three layers, the upper one winning: an in-process map, the local *overlay* (what `jet-tune` found on this
//! machine) and shipped *packs*. The overlay is a sled folder that only the tuner opens; after each commit
//! it is exported as a read-only pack file beside the folder, and that file is what sessions read.
//!
//! - [`key`]: what identifies a task; canonical bytes, a readable label, a digest
//! - [`entry`]: the stored record with its evidence, times and provenance
//! - [`trials`]: the side record of all candidates of a task; [`failure`]: candidates that are not to be tried again
//! - [`recipe`]: which arithmetic each part of a model gets
//! - [`cubins`]: compiled kernels, by their content
//! - [`pack`]: many records in one read-only file; [`contents`]: what is in it, unpacked
//! - [`store`], `sled_store`, [`overlay`]: where the tuner writes; import and garbage collection
//! - [`lookup`]: [`ScheduleCache`], the look-up ladder
//! - [`merge`], [`diff`], [`coverage`], [`nearest`]: which of two records is kept, what differs, what a model lacks, why
//! - [`names`]: from what a person types to a task
//! - [`folders`]: where all this lives
//!
//! The bytes of every format are written down in `docs/format.md`.
//!
//! ```
//! use jet_cache::{Dims, Fingerprint, Mode, ScheduleCache, TaskFields, TaskKey};
//!
//! let device = Fingerprint::new("cpu").with("model", "a processor").with("workers", 8);
//! let key = TaskKey::new(TaskFields::new(device, "gemm", 1, "q4_1/int8", "cpu-1").dim("n", 576).dim("tokens", 64));
//! let cache = ScheduleCache::empty(Mode::Default);
//! let found = cache.lookup(&key, &|_| Ok(())).unwrap();
//! assert!(found.schedule().is_none(), "nothing is stored yet: the family's default runs");
//! assert_eq!(cache.counts().default, 1);
//! # let _: Dims = Dims::new();
//! ```
#![forbid(unsafe_code)]

mod bytes;
pub mod contents;
pub mod coverage;
pub mod cubins;
pub mod diff;
pub mod digest;
pub mod entry;
mod envelope;
pub mod error;
pub mod failure;
pub mod files;
pub mod folders;
pub mod key;
mod live;
pub mod lookup;
pub mod merge;
pub mod names;
pub mod nearest;
pub mod overlay;
pub mod pack;
mod quiet;
pub mod recipe;
mod sled_store;
pub mod store;
pub mod trials;

pub use contents::Contents;
pub use cubins::CubinStore;
pub use digest::Digest;
pub use entry::{
    CubinRef, Entry, Evidence, Grade, NamedIntegers, Origin, Provenance, RunnerUp, Search, Status, Timing,
};
pub use error::CacheError;
pub use failure::{CandidateKey, Failure, FailureKind};
pub use key::{Dims, Fingerprint, StoreKey, TaskFields, TaskKey};
pub use lookup::{Counts, Found, Mode, Rung, ScheduleCache};
pub use overlay::{Committed, Overlay};
pub use pack::{Manifest, Pack};
pub use recipe::{RecipeKey, StoredRecipe};
pub use trials::{Trial, Trials};
