//! The binary as a deployment has it: several processes at once, nowhere to write, nothing compiled and nothing tuned; and
//! what it says where something is missing.

use jet::cache::{Contents, Manifest, Pack};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const EMBEDDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model.jetpack");

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("jet-deployment-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts the program where jet may neither keep nor find anything: its cache folder is a file.
fn start(folder: &Path, words: &[&str]) -> Child {
    let nowhere = folder.join("no-folder");
    std::fs::write(&nowhere, "").unwrap();
    Command::new(env!("CARGO_BIN_EXE_jet-deployment"))
        .args(words)
        .current_dir(folder)
        .env("JET_CACHE_DIR", &nowhere)
        .env("JET_CUBINS", &nowhere)
        .env("JET_NVRTC", &nowhere)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    text(&output.stderr)
}

#[test]
fn four_processes_compile_and_tune_nothing_and_agree() {
    let folder = Folder::new("four");
    let children: Vec<Child> = (0..4).map(|_| start(&folder.0, &[])).collect();
    let outputs: Vec<Output> = children.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{output:?}\n(`cargo xtask bless` makes the pack of the present kernels)");
        let said = text(&output.stdout);
        assert!(said.contains("compilations: 0, kernels tuned: 0"), "{said}");
        assert!(said.contains("bucket 0, default 0"), "{said}");
        assert_eq!(said, text(&outputs[0].stdout));
    }
}

#[test]
fn a_task_or_a_kernel_that_the_pack_lacks_is_named_at_load() {
    let folder = Folder::new("lacks");
    let whole = Contents::of_pack(&Pack::load(Path::new(EMBEDDED)).unwrap().unwrap()).unwrap();
    let write = |name: &str, contents: &Contents| {
        let path = folder.0.join(name);
        contents.write(&path, &Manifest::describe(contents.entries.values(), "test", 0)).unwrap();
        path.display().to_string()
    };

    let mut less = whole.clone();
    let (key, gone) = less.entries.iter().next().map(|(k, e)| (*k, e.key.to_string())).unwrap();
    less.entries.remove(&key);
    let path = write("less.jetpack", &less);
    let why = fails(&start(&folder.0, &["emulated:sm_80", &path]).wait_with_output().unwrap());
    let task = gone.split(" on ").next().unwrap();
    assert!(why.contains("no tuned schedule for") && why.contains(task), "{why}\nexpected {task}");

    let mut bare = whole.clone();
    bare.cubins.clear();
    let path = write("bare.jetpack", &bare);
    let why = fails(&start(&folder.0, &["emulated:sm_80", &path]).wait_with_output().unwrap());
    assert!(why.contains("no compiled kernel for"), "{why}");

    // A pack for another device has nothing for this one.
    let why = fails(&start(&folder.0, &["cpu"]).wait_with_output().unwrap());
    assert!(why.contains("no tuned schedule for") && why.contains("jet-tune run"), "{why}");
}
