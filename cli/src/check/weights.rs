//! Weights for a rig: a checkpoint's, or a few tensors by hand.

use jet_dsl::weight::WeightRef;
use jet_models::weights::{RowOrder, WeightSource as Stored};
use jet_numerics::DType;
use jet_runtime::Error;
use jet_runtime::weights::{Weight, WeightSource};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Weights as a checkpoint stores them.
pub struct StoredWeights<'a>(pub &'a dyn Stored);

impl WeightSource for StoredWeights<'_> {
    fn weight(&self, id: WeightRef) -> Result<Weight<'_>, Error> {
        let tensor = self.0.get(id).map_err(|e| Error::Weight { id, reason: e.to_string() })?;
        let row_map = match tensor.rows {
            RowOrder::AsStored => None,
            order => Some(Cow::Owned((0..tensor.row_count()).map(|r| order.stored_row(r) as u32).collect())),
        };
        let shape = tensor.shape.iter().map(|d| *d as usize).collect();
        Ok(Weight { dtype: tensor.dtype, shape, bytes: tensor.bytes, row_map })
    }

    fn dtype(&self, id: WeightRef) -> Option<DType> {
        self.0.info(id).ok().map(|info| info.dtype)
    }
}

/// Tensors of any format, held in memory.
#[derive(Default)]
pub struct RawWeights(pub BTreeMap<WeightRef, (DType, Vec<usize>, Vec<u8>)>);

impl WeightSource for RawWeights {
    fn weight(&self, id: WeightRef) -> Result<Weight<'_>, Error> {
        let (dtype, shape, bytes) =
            self.0.get(&id).ok_or_else(|| Error::Weight { id, reason: "was not given".into() })?;
        Ok(Weight { dtype: *dtype, shape: shape.clone(), bytes: Cow::Borrowed(bytes), row_map: None })
    }

    fn dtype(&self, id: WeightRef) -> Option<DType> {
        self.0.get(&id).map(|w| w.0)
    }
}
