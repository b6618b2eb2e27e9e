//! A device for tests: a model whose next token is a function of all tokens so far, with a record of its runs.

use jet_codegen::op::{BufId, StateId};
use jet_codegen::program::Program;
use jet_codegen::schedule::{Family, Problem};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use jet_runtime::Error;
use jet_runtime::device::{
    Bench, Device, Executable, Fingerprint, Footprint, LoadRequest, Outputs, Segment, SlotId,
};
use jet_runtime::recipe::Recipe;
use jet_runtime::select::Selection;
use std::sync::{Arc, Mutex};

/// What a mock has seen: for each run, how many tokens each segment had.
pub(crate) type Record = Arc<Mutex<Vec<Vec<usize>>>>;

/// The device. `memory` is what it says it has; token `poison` makes its logits infinite.
#[derive(Clone, Default)]
pub(crate) struct Mock {
    pub(crate) memory: Option<u64>,
    pub(crate) poison: Option<u32>,
    pub(crate) runs: Record,
}

/// The id that follows `tokens`.
pub(crate) fn next(tokens: &[u32], vocab: usize) -> u32 {
    let hash = tokens.iter().fold(17u64, |h, t| h.wrapping_mul(31).wrapping_add(u64::from(*t) + 1));
    (hash % vocab as u64) as u32
}

impl Device for Mock {
    fn name(&self) -> String {
        "mock".to_owned()
    }
    fn describe(&self) -> String {
        "a mock".to_owned()
    }
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::default()
    }
    fn memory_available(&self) -> Option<u64> {
        self.memory
    }
    fn families(&self) -> &'static [&'static dyn Family] {
        &[]
    }
    fn problems(
        &self,
        _program: &Program,
        _dtype: &dyn Fn(WeightRef) -> Option<DType>,
        _recipe: &Recipe,
        _tokens: &[usize],
    ) -> Vec<Problem> {
        Vec::new()
    }
    fn footprint(&self, request: &LoadRequest<'_>) -> Result<Footprint, Error> {
        Ok(Footprint { weights: 1 << 20, activations: 1 << 10, states: request.limits.context as u64 })
    }
    fn load(&self, request: LoadRequest<'_>) -> Result<Box<dyn Executable>, Error> {
        Ok(Box::new(MockExecutable {
            program: request.program,
            selection: Selection::default(),
            slots: vec![None; request.limits.max_sequences],
            max_tokens: request.limits.max_tokens,
            logits: Vec::new(),
            mock: self.clone(),
        }))
    }
    fn bench(&self, problem: &Problem) -> Result<Box<dyn Bench>, Error> {
        Err(Error::Data(format!("a mock has nothing to time: {problem}")))
    }
}

struct MockExecutable {
    program: Program,
    selection: Selection,
    slots: Vec<Option<Vec<u32>>>,
    max_tokens: usize,
    logits: Vec<f32>,
    mock: Mock,
}

impl Executable for MockExecutable {
    fn program(&self) -> &Program {
        &self.program
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn footprint(&self) -> Footprint {
        Footprint::default()
    }
    fn open_sequence(&mut self, _position: usize) -> Result<SlotId, Error> {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.ok_or_else(|| Error::Batch("no room for another sequence".to_owned()))?;
        self.slots[slot] = Some(Vec::new());
        Ok(SlotId(slot))
    }
    fn close_sequence(&mut self, slot: SlotId) {
        self.slots[slot.0] = None;
    }
    fn position(&self, slot: SlotId) -> usize {
        self.slots[slot.0].as_ref().map_or(0, Vec::len)
    }
    fn run(&mut self, batch: &[Segment<'_>]) -> Result<(), Error> {
        assert!(batch.iter().map(|s| s.tokens.len()).sum::<usize>() <= self.max_tokens);
        self.mock.runs.lock().unwrap().push(batch.iter().map(|s| s.tokens.len()).collect());
        self.logits.clear();
        for segment in batch {
            let tokens = self.slots[segment.slot.0].as_mut().expect("the sequence is open");
            tokens.extend(segment.tokens);
            if segment.outputs == Outputs::None {
                continue;
            }
            let start = self.logits.len();
            self.logits.resize(start + self.program.vocab, 0.0);
            self.logits[start + next(tokens, self.program.vocab) as usize] = 1.0;
            if self.mock.poison.is_some_and(|p| tokens.contains(&p)) {
                self.logits[start + 3] = f32::NAN;
            }
        }
        Ok(())
    }
    fn write(&mut self, _buffer: BufId, _values: &[f32]) -> Result<(), Error> {
        Err(Error::Data("a mock has no inputs".to_owned()))
    }
    fn read(&self, _buffer: BufId) -> &[f32] {
        &self.logits
    }
    fn read_state(&mut self, _slot: SlotId, _state: StateId) -> Vec<f32> {
        Vec::new()
    }
    fn write_state(&mut self, _slot: SlotId, _state: StateId, _values: &[f32]) -> Result<(), Error> {
        Ok(())
    }
}
