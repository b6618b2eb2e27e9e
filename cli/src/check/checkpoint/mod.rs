//! Whole models: a folder with config, weights and `expected.safetensors`.

mod dumps;
mod greedy;
mod runs;
mod states;

pub(crate) use greedy::argmax;

use super::case::CaseFile;
use super::expect::Expectations;
use super::forms::Form;
use super::program::buffer;
use super::rig::{Rig, Stream};
use super::tally::{Judge, Tallies, Tolerance, Tolerances};
use super::{Context, Greedy};
use anyhow::{Context as _, Result, ensure};
use jet_codegen::lower;
use jet_codegen::program::Program;
use jet_codegen::{LOGITS, LowerOptions};
use jet_dsl::ModelSpec;
use jet_models::session::DeviceWeights;
use jet_models::weights::Checkpoint;
use jet_runtime::device::Precision;
use jet_runtime::select::NoSchedules;
use jet_runtime::weights::WeightSource;
use runs::Run;
use std::path::Path;

/// The config in its other spelling.
const OTHER_CONFIG: &str = "config_transformers5.json";

/// Checks the checkpoint in `folder`.
pub fn run(cx: &Context<'_>, folder: &Path, tallies: &mut Tallies) -> Result<Option<Greedy>> {
    let case = CaseFile::open(&folder.join("expected.safetensors"))?;
    let spec = read_config(&folder.join("config.json"))?;
    let other = folder.join(OTHER_CONFIG);
    if other.is_file() {
        let same = read_config(&other)? == spec;
        tallies.verdict(OTHER_CONFIG, same, if same { "the same model" } else { "another model" });
    }
    let weights = Checkpoint::open(&spec, folder)?;
    let weights = DeviceWeights::new(&weights);
    let model = Model { cx, case: &case, spec: &spec, weights: &weights, judges: Judges::of(cx, &case)? };
    let greedy = model.check(tallies)?;
    for name in case.unread() {
        tallies.not_exposed(&name, "no check reads this tensor");
    }
    Ok(greedy)
}

/// Reads a config. Both spellings get one name, so that equal models are equal.
fn read_config(path: &Path) -> Result<ModelSpec> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (spec, _) =
        jet_dsl::import::hf::import(&text, "checkpoint").with_context(|| path.display().to_string())?;
    Ok(spec)
}

/// How the parts of a model are judged at the precision asked for.
#[derive(Clone, Copy)]
pub(crate) struct Judges {
    pub(crate) logits: Judge,
    /// Hidden states and caches.
    pub(crate) inner: Judge,
}

impl Judges {
    pub(crate) fn of(cx: &Context<'_>, case: &CaseFile) -> Result<Self> {
        let t = Tolerances::of(case)?;
        let f32 = |tolerance: Tolerance| Judge::Largest(tolerance);
        Ok(match (cx.precision, t.bf16) {
            (Precision::F32, _) => Self { logits: f32(t.outputs), inner: f32(t.inner) },
            (_, Some(rel)) => {
                Self { logits: Judge::RelativeRms(rel), inner: Judge::Shown("bf16 is judged by the logits") }
            }
            (_, None) => {
                let shown = Judge::Shown("the case states no bf16 tolerance");
                Self { logits: shown, inner: shown }
            }
        })
    }
}

/// A model under check.
struct Model<'a> {
    cx: &'a Context<'a>,
    case: &'a CaseFile,
    spec: &'a ModelSpec,
    weights: &'a dyn WeightSource,
    judges: Judges,
}

impl Model<'_> {
    fn check(&self, tallies: &mut Tallies) -> Result<Option<Greedy>> {
        let runs = runs::find(self.case)?;
        ensure!(!runs.is_empty(), "the expected values have no `input_ids`");
        let lowered = lower(self.spec, LowerOptions::default());
        let logits = buffer(&lowered, LOGITS)?;
        let mut streams = Vec::new();
        let mut expect = Expectations::default();
        for run in &runs {
            self.expect_logits(run, streams.len(), &mut expect, tallies)?;
            states::expect(self, run, streams.len(), &lowered, &mut expect, tallies)?;
            streams.extend(run.rows.iter().map(|r| tokens(r)));
        }
        let greedy = greedy::expect(self, &mut streams, &mut expect, tallies)?;
        self.rig(lowered, streams, vec![logits], expect).check_all(tallies)?;
        self.hidden(&runs, tallies)?;
        dumps::check(self, &runs, tallies)?;
        greedy.map(|g| g.check(self, tallies)).transpose()
    }

    fn rig(
        &self,
        program: Program,
        streams: Vec<Stream>,
        watch: Vec<jet_codegen::op::BufId>,
        expect: Expectations,
    ) -> Rig<'_> {
        Rig {
            device: self.cx.device,
            program,
            weights: self.weights,
            precision: self.cx.precision,
            streams,
            watch,
            expect,
        }
    }

    fn vocab(&self) -> usize {
        self.spec.vocab as usize
    }

    fn expect_logits(
        &self,
        run: &Run,
        first_stream: usize,
        expect: &mut Expectations,
        tallies: &mut Tallies,
    ) -> Result<()> {
        let Some(tensor) = &run.logits else { return Ok(()) };
        let shape = [run.rows.len(), run.padded, self.vocab()];
        tallies.expect(tensor, self.case.array_of_shape(tensor, &shape)?, self.judges.logits);
        run.expect_rows(tensor, (first_stream, 0), self.vocab(), expect, tallies);
        Ok(())
    }

    /// Hidden states, from a program that keeps them.
    fn hidden(&self, runs: &[Run], tallies: &mut Tallies) -> Result<()> {
        let program = lower(self.spec, LowerOptions { keep_hidden: true });
        let mut rig = self.rig(program, vec![], vec![], Expectations::default());
        let width = self.spec.d_model as usize;
        for run in runs {
            let first = rig.streams.len();
            rig.streams.extend(run.rows.iter().map(|r| tokens(r)));
            for (tensor, kept) in self.hidden_tensors(run) {
                let shape = [run.rows.len(), run.padded, width];
                let expected = match &kept.entry {
                    None => self.case.array_of_shape(&tensor, &shape)?,
                    Some(entry) => entry.of(self.case, &shape)?,
                };
                let name = kept.shown_as(&tensor);
                tallies.expect(&name, expected, self.judges.inner);
                run.expect_rows(&name, (first, rig.watch.len()), width, &mut rig.expect, tallies);
                rig.watch.push(buffer(&rig.program, &kept.buffer)?);
            }
        }
        if rig.watch.is_empty() {
            return Ok(());
        }
        let n = rig.lengths();
        let forms = [Form::one_call(&n), Form::token_by_token(&n), Form::ragged(&n)];
        rig.check(&forms, "", &NoSchedules, tallies)
    }

    /// The run's tensors of hidden states, each with the buffer it is compared with.
    fn hidden_tensors(&self, run: &Run) -> Vec<(String, Kept)> {
        let step = self.spec.naming.blocks_per_layer();
        let layers = self.spec.pattern.chars().count() / step;
        let stacked = run.name("hidden_states");
        let mut all = Vec::new();
        if self.case.has(&stacked) {
            // The last entry stands behind the final norm.
            let kept =
                |i: usize| if i == layers { "final_normed".into() } else { format!("hidden.{}", i * step) };
            all.extend((0..=layers).map(|i| {
                let entry = Some(Entry { tensor: stacked.clone(), index: i, of: layers + 1 });
                (stacked.clone(), Kept { buffer: kept(i), entry })
            }));
        }
        let mut plain = |what: String, buffer: String| {
            let tensor = run.name(&what);
            if self.case.has(&tensor) {
                all.push((tensor, Kept { buffer, entry: None }));
            }
        };
        for i in 0..=layers {
            plain(format!("hidden.{i}"), format!("hidden.{}", i * step));
        }
        plain("final_normed".into(), "final_normed".into());
        all
    }
}

/// Where a tensor of hidden states comes from.
struct Kept {
    buffer: String,
    entry: Option<Entry>,
}

impl Kept {
    fn shown_as(&self, tensor: &str) -> String {
        self.entry.as_ref().map_or_else(|| tensor.to_owned(), |e| format!("{tensor}[{}]", e.index))
    }
}

/// One entry of a tensor that holds all hidden states.
struct Entry {
    tensor: String,
    index: usize,
    of: usize,
}

impl Entry {
    fn of(&self, case: &CaseFile, shape: &[usize]) -> Result<super::case::Array> {
        let whole = case.array_of_shape(&self.tensor, &[&[self.of], shape].concat())?;
        let n = whole.inner(1);
        let values = whole.values[self.index * n..(self.index + 1) * n].to_vec();
        Ok(super::case::Array { shape: shape.to_vec(), values })
    }
}

fn tokens(ids: &[u32]) -> Stream {
    Stream { tokens: ids.to_vec(), ..Stream::default() }
}
