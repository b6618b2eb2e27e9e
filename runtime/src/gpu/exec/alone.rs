//! What a benchmark of one kernel does with a loaded program that nobody else does.

use super::{GpuExecutable, Slot};
use crate::Error;
use crate::device::{Counted, Segment, SlotId};
use crate::gpu::build::{Builder, decode, encode};
use crate::select::ScheduleSource;
use jet_codegen::kernel::Elem;
use jet_codegen::launch::row_stride;
use jet_codegen::nvrtc::CubinStore;
use jet_codegen::op::BufId;
use jet_codegen::schedule::Problem;

impl GpuExecutable {
    /// Gives the program other schedules.
    pub(in crate::gpu) fn reschedule(
        &mut self,
        schedules: &dyn ScheduleSource,
        store: Option<&CubinStore>,
    ) -> Result<(), Error> {
        let builder = Builder {
            device: &self.device,
            backend: &mut *self.backend,
            schedules,
            limits: self.limits,
            plan: &self.plan,
            storage: &self.storage,
            store,
        };
        builder.reschedule(&mut self.loaded)
    }

    /// The step that solves `problem` in runs of `tokens` rows, of single tokens or not.
    pub(in crate::gpu) fn step_of(&self, problem: &Problem, tokens: usize) -> Option<usize> {
        let is = |p: &Problem| {
            let mut p = p.clone();
            p.dims.insert("tokens".to_owned(), tokens as i64);
            p == *problem
        };
        self.loaded.steps.iter().position(|choices| choices.iter().any(|c| is(&c.problem)))
    }

    /// How many tokens a sequence has.
    pub(in crate::gpu) fn set_length(&mut self, slot: SlotId, len: usize) {
        if let Some(Slot { standing, .. }) = self.slots.get_mut(slot.0) {
            standing.len = len;
        }
    }

    /// Whether stray accesses are seen, so that nothing may be read that was not written.
    pub(in crate::gpu) fn is_checked(&self) -> bool {
        self.backend.separate_buffers()
    }

    /// Fills a buffer with whole rows in its format.
    pub(in crate::gpu) fn put_rows(&mut self, buffer: BufId, values: &[f32]) -> Result<(), Error> {
        let (elem, width) = (self.elem(buffer), self.program.buf(buffer).width);
        let pitch = row_stride(width) * elem.bytes();
        let mut bytes = vec![0; values.len() / width.max(1) * pitch];
        for (row, out) in values.chunks(width.max(1)).zip(bytes.chunks_mut(pitch)) {
            encode(elem, row, out);
        }
        self.backend.upload(self.storage.buffers[buffer.0 as usize], &bytes)
    }

    /// The first `rows` rows of a buffer.
    pub(in crate::gpu) fn rows_of(&mut self, buffer: BufId, rows: usize) -> Result<Vec<f32>, Error> {
        let (elem, width) = (self.elem(buffer), self.program.buf(buffer).width);
        let stride = row_stride(width);
        let mut bytes = vec![0; rows * stride * elem.bytes()];
        // The gap after the last row is nobody's.
        let used = (rows.saturating_sub(1) * stride + width) * elem.bytes();
        let place = self.storage.buffers[buffer.0 as usize];
        self.backend.download(place, &mut bytes[..used])?;
        Ok(decode(elem, &bytes).chunks(stride).take(rows).flat_map(|r| r[..width].to_vec()).collect())
    }

    fn elem(&self, buffer: BufId) -> Elem {
        self.plan.elems[buffer.0 as usize]
    }

    /// Seconds of `times` launches of a step, each with cold caches; the batch does not count as run. Nothing on a device
    /// without a clock.
    pub(in crate::gpu) fn time_step(
        &mut self,
        step: usize,
        batch: &[Segment<'_>],
        times: usize,
    ) -> Result<Option<f64>, Error> {
        let sizes = self.begin(batch)?;
        let mut total = 0.0;
        for _ in 0..times {
            self.backend.get_ahead()?;
            let from = self.backend.mark()?;
            self.launch_step(step, sizes)?;
            let to = self.backend.mark()?;
            let (Some(from), Some(to)) = (from, to) else { return Ok(None) };
            total += self.backend.seconds(from, to)?;
        }
        Ok(Some(total))
    }

    /// What one launch of a step does; the batch does not count as run. Nothing on a device that does not count.
    pub(in crate::gpu) fn count_step(
        &mut self,
        step: usize,
        batch: &[Segment<'_>],
    ) -> Result<Option<Counted>, Error> {
        let sizes = self.begin(batch)?;
        self.backend.count(true);
        let launched = self.launch_step(step, sizes);
        self.backend.count(false);
        let counted = self.backend.counted();
        launched.map(|()| counted)
    }
}
