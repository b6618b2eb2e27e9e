//! Weights as a device asks for them, from weights as a checkpoint or a seed gives them.

use crate::weights::{RowOrder, WeightSource};
use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use jet_runtime::Error;
use jet_runtime::weights::Weight;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;

/// Weights that a device may be working on at a time: an op takes at most a few of them together.
const IN_USE: usize = 8;

/// Weights of a checkpoint or a seed, as a device takes them: with the order of rows that it shall pack, and with the
/// pages of what it has copied given back.
pub struct DeviceWeights<'a> {
    inner: &'a dyn WeightSource,
    /// The weights asked for last. Older ones are copied by now, and their pages can go.
    recent: RefCell<VecDeque<WeightRef>>,
}

impl<'a> DeviceWeights<'a> {
    /// The weights of `inner`.
    pub fn new(inner: &'a dyn WeightSource) -> Self {
        Self { inner, recent: RefCell::new(VecDeque::with_capacity(IN_USE + 1)) }
    }

    fn note(&self, id: WeightRef) {
        let mut recent = self.recent.borrow_mut();
        recent.retain(|r| *r != id);
        recent.push_back(id);
        if recent.len() > IN_USE
            && let Some(old) = recent.pop_front()
        {
            self.inner.release(old);
        }
    }
}

impl jet_runtime::weights::WeightSource for DeviceWeights<'_> {
    fn weight(&self, id: WeightRef) -> Result<Weight<'_>, Error> {
        self.note(id);
        let tensor = self.inner.get(id).map_err(|e| Error::Weight { id, reason: e.to_string() })?;
        let row_map = match tensor.rows {
            RowOrder::AsStored => None,
            order => Some(Cow::Owned((0..tensor.row_count()).map(|r| order.stored_row(r) as u32).collect())),
        };
        let shape = tensor.shape.iter().map(|d| *d as usize).collect();
        Ok(Weight { dtype: tensor.dtype, shape, bytes: tensor.bytes, row_map })
    }

    fn dtype(&self, id: WeightRef) -> Option<DType> {
        self.inner.info(id).ok().map(|info| info.dtype)
    }
}
