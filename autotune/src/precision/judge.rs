//! The model under trial: loaded with one recipe after the other, and compared with the reference position by position.

use super::calibration::Calibration;
use super::divergence::Reference;
use crate::error::TuneError;
use crate::stats::median;
use jet_cache::ScheduleCache;
use jet_codegen::LOGITS;
use jet_codegen::op::BufId;
use jet_codegen::program::Program;
use jet_runtime::device::{Device, Executable, Limits, LoadRequest, Outputs, Segment, SlotId};
use jet_runtime::recipe::Recipe;
use jet_runtime::schedule_key::CachedSchedules;
use jet_runtime::weights::WeightSource;
use std::time::Instant;

/// Tokens of one run: what matters is that all rows of logits are held at a time.
const PIECE: usize = 64;

/// Decode steps that are timed, of each recipe in turn.
const ROUNDS: usize = 15;

/// A model on a device, with its calibration and, once it was taken, its reference.
pub struct Judge<'a> {
    device: &'a dyn Device,
    program: Program,
    weights: &'a dyn WeightSource,
    schedules: &'a ScheduleCache,
    calibration: &'a Calibration,
    reference: Reference,
}

impl<'a> Judge<'a> {
    /// `program` (a lowered model) with `weights`, run with the schedules of `schedules`.
    pub fn new(
        device: &'a dyn Device,
        program: Program,
        weights: &'a dyn WeightSource,
        schedules: &'a ScheduleCache,
        calibration: &'a Calibration,
    ) -> Self {
        let reference = Reference::new(program.vocab);
        Self { device, program, weights, schedules, calibration, reference }
    }

    /// The device.
    pub fn device(&self) -> &'a dyn Device {
        self.device
    }

    /// The schedules.
    pub fn cache(&self) -> &'a ScheduleCache {
        self.schedules
    }

    /// The calibration.
    pub fn calibration(&self) -> &'a Calibration {
        self.calibration
    }

    /// Name of the model.
    pub fn model(&self) -> &str {
        &self.program.name
    }

    /// Positions that are compared.
    pub fn positions(&self) -> usize {
        self.calibration.tokens.len()
    }

    /// Logits of one position.
    pub fn vocab(&self) -> usize {
        self.program.vocab
    }

    /// Makes the model with this recipe what others are compared with. All its logits are kept: positions × vocabulary × 4
    /// bytes.
    ///
    /// # Errors
    /// The model cannot be loaded or run.
    pub fn take_reference(&mut self, recipe: &Recipe) -> Result<(), TuneError> {
        let mut reference = Reference::new(self.program.vocab);
        self.run(recipe, &mut |_, row| reference.push(row))?;
        self.reference = reference;
        Ok(())
    }

    /// Mean divergence from the reference of the model with this recipe, in nats.
    ///
    /// # Errors
    /// The model cannot be loaded or run.
    pub fn divergence(&self, recipe: &Recipe) -> Result<f64, TuneError> {
        let mut sum = 0.0;
        self.run(recipe, &mut |position, row| sum += self.reference.divergence(position, row))?;
        Ok(sum / self.reference.len().max(1) as f64)
    }

    /// Seconds of one decode step with each of `recipes` behind the calibration's first tokens: medians of interleaved steps.
    ///
    /// # Errors
    /// The model cannot be loaded or run.
    pub fn steps(&self, recipes: &[&Recipe]) -> Result<Vec<f64>, TuneError> {
        let start = &self.calibration.tokens[..self.calibration.tokens.len().min(PIECE)];
        let context = start.len() + ROUNDS + 1;
        let mut running = Vec::with_capacity(recipes.len());
        for recipe in recipes {
            let mut loaded = Loaded::new(self, recipe, context, 1)?;
            loaded.executable.run(&[Segment { slot: loaded.slot, tokens: start, outputs: Outputs::None }])?;
            running.push((loaded, Vec::with_capacity(ROUNDS)));
        }
        for round in 0..=ROUNDS {
            for (loaded, seconds) in &mut running {
                let begun = Instant::now();
                let token = &start[round % start.len()..][..1];
                loaded.executable.run(&[Segment {
                    slot: loaded.slot,
                    tokens: token,
                    outputs: Outputs::Last,
                }])?;
                // The first step brings code and weights near.
                if round > 0 {
                    seconds.push(begun.elapsed().as_secs_f64());
                }
            }
        }
        Ok(running.iter().map(|(_, seconds)| median(seconds)).collect())
    }

    /// Runs the calibration and hands on each position's logits.
    fn run(&self, recipe: &Recipe, each: &mut dyn FnMut(usize, &[f32])) -> Result<(), TuneError> {
        let tokens = &self.calibration.tokens;
        let mut loaded = Loaded::new(self, recipe, tokens.len(), PIECE.min(tokens.len()))?;
        let mut position = 0;
        for piece in tokens.chunks(PIECE) {
            loaded.executable.run(&[Segment { slot: loaded.slot, tokens: piece, outputs: Outputs::All }])?;
            let rows = loaded.executable.read(loaded.logits);
            for row in rows.chunks_exact(self.program.vocab).take(piece.len()) {
                each(position, row);
                position += 1;
            }
        }
        Ok(())
    }
}

/// The model with one recipe and one open sequence.
struct Loaded {
    executable: Box<dyn Executable>,
    slot: SlotId,
    logits: BufId,
}

impl Loaded {
    fn new(judge: &Judge<'_>, recipe: &Recipe, context: usize, outputs: usize) -> Result<Self, TuneError> {
        let limits =
            Limits { max_tokens: PIECE.min(context), max_outputs: outputs, max_sequences: 1, context };
        let logits = judge.program.find_buffer(LOGITS).expect("every lowered model has logits");
        let mut executable = judge.device.load(LoadRequest {
            program: judge.program.clone(),
            weights: judge.weights,
            schedules: &CachedSchedules::new(judge.schedules, &judge.device.fingerprint()),
            recipe: recipe.clone(),
            limits,
        })?;
        let slot = executable.open_sequence(0)?;
        Ok(Self { executable, slot, logits })
    }
}
