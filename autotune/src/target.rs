//! The tasks of a target: what `plan` gives for a model somebody named, without a program at hand.

use crate::device::plan;
use crate::tasks::Task;
use jet_codegen::{LowerOptions, lower};
use jet_models::target::{Target, TargetError};
use jet_numerics::DType;
use jet_runtime::device::Device;
use jet_runtime::recipe::Recipe;

/// The tasks of `target` on `device` in runs of `tokens` tokens (see [`jet_runtime::device::token_buckets`]). Weights
/// have the formats in which they are stored; those of a target without weights are taken as random ones stored as
/// `random_format`.
///
/// # Errors
/// The stored weights cannot be read or are not the target's.
pub fn plan_target(
    device: &dyn Device,
    target: &Target,
    random_format: DType,
    recipe: impl Into<Recipe>,
    tokens: &[usize],
) -> Result<Vec<Task>, TargetError> {
    let formats = target.formats(random_format)?;
    let dtype = |id| formats.info(id).ok().map(|info| info.dtype);
    let program = lower(target.spec(), LowerOptions::default());
    Ok(plan(device, &program, &dtype, recipe, tokens))
}
