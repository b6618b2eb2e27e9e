//! Metadata of a GGUF file → [`ModelSpec`], for the architectures llama, qwen2 and qwen3.

use super::{ImportError, ImportNotes, Names, judged};
use crate::block::{Act, Attention, Block, Mlp, Rope, RopeScaling};
use crate::naming::Naming;
use crate::pattern::MAX_BLOCKS;
use crate::spec::{Binding, ModelSpec};
use std::borrow::Cow;

/// A metadata value of a GGUF file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetaValue {
    /// Any unsigned integer.
    Uint(u64),
    /// Any signed integer.
    Int(i64),
    /// A float32; kept apart since its shortest decimal is what was meant (1e-5, not 9.999999747378752e-6).
    F32(f32),
    /// A float64.
    F64(f64),
    /// A truth value.
    Bool(bool),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<MetaValue>),
}

impl std::fmt::Display for MetaValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MetaValue::Uint(n) => write!(f, "{n}"),
            MetaValue::Int(n) => write!(f, "{n}"),
            MetaValue::F32(x) => write!(f, "{x}"),
            MetaValue::F64(x) => write!(f, "{x}"),
            MetaValue::Bool(b) => write!(f, "{b}"),
            MetaValue::Text(text) => write!(f, "{text:?}"),
            MetaValue::Array(items) => write!(f, "an array of {}", items.len()),
        }
    }
}

/// What an import needs to know of a GGUF file; the reader implements it.
pub trait Metadata {
    /// The value of a key.
    fn get(&self, key: &str) -> Option<MetaValue>;

    /// Length of an array. The default builds the array; a reader can do better for a long one.
    fn array_len(&self, key: &str) -> Option<usize> {
        match self.get(key)? {
            MetaValue::Array(items) => Some(items.len()),
            _ => None,
        }
    }

    /// Whether the file has a tensor of this name.
    fn has_tensor(&self, name: &str) -> bool;
}

/// A model read from GGUF metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufModel {
    /// The model. Its tensors are called [`ModelSpec::gguf_name`] in the file.
    pub spec: ModelSpec,
    /// Tokens and chat template.
    pub notes: ImportNotes,
    /// Rows of `attn_q` and `attn_k` (and of their biases) are stored with rotation pairs adjacent: half-split
    /// row `i + j·d/2` of a head is file row `2i + j`. True for llama only.
    pub permuted_qk: bool,
}

/// The supported values of `general.architecture`.
pub const SUPPORTED: &[&str] = &["llama", "qwen2", "qwen3"];

const NAMES: Names = &[
    ("model", "vocab", "vocab_size"),
    ("model", "d_model", "embedding_length"),
    ("model", "norm", "attention.layer_norm_rms_epsilon"),
    ("model", "max_context", "context_length"),
    ("model", "pattern", "block_count"),
    ("mlp", "hidden", "feed_forward_length"),
    ("", "n_heads", "attention.head_count"),
    ("", "n_kv_heads", "attention.head_count_kv"),
    ("", "d_head", "attention.key_length"),
    ("", "theta", "rope.freq_base"),
];

/// Reads the metadata of a GGUF file. `name` becomes the model's name.
///
/// # Errors
/// An architecture that is not supported, or every key that is missing, wrong, contradictory, against the
/// rules, or asks for something jet does not do (scaled or partial rotation, experts).
pub fn import(file: &dyn Metadata, name: &str) -> Result<GgufModel, ImportError> {
    let arch = match file.get("general.architecture") {
        Some(MetaValue::Text(arch)) => arch,
        _ => "missing".to_owned(),
    };
    if !SUPPORTED.contains(&arch.as_str()) {
        let field = "general.architecture";
        return Err(ImportError::UnknownModel { field, found: format!("{arch:?}"), supported: SUPPORTED });
    }
    let mut keys = Keys { file, arch: &arch, faults: Vec::new() };
    let spec = keys.spec(name);
    keys.refuse_what_is_not_done();
    let notes = keys.notes();
    if !keys.faults.is_empty() {
        return Err(ImportError::Fields { faults: keys.faults });
    }
    Ok(GgufModel { spec: judged(spec, NAMES)?, notes, permuted_qk: arch == "llama" })
}

/// The keys of one file, and the faults found so far.
struct Keys<'a> {
    file: &'a dyn Metadata,
    arch: &'a str,
    faults: Vec<String>,
}

impl Keys<'_> {
    fn spec(&mut self, name: &str) -> ModelSpec {
        let d_model = self.need("embedding_length");
        let layers = self.need("block_count");
        let most = (MAX_BLOCKS / 2) as u32;
        if !(1..=most).contains(&layers) {
            self.fault("block_count", format!("found {layers}, expected 1 to {most}"));
        }
        let attention = self.attention(d_model);
        let mlp = Mlp {
            hidden: self.need("feed_forward_length"),
            act: Act::Swiglu,
            bias: self.file.has_tensor("blk.0.ffn_up.bias"),
        };
        ModelSpec {
            name: Cow::Owned(name.to_owned()),
            vocab: self.vocab(),
            d_model,
            norm_eps: self.need_number("attention.layer_norm_rms_epsilon"),
            tie_embeddings: !self.file.has_tensor("output.weight"),
            max_context: self.need("context_length"),
            pattern: Cow::Owned("*-".repeat(layers.clamp(1, most) as usize)),
            bindings: Cow::Owned(vec![
                Binding { symbol: '*', block: Block::Attention(attention) },
                Binding { symbol: '-', block: Block::Mlp(mlp) },
            ]),
            naming: Naming::Transformer,
            precisions: Cow::Borrowed(&[]),
        }
    }

    fn attention(&mut self, d_model: u32) -> Attention {
        let n_heads = self.need("attention.head_count");
        let n_kv_heads = self.size("attention.head_count_kv").unwrap_or(n_heads);
        let shared = (n_heads > 0 && d_model.is_multiple_of(n_heads)).then(|| d_model / n_heads);
        let d_head = self.size("attention.key_length").or(shared);
        match d_head {
            Some(width) => self.heads_are(width),
            None => {
                let message =
                    format!("missing, and {n_heads} heads cannot share embedding_length ({d_model})");
                self.fault("attention.key_length", message);
            }
        }
        let theta = self.number("rope.freq_base").unwrap_or(10_000.0);
        Attention {
            n_heads,
            n_kv_heads,
            d_head: d_head.unwrap_or(2),
            window: None,
            rope: Some(Rope { theta, scaling: RopeScaling::None }),
            qk_norm: self.arch == "qwen3",
            qkv_bias: self.arch == "qwen2" || self.file.has_tensor("blk.0.attn_q.bias"),
            out_bias: self.file.has_tensor("blk.0.attn_output.bias"),
        }
    }

    /// Values as wide as keys, and all of a head rotated: the only forms there are in these architectures.
    fn heads_are(&mut self, width: u32) {
        for (key, part) in
            [("attention.value_length", "value heads"), ("rope.dimension_count", "rotated part")]
        {
            if let Some(found) = self.size(key).filter(|found| *found != width) {
                let message =
                    format!("found {found}, expected {width}: the {part} must be as wide as a head");
                self.fault(key, message);
            }
        }
    }

    /// Features of these architectures that would change the result if they were ignored.
    fn refuse_what_is_not_done(&mut self) {
        if let Some(experts) = self.size("expert_count").filter(|n| *n > 0) {
            self.fault("expert_count", format!("found {experts}, expected none: dense models only"));
        }
        if let Some(MetaValue::Text(kind)) = self.file.get(&self.key("rope.scaling.type"))
            && kind != "none"
        {
            self.fault("rope.scaling.type", format!("found {kind:?}, expected \"none\""));
        }
        if self.file.has_tensor("rope_freqs.weight") {
            self.faults.push(
                "tensor `rope_freqs.weight`: it rescales the rotary frequencies one by one, which is not done \
                 for GGUF files; use the safetensors checkpoint, whose config says how"
                    .to_owned(),
            );
        }
    }

    fn vocab(&mut self) -> u32 {
        let tokens = self.file.array_len("tokenizer.ggml.tokens").and_then(|n| u32::try_from(n).ok());
        match self.size("vocab_size").or(tokens) {
            Some(vocab) => vocab,
            None => self.need("vocab_size"),
        }
    }

    fn notes(&mut self) -> ImportNotes {
        let token = |name: &str| match self.file.get(&format!("tokenizer.ggml.{name}_token_id")) {
            Some(value) => whole(&value),
            None => None,
        };
        let mut eos: Vec<u32> = Vec::new();
        for id in ["eos", "eot", "eom"].into_iter().filter_map(token) {
            if !eos.contains(&id) {
                eos.push(id);
            }
        }
        let (bos, pad) = (token("bos"), token("padding"));
        let chat_template = match self.file.get("tokenizer.chat_template") {
            Some(MetaValue::Text(text)) => Some(text),
            _ => None,
        };
        ImportNotes { model_type: self.arch.to_owned(), bos, eos, pad, dtype: None, chat_template }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    fn fault(&mut self, name: &str, message: String) {
        self.faults.push(format!("`{}`: {message}", self.key(name)));
    }

    /// A whole number or `None`; an array must say the same for every layer.
    fn size(&mut self, name: &str) -> Option<u32> {
        let value = self.file.get(&self.key(name))?;
        let size = match &value {
            MetaValue::Array(items) if items.windows(2).all(|w| w[0] == w[1]) => {
                items.first().and_then(whole)
            }
            one => whole(one),
        };
        if size.is_none() {
            self.fault(name, format!("found {value}, expected a whole number"));
        }
        size
    }

    fn need(&mut self, name: &str) -> u32 {
        if self.file.get(&self.key(name)).is_none() {
            self.fault(name, "missing, expected a whole number".to_owned());
        }
        self.size(name).unwrap_or(1)
    }

    fn number(&mut self, name: &str) -> Option<f64> {
        let value = self.file.get(&self.key(name))?;
        let number = match value {
            // The shortest decimal that is this float32, read as a float64.
            MetaValue::F32(x) => x.to_string().parse().ok(),
            MetaValue::F64(x) => Some(x),
            _ => None,
        };
        if number.is_none() {
            self.fault(name, format!("found {value}, expected a number"));
        }
        number
    }

    fn need_number(&mut self, name: &str) -> f64 {
        if self.file.get(&self.key(name)).is_none() {
            self.fault(name, "missing, expected a number".to_owned());
        }
        self.number(name).unwrap_or(1.0)
    }
}

fn whole(value: &MetaValue) -> Option<u32> {
    match value {
        MetaValue::Uint(n) => u32::try_from(*n).ok(),
        MetaValue::Int(n) => u32::try_from(*n).ok(),
        _ => None,
    }
}
