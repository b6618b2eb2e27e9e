//! Spellings of tensor names that occur beside the usual ones, and tensors that may be there without a use.

use jet_dsl::Naming;
use std::borrow::Cow;

/// The usual spelling of a tensor name. Nemotron-H stands under `backbone.`, in newer files under `model.`, with
/// `embedding` or `embeddings`; the others under `model.`, or under nothing where only the trunk was saved.
pub(super) fn usual(naming: Naming, name: &str) -> Cow<'_, str> {
    match naming {
        Naming::NemotronH => match name.strip_prefix("model.").or_else(|| name.strip_prefix("backbone.")) {
            Some("embedding.weight" | "embeddings.weight") => "backbone.embeddings.weight".into(),
            Some(rest) if !name.starts_with("backbone.") => format!("backbone.{rest}").into(),
            _ => name.into(),
        },
        Naming::Transformer => {
            let trunk = ["layers.", "embed_tokens.", "norm."].iter().any(|p| name.starts_with(p));
            if trunk { format!("model.{name}").into() } else { name.into() }
        }
    }
}

/// Tensors without a use at inference: the layers that predict several tokens ahead, and the rotary frequencies
/// that old files carry although the settings imply them.
pub(super) fn is_idle(name: &str) -> bool {
    name.starts_with("mtp.") || name.contains(".mtp.") || name.ends_with("rotary_emb.inv_freq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_prefixes_lead_to_one_name() {
        let nemotron = |name| usual(Naming::NemotronH, name).into_owned();
        assert_eq!(nemotron("model.layers.3.mixer.D"), "backbone.layers.3.mixer.D");
        assert_eq!(nemotron("backbone.layers.3.mixer.D"), "backbone.layers.3.mixer.D");
        assert_eq!(nemotron("model.embedding.weight"), "backbone.embeddings.weight");
        assert_eq!(nemotron("backbone.embeddings.weight"), "backbone.embeddings.weight");
        assert_eq!(nemotron("lm_head.weight"), "lm_head.weight");
        let transformer = |name| usual(Naming::Transformer, name).into_owned();
        assert_eq!(transformer("layers.0.mlp.up_proj.weight"), "model.layers.0.mlp.up_proj.weight");
        assert_eq!(transformer("model.norm.weight"), "model.norm.weight");
        assert_eq!(transformer("lm_head.weight"), "lm_head.weight");
    }

    #[test]
    fn only_known_extras_are_idle() {
        assert!(is_idle("mtp.layers.0.norm.weight") && is_idle("model.mtp.norm.weight"));
        assert!(is_idle("model.layers.0.self_attn.rotary_emb.inv_freq"));
        assert!(!is_idle("model.layers.0.self_attn.q_proj.weight"));
    }
}
