//! What loading an op needs: operands, weights, schedules, scratch.

use super::{Operand, Shared};
use crate::Error;
use crate::cpu::arena::Arena;
use crate::cpu::matmul::PackedMatrix;
use crate::cpu::pool::Pool;
use crate::cpu::rope::RopeTable;
use crate::cpu::simd::Features;
use crate::device::{LoadRequest, Precision, token_buckets};
use crate::recipe::Part;
use crate::select::Selection;
use crate::weights::Weight;
use jet_codegen::memory::MemoryPlan;
use jet_codegen::op::View;
use jet_codegen::program::Rows;
use jet_codegen::schedule::{Family, Problem, Schedule};
use jet_dsl::weight::WeightRef;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Gives the ops what they need, and counts what they ask for.
pub(crate) struct Loader<'a> {
    pub(crate) request: &'a LoadRequest<'a>,
    plan: &'a MemoryPlan,
    pub(crate) pool: &'a Pool,
    pub(crate) features: Features,
    selection: Selection,
    part: Part,
    scratch_len: usize,
    prepared_len: usize,
    packed: &'a mut PackedWeights,
    angles: Vec<Arc<Angles>>,
}

/// Matrices in their tiles, by the weights stacked in them. Schedules do not change the packing, so that whoever loads
/// the same weights again with other schedules hands the same one in.
#[derive(Default)]
pub(crate) struct PackedWeights {
    arena: Arena,
    matrices: HashMap<Vec<WeightRef>, Arc<PackedMatrix>>,
}

/// What the ops of a program asked for.
pub(crate) struct Loaded {
    pub(crate) selection: Selection,
    /// Float32 of scratch that the hungriest op wants per worker.
    pub(crate) scratch: usize,
    /// Words of prepared activations.
    pub(crate) prepared: usize,
    /// The rotations in use.
    pub(crate) angles: Vec<Arc<Angles>>,
}

/// The rotations of one run's rows, shared by all ops that turn by the same table.
pub(crate) struct Angles {
    pub(crate) table: RopeTable,
    /// `[tokens, d_head]`: cosines, then sines.
    pub(crate) values: Shared,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(
        request: &'a LoadRequest<'a>,
        plan: &'a MemoryPlan,
        pool: &'a Pool,
        features: Features,
        packed: &'a mut PackedWeights,
    ) -> Self {
        Self {
            request,
            plan,
            pool,
            features,
            selection: Selection::default(),
            part: Part::Head,
            scratch_len: 0,
            prepared_len: 0,
            packed,
            angles: Vec::new(),
        }
    }

    /// What the ops asked for, once all are loaded.
    pub(crate) fn finish(self) -> Loaded {
        Loaded {
            selection: self.selection,
            scratch: self.scratch_len,
            prepared: self.prepared_len,
            angles: self.angles,
        }
    }

    /// The rotations of `table`, which are computed once per run however many ops use them.
    pub(crate) fn angles(&mut self, table: RopeTable) -> Arc<Angles> {
        if let Some(a) = self.angles.iter().find(|a| a.table == table) {
            return Arc::clone(a);
        }
        let values = Shared::new(table.angles_len(self.max_tokens()));
        let a = Arc::new(Angles { table, values });
        self.angles.push(Arc::clone(&a));
        a
    }

    /// Goes on to a step of `part`.
    pub(crate) fn enter(&mut self, part: Part) {
        self.part = part;
    }

    /// The precision of the part that is being loaded.
    pub(crate) fn precision(&self) -> Precision {
        self.request.recipe.of(self.part)
    }

    pub(crate) fn max_tokens(&self) -> usize {
        self.request.limits.max_tokens
    }

    pub(crate) fn operand(&self, v: View) -> Operand {
        Operand::new(&self.request.program, self.plan, v)
    }

    /// Asks for scratch of `len` float32 per worker.
    pub(crate) fn scratch(&mut self, len: usize) {
        self.scratch_len = self.scratch_len.max(len);
    }

    pub(crate) fn weight(&self, id: WeightRef) -> Result<Weight<'a>, Error> {
        self.request.weights.weight(id)
    }

    /// A small weight as float32, checked to have `len` values.
    pub(crate) fn vector(&self, id: WeightRef, len: usize) -> Result<Vec<f32>, Error> {
        let values = self.weight(id)?.to_f32().map_err(|reason| Error::Weight { id, reason })?;
        if values.len() == len {
            Ok(values)
        } else {
            Err(Error::Weight { id, reason: format!("has {} values, expected {len}", values.len()) })
        }
    }

    /// Where packed matrices get their memory.
    pub(crate) fn arena(&self) -> Arena {
        self.packed.arena.clone()
    }

    /// The packed matrix of `ids` stacked, made by `pack` the first time it is asked for: a tied embedding is both the
    /// look-up table and the head.
    pub(crate) fn matrix(
        &mut self,
        ids: &[WeightRef],
        pack: impl FnOnce(&Self) -> Result<PackedMatrix, Error>,
    ) -> Result<Arc<PackedMatrix>, Error> {
        if let Some(m) = self.packed.matrices.get(ids) {
            return Ok(Arc::clone(m));
        }
        let m = Arc::new(pack(self)?);
        self.packed.matrices.insert(ids.to_vec(), Arc::clone(&m));
        Ok(m)
    }

    /// The schedule for one problem.
    pub(crate) fn choose<S: Schedule>(&mut self, family: &dyn Family, problem: &Problem) -> Result<S, Error> {
        let values = self.selection.choose(family, problem, self.request.schedules)?;
        Ok(S::from_values(&values).unwrap_or_default())
    }

    /// The schedules for runs of `tokens` tokens, bucket by bucket.
    pub(crate) fn per_bucket<S: Schedule>(
        &mut self,
        tokens: RangeInclusive<usize>,
        family: &dyn Family,
        problem: impl Fn(usize) -> Problem,
    ) -> Result<PerBucket<S>, Error> {
        let mut buckets = token_buckets(*tokens.end().max(tokens.start()));
        buckets.retain(|b| b >= tokens.start());
        let chosen = buckets.iter().map(|t| self.choose(family, &problem(*t))).collect::<Result<_, _>>()?;
        Ok(PerBucket { buckets, chosen })
    }

    /// Tokens of a run, from one to the limit.
    pub(crate) fn all_tokens(&self) -> RangeInclusive<usize> {
        1..=self.max_tokens()
    }

    /// Rows that `v` has at most.
    pub(crate) fn rows_at_most(&self, v: View) -> usize {
        match self.request.program.buf(v.buf).rows {
            Rows::Tokens => self.request.limits.max_tokens,
            Rows::Outputs => self.request.limits.max_outputs,
        }
    }

    /// Asks for `len` words of prepared activations.
    pub(crate) fn prepared(&mut self, len: usize) {
        self.prepared_len = self.prepared_len.max(len);
    }
}

/// A schedule for each token bucket.
#[derive(Clone, Debug)]
pub(crate) struct PerBucket<S> {
    buckets: Vec<usize>,
    chosen: Vec<S>,
}

impl<S> PerBucket<S> {
    /// The schedule for a run of `tokens` tokens: that of the smallest bucket which holds them.
    pub(crate) fn get(&self, tokens: usize) -> &S {
        let i = self.buckets.iter().position(|b| tokens <= *b).unwrap_or(self.buckets.len() - 1);
        &self.chosen[i]
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &S> {
        self.chosen.iter()
    }
}
