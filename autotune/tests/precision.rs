//! The precision of each part, on the real CPU device: a recipe changes what it names and nothing else, and what is chosen
//! keeps its bound.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use jet_autotune::precision::cost::Parts;
use jet_autotune::precision::judge::Judge;
use jet_autotune::precision::{Calibration, PrecisionOptions, PrecisionReport, REFERENCE, find};
use jet_autotune::subject::{Errors, Subject, Workbench};
use jet_cache::{Mode, ScheduleCache};
use jet_codegen::schedule::{Family, Problem, Values};
use jet_codegen::{LowerOptions, lower};
use jet_dsl::block::{Act, Attention, Block, Mamba2, Mlp};
use jet_dsl::{Binding, ModelSpec, Naming};
use jet_models::session::DeviceWeights;
use jet_models::weights::{RandomWeights, WeightSource};
use jet_numerics::DType;
use jet_runtime::device::{self, Device, Limits, LoadRequest, Outputs, Precision, Segment};
use jet_runtime::recipe::{Part, Recipe};
use jet_runtime::select::NoSchedules;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Four layers of three kinds.
fn spec() -> ModelSpec {
    let bind = |symbol, block| Binding { symbol, block };
    let mamba = Mamba2 { n_heads: 4, d_head: 32, d_state: 32, n_groups: 1, conv: 4, ..Mamba2::DEFAULT };
    let attention = Attention { n_heads: 4, n_kv_heads: 2, d_head: 32, ..Attention::DEFAULT };
    let mlp = Mlp { hidden: 256, act: Act::Relu2, ..Mlp::DEFAULT };
    ModelSpec {
        name: "tiny".into(),
        vocab: 512,
        d_model: 128,
        norm_eps: 1e-5,
        tie_embeddings: true,
        max_context: 256,
        pattern: "M*-M".into(),
        bindings: vec![
            bind('M', Block::Mamba2(mamba)),
            bind('*', Block::Attention(attention)),
            bind('-', Block::Mlp(mlp)),
        ]
        .into(),
        naming: Naming::NemotronH,
        precisions: vec![].into(),
    }
}

const LAYERS: u32 = 4;

/// A workbench that knows what a kernel takes and how far it is off by its arithmetic, so that what is chosen does not
/// depend on a clock. The head is faster in bf16 than in int8, and the caches are slower in anything but float32.
struct Priced<'a>(&'a dyn Device);

struct Price {
    seconds: f64,
    rel_rms: f64,
}

impl Workbench for Priced<'_> {
    fn families(&self) -> &[&dyn Family] {
        self.0.families()
    }

    fn open(&self, problem: &Problem) -> Result<Box<dyn Subject + '_>, String> {
        let is = |name: &str| problem.format.split('/').any(|part| part == name);
        let head = problem.dims.get("n") == Some(&512);
        let (seconds, rel_rms) = if is("int8") {
            (if head { 5e-6 } else { 1e-6 }, 8e-3)
        } else if is("bf16") {
            (if head { 4e-6 } else { 2e-6 }, 2e-3)
        } else if is("f16") {
            (2e-6, 2e-4)
        } else {
            (if problem.family.contains("attention") { 1e-6 } else { 6e-6 }, 1e-7)
        };
        Ok(Box::new(Price { seconds, rel_rms }))
    }

    fn reference(&self) -> String {
        "a price list".to_owned()
    }
}

impl Subject for Price {
    fn prepare(&mut self, _: &Values) -> Result<(), String> {
        Ok(())
    }

    fn validate(&mut self) -> Result<Errors, String> {
        Ok(Errors { max_abs: self.rel_rms, rel_rms: self.rel_rms, allowed: 0.02 })
    }

    fn time(&mut self, runs: usize) -> f64 {
        self.seconds * runs as f64
    }

    fn floor(&self) -> (u64, u64) {
        (1, 1)
    }
}

struct Model {
    device: Arc<dyn Device>,
    weights: RandomWeights,
}

impl Model {
    fn new() -> Self {
        Self {
            device: device::open("cpu", 2).unwrap(),
            weights: RandomWeights::with_dtype(&spec(), 3, DType::Q8_0),
        }
    }

    /// The residual stream in front of each block and behind the last, then the logits, after a prompt and a step.
    fn streams(&self, recipe: impl Into<Recipe>) -> Vec<Vec<f32>> {
        let program = lower(&spec(), LowerOptions { keep_hidden: true });
        let names = (0..=LAYERS).map(|i| format!("hidden.{i}")).chain(["logits".to_owned()]);
        let buffers: Vec<_> = names.map(|name| program.find_buffer(&name).unwrap()).collect();
        let source = DeviceWeights::new(&self.weights);
        let request = LoadRequest {
            program,
            weights: &source,
            schedules: &NoSchedules,
            recipe: recipe.into(),
            limits: Limits { max_tokens: 8, max_outputs: 8, max_sequences: 1, context: 16 },
        };
        let mut loaded = self.device.load(request).unwrap();
        let slot = loaded.open_sequence(0).unwrap();
        let mut out = vec![Vec::new(); buffers.len()];
        for tokens in [&[5, 9, 200, 31, 7][..], &[40]] {
            loaded.run(&[Segment { slot, tokens, outputs: Outputs::All }]).unwrap();
            buffers.iter().zip(&mut out).for_each(|(buffer, out)| out.extend(loaded.read(*buffer)));
        }
        out
    }

    fn find(&self, options: &PrecisionOptions) -> (PrecisionReport, f64) {
        let program = lower(&spec(), LowerOptions::default());
        let dtype = |id| self.weights.info(id).ok().map(|info| info.dtype);
        let parts = Parts::new(&*self.device, &program, &dtype, options.tokens);
        let source = DeviceWeights::new(&self.weights);
        let schedules = ScheduleCache::empty(Mode::Default);
        let calibration =
            Calibration { tokens: (0..24).map(|i| i * 17 % 512).collect(), origin: "a test".into() };
        let mut judge = Judge::new(&*self.device, program.clone(), &source, &schedules, &calibration);
        let (bench, go_on) = (Priced(&*self.device), AtomicBool::new(false));
        let report = find(&mut judge, &parts, &bench, options, &go_on, &mut |_| {}).unwrap();
        let again = judge.divergence(&report.recipe).unwrap();
        (report, again)
    }
}

/// The first of two runs' streams that differ.
fn first_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}

#[test]
fn a_recipe_changes_exactly_the_layers_that_it_names() {
    let model = Model::new();
    let reference = model.streams(REFERENCE);
    for precision in [Precision::Bf16, Precision::Native] {
        let uniform = model.streams(precision);
        let all = (0..LAYERS).map(Part::Layer).chain([Part::Head, Part::Caches]);
        let every = all.fold(Recipe::from(REFERENCE), |recipe, part| recipe.with(part, precision));
        assert_eq!(model.streams(every.clone()), uniform, "part by part it is the same as all at once");
        for layer in 0..LAYERS {
            let at = Some(layer as usize + 1);
            let only = model.streams(Recipe::from(REFERENCE).with(Part::Layer(layer), precision));
            assert_eq!(first_difference(&only, &reference), at, "layer {layer} alone in {precision:?}");
            let but = model.streams(every.clone().with(Part::Layer(layer), REFERENCE));
            assert_eq!(first_difference(&but, &uniform), at, "all but layer {layer} in {precision:?}");
        }
        let head = model.streams(Recipe::from(REFERENCE).with(Part::Head, precision));
        assert_eq!(first_difference(&head, &reference), Some(reference.len() - 1));
        // The only attention is layer 1.
        let caches = model.streams(Recipe::from(REFERENCE).with(Part::Caches, precision));
        assert_eq!(first_difference(&caches, &reference), Some(2));
    }
}

#[test]
fn problems_follow_the_recipe() {
    let model = Model::new();
    let program = lower(&spec(), LowerOptions::default());
    let formats = |recipe: Recipe| {
        let all = model.device.problems(&program, &|_| Some(DType::Q8_0), &recipe, &[1]);
        all.into_iter().map(|p| p.format).filter(|f| f.contains("int8")).count()
    };
    let plain = Recipe::from(REFERENCE);
    assert_eq!(formats(plain.clone()), 0);
    let (one, all) =
        (formats(plain.with(Part::Layer(2), Precision::Native)), formats(Precision::Native.into()));
    assert!(one == 2 && all > one, "the two matrices of the MLP: {one}, of {all}");
}

#[test]
fn a_budget_of_nothing_gives_the_reference() {
    let (report, again) = Model::new().find(&PrecisionOptions { max_kl: 0.0, ..PrecisionOptions::default() });
    assert_eq!((report.recipe.uniform(), report.kl, again), (Some(REFERENCE), 0.0, 0.0));
    assert_eq!(report.seconds, report.reference_seconds);
    assert!(report.parts.iter().all(|p| p.kl > 0.0 && !p.chosen), "every part changes something: {report:?}");
}

#[test]
fn a_huge_budget_gives_the_fastest_of_each_part() {
    let options = PrecisionOptions { max_kl: 1e3, max_rel_err: 1.0, ..PrecisionOptions::default() };
    let (report, again) = Model::new().find(&options);
    assert_eq!(again, report.kl);
    let parts: std::collections::BTreeSet<Part> = report.parts.iter().map(|p| p.part).collect();
    assert!(parts.len() == LAYERS as usize + 2 && report.step_seconds > 0.0, "{report:?}");
    let native = (0..LAYERS)
        .fold(Recipe::from(REFERENCE), |recipe, layer| recipe.with(Part::Layer(layer), Precision::Native));
    assert_eq!(report.recipe, native.with(Part::Head, Precision::Bf16), "{report:?}");
}

#[test]
fn what_is_chosen_keeps_both_bounds() {
    let model = Model::new();
    let wide =
        model.find(&PrecisionOptions { max_kl: 1e3, max_rel_err: 1.0, ..PrecisionOptions::default() }).0;
    let half = PrecisionOptions { max_kl: wide.kl / 2.0, max_rel_err: 1.0, ..PrecisionOptions::default() };
    let (report, again) = model.find(&half);
    assert!(again <= half.max_kl && again == report.kl, "{report:?}");
    assert!(report.recipe.uniform().is_none() && report.seconds < report.reference_seconds, "{report:?}");
    assert!(report.front.len() > 2 && report.front[0].recipe.uniform() == Some(REFERENCE), "{report:?}");
    assert!(report.front.is_sorted_by(|a, b| a.kl < b.kl && a.seconds > b.seconds), "{:?}", report.front);
    // bf16 is nearer than int8 in every kernel, and float32 nearer than both.
    let strict = model.find(&PrecisionOptions { max_kl: 1e3, max_rel_err: 5e-3, ..half }).0;
    let precisions: Vec<_> = strict.recipe.exceptions().map(|(_, precision)| precision).collect();
    assert_eq!(precisions, [Precision::Bf16; LAYERS as usize + 1], "{strict:?}");
}
