//! What can be written between the braces of a block, or of a model: one table per thing, read by the parser,
//! by its messages and by the documentation.

/// One field of `jet_model!`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What it is when left out, as it would be written; `None`: it must be written.
    pub default: Option<&'static str>,
    /// One line of documentation.
    pub doc: &'static str,
}

impl FieldInfo {
    /// A field that must be written.
    pub(crate) const fn required(name: &'static str, takes: Takes, doc: &'static str) -> Self {
        Self { name, takes, default: None, doc }
    }

    /// A field with a default.
    pub(crate) const fn optional(
        name: &'static str,
        takes: Takes,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, takes, default: Some(default), doc }
    }
}

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A whole number.
    Size,
    /// A whole number or `none`.
    OptionalSize,
    /// A number.
    Number,
    /// A number or `none`.
    OptionalNumber,
    /// `true` or `false`.
    Flag,
    /// The name of an activation.
    Act,
    /// A rotary embedding.
    Rope,
    /// A string literal.
    Text,
    /// A pattern, quoted or in square brackets.
    Pattern,
    /// The bindings of the pattern's characters.
    Blocks,
    /// A norm.
    Norm,
    /// A list of precisions.
    Precision,
    /// A naming convention.
    Naming,
    /// A path.
    Path,
}

impl Takes {
    /// In words, for messages: "`n_heads` takes …".
    pub fn words(self) -> &'static str {
        match self {
            Takes::Size => "a whole number",
            Takes::OptionalSize => "a whole number or `none`",
            Takes::Number => "a number",
            Takes::OptionalNumber => "a number or `none`",
            Takes::Flag => "`true` or `false`",
            Takes::Act => "`relu2`, `swiglu` or `geglu`",
            Takes::Rope => "a base such as `10_000.0`, `{ theta: …, llama3 { … } }` or `none`",
            Takes::Text => "a string",
            Takes::Pattern => "a string such as \"MM*M-J*\", or the same in square brackets",
            Takes::Blocks => "`{ 'M' => mamba2 { … }, … }`",
            Takes::Norm => "`rms_norm { eps: 1e-5 }`",
            Takes::Precision => "`tune [bf16, …]`",
            Takes::Naming => "`transformer` or `nemotron_h`",
            Takes::Path => "a path such as `::jet`",
        }
    }
}

/// The fields of a model, in the order in which the documentation lists them.
pub const MODEL_FIELDS: &[FieldInfo] = &[
    FieldInfo::optional("name", Takes::Text, "the type's name in kebab-case", "Name of the model."),
    FieldInfo::required("vocab", Takes::Size, "Rows of the embedding."),
    FieldInfo::required("d_model", Takes::Size, "Width of the residual stream."),
    FieldInfo::optional(
        "norm",
        Takes::Norm,
        "rms_norm { eps: 1e-5 }",
        "The norm before every block and at the end.",
    ),
    FieldInfo::optional("tie_embeddings", Takes::Flag, "false", "The output head is the embedding matrix."),
    FieldInfo::optional(
        "max_context",
        Takes::Size,
        "4096",
        "Longest context the model is meant for, in tokens.",
    ),
    FieldInfo::required(
        "pattern",
        Takes::Pattern,
        "One character a block; groups and repeats are written out.",
    ),
    FieldInfo::required("blocks", Takes::Blocks, "What each character of the pattern stands for."),
    FieldInfo::optional("precision", Takes::Precision, "as stored", "Precisions the tuner may choose from."),
    FieldInfo::optional("naming", Takes::Naming, "nemotron_h", "What checkpoints call the weights."),
    FieldInfo::optional("crate", Takes::Path, "::jet", "Where the expansion finds jet."),
];
