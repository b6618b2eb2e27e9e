//! The JSON beside a kernel: how it is launched and what it must give.

use super::tensor::{Dtype, Input};
use jet_emu::tensor::TensorMapSpec;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The CUDA file, where it comes from one.
    pub source: Option<String>,
    /// What it is compiled for; the compiling script reads this.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Where the PTX is, from the root of the repository, if it is not committed.
    pub folder: Option<PathBuf>,
    /// Targets whose text cannot be run, and the word that the error must name.
    #[serde(default)]
    pub refused: BTreeMap<String, String>,
    /// The planted fault.
    pub finding: Option<Expected>,
    pub cases: Vec<Case>,
}

/// What must be found in the faulty variant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Kinds of findings, one of which must be reported; `wrong_result` stands for a wrong output.
    pub kinds: Vec<String>,
    /// Whether it shows under every seed.
    pub every_seed: bool,
}

/// Inputs, what is done, and what comes out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub inputs: BTreeMap<String, Input>,
    pub steps: Vec<Step>,
    pub expect: Vec<Output>,
    /// Whether the results are the same to the last bit, however the threads are interleaved.
    #[serde(default)]
    pub same_bits_under_every_seed: bool,
    /// Lines that the kernel prints, in any order.
    #[serde(default)]
    pub prints: Vec<String>,
    /// The kind of finding that ends it.
    pub fails: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Step {
    Launch(Launch),
    Free { free: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    pub kernel: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: Option<[u32; 3]>,
    /// Bytes of dynamic shared memory.
    #[serde(default)]
    pub shared: Shared,
    pub args: Vec<Arg>,
}

/// One number, or one for each target.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Shared {
    All(u32),
    Each(BTreeMap<String, u32>),
}

impl Default for Shared {
    fn default() -> Self {
        Shared::All(0)
    }
}

impl Shared {
    pub fn of(&self, target: &str) -> u32 {
        match self {
            Shared::All(n) => *n,
            Shared::Each(map) => map[target],
        }
    }
}

/// An argument, as in the command's ARGS.json.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arg {
    Tensor(String),
    U32(u32),
    I32(i32),
    U64(u64),
    F32(f32),
    F64(f64),
    Null(bool),
    TensorMap(TensorMapSpec),
    #[serde(untagged)]
    Zeros {
        zeros: String,
        dtype: Dtype,
        shape: Vec<usize>,
    },
}

/// An output and the reference that judges it: |got - wanted| <= abs + rel * |wanted|.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub tensor: String,
    pub reference: String,
    pub of: Vec<String>,
    #[serde(default)]
    pub params: Value,
    pub abs: f64,
    pub rel: f64,
    /// `abs` where the sums are those of the target's tensor cores, which may keep few bits.
    pub abs_of_hardware: Option<f64>,
}

/// A description and the PTX files that belong to it.
pub struct Loaded {
    pub name: String,
    pub description: Description,
    pub ptx: Vec<Ptx>,
}

/// A PTX text.
pub struct Ptx {
    /// The file's name.
    pub name: String,
    /// `sm_90a`
    pub target: String,
    pub text: String,
}

/// Every description of a folder under `emu/tests`, sorted by name.
pub fn load(folder: &str) -> Vec<Loaded> {
    load_from(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder))
}

/// Every description of a folder; PTX that is not committed is looked for in the repository that the folder is of.
pub fn load_from(folder: &Path) -> Vec<Loaded> {
    let root = folder.parent().and_then(Path::parent).unwrap_or(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(path).unwrap();
            let description: Description =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let texts = match &description.folder {
                Some(elsewhere) => root.parent().unwrap_or(root).join(elsewhere),
                None => folder.join("ptx"),
            };
            Loaded { ptx: texts_of(&texts, &name), name, description }
        })
        .collect()
}

fn texts_of(folder: &Path, name: &str) -> Vec<Ptx> {
    let Ok(list) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        list.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.retain(|n| n.ends_with(".ptx") && n.split('.').next() == Some(name));
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let target = name.split('.').find(|part| part.starts_with("sm_")).unwrap().to_owned();
            let text = std::fs::read_to_string(folder.join(&name)).unwrap();
            Ptx { name, target, text }
        })
        .collect()
}
