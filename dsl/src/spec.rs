//! [`ModelSpec`]: a model without weights and without a device.

use crate::block::Block;
use crate::naming::{Naming, gguf_model_name, gguf_name};
use crate::weight::{Role, WeightDecl, WeightRef, shape};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A character of the pattern and the block it stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The character.
    pub symbol: char,
    /// Its block.
    pub block: Block,
}

/// A precision a definition allows the tuner to choose for the weights of its matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the formats")]
pub enum Precision {
    F32,
    F16,
    Bf16,
    Fp8E4m3,
    Nvfp4,
    Int8,
}

impl Precision {
    /// Every precision with its name in `jet_model!`.
    pub const ALL: &[(&'static str, Precision)] = &[
        ("f32", Precision::F32),
        ("f16", Precision::F16),
        ("bf16", Precision::Bf16),
        ("fp8_e4m3", Precision::Fp8E4m3),
        ("nvfp4", Precision::Nvfp4),
        ("int8", Precision::Int8),
    ];
}

/// A model: sizes, the flat pattern and what its characters mean. Valid by construction when it comes from
/// `jet_model!`, a config, a GGUF header or its own serialised form; [`ModelSpec::checked`] judges one made by
/// hand. Equality, hash and [`ModelSpec::digest`] are those of its canonical text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "crate::digest::Unchecked")]
pub struct ModelSpec {
    /// The model's name, kebab-case.
    pub name: Cow<'static, str>,
    /// Rows of the embedding.
    pub vocab: u32,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Epsilon of every RMSNorm but a JetBlock's gated norm.
    pub norm_eps: f64,
    /// The output head is the embedding matrix.
    pub tie_embeddings: bool,
    /// Longest context the model is meant for, in tokens.
    pub max_context: u32,
    /// One character a block, flat.
    pub pattern: Cow<'static, str>,
    /// What each character of the pattern stands for, in order of first use.
    pub bindings: Cow<'static, [Binding]>,
    /// What its checkpoints call the weights.
    pub naming: Naming,
    /// Precisions the tuner may choose from, besides the checkpoint's own; empty is "as stored".
    pub precisions: Cow<'static, [Precision]>,
}

impl ModelSpec {
    /// The block of pattern character `symbol`.
    pub fn block(&self, symbol: char) -> Option<&Block> {
        self.bindings.iter().find(|b| b.symbol == symbol).map(|b| &b.block)
    }

    /// Blocks in order. Characters without a binding are skipped; a checked spec has none.
    pub fn layers(&self) -> impl Iterator<Item = (u32, char, &Block)> {
        self.pattern.chars().enumerate().filter_map(|(i, c)| Some((i as u32, c, self.block(c)?)))
    }

    /// Every weight the model needs, in the order of a forward pass.
    pub fn weights(&self) -> Vec<WeightDecl> {
        let (v, d) = (u64::from(self.vocab), u64::from(self.d_model));
        let own = |role: Role, dims| WeightDecl {
            id: WeightRef { layer: None, role },
            name: self.naming.model(role).expect("model roles are named in every convention").to_owned(),
            shape: dims,
        };
        let mut all = vec![own(Role::Embedding, shape([v, d]))];
        for (i, _, block) in self.layers() {
            let mut push = |role: Role, dims| {
                all.push(WeightDecl {
                    id: WeightRef { layer: Some(i), role },
                    name: self.naming.layer(i, block, role),
                    shape: dims,
                });
            };
            push(Role::Norm, shape([d]));
            for (role, dims) in block.kind().weights(d) {
                push(role, dims);
            }
        }
        all.push(own(Role::FinalNorm, shape([d])));
        if !self.tie_embeddings {
            all.push(own(Role::LmHead, shape([v, d])));
        }
        all
    }

    /// What a GGUF file calls a weight of this model; `None` for what such a file cannot hold.
    pub fn gguf_name(&self, id: WeightRef) -> Option<String> {
        match id.layer {
            None => gguf_model_name(id.role).map(str::to_owned),
            Some(layer) => {
                let block = self.pattern.chars().nth(layer as usize).and_then(|c| self.block(c))?;
                gguf_name(layer, block, id.role)
            }
        }
    }

    /// Parameters, a tied head counted once, without the routers' choice bias (a buffer).
    pub fn params(&self) -> u64 {
        let d = u64::from(self.d_model);
        let block = |b: &Block| -> u64 {
            d + b
                .kind()
                .weights(d)
                .iter()
                .filter(|(r, _)| r.is_parameter())
                .map(|(_, s)| s.elements())
                .sum::<u64>()
        };
        self.own_params() + self.layers().map(|(_, _, b)| block(b)).sum::<u64>()
    }

    /// Parameters that one token uses, with the routers' choice bias, which [`ModelSpec::params`] leaves out:
    /// both follow the published counts.
    pub fn active_params(&self) -> u64 {
        let d = u64::from(self.d_model);
        self.own_params() + self.layers().map(|(_, _, b)| d + b.kind().active_params(d)).sum::<u64>()
    }

    fn own_params(&self) -> u64 {
        let (v, d) = (u64::from(self.vocab), u64::from(self.d_model));
        v * d * if self.tie_embeddings { 1 } else { 2 } + d
    }

    /// FLOPs for one token that sees `context` tokens, output head included.
    pub fn flops_per_token(&self, context: u64) -> u64 {
        let (v, d) = (u64::from(self.vocab), u64::from(self.d_model));
        2 * v * d + self.layers().map(|(_, _, b)| b.kind().flops_per_token(d, context)).sum::<u64>()
    }

    /// Bytes of the weights at `bits` per parameter.
    pub fn weight_bytes(&self, bits: u64) -> u64 {
        (self.params() * bits).div_ceil(8)
    }

    /// Bytes of all state of one sequence at `context` tokens; `kv_bytes` per KV and convolution element.
    pub fn cache_bytes(&self, context: u64, kv_bytes: u64) -> u64 {
        self.layers().map(|(_, _, b)| b.kind().state().bytes(context, kv_bytes)).sum()
    }
}
