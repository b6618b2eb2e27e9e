//! [`RandomWeights`]: weights of the true shapes drawn from a seed, for models whose weights are not at hand.
//!
//! Every element is a function of the seed, the block, the role and its index, so tensors can be drawn in any
//! order, by any number of threads, and are the same each time. Values follow the initialisation the models were
//! trained from (Jet-Nemotron's public rules; Mamba-2, Dao and Gu 2024, section 7 and its public code), so that
//! activations stay in range and the kernels see realistic decays.

mod fill;
mod normal;

use super::table::tensor_bytes;
use super::{Error, RowOrder, Tensor, TensorInfo, WeightSource};
use fill::Fill;
use jet_dsl::ModelSpec;
use jet_dsl::weight::{WeightDecl, WeightRef};
use jet_numerics::DType;
use jet_numerics::philox::{Stream, Tag};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::HashMap;

/// Random weights of a model.
#[derive(Debug)]
pub struct RandomWeights {
    spec: ModelSpec,
    seed: u64,
    dtype: DType,
    weights: HashMap<WeightRef, WeightDecl>,
}

impl RandomWeights {
    /// Weights of `spec` from `seed`, its matrices in bf16.
    pub fn new(spec: &ModelSpec, seed: u64) -> Self {
        Self::with_dtype(spec, seed, DType::Bf16)
    }

    /// Weights of `spec` from `seed`. Matrices are stored as `dtype`, bf16 where its blocks do not divide their
    /// rows; everything else is stored as `dtype` too, as float32 where that is a block format. A type that is no
    /// weight format is taken as bf16.
    pub fn with_dtype(spec: &ModelSpec, seed: u64, dtype: DType) -> Self {
        let weights = spec.weights().into_iter().map(|w| (w.id, w)).collect();
        let dtype = if dtype.is_weight() { dtype } else { DType::Bf16 };
        Self { spec: spec.clone(), seed, dtype, weights }
    }

    fn decl(&self, id: WeightRef) -> Result<&WeightDecl, Error> {
        self.weights.get(&id).ok_or_else(|| super::source::unknown(&self.spec, id))
    }

    fn stored(&self, shape: &[u64]) -> DType {
        let matrix = shape.len() == 2;
        match self.dtype {
            d if !d.is_quantized() => d,
            _ if !matrix => DType::F32,
            d if tensor_bytes(d, shape).is_some() => d,
            _ => DType::Bf16,
        }
    }

    /// The stream of a weight: the same whatever the checkpoint calls it.
    fn stream(&self, id: WeightRef) -> Stream {
        let digest = Sha256::digest(format!("{:?}", id.role));
        let word =
            |i: usize| u32::from_le_bytes(digest[4 * i..4 * i + 4].try_into().expect("four bytes of 32"));
        let layer = id.layer.map_or(0, |l| l + 1);
        Stream::new(self.seed, Tag::Init, layer, word(0)).at_step(word(1))
    }
}

impl WeightSource for RandomWeights {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn info(&self, id: WeightRef) -> Result<TensorInfo, Error> {
        let shape = self.decl(id)?.shape.0.clone();
        Ok(TensorInfo { dtype: self.stored(&shape), shape })
    }

    fn get(&self, id: WeightRef) -> Result<Tensor<'_>, Error> {
        let decl = self.decl(id)?;
        let dtype = self.stored(&decl.shape.0);
        let block = id.layer.and_then(|l| self.spec.layers().find(|(i, ..)| *i == l)).map(|(_, _, b)| b);
        let fill = Fill::of(id.role, block);
        let bytes = fill::draw(fill, &self.stream(id), dtype, &decl.shape.0)
            .map_err(|source| Error::Numbers { name: decl.name.clone(), source })?;
        Ok(Tensor {
            name: &decl.name,
            dtype,
            shape: Cow::Borrowed(&decl.shape.0),
            bytes: Cow::Owned(bytes),
            rows: RowOrder::AsStored,
        })
    }

    fn describe(&self) -> String {
        format!("random weights, seed {}", self.seed)
    }

    fn seed(&self) -> Option<u64> {
        Some(self.seed)
    }
}
