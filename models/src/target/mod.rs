//! [`Target`]: what a person means by a model's name, a file or a folder.

mod error;
mod gguf;
mod resolve;
#[cfg(test)]
mod tests;

pub use error::TargetError;

use crate::text::{Text, TextError};
use crate::weights::{Checkpoint, Gguf, RandomWeights, WeightSource};
use jet_dsl::ModelSpec;
use jet_dsl::import::ImportNotes;
use jet_numerics::DType;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model to be run, tuned or looked at, and where its weights and its text parts are. Making one reads a config or a
/// header, never a weight.
#[derive(Clone, Debug)]
pub struct Target {
    spec: ModelSpec,
    place: Place,
    notes: ImportNotes,
}

/// Where a target's weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Nowhere: only the model is declared, in a preset, a source file or a program.
    Declared(String),
    /// In a folder of safetensors.
    Folder(PathBuf),
    /// In a GGUF file.
    Gguf(PathBuf),
}

/// Random weights instead of stored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    /// The seed.
    pub seed: u64,
    /// How matrices are stored.
    pub format: DType,
}

impl Random {
    /// From `seed`, with matrices in bf16.
    pub fn new(seed: u64) -> Self {
        Self { seed, format: DType::Bf16 }
    }
}

impl Target {
    /// What `text` means: a preset's name; a `.rs` file with a `jet_model!`, as `file.rs::Name` where it has several;
    /// a folder with a `config.json`; a `.gguf` file; `ORG/NAME` or `ORG/NAME@REVISION` in the Hugging Face cache.
    ///
    /// ```
    /// use jet_models::target::Target;
    ///
    /// assert_eq!(Target::resolve("tiny-hybrid").unwrap().spec().pattern, "MM*M-J*");
    /// let error = Target::resolve("tiny-hybird").unwrap_err();
    /// assert!(error.to_string().contains("did you mean `tiny-hybrid`?"));
    /// ```
    ///
    /// # Errors
    /// There is no such thing, with the nearest preset; or what is there is no model, with every fault.
    pub fn resolve(text: &str) -> Result<Self, TargetError> {
        resolve::resolve(text)
    }

    /// A model without weights.
    pub fn from_spec(spec: ModelSpec) -> Self {
        Self { spec, place: Place::Declared("in the program".to_owned()), notes: ImportNotes::default() }
    }

    /// A declared model with the weights of a folder (or one `.safetensors` file). A `config.json` in it is asked for
    /// token ids only.
    ///
    /// # Errors
    /// The folder is not there.
    pub fn of_folder(spec: ModelSpec, folder: &Path) -> Result<Self, TargetError> {
        if !folder.exists() {
            return Err(TargetError::Path {
                path: folder.to_owned(),
                what: "there is no such folder".to_owned(),
            });
        }
        let notes = resolve::notes_of(folder);
        Ok(Self { spec, place: Place::Folder(folder.to_owned()), notes })
    }

    /// A declared model with the weights and text parts of a GGUF file.
    ///
    /// # Errors
    /// The file cannot be read or is of another model, with each difference.
    pub fn of_gguf(spec: ModelSpec, file: &Path) -> Result<Self, TargetError> {
        let found = gguf::open(file)?;
        let differences = gguf::differences(&spec, &found.spec);
        if differences.is_empty() {
            return Ok(Self { spec, ..found });
        }
        let model = spec.name.to_string();
        Err(TargetError::OtherModel { path: file.to_owned(), model, differences })
    }

    /// The model.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Where the weights are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What the config or header says besides the model: token ids, above all.
    pub fn notes(&self) -> &ImportNotes {
        &self.notes
    }

    /// Whether there are weights.
    pub fn has_weights(&self) -> bool {
        match &self.place {
            Place::Declared(_) => false,
            Place::Gguf(_) => true,
            Place::Folder(folder) => resolve::has_safetensors(folder),
        }
    }

    /// Tokenizer, chat template and suggestions for generation; `None` where only a model is declared.
    ///
    /// # Errors
    /// There is no tokenizer beside the weights, or it cannot be read.
    pub fn text(&self) -> Result<Option<Text>, TextError> {
        match &self.place {
            Place::Declared(_) => Ok(None),
            Place::Folder(folder) => Text::from_folder(folder).map(Some),
            Place::Gguf(file) => {
                let path = || file.clone();
                let open = Gguf::open(file);
                let gguf = open.map_err(|e| TextError::Tokenizer { path: path(), what: e.to_string() })?;
                Text::from_gguf(&gguf).map(Some)
            }
        }
    }

    /// The stored weights, judged against the model but not read; `None` where there are none.
    ///
    /// # Errors
    /// They cannot be read or are not the model's: every fault at once.
    pub fn checkpoint(&self) -> Result<Option<Arc<Checkpoint>>, TargetError> {
        let checkpoint = match &self.place {
            Place::Folder(folder) if self.has_weights() => Checkpoint::open(&self.spec, folder)?,
            Place::Gguf(file) => gguf::checkpoint(&self.spec, file)?,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(checkpoint)))
    }

    /// The weights: random ones where asked for, else the stored ones.
    ///
    /// # Errors
    /// As [`Target::checkpoint`]; there are none and none were asked for.
    pub fn weights(&self, random: Option<Random>) -> Result<Arc<dyn WeightSource>, TargetError> {
        if let Some(random) = random {
            return Ok(Arc::new(RandomWeights::with_dtype(&self.spec, random.seed, random.format)));
        }
        if let Some(checkpoint) = self.checkpoint()? {
            return Ok(checkpoint);
        }
        let place = match &self.place {
            // It fails, and says what the folder holds instead.
            Place::Folder(folder) => match Checkpoint::open(&self.spec, folder) {
                Ok(checkpoint) => return Ok(Arc::new(checkpoint)),
                Err(e) => e.to_string(),
            },
            place => place.to_string(),
        };
        Err(TargetError::NoWeights { model: self.spec.name.to_string(), place })
    }

    /// Types and shapes of the weights, for plans and tasks: the stored ones', else those of random weights stored as
    /// `format`. Nothing is read or drawn as long as only [`WeightSource::info`] is asked.
    ///
    /// # Errors
    /// As [`Target::checkpoint`].
    pub fn formats(&self, format: DType) -> Result<Arc<dyn WeightSource>, TargetError> {
        let random = Random { format, ..Random::new(0) };
        self.weights((!self.has_weights()).then_some(random))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Declared(place) => f.write_str(place),
            Place::Folder(path) | Place::Gguf(path) => write!(f, "{}", path.display()),
        }
    }
}
