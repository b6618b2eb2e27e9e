//! The rig: a program, its weights and some input streams, run on a device in any form.

use super::expect::Expectations;
use super::forms::{self, Form};
use super::schedules;
use super::tally::Tallies;
use anyhow::{Result, ensure};
use jet_codegen::op::{BufId, StateId};
use jet_codegen::program::Program;
use jet_runtime::cuda;
use jet_runtime::device::{
    Device, Executable, Grade, Limits, LoadRequest, Outputs, Precision, Segment, SlotId,
};
use jet_runtime::select::{NoSchedules, ScheduleSource};
use jet_runtime::weights::WeightSource;

/// What one sequence is fed with.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Token ids. A program without an embedding only counts them.
    pub tokens: Vec<u32>,
    /// Values of the program's input buffers, one row a token.
    pub inputs: Vec<(BufId, Vec<f32>)>,
    /// Position of the first token.
    pub position: usize,
    /// States to begin with; the others begin empty.
    pub states: Vec<(StateId, Vec<f32>)>,
}

impl Stream {
    /// A stream of `tokens` tokens for a program without an embedding.
    pub fn counted(tokens: usize) -> Self {
        Self { tokens: vec![0; tokens], ..Self::default() }
    }

    /// Adds an input.
    pub fn input(mut self, buffer: BufId, values: Vec<f32>) -> Self {
        self.inputs.push((buffer, values));
        self
    }

    /// Adds a state to begin with, where there is one.
    pub fn state(mut self, state: StateId, values: Option<Vec<f32>>) -> Self {
        self.states.extend(values.map(|v| (state, v)));
        self
    }
}

/// What came of one lane.
#[derive(Clone, Debug, Default)]
pub struct LaneResult {
    /// Index of its stream.
    pub stream: usize,
    /// The watched buffers, all rows of the stream, in the order of [`Rig::watch`].
    pub outputs: Vec<Vec<f32>>,
    /// Tokens so far, and every state of the program at that point: at the end of the stream and, where somebody
    /// expects something there, at the end of other segments.
    pub states: Vec<(usize, Vec<Vec<f32>>)>,
}

/// A program with its weights and streams.
pub struct Rig<'a> {
    /// Where it runs.
    pub device: &'a dyn Device,
    /// What runs.
    pub program: Program,
    /// Its weights.
    pub weights: &'a dyn WeightSource,
    /// Arithmetic.
    pub precision: Precision,
    /// The inputs.
    pub streams: Vec<Stream>,
    /// Buffers to read; an output row is asked for at every token.
    pub watch: Vec<BufId>,
    /// What should come of it.
    pub expect: Expectations,
}

impl Rig<'_> {
    /// Lengths of the streams.
    pub fn lengths(&self) -> Vec<usize> {
        self.streams.iter().map(|s| s.tokens.len()).collect()
    }

    /// Runs every form with default schedules, then a few forms with each forced schedule, and compares all that
    /// comes of it. A GPU runs the few forms with default schedules: its kernels' schedules are tried one by one in tests
    /// of their own, an emulated one is thousands of times slower, and a real one then finds what was compiled for it.
    pub fn check_all(&self, tallies: &mut Tallies) -> Result<()> {
        let lengths = self.lengths();
        if self.device.grade() == Grade::Emulated || self.device.name().starts_with(cuda::PREFIX) {
            return self.check(&forms::few(&lengths), "", &NoSchedules, tallies);
        }
        self.check(&forms::all(&lengths), "", &NoSchedules, tallies)?;
        self.check_schedules(&forms::few(&lengths), tallies)
    }

    /// Runs `forms` with each schedule that can be forced on the program.
    pub fn check_schedules(&self, forms: &[Form], tallies: &mut Tallies) -> Result<()> {
        let mut tokens: Vec<usize> = forms.iter().flat_map(Form::batch_sizes).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let dtype = |id| self.weights.dtype(id);
        for forced in schedules::all(self.device, &self.program, &dtype, self.precision, &tokens) {
            self.check(forms, &forced.label(), &forced, tallies)?;
        }
        Ok(())
    }

    /// Runs `forms` and compares what comes of them; `label` goes in front of the forms' names.
    pub fn check(
        &self,
        forms: &[Form],
        label: &str,
        schedules: &dyn ScheduleSource,
        tallies: &mut Tallies,
    ) -> Result<()> {
        for (form, lanes) in forms.iter().zip(self.run(forms, schedules)?) {
            let name = if label.is_empty() { form.name.clone() } else { format!("{label}, {}", form.name) };
            let widths: Vec<usize> = self.watch.iter().map(|b| self.program.buf(*b).width).collect();
            lanes.iter().for_each(|lane| self.expect.compare(&name, lane, &widths, tallies));
        }
        Ok(())
    }

    /// Loads the program once and runs every form.
    pub fn run(&self, forms: &[Form], schedules: &dyn ScheduleSource) -> Result<Vec<Vec<LaneResult>>> {
        let mut exe = self.load(forms, schedules)?;
        forms.iter().map(|form| self.run_form(&mut *exe, form)).collect()
    }

    fn load(&self, forms: &[Form], schedules: &dyn ScheduleSource) -> Result<Box<dyn Executable>> {
        let max_tokens = forms.iter().map(Form::max_tokens).max().unwrap_or(0).max(1);
        let limits = Limits {
            max_tokens,
            max_outputs: max_tokens,
            max_sequences: forms.iter().map(|f| f.lanes.len()).max().unwrap_or(0).max(1),
            context: self.lengths().into_iter().max().unwrap_or(0).max(1),
        };
        let program = self.program.clone();
        let request =
            LoadRequest { program, weights: self.weights, schedules, recipe: self.precision.into(), limits };
        Ok(self.device.load(request)?)
    }

    fn run_form(&self, exe: &mut dyn Executable, form: &Form) -> Result<Vec<LaneResult>> {
        let mut slots = Vec::new();
        for lane in &form.lanes {
            let stream = &self.streams[lane.stream];
            let slot = exe.open_sequence(stream.position)?;
            for (state, values) in &stream.states {
                exe.write_state(slot, *state, values)?;
            }
            slots.push(slot);
        }
        let mut results: Vec<LaneResult> = form
            .lanes
            .iter()
            .map(|l| LaneResult {
                stream: l.stream,
                outputs: vec![Vec::new(); self.watch.len()],
                states: vec![],
            })
            .collect();
        let rounds = form.lanes.iter().map(|l| l.segments.len()).max().unwrap_or(0);
        let mut done = vec![0; form.lanes.len()];
        for round in 0..rounds {
            self.run_round(exe, form, round, &slots, &mut done, &mut results)?;
        }
        for slot in slots {
            exe.close_sequence(slot);
        }
        Ok(results)
    }

    /// Runs segment `round` of every lane that has one, as one batch.
    fn run_round(
        &self,
        exe: &mut dyn Executable,
        form: &Form,
        round: usize,
        slots: &[SlotId],
        done: &mut [usize],
        results: &mut [LaneResult],
    ) -> Result<()> {
        // Lane, first token, one past its last token.
        let spans: Vec<(usize, usize, usize)> = (0..form.lanes.len())
            .filter_map(|i| form.lanes[i].segments.get(round).map(|n| (i, done[i], done[i] + n)))
            .collect();
        let rows: usize = spans.iter().map(|(_, start, end)| end - start).sum();
        let stream = |lane: usize| &self.streams[form.lanes[lane].stream];
        for buffer in (0..self.program.buffers.len() as u32).map(BufId) {
            if !self.program.buf(buffer).input {
                continue;
            }
            let width = self.program.buf(buffer).width;
            let mut values = Vec::with_capacity(rows * width);
            for (lane, start, end) in &spans {
                let given = stream(*lane).inputs.iter().find(|(b, _)| *b == buffer).map(|(_, v)| &v[..]);
                let part = given.and_then(|v| v.get(start * width..end * width));
                ensure!(part.is_some(), "input `{}` has too few rows", self.program.buf(buffer).name);
                values.extend_from_slice(part.unwrap_or_default());
            }
            exe.write(buffer, &values)?;
        }
        let batch: Vec<Segment<'_>> = spans
            .iter()
            .map(|(lane, start, end)| Segment {
                slot: slots[*lane],
                tokens: &stream(*lane).tokens[*start..*end],
                outputs: Outputs::All,
            })
            .collect();
        exe.run(&batch)?;
        for (k, buffer) in self.watch.iter().enumerate() {
            let (got, width) = (exe.read(*buffer), self.program.buf(*buffer).width);
            ensure!(
                got.len() == rows * width,
                "the device gave {} values of `{}`, expected {}",
                got.len(),
                self.program.buf(*buffer).name,
                rows * width
            );
            let mut at = 0;
            for (lane, start, end) in &spans {
                let n = (end - start) * width;
                results[*lane].outputs[k].extend_from_slice(&got[at..at + n]);
                at += n;
            }
        }
        for (lane, _, end) in spans {
            done[lane] = end;
            if self.expect.wants_states(form.lanes[lane].stream, end) {
                let states = (0..self.program.states.len() as u32)
                    .map(|s| exe.read_state(slots[lane], StateId(s)))
                    .collect();
                results[lane].states.push((end, states));
            }
        }
        Ok(())
    }
}
