//! [`Session`]: a model loaded on a device, its open sequences, and what it says of itself.

mod arithmetic;
mod engine;
mod error;
#[cfg(test)]
pub(crate) mod mock;
mod options;
mod source;
#[cfg(test)]
mod tests;

pub use arithmetic::{Arithmetic, read_recipe, recipe_key};
pub use error::SessionError;
pub use jet_runtime::device::SlotId;
pub use options::{DEFAULT_CONTEXT, DEFAULT_PIECE, LoadOptions, Schedules};

use crate::target::{Random, Target};
use crate::text::Text;
use crate::weights::{Checkpoint, WeightSource};
use engine::Engine;
use jet_cache::ScheduleCache;
use jet_codegen::{LowerOptions, lower};
use jet_dsl::ModelSpec;
use jet_runtime::device::{self, Device, Footprint, Limits, LoadRequest, Precision};
use jet_runtime::recipe::Recipe;
use jet_runtime::schedule_key::CachedSchedules;
use jet_runtime::select::Selection;
pub use source::DeviceWeights;
use std::sync::{Arc, OnceLock};

/// A model loaded on a device.
///
/// A session holds weights, activations and the states of up to [`LoadOptions::batch`] sequences. Tokens go in through
/// [`Session::prefill`], [`Session::step`] and [`Session::batch`], logits come out; text and sampling are
/// [`Session::generate`]'s.
///
/// ```no_run
/// use jet_models::session::{LoadOptions, Session};
/// use jet_models::target::Target;
///
/// let target = Target::resolve("tiny-hybrid")?;
/// let mut session = Session::load(&target, &LoadOptions { random: Some(7), ..LoadOptions::default() })?;
/// let sequence = session.open()?;
/// let logits = session.prefill(sequence, &[1, 2, 3])?;
/// assert_eq!(logits.len(), 32_000);
/// # Ok::<(), jet_models::session::SessionError>(())
/// ```
pub struct Session {
    engine: Engine,
    spec: ModelSpec,
    target: Target,
    device: Arc<dyn Device>,
    recipe: Recipe,
    origin: Origin,
    checkpoint: Option<Arc<Checkpoint>>,
    notices: Vec<String>,
    /// Read when it is first asked for: not every use of a session needs text.
    text: OnceLock<Arc<Text>>,
}

/// Where a session's weights come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// In a few words, as in `random weights (seed 7)` or a path.
    pub weights: String,
    /// The seed of random weights; whoever shows an output of theirs must say so.
    pub seed: Option<u64>,
}

impl Session {
    /// Loads `target`.
    ///
    /// # Errors
    /// The target has no weights and no seed was given; the model is larger than the memory, said before anything is
    /// read; the weights do not fit the model, or hold infinities or NaN; the device refuses.
    pub fn load(target: &Target, options: &LoadOptions) -> Result<Self, SessionError> {
        let device = device::open(&options.device, options.threads)?;
        Self::load_on(device, target, options)
    }

    /// [`Session::load`] on a device that is open already; the options' device and threads are not looked at.
    ///
    /// # Errors
    /// As [`Session::load`].
    pub fn load_on(
        device: Arc<dyn Device>,
        target: &Target,
        options: &LoadOptions,
    ) -> Result<Self, SessionError> {
        Self::load_with(device, target, options, &options.schedules.open())
    }

    /// [`Session::load_on`] with a schedule cache at hand; the options' one is not opened.
    ///
    /// # Errors
    /// As [`Session::load`].
    pub fn load_with(
        device: Arc<dyn Device>,
        target: &Target,
        options: &LoadOptions,
        schedules: &ScheduleCache,
    ) -> Result<Self, SessionError> {
        let spec = target.spec();
        let limits = limits(spec, options)?;
        let random = options.random.map(|seed| Random { seed, format: options.random_format });
        let checkpoint = if random.is_some() { None } else { target.checkpoint()? };
        let weights: Arc<dyn WeightSource> = match &checkpoint {
            Some(checkpoint) => Arc::<Checkpoint>::clone(checkpoint),
            None => target.weights(random)?,
        };
        let origin = Origin {
            weights: weights
                .seed()
                .map_or_else(|| weights.describe(), |s| format!("random weights (seed {s})")),
            seed: weights.seed(),
        };
        let recipe = options.precision.resolve(&*device, &*weights, schedules)?;
        device.accepts(&recipe)?;
        let source = DeviceWeights::new(&*weights);
        let found = CachedSchedules::new(schedules, &device.fingerprint());
        let request = || LoadRequest {
            program: lower(spec, LowerOptions::default()),
            weights: &source,
            schedules: &found,
            recipe: recipe.clone(),
            limits,
        };
        room(&*device, spec, &request(), limits)?;
        if let Some(checkpoint) = checkpoint.as_ref().filter(|_| options.check_weights) {
            checkpoint.check_finite()?;
        }
        let executable = device.load(request())?;
        tracing::info!(
            model = %spec.name, device = %device.describe(), weights = %origin.weights,
            schedules = %executable.selection().summary(), "loaded"
        );
        Ok(Self {
            engine: Engine::new(executable, limits),
            spec: spec.clone(),
            target: target.clone(),
            device,
            recipe,
            origin,
            checkpoint,
            notices: schedules.notices().to_vec(),
            text: OnceLock::new(),
        })
    }

    /// The model.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// What it was loaded from.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The device it runs on.
    pub fn device(&self) -> &dyn Device {
        &*self.device
    }

    /// Its arithmetic.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Where the weights come from, and whether they are random.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How each schedule was found; [`Selection::summary`] in one line.
    pub fn selection(&self) -> &Selection {
        self.engine.executable().selection()
    }

    /// Memory it holds, in bytes.
    pub fn footprint(&self) -> Footprint {
        self.engine.executable().footprint()
    }

    /// Room it has.
    pub fn limits(&self) -> Limits {
        self.engine.limits()
    }

    /// What was wrong with the schedule cache, for a person.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The model's tokenizer, chat template and suggestions for generation.
    ///
    /// # Errors
    /// It has none, or they cannot be read.
    pub fn text(&self) -> Result<Arc<Text>, SessionError> {
        if let Some(text) = self.text.get() {
            return Ok(Arc::clone(text));
        }
        let none = || SessionError::NoText {
            model: self.spec.name.to_string(),
            place: self.target.place().to_string(),
        };
        let read = Arc::new(self.target.text()?.ok_or_else(none)?);
        Ok(Arc::clone(self.text.get_or_init(|| read)))
    }

    /// Opens a sequence, empty.
    ///
    /// # Errors
    /// As many as the session was loaded for are open.
    pub fn open(&mut self) -> Result<SlotId, SessionError> {
        self.engine.open()
    }

    /// Closes a sequence; its place may be given out again.
    pub fn close(&mut self, sequence: SlotId) {
        self.engine.close(sequence);
    }

    /// Tokens in a sequence.
    pub fn position(&self, sequence: SlotId) -> usize {
        self.engine.executable().position(sequence)
    }

    /// Appends `tokens` to a sequence, in pieces, and gives the logits after the last: `vocab` values.
    ///
    /// # Errors
    /// No tokens, tokens beyond the context or outside the vocabulary: before anything ran. Logits that are no numbers.
    pub fn prefill(&mut self, sequence: SlotId, tokens: &[u32]) -> Result<&[f32], SessionError> {
        match self.engine.prefill(sequence, tokens) {
            Ok(()) => Ok(self.engine.logits()),
            Err(e) => Err(self.explain(e)),
        }
    }

    /// Appends one token to a sequence and gives the logits after it: a decode step. Allocates nothing.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn step(&mut self, sequence: SlotId, token: u32) -> Result<&[f32], SessionError> {
        self.prefill(sequence, &[token])
    }

    /// Appends to several sequences at once, as many tokens to each as are given, and gives the logits after each
    /// one's last: one row of `vocab` values a sequence, in their order.
    ///
    /// # Errors
    /// As [`Session::prefill`]; a sequence that stands twice.
    pub fn batch(&mut self, prompts: &[(SlotId, &[u32])]) -> Result<Vec<f32>, SessionError> {
        match self.engine.batch(prompts) {
            Err(e) => Err(self.explain(e)),
            logits => logits,
        }
    }

    /// Says where logits that are no numbers come from: from the weights, by name, else from the arithmetic.
    fn explain(&self, error: SessionError) -> SessionError {
        let SessionError::NotFinite { position, .. } = error else { return error };
        let cause = match self.checkpoint.as_ref().map(|c| c.check_finite()) {
            Some(Err(weights)) => weights.to_string(),
            Some(Ok(())) if self.recipe.uniform() == Some(Precision::F32) => {
                "all weights are finite, so the activations overflow float32".to_owned()
            }
            Some(Ok(())) => {
                "all weights are finite, so the arithmetic overflows; try precision f32".to_owned()
            }
            None => format!("{} overflow", self.origin.weights),
        };
        SessionError::NotFinite { position, cause }
    }
}

/// The room that `options` ask for, for a model like `spec`.
fn limits(spec: &ModelSpec, options: &LoadOptions) -> Result<Limits, SessionError> {
    let longest = spec.max_context as usize;
    let context = options.context.unwrap_or(longest.min(DEFAULT_CONTEXT));
    if context == 0 || context > longest {
        return Err(SessionError::Context { model: spec.name.to_string(), asked: context, longest });
    }
    for (what, size) in [("the batch", options.batch), ("the piece of a prompt", options.piece)] {
        if size == 0 {
            return Err(SessionError::Zero { what });
        }
    }
    // A batch of single tokens must fit into one run, and no run can use more than all sequences hold.
    let all = context.saturating_mul(options.batch);
    let max_tokens = options.piece.clamp(options.batch, all.max(options.batch));
    Ok(Limits { max_tokens, max_outputs: options.batch, max_sequences: options.batch, context })
}

/// Refuses a model that the device has no memory for, before a weight is read.
fn room(
    device: &dyn Device,
    spec: &ModelSpec,
    request: &LoadRequest<'_>,
    limits: Limits,
) -> Result<(), SessionError> {
    let Some(available) = device.memory_available() else { return Ok(()) };
    let needed = device.footprint(request)?;
    if needed.total() <= available {
        return Ok(());
    }
    Err(SessionError::TooLarge {
        model: spec.name.to_string(),
        needed: Box::new(needed),
        available,
        sequences: limits.max_sequences,
        context: limits.context,
    })
}
