//! Arguments that several commands take.

use clap::builder::PossibleValuesParser;
use clap::{Args, builder::TypedValueParser as _};
use jet_cache::{Mode, Pack, ScheduleCache};
use jet_models::session::{Arithmetic, LoadOptions, Schedules};
use jet_models::target::{Random, Target};
use jet_numerics::DType;
use jet_runtime::device::{Device, Precision};
use jet_runtime::recipe::Recipe;
use std::path::Path;
use std::sync::Arc;

/// What a target can be, for every `--help` that takes one.
pub(crate) const TARGET: &str = "A preset (`jet spec --list`), a `.rs` file with a jet_model! (`file.rs::Name`), a folder \
     with a config.json, a `.gguf` file, or ORG/NAME in the Hugging Face cache";

/// On which device, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeviceArgs {
    /// The device.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Worker threads; 0 is one for each physical core.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,
    /// Arithmetic of the matrices: `native` is what the weights' format is best served with, `tuned` what `jet-tune
    /// precision` chose for this model on this device, block by block.
    #[arg(long, default_value = "native", value_parser = precision_parser())]
    pub(crate) precision: Arithmetic,
}

impl DeviceArgs {
    /// The arithmetic of `target` on `device`; a tuned one is looked for in `schedules`.
    pub(crate) fn recipe(
        &self,
        device: &dyn Device,
        target: &Target,
        random: &RandomArgs,
        schedules: &ScheduleCache,
    ) -> anyhow::Result<Recipe> {
        if let Arithmetic::Given(recipe) = &self.precision {
            return Ok(recipe.clone());
        }
        let weights = target.weights(random.or_where_none_are(target))?;
        Ok(self.precision.resolve(device, &*weights, schedules)?)
    }
}

/// The word for what `jet-tune precision` chose.
const TUNED: &str = "tuned";

fn precision_parser() -> impl clap::builder::TypedValueParser<Value = Arithmetic> {
    let names = Precision::ALL.iter().map(|(name, _)| *name).chain([TUNED]);
    PossibleValuesParser::new(names).map(|name| Precision::named(&name).map_or(Arithmetic::Tuned, Into::into))
}

/// Random weights instead of stored ones.
#[derive(Clone, Debug, Args)]
pub(crate) struct RandomArgs {
    /// Random weights of the true shapes, from this seed. Every output says so.
    #[arg(long, value_name = "SEED")]
    pub(crate) random: Option<u64>,
    /// How random matrices are stored, as in bf16, f32, q4_1.
    #[arg(long, default_value = "bf16", value_name = "FORMAT", value_parser = weight_format)]
    pub(crate) random_format: DType,
}

impl RandomArgs {
    /// The random weights of a command that takes some for a target without weights: those asked for, else of seed 0.
    pub(crate) fn or_where_none_are(&self, target: &Target) -> Option<Random> {
        let seed = self.random.or_else(|| (!target.has_weights()).then_some(0));
        seed.map(|seed| Random { seed, format: self.random_format })
    }
}

fn weight_format(text: &str) -> Result<DType, String> {
    let formats = || DType::ALL.iter().copied().filter(|d| d.is_weight());
    let names: Vec<String> = formats().map(|d| d.to_string()).collect();
    let found = formats().find(|d| d.to_string().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

/// What a session is loaded with.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) random: RandomArgs,
    /// Tokens that a sequence may have; the default is 4096, or what the model is meant for where that is less.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) context: Option<usize>,
    /// Tuned schedules: `default` takes what is there, `frozen` makes a miss an error, `off` takes none.
    #[arg(long, default_value = "default", value_name = "MODE")]
    pub(crate) schedules: Mode,
    /// A pack of tuned schedules below the local ones; may be given more than once, the most important first.
    #[arg(long, value_name = "FILE", value_parser = pack_file)]
    pub(crate) schedule_pack: Vec<Arc<Pack>>,
}

/// A pack file as an argument.
pub(crate) fn pack_file(path: &str) -> Result<Arc<Pack>, String> {
    let pack = Pack::load(Path::new(path)).map_err(|e| e.to_string())?;
    pack.map(Arc::new).ok_or_else(|| "there is no such file".to_owned())
}

impl LoadArgs {
    /// The options of a session with them.
    pub(crate) fn options(&self) -> LoadOptions {
        LoadOptions {
            device: self.device.device.clone(),
            threads: self.device.threads,
            precision: self.device.precision.clone(),
            context: self.context,
            schedules: Schedules {
                mode: self.schedules,
                packs: self.schedule_pack.clone(),
                ..Schedules::default()
            },
            random: self.random.random,
            random_format: self.random.random_format,
            ..LoadOptions::default()
        }
    }
}
