//! From a text to a [`Target`]: what it looks like decides what it is.

use super::{Place, Target, TargetError, gguf};
use crate::{hub, presets};
use jet_dsl::ModelSpec;
use jet_dsl::import::{ImportNotes, hf};
use jet_dsl::suggest::{all_of, closest};
use jet_dsl::syntax;
use std::fs;
use std::path::Path;

pub(super) fn resolve(text: &str) -> Result<Target, TargetError> {
    let preset = presets::find(text);
    if let Ok(preset) = preset {
        let place = format!("the preset `{}`", preset.name);
        return Ok(declared((preset.spec)(), place));
    }
    let (file, name) = match text.rsplit_once(".rs::") {
        Some((stem, name)) => (format!("{stem}.rs"), Some(name)),
        None => (text.to_owned(), None),
    };
    let path = Path::new(&file);
    let ends = |suffix: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(suffix));
    if ends("rs") {
        return source(path, name);
    }
    if ends("gguf") {
        return gguf::open(path);
    }
    if path.is_dir() {
        return folder(path, None);
    }
    if path.is_file() {
        return single_file(path);
    }
    if hub::is_name(text) {
        return folder(&hub::resolve(text)?, Some(text));
    }
    match preset {
        Err(preset) if !text.contains(['/', '\\']) => {
            Err(TargetError::Unknown { text: text.to_owned(), preset })
        }
        _ => Err(missing(path)),
    }
}

fn declared(spec: ModelSpec, place: String) -> Target {
    Target { spec, place: Place::Declared(place), notes: ImportNotes::default() }
}

fn missing(path: &Path) -> TargetError {
    TargetError::Path { path: path.to_owned(), what: "there is no such file or folder".to_owned() }
}

fn read(path: &Path) -> Result<String, TargetError> {
    let bytes = fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => missing(path),
        _ => TargetError::Path { path: path.to_owned(), what: format!("cannot read it: {e}") },
    })?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        TargetError::Path { path: path.to_owned(), what: format!("is not UTF-8 text: byte {at} is not") }
    })
}

/// The model that a Rust file declares, or the one called `name` of several.
fn source(path: &Path, name: Option<&str>) -> Result<Target, TargetError> {
    let text = read(path)?;
    let mut models =
        syntax::file(&text).map_err(|faults| TargetError::Source { path: path.to_owned(), faults })?;
    let choice = |what: String| TargetError::Choice { path: path.to_owned(), what };
    let names: Vec<String> = models.iter().map(|(name, _)| name.clone()).collect();
    let all = || all_of(names.iter().map(String::as_str));
    let index = match name {
        _ if names.is_empty() => {
            return Err(choice("declares no model; expected a `jet_model! { … }`".to_owned()));
        }
        None if names.len() == 1 => 0,
        None => {
            let first = &names[0];
            return Err(choice(format!(
                "declares {} models, {}; choose one, as in {}::{first}",
                names.len(),
                all(),
                path.display()
            )));
        }
        Some(name) => names.iter().position(|n| n == name).ok_or_else(|| {
            let meant = closest(name, names.iter().map(String::as_str));
            let hint = meant.map_or_else(String::new, |m| format!("; did you mean `{m}`?"));
            choice(format!("declares no model `{name}`, only {}{hint}", all()))
        })?,
    };
    let (name, spec) = models.swap_remove(index);
    Ok(declared(spec, format!("`{name}` in {}", path.display())))
}

/// The model of a folder with a `config.json`. It is named after the folder, or after `name`.
fn folder(path: &Path, name: Option<&str>) -> Result<Target, TargetError> {
    let config = path.join("config.json");
    if !config.is_file() {
        return Err(TargetError::Path { path: path.to_owned(), what: no_config(path) });
    }
    let name = name.map_or_else(|| folder_name(path), |n| n.split(['/', '@']).nth(1).unwrap_or(n).to_owned());
    let (spec, notes) =
        hf::import(&read(&config)?, &name).map_err(|source| TargetError::Import { path: config, source })?;
    Ok(Target { spec, place: Place::Folder(path.to_owned()), notes })
}

fn folder_name(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.file_name().map_or_else(|| "model".to_owned(), |n| n.to_string_lossy().into_owned())
}

/// What to say of a folder without a config.
fn no_config(path: &Path) -> String {
    let inside = |end: &str| {
        let files = fs::read_dir(path).into_iter().flatten().flatten();
        let named = |e: fs::DirEntry| e.path().extension().is_some_and(|x| x == end).then(|| e.path());
        files.filter_map(named).min()
    };
    match inside("gguf").or_else(|| inside("rs")) {
        Some(file) => format!("has no config.json; did you mean {}?", file.display()),
        None => "has no config.json, so it is no checkpoint folder".to_owned(),
    }
}

/// A file that is neither Rust nor GGUF by its name.
fn single_file(path: &Path) -> Result<Target, TargetError> {
    if path.file_name().is_some_and(|n| n == "config.json") {
        return folder(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")), None);
    }
    let what = match path.extension() {
        Some(e) if e == "safetensors" => {
            "is weights without a model; give the folder that has its config.json"
        }
        _ => "is no model; expected a .rs or a .gguf file, or a folder with a config.json",
    };
    Err(TargetError::Path { path: path.to_owned(), what: what.to_owned() })
}

/// Token ids of the config in `folder`, if it has one that can be read.
pub(super) fn notes_of(folder: &Path) -> ImportNotes {
    let text = fs::read_to_string(folder.join("config.json")).unwrap_or_default();
    hf::import(&text, "").map(|(_, notes)| notes).unwrap_or_default()
}

/// Whether a folder has weights under the names that they are read by, or a path is a file of weights.
pub(super) fn has_safetensors(path: &Path) -> bool {
    let there = |name: &str| path.join(name).exists();
    path.is_file() || there("model.safetensors") || there("model.safetensors.index.json")
}
