//! `schedule_pack!`: tuned schedules as a part of the program.

/// Embeds a pack that `jet-tune export` wrote, and gives `Result<Arc<cache::Pack>, cache::CacheError>`.
///
/// The path is that of `include_bytes!`: relative to the file that names it. A file that is no pack does not compile; one
/// that is damaged is an error when the program asks for it.
///
/// ```
/// use jet::cache::{Mode, ScheduleCache};
/// use jet::{LoadOptions, Schedules};
///
/// let pack = jet::schedule_pack!(concat!(env!("CARGO_MANIFEST_DIR"), "/cache/tests/fixtures/v1/pack.jetpack"))?;
/// assert_eq!(pack.len(), 3);
/// // Nothing is tuned or compiled in production: a task that the pack lacks stops the loading.
/// let options = LoadOptions { schedules: Schedules::frozen(pack), ..LoadOptions::default() };
/// assert_eq!(options.schedules.open().mode(), Mode::Frozen);
/// # Ok::<(), jet::cache::CacheError>(())
/// ```
///
/// ```compile_fail
/// // `Cargo.toml` is no schedule pack.
/// let pack = jet::schedule_pack!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
/// ```
#[macro_export]
macro_rules! schedule_pack {
    ($file:expr $(,)?) => {{
        const BYTES: &[u8] = ::core::include_bytes!($file);
        const _: () = ::core::assert!(
            $crate::cache::pack::begins_as_pack(BYTES),
            "the file is no schedule pack; `jet-tune export FILE` writes one"
        );
        $crate::cache::Pack::from_bytes(BYTES, $file).map(::std::sync::Arc::new)
    }};
}
