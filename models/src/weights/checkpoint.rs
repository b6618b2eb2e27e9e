//! [`Checkpoint`]: the weights of one model in one place, judged as a whole before the first is read.

use super::{
    Error, Fault, FileBytes, Gguf, RowOrder, Safetensors, Tensor, TensorEntry, TensorInfo, TensorTable,
};
use super::{WeightSource, names, shards};
use jet_dsl::ModelSpec;
use jet_dsl::weight::{Role, WeightDecl, WeightRef};
use jet_numerics::first_non_finite;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The weights of a model in files.
#[derive(Debug)]
pub struct Checkpoint {
    spec: ModelSpec,
    path: PathBuf,
    files: Vec<File>,
    places: HashMap<WeightRef, Place>,
}

#[derive(Debug)]
enum File {
    Safetensors(Safetensors),
    Gguf(Gguf),
}

/// Where a weight lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    entry: usize,
    rows: RowOrder,
}

impl Checkpoint {
    /// The weights of `spec` in a folder of safetensors (one file, or shards with their index), or in one
    /// `.safetensors` file. Reports all faults at once: missing and unknown tensors, wrong shapes and types.
    pub fn open(spec: &ModelSpec, path: &Path) -> Result<Self, Error> {
        let files = match path.extension() {
            Some(e) if e == "safetensors" && path.is_file() => vec![Safetensors::open(path)?],
            _ => shards::open(path)?,
        };
        let wanted = spec.weights().into_iter().map(|decl| {
            let name = decl.name.clone();
            (decl, name, RowOrder::AsStored)
        });
        let files = files.into_iter().map(File::Safetensors).collect();
        Self::judge(spec, path, files, wanted.collect(), |name| names::usual(spec.naming, name).into_owned())
    }

    /// The weights of `spec` in a GGUF file. `name` gives a weight's name in the file and the order of its rows.
    pub fn from_gguf(
        spec: &ModelSpec,
        gguf: Gguf,
        name: impl Fn(&WeightDecl) -> (String, RowOrder),
    ) -> Result<Self, Error> {
        let path = gguf.path().to_owned();
        let wanted = spec.weights().into_iter().map(|decl| {
            let (name, rows) = name(&decl);
            (decl, name, rows)
        });
        Self::judge(spec, &path, vec![File::Gguf(gguf)], wanted.collect(), str::to_owned)
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks for infinities and NaN in every weight, on all cores, and reports every tensor that has one.
    pub fn check_finite(&self) -> Result<(), Error> {
        let mut ids: Vec<&WeightRef> = self.places.keys().collect();
        ids.sort_unstable();
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            let mut faults = Vec::new();
            while let Some(id) = ids.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                faults.extend(self.not_finite(**id));
            }
            faults
        };
        let mut faults: Vec<(WeightRef, Fault)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|t| t.join().expect("looking at numbers does not panic")).collect()
        });
        faults.sort_by_key(|(id, _)| *id);
        self.spec_fits(faults.into_iter().map(|(_, f)| f).collect())
    }

    fn not_finite(&self, id: WeightRef) -> Option<(WeightRef, Fault)> {
        let place = self.places[&id];
        let (file, entry) = (&self.files[place.file], self.entry(place));
        let index = first_non_finite(entry.dtype, &file.bytes()[entry.range.clone()])? as u64;
        let cols = entry.shape.last().copied().unwrap_or(1).max(1);
        let (row, column) = (index / cols, index % cols);
        Some((id, Fault::NotFinite { file: file.name(), name: entry.name.clone(), row, column }))
    }

    fn spec_fits(&self, faults: Vec<Fault>) -> Result<(), Error> {
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::Mismatch { path: self.path.clone(), model: self.spec.name.to_string(), faults })
    }

    /// Finds each wanted weight and compares it with its declaration; `usual` gives the spelling that wanted names
    /// are in.
    fn judge(
        spec: &ModelSpec,
        path: &Path,
        files: Vec<File>,
        wanted: Vec<(WeightDecl, String, RowOrder)>,
        usual: impl Fn(&str) -> String,
    ) -> Result<Self, Error> {
        let mut faults = Vec::new();
        let mut there: HashMap<String, (usize, usize)> = HashMap::new();
        for (f, file) in files.iter().enumerate() {
            for (e, entry) in file.table().entries().iter().enumerate() {
                if let Some((f0, e0)) = there.insert(usual(&entry.name), (f, e)) {
                    let other = &files[f0];
                    faults.push(Fault::Twice {
                        first: other.table().entries()[e0].name.clone(),
                        first_file: other.name(),
                        second: entry.name.clone(),
                        second_file: file.name(),
                    });
                }
            }
        }
        let mut places = HashMap::new();
        let mut embedding = None;
        for (decl, name, rows) in wanted {
            let Some((file, entry)) = there.remove(&name) else {
                faults.push(Fault::Missing { name, shape: decl.shape.0 });
                continue;
            };
            let tensor = &files[file].table().entries()[entry];
            faults.extend(unfit(&files[file], tensor, &decl));
            if decl.id.role == Role::Embedding {
                embedding = Some((file, entry));
            }
            places.insert(decl.id, Place { file, entry, rows });
        }
        let mut rest: Vec<_> = there.into_iter().collect();
        rest.sort_unstable_by_key(|(_, place)| *place);
        for (name, (f, e)) in rest {
            let (file, tensor) = (&files[f], &files[f].table().entries()[e]);
            if names::is_idle(&name) {
                tracing::debug!(tensor = %tensor.name, file = %file.name(), "skipped, it has no use at inference");
            } else if spec.tie_embeddings && name == "lm_head.weight" {
                if embedding.is_some_and(|(f0, e0)| !same(&files[f0], e0, file, e)) {
                    faults.push(Fault::Untied { file: file.name(), name: tensor.name.clone() });
                }
            } else {
                faults.push(Fault::Extra {
                    file: file.name(),
                    name: tensor.name.clone(),
                    shape: tensor.shape.clone(),
                });
            }
        }
        let this = Self { spec: spec.clone(), path: path.to_owned(), files, places };
        this.spec_fits(faults)?;
        Ok(this)
    }

    fn place(&self, id: WeightRef) -> Result<Place, Error> {
        self.places.get(&id).copied().ok_or_else(|| super::source::unknown(&self.spec, id))
    }

    fn entry(&self, place: Place) -> &TensorEntry {
        &self.files[place.file].table().entries()[place.entry]
    }
}

/// What is wrong with a tensor that stands under the right name.
fn unfit(file: &File, tensor: &TensorEntry, decl: &WeightDecl) -> Vec<Fault> {
    let mut faults = Vec::new();
    if tensor.shape != decl.shape.0 {
        faults.push(Fault::Shape {
            file: file.name(),
            name: tensor.name.clone(),
            found: tensor.shape.clone(),
            expected: decl.shape.0.clone(),
        });
    }
    if !tensor.dtype.is_weight() {
        faults.push(Fault::DType { file: file.name(), name: tensor.name.clone(), found: tensor.dtype });
    }
    faults
}

/// Whether two tensors are the same values, stored alike.
fn same(file: &File, entry: usize, other: &File, other_entry: usize) -> bool {
    let (a, b) = (&file.table().entries()[entry], &other.table().entries()[other_entry]);
    a.dtype == b.dtype
        && a.shape == b.shape
        && file.bytes()[a.range.clone()] == other.bytes()[b.range.clone()]
}

impl File {
    fn table(&self) -> &TensorTable {
        match self {
            File::Safetensors(f) => f.table(),
            File::Gguf(f) => f.table(),
        }
    }

    fn bytes(&self) -> &FileBytes {
        match self {
            File::Safetensors(f) => f.bytes(),
            File::Gguf(f) => f.bytes(),
        }
    }

    fn name(&self) -> String {
        let path = match self {
            File::Safetensors(f) => f.path(),
            File::Gguf(f) => f.path(),
        };
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    }
}

impl WeightSource for Checkpoint {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn info(&self, id: WeightRef) -> Result<TensorInfo, Error> {
        let entry = self.entry(self.place(id)?);
        Ok(TensorInfo { dtype: entry.dtype, shape: entry.shape.clone() })
    }

    fn get(&self, id: WeightRef) -> Result<Tensor<'_>, Error> {
        let place = self.place(id)?;
        let mut tensor = Tensor::of_file(self.entry(place), self.files[place.file].bytes());
        tensor.rows = place.rows;
        Ok(tensor)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn release(&self, id: WeightRef) {
        if let Some(&place) = self.places.get(&id) {
            self.files[place.file].bytes().release(self.entry(place).range.clone());
        }
    }
}
