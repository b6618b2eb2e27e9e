//! Weights for a rig: a few tensors by hand.

use jet_dsl::weight::WeightRef;
use jet_numerics::DType;
use jet_runtime::Error;
use jet_runtime::weights::{Weight, WeightSource};
use std::borrow::Cow;
use std::collections::BTreeMap;

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
