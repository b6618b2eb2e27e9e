//! A folder for one test: its cache, and a small model as a source file.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A model with every kind of block, small enough to run in no time.
pub(crate) const SMALL: &str = r#"
jet_model! {
    /// A small hybrid.
    pub struct Small;
    vocab: 96,
    d_model: 32,
    norm: rms_norm { eps: 1e-5 },
    tie_embeddings: true,
    max_context: 256,
    pattern: "M*-J",
    blocks {
        'M' => mamba2    { n_heads: 4, d_head: 16, d_state: 16, n_groups: 2, conv: 4 },
        '*' => attention { n_heads: 4, n_kv_heads: 2, d_head: 8, rope: 10_000.0 },
        '-' => mlp       { hidden: 64, act: relu2 },
        'J' => jet_block { n_heads: 2, d_head: 16, expand_v: 2.0, conv: 4, reduction: 4 },
    }
}
"#;

pub(crate) struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("small.rs"), SMALL).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path as text.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    pub(crate) fn small(&self) -> String {
        self.path("small.rs").display().to_string()
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env("JET_CACHE_DIR", self.cache()).env("HF_HOME", self.path("hf"));
        // The launcher of the tests is not one of the tuner.
        for name in
            ["RANK", "WORLD_SIZE", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "JOB_COMPLETION_INDEX"]
        {
            command.env_remove(name);
        }
        command.env_remove("JET_LOG").env_remove("HF_HUB_CACHE").stdin(std::process::Stdio::null());
        command
    }

    pub(crate) fn jet(&self, args: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_jet"), args)
    }

    pub(crate) fn tune(&self, args: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_jet-tune"), args)
    }
}

/// What a process has come to.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        let done = Self {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            err: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        };
        assert!(!done.err.contains("panicked"), "{}", done.err);
        done
    }

    /// It went well.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// It failed with `code` and said all of `words`.
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "`{word}` is missing in: {}", self.err);
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in: {}", self.out))
    }
}

pub(crate) fn done(mut command: Command) -> Done {
    Done::of(command.output().unwrap())
}

/// Names of everything below a folder.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        all.push(entry.file_name().to_string_lossy().into_owned());
        if entry.path().is_dir() {
            all.extend(files(&entry.path()));
        }
    }
    all
}
