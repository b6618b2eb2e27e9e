//! `config.json` of a Hugging Face checkpoint → [`ModelSpec`]: one file per `model_type`, one line in [`TYPES`].

mod dense;
mod jet_nemotron;
mod llama;
mod nemotron_h;
mod qwen2;
mod qwen3;

use super::json::Config;
use super::{ImportError, ImportNotes, Names, judged};
use crate::block::{Act, Rope, RopeScaling};
use crate::spec::ModelSpec;

/// Reads the fields of one `model_type`; faults are collected in the config.
type Read = fn(&mut Config, &str) -> ModelSpec;

/// Every supported `model_type`, its reader, and what its fields are called there.
const TYPES: &[(&str, Read, Names)] = &[
    ("jet_nemotron", jet_nemotron::read, jet_nemotron::NAMES),
    ("nemotron_h", nemotron_h::read, nemotron_h::NAMES),
    ("llama", llama::read, dense::NAMES),
    ("qwen2", qwen2::read, dense::NAMES),
    ("qwen3", qwen3::read, dense::NAMES),
];

/// The supported values of `model_type`.
pub const SUPPORTED: &[&str] = &["jet_nemotron", "nemotron_h", "llama", "qwen2", "qwen3"];

/// Reads the text of a `config.json`. `name` becomes the model's name.
///
/// Accepts what is in use: bare `Infinity` and `NaN` or tagged floats, lists or strings of layer types, old
/// and new spellings of fields, and fields it does not know.
///
/// # Errors
/// Text that is not JSON, an unknown `model_type`, or every field that is missing, wrong, contradictory or
/// against the rules.
pub fn import(text: &str, name: &str) -> Result<(ModelSpec, ImportNotes), ImportError> {
    let mut config = Config::read(text)?;
    let model_type = config.text(&["model_type"]);
    let Some((_, read, names)) = TYPES.iter().find(|(t, _, _)| Some(*t) == model_type.as_deref()) else {
        let found = model_type.map_or_else(|| "missing".to_owned(), |t| format!("{t:?}"));
        return Err(ImportError::UnknownModel { field: "model_type", found, supported: SUPPORTED });
    };
    let spec = read(&mut config, name);
    let notes = notes(&mut config, model_type.unwrap_or_default());
    config.finish()?;
    Ok((judged(spec, names)?, notes))
}

fn notes(c: &mut Config, model_type: String) -> ImportNotes {
    ImportNotes {
        model_type,
        bos: c.tokens("bos_token_id").first().copied(),
        eos: c.tokens("eos_token_id"),
        pad: c.tokens("pad_token_id").first().copied(),
        dtype: c.text(&["dtype", "torch_dtype"]),
        chat_template: None,
    }
}

/// An activation that the block has; reports any other.
fn act(c: &mut Config, field: &str, default: Act, known: &[(&str, Act)]) -> Act {
    let Some(found) = c.text(&[field]) else { return default };
    match known.iter().find(|(name, _)| *name == found) {
        Some((_, act)) => *act,
        None => {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
            c.fault(field, format!("found {found:?}, expected {}", names.join(" or ")));
            default
        }
    }
}

/// Activations of a gated MLP. Plain "gelu" is the exact form, which is not the tanh form that jet has.
const GATED: &[(&str, Act)] = &[
    ("silu", Act::Swiglu),
    ("swish", Act::Swiglu),
    ("gelu_pytorch_tanh", Act::Geglu),
    ("gelu_new", Act::Geglu),
];

/// Width of a head: its own field, else the width of the model shared out.
fn head_dim(c: &mut Config, names: &[&str], hidden: u32, heads: u32) -> u32 {
    if let Some(size) = c.size(names) {
        return size;
    }
    if c.is_faulty("hidden_size") || c.is_faulty("num_attention_heads") {
        return 2;
    }
    if heads == 0 || !hidden.is_multiple_of(heads) {
        c.fault(names[0], format!("missing, and hidden_size ({hidden}) cannot be shared by {heads} heads"));
        return 1;
    }
    hidden / heads
}

/// Rotary embedding: `rope_theta` and `rope_scaling`, or both in `rope_parameters` (transformers 5).
fn rope(c: &mut Config, default_theta: f64) -> Rope {
    let old_theta = c.number(&["rope_theta"]);
    let mut parameters = c.section("rope_parameters");
    let theta = parameters.number(&["rope_theta"]).or(old_theta).unwrap_or(default_theta);
    let scaling = if parameters.has("rope_type") || parameters.has("type") {
        scaling(&mut parameters)
    } else {
        let mut old = c.section("rope_scaling");
        let scaling = if old.is_empty() { RopeScaling::None } else { scaling(&mut old) };
        c.absorb(old);
        scaling
    };
    if let Some(part) = parameters.number(&["partial_rotary_factor"]).or(c.number(&["partial_rotary_factor"]))
        && part != 1.0
    {
        c.fault("partial_rotary_factor", format!("found {part}, expected 1: whole heads are rotated"));
    }
    c.absorb(parameters);
    Rope { theta, scaling }
}

fn scaling(c: &mut Config) -> RopeScaling {
    match c.text(&["rope_type", "type"]).as_deref() {
        None | Some("default") => RopeScaling::None,
        Some("llama3") => RopeScaling::Llama3 {
            factor: c.need_number(&["factor"]),
            low_freq: c.need_number(&["low_freq_factor"]),
            high_freq: c.need_number(&["high_freq_factor"]),
            original_context: c.need_size(&["original_max_position_embeddings"]),
        },
        Some(other) => {
            c.fault("rope_type", format!("found {other:?}, expected \"default\" or \"llama3\""));
            RopeScaling::None
        }
    }
}

/// The flat pattern of layers that are a mixer and an MLP each.
fn with_mlps(mixers: impl Iterator<Item = char>) -> String {
    mixers.flat_map(|m| [m, '-']).collect()
}

/// Number of layers, bounded so that no pattern explodes.
fn layers(c: &mut Config, default: Option<u32>) -> u32 {
    const MOST: u32 = (crate::pattern::MAX_BLOCKS / 2) as u32;
    let layers = match default {
        Some(default) => c.size(&["num_hidden_layers"]).unwrap_or(default),
        None => c.need_size(&["num_hidden_layers"]),
    };
    if !(1..=MOST).contains(&layers) {
        c.fault("num_hidden_layers", format!("found {layers}, expected 1 to {MOST}"));
    }
    layers.clamp(1, MOST)
}

/// A kind for each layer from a list of names; reports names that are not known and a wrong length.
fn layer_kinds(c: &mut Config, field: &str, list: &[String], known: &[(&str, char)]) -> String {
    let mut pattern = String::new();
    for (i, kind) in list.iter().enumerate() {
        match known.iter().find(|(name, _)| name == kind) {
            Some((_, symbol)) => pattern.push(*symbol),
            None => {
                let names: Vec<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
                c.fault(field, format!("entry {i} is {kind:?}, expected one of {}", names.join(", ")));
            }
        }
    }
    if let Some(layers) = c.size(&["num_hidden_layers"])
        && layers as usize != list.len()
    {
        let message = format!("{} entries, but `num_hidden_layers` is {layers}", list.len());
        c.fault(field, message);
    }
    pattern
}
