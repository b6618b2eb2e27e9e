//! [`WeightSource`]: where a session gets its weights from.

use super::{Error, Tensor, TensorInfo};
use jet_dsl::ModelSpec;
use jet_dsl::weight::WeightRef;

/// Gives every weight of one model. Sources are shared between threads that load in parallel.
pub trait WeightSource: Send + Sync {
    /// The model whose weights these are.
    fn spec(&self) -> &ModelSpec;

    /// Type and shape of a weight, without reading or drawing it.
    fn info(&self, id: WeightRef) -> Result<TensorInfo, Error>;

    /// A weight. Fails for one that the model does not have, a tied `LmHead` included: its embedding is meant.
    fn get(&self, id: WeightRef) -> Result<Tensor<'_>, Error>;

    /// Where the weights come from, in a few words for reports.
    fn describe(&self) -> String;

    /// The seed, where weights are random; every output has to say so.
    fn seed(&self) -> Option<u64> {
        None
    }

    /// Tells the source that a weight has been copied and will not be read again soon.
    fn release(&self, _id: WeightRef) {}

    /// Bytes of all weights as stored.
    fn total_bytes(&self) -> Result<u64, Error> {
        self.spec().weights().iter().try_fold(0u64, |n, w| Ok(n.saturating_add(self.info(w.id)?.bytes())))
    }
}

/// The error for a weight that the model does not have.
pub(super) fn unknown(spec: &ModelSpec, id: WeightRef) -> Error {
    let at = id.layer.map_or(String::new(), |l| format!(" in block {l}"));
    Error::Unknown { model: spec.name.to_string(), weight: format!("`{:?}`{at}", id.role) }
}
