//! What checkpoints call a weight. One table per naming convention; the roles are the blocks'.

use crate::block::Block;
use crate::weight::Role;
use serde::{Deserialize, Serialize};

/// Naming convention of a checkpoint's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// `model.layers.{i}.self_attn.…` and `.mlp.…`: one checkpoint layer is a mixer and the MLP after it
    /// (Llama, Qwen2, Qwen3, Jet-Nemotron), so it covers two characters of the pattern.
    Transformer,
    /// `backbone.layers.{i}.mixer.…`: one checkpoint layer is one character (Nemotron-H). The default, since
    /// it fits any pattern.
    NemotronH,
}

impl Naming {
    /// Name of a weight of the model itself.
    pub fn model(self, role: Role) -> Option<&'static str> {
        Some(match (self, role) {
            (_, Role::LmHead) => "lm_head.weight",
            (Naming::Transformer, Role::Embedding) => "model.embed_tokens.weight",
            (Naming::Transformer, Role::FinalNorm) => "model.norm.weight",
            (Naming::NemotronH, Role::Embedding) => "backbone.embeddings.weight",
            (Naming::NemotronH, Role::FinalNorm) => "backbone.norm_f.weight",
            _ => return None,
        })
    }

    /// Name of the weight `role` of pattern position `layer`, which holds `block`.
    pub fn layer(self, layer: u32, block: &Block, role: Role) -> String {
        match self {
            Naming::Transformer => {
                let i = layer / 2;
                let mlp = matches!(block, Block::Mlp(_) | Block::Moe(_));
                match role {
                    Role::Norm if mlp => format!("model.layers.{i}.post_attention_layernorm.weight"),
                    Role::Norm => format!("model.layers.{i}.input_layernorm.weight"),
                    _ if mlp => format!("model.layers.{i}.mlp.{}", part(block, role)),
                    _ => format!("model.layers.{i}.self_attn.{}", part(block, role)),
                }
            }
            Naming::NemotronH => match role {
                Role::Norm => format!("backbone.layers.{layer}.norm.weight"),
                _ => format!("backbone.layers.{layer}.mixer.{}", part(block, role)),
            },
        }
    }

    /// Characters of the pattern that one checkpoint layer covers.
    pub fn blocks_per_layer(self) -> usize {
        match self {
            Naming::Transformer => 2,
            Naming::NemotronH => 1,
        }
    }
}

/// What a GGUF file of a transformer (llama, qwen2, qwen3) calls a weight of the model itself.
pub fn gguf_model_name(role: Role) -> Option<&'static str> {
    Some(match role {
        Role::Embedding => "token_embd.weight",
        Role::FinalNorm => "output_norm.weight",
        Role::LmHead => "output.weight",
        _ => return None,
    })
}

/// What a GGUF file of a transformer (llama, qwen2, qwen3) calls the weight `role` of pattern position
/// `layer`, which holds `block`: `blk.{i}.attn_q.weight` and so on. `None` for what such files cannot hold.
pub fn gguf_name(layer: u32, block: &Block, role: Role) -> Option<String> {
    let name = match (block, role) {
        (Block::Attention(_), Role::Norm) => "attn_norm.weight",
        (Block::Attention(_), Role::QProj) => "attn_q.weight",
        (Block::Attention(_), Role::KProj) => "attn_k.weight",
        (Block::Attention(_), Role::VProj) => "attn_v.weight",
        (Block::Attention(_), Role::OProj) => "attn_output.weight",
        (Block::Attention(_), Role::QBias) => "attn_q.bias",
        (Block::Attention(_), Role::KBias) => "attn_k.bias",
        (Block::Attention(_), Role::VBias) => "attn_v.bias",
        (Block::Attention(_), Role::OBias) => "attn_output.bias",
        (Block::Attention(_), Role::QNorm) => "attn_q_norm.weight",
        (Block::Attention(_), Role::KNorm) => "attn_k_norm.weight",
        (Block::Mlp(_), Role::Norm) => "ffn_norm.weight",
        (Block::Mlp(_), Role::GateProj) => "ffn_gate.weight",
        (Block::Mlp(_), Role::UpProj) => "ffn_up.weight",
        (Block::Mlp(_), Role::DownProj) => "ffn_down.weight",
        (Block::Mlp(_), Role::GateBias) => "ffn_gate.bias",
        (Block::Mlp(_), Role::UpBias) => "ffn_up.bias",
        (Block::Mlp(_), Role::DownBias) => "ffn_down.bias",
        _ => return None,
    };
    Some(format!("blk.{}.{name}", layer / 2))
}

/// The name below the mixer's prefix; both conventions agree on it.
fn part(block: &Block, role: Role) -> String {
    let jet = matches!(block, Block::JetBlock(_));
    let fixed = match role {
        Role::InProj => "in_proj.weight",
        Role::InProjBias => "in_proj.bias",
        Role::ConvWeight => "conv1d.weight",
        Role::ConvBias => "conv1d.bias",
        Role::DtBias => "dt_bias",
        Role::ALog => "A_log",
        Role::DSkip => "D",
        Role::GatedNorm if jet => "o_norm.weight",
        Role::GatedNorm => "norm.weight",
        Role::OutProj => "out_proj.weight",
        Role::OutProjBias => "out_proj.bias",
        Role::QProj => "q_proj.weight",
        Role::KProj => "k_proj.weight",
        Role::VProj => "v_proj.weight",
        Role::OProj => "o_proj.weight",
        Role::QBias => "q_proj.bias",
        Role::KBias => "k_proj.bias",
        Role::VBias => "v_proj.bias",
        Role::OBias => "o_proj.bias",
        Role::QNorm => "q_norm.weight",
        Role::KNorm => "k_norm.weight",
        Role::GateProj if jet => "g_proj.weight",
        Role::GateProj => "gate_proj.weight",
        Role::UpProj => "up_proj.weight",
        Role::DownProj => "down_proj.weight",
        Role::GateBias => "gate_proj.bias",
        Role::UpBias => "up_proj.bias",
        Role::DownBias => "down_proj.bias",
        Role::BetaProj => "b_proj.weight",
        Role::DecayProj => "a_proj.weight",
        Role::GeneratorW1 => "dynamic_conv1d.kernel_generator.w1.weight",
        Role::GeneratorW2 => "dynamic_conv1d.kernel_generator.w2.weight",
        Role::GeneratorBias => "dynamic_conv1d.kernel_generator.w2.bias",
        Role::Router => "gate.weight",
        Role::RouterBias => "gate.e_score_correction_bias",
        Role::LatentIn => "fc1_latent_proj.weight",
        Role::LatentOut => "fc2_latent_proj.weight",
        Role::ExpertGate(e) => return format!("experts.{e}.gate_proj.weight"),
        Role::ExpertUp(e) => return format!("experts.{e}.up_proj.weight"),
        Role::ExpertDown(e) => return format!("experts.{e}.down_proj.weight"),
        Role::SharedGate => "shared_experts.gate_proj.weight",
        Role::SharedUp => "shared_experts.up_proj.weight",
        Role::SharedDown => "shared_experts.down_proj.weight",
        Role::Embedding | Role::FinalNorm | Role::LmHead | Role::Norm => {
            unreachable!("named by the model or by the layer, never by the mixer")
        }
    };
    fixed.to_owned()
}
