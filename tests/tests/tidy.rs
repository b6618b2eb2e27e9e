//! The structure of the house, held by a machine: arrows between crates, places of unsafe code, registries, sizes,
//! and that the pages for people name what is there.

use jet_tests::{files, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which jet crates each crate may depend on (dev-dependencies too). `jet-tests` may depend on everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("jet-dsl", &[]),
    ("jet-numerics", &[]),
    ("jet-cache", &[]),
    ("jet-emu", &[]),
    ("jet-macros", &["jet-dsl"]),
    // The emulator judges kernels in the tests only.
    ("jet-codegen", &["jet-dsl", "jet-numerics", "jet-emu"]),
    ("jet-runtime", &["jet-dsl", "jet-codegen", "jet-numerics", "jet-cache", "jet-emu"]),
    ("jet-models", &["jet-dsl", "jet-macros", "jet-codegen", "jet-runtime", "jet-numerics", "jet-cache"]),
    ("jet-autotune", &["jet-dsl", "jet-codegen", "jet-runtime", "jet-cache", "jet-models", "jet-numerics"]),
    (
        "jet-cli",
        &["jet-dsl", "jet-codegen", "jet-runtime", "jet-cache", "jet-models", "jet-autotune", "jet-numerics"],
    ),
    ("jet", &["jet-dsl", "jet-macros", "jet-models", "jet-runtime", "jet-cache", "jet-autotune"]),
    // It takes the emulator's fixtures and the cases of the kernel tests to a GPU.
    ("jet-gpu", &["jet-dsl", "jet-codegen", "jet-runtime", "jet-models", "jet-emu"]),
    ("xtask", &[]),
];

/// Where unsafe code may stand: files, and folders ending in `/`.
const UNSAFE: &[&str] = &[
    "runtime/src/cpu/mat.rs",
    "runtime/src/cpu/pool.rs",
    "runtime/src/cpu/pool/",
    "runtime/src/cpu/arena.rs",
    "runtime/src/cpu/float_env.rs",
    "runtime/src/cpu/simd/",
    "runtime/src/cpu/exec/",
    "models/src/weights/mmap.rs",
    "codegen/src/nvrtc/",
    "runtime/src/cuda/ffi.rs",
];

/// Files above this many lines say why.
const LONG: usize = 1_000;
/// The words by which such a file says so.
const LONG_BECAUSE: &str = "Long because";

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn sources() -> Vec<PathBuf> {
    let all = files(&root(), ".rs");
    assert!(all.len() > 100, "only {} source files were found", all.len());
    all
}

/// The code of a Rust source: comments, strings and character literals are blanked, line breaks kept.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = skippable(rest);
        let taken = if len == 0 { c.len_utf8() } else { len };
        if len == 0 {
            out.push(c);
        } else {
            out.extend(rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = &rest[taken..];
    }
    out
}

/// Length of the comment, string or character literal that `text` begins with; 0 where it begins with none.
fn skippable(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |i| i + 2);
    }
    if let Some(hashes) = text.strip_prefix('r').map(|t| t.len() - t.trim_start_matches('#').len()) {
        let open = format!("r{}\"", "#".repeat(hashes));
        let close = format!("\"{}", "#".repeat(hashes));
        if text.starts_with(&open) {
            return text[open.len()..].find(&close).map_or(text.len(), |i| open.len() + i + close.len());
        }
    }
    if text.starts_with('"') {
        let mut escaped = false;
        for (i, c) in text.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return i + 1,
                _ => {}
            }
        }
        return text.len();
    }
    // A lifetime is not closed by a quote after one character.
    if let Some(inner) = text.strip_prefix('\'') {
        let len = if let Some(after) = inner.strip_prefix('\\') {
            after.char_indices().skip(1).find(|(_, c)| *c == '\'').map(|(i, _)| i + 3)
        } else {
            inner.chars().next().filter(|c| inner[c.len_utf8()..].starts_with('\'')).map(|c| c.len_utf8() + 2)
        };
        return len.unwrap_or(0);
    }
    0
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|w| w == word)
}

#[test]
fn the_reader_of_sources_sees_code_and_nothing_else() {
    let text = "let a = \"unsafe \\\" unsafe\"; // unsafe\nlet b = 'x'; /* unsafe */ let c: &'a str = r#\"unsafe \" unsafe\"#;";
    let clean = code(text);
    assert!(!has_word(&clean, "unsafe"), "{clean}");
    assert!(has_word(&clean, "str") && has_word(&clean, "b"), "{clean}");
    assert_eq!(clean.lines().count(), 2);
    assert!(has_word(&code("let q = '\"'; unsafe {}"), "unsafe"));
    assert!(has_word(&code("let q = '\\''; unsafe {}"), "unsafe"));
}

/// Package name and jet dependencies of every member, from the manifests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for manifest in files(&root(), "Cargo.toml") {
        if manifest.starts_with(root().join("examples")) {
            continue;
        }
        let (mut section, mut name, mut found) = (String::new(), String::new(), BTreeSet::new());
        for line in read(&manifest).lines().map(str::trim) {
            if let Some(s) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = s.to_owned();
            } else if section == "package" && line.starts_with("name") {
                name = line.split('"').nth(1).unwrap_or_default().to_owned();
            } else if section.ends_with("dependencies") && section != "workspace.dependencies" {
                let key = line.split(['.', '=', ' ']).next().unwrap_or_default();
                if key == "jet" || key.starts_with("jet-") {
                    found.insert(key.to_owned());
                }
            }
        }
        all.insert(name, found);
    }
    all
}

#[test]
fn crates_depend_along_the_arrows_only() {
    let found = dependencies();
    let known: BTreeSet<&str> = ARROWS.iter().map(|a| a.0).chain(["jet-tests"]).collect();
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, known, "the crates of the workspace are not those of the list above");
    for (name, allowed) in ARROWS {
        for dependency in &found[*name] {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn unsafe_code_stands_where_it_may_and_says_why() {
    let mut seen = 0;
    for path in sources() {
        let (text, name) = (read(&path), shown(&path));
        let clean = code(&text);
        if !has_word(&clean, "unsafe") {
            continue;
        }
        let allowed = UNSAFE.iter().any(|u| name == *u || (u.ends_with('/') && name.starts_with(u)));
        assert!(allowed, "{name} has unsafe code; only these may: {UNSAFE:?}");
        assert!(
            text.contains("SAFETY:") || text.contains("# Safety"),
            "{name} does not say why its code is sound"
        );
        seen += 1;
    }
    assert!(seen > 0, "no unsafe code was found at all: this test looks in the wrong place");
}

#[test]
fn crates_without_unsafe_code_forbid_it() {
    for krate in
        ["dsl", "macros", "numerics", "cache", "emu", "autotune", "cli", "gpu", "xtask", "tests", "."]
    {
        let src = root().join(krate).join("src");
        let entry = ["lib.rs", "main.rs"].map(|f| src.join(f)).into_iter().find(|f| f.is_file());
        let entry = entry.unwrap_or_else(|| panic!("{krate} has neither lib.rs nor main.rs"));
        assert!(
            read(&entry).contains("#![forbid(unsafe_code)]"),
            "{} does not forbid unsafe code",
            shown(&entry)
        );
    }
    for krate in ["runtime", "models", "codegen"] {
        let text = read(&root().join(krate).join("src/lib.rs"));
        assert!(text.contains("#![deny(unsafe_code)]"), "{krate}/src/lib.rs does not deny unsafe code");
    }
}

#[test]
fn sled_is_named_in_one_file() {
    for path in sources() {
        let name = shown(&path);
        if name != "cache/src/sled_store.rs" && name.contains("/src/") {
            assert!(!has_word(&code(&read(&path)), "sled"), "{name} names sled");
        }
    }
}

#[test]
fn libraries_are_loaded_in_one_folder() {
    for path in sources() {
        let name = shown(&path);
        if !name.starts_with("codegen/src/nvrtc/") && name.contains("/src/") {
            assert!(!has_word(&code(&read(&path)), "libloading"), "{name} names libloading");
        }
    }
}

/// Families whose cases need the same caches: their tests are in the file of the second.
const TESTED_WITH: &[(&str, &str)] = &[("kv_append", "attention"), ("attention_decode", "attention")];

/// One stem for one thing: a family's template, source, tests and goldens are found by its name.
#[test]
fn every_kernel_family_has_its_files() {
    for kernel in jet_codegen::kernel::ALL {
        let name = kernel.name();
        let tests = TESTED_WITH.iter().find(|(family, _)| *family == name).map_or(name, |(_, with)| with);
        for places in [
            [format!("codegen/src/kernel/{name}.rs"), format!("codegen/src/kernel/{name}/mod.rs")],
            [format!("codegen/cuda/{name}.cuh"), format!("codegen/cuda/{name}")],
            [format!("codegen/tests/kernels/{tests}.rs"), format!("codegen/tests/kernels/{tests}/mod.rs")],
            [format!("tests/golden/{name}"), format!("tests/golden/{name}")],
        ] {
            assert!(places.iter().any(|p| root().join(p).exists()), "{name} has no {}", places[0]);
        }
    }
}

#[test]
fn instruction_sets_are_named_in_the_simd_files() {
    for path in sources() {
        let name = shown(&path);
        // The float control register is another one on each architecture; its file has a branch that needs none.
        // The emulator asks whether a fused product is an instruction or a library call of the host.
        // A wheel is chosen for the machine that it is for.
        let exempt = [
            "runtime/src/cpu/simd/",
            "runtime/src/cpu/float_env.rs",
            "emu/src/num/f32.rs",
            "xtask/src/toolchain.rs",
        ];
        let is_test = !name.contains("/src/") || name.ends_with("/tests.rs");
        if is_test || exempt.iter().any(|e| name.starts_with(e)) {
            continue;
        }
        let clean = code(&read(&path));
        for word in ["x86_64", "target_arch", "is_x86_feature_detected", "target_feature", "_mm256", "_mm512"]
        {
            assert!(!clean.contains(word), "{name} names {word}");
        }
    }
}

#[test]
fn long_files_say_why() {
    for path in sources() {
        let text = read(&path);
        let lines = text.lines().count();
        assert!(
            lines <= LONG || text.contains(LONG_BECAUSE),
            "{} has {lines} lines; split it, or say `{LONG_BECAUSE} …` in its first comment",
            shown(&path)
        );
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for path in sources() {
        let name = shown(&path);
        // A wrong definition for the compiler's message has its say in its `.stderr`, a golden is generated, and a
        // `tests.rs` is about the file it belongs to.
        let exempt = ["tests/ui", "golden", "fixtures", "/tests.rs"];
        if exempt.iter().any(|e| name.contains(e)) {
            continue;
        }
        assert!(read(&path).starts_with("//!"), "{name} does not begin with a comment that says what it is");
    }
}

/// Paths in back quotes that look like files or folders of this repository.
fn named_paths(text: &str) -> Vec<String> {
    let rooms: BTreeSet<String> = std::fs::read_dir(root())
        .expect("the root can be read")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    let mut found = Vec::new();
    for span in text.split('`').skip(1).step_by(2) {
        let span = span.trim_end_matches('/');
        let plain = !span.is_empty()
            && span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-{},".contains(c))
            && (span.contains('/') || span.contains('.'));
        let first = span.split('/').next().unwrap_or_default();
        let is_file_name = !span.contains('/') && [".md", ".toml", ".rs"].iter().any(|e| span.ends_with(e));
        if plain
            && ((span.contains('/') && looks_like_room(first, &rooms)) || (is_file_name && !first.is_empty()))
        {
            found.extend(expand(span));
        }
    }
    found
}

/// A first path part that is a room of the house, or is written like one.
fn looks_like_room(first: &str, rooms: &BTreeSet<String>) -> bool {
    const ROOMS: &[&str] = &[
        "dsl", "macros", "codegen", "cache", "runtime", "numerics", "models", "autotune", "cli", "emu",
        "gpu", "tests", "xtask", "examples", "bench", "src", ".ci", ".cargo",
    ];
    ROOMS.contains(&first) || rooms.contains(first)
}

/// `a/{b,c}.rs` is two paths.
fn expand(path: &str) -> Vec<String> {
    match (path.find('{'), path.find('}')) {
        (Some(open), Some(close)) if open < close => path[open + 1..close]
            .split(',')
            .map(|middle| format!("{}{middle}{}", &path[..open], &path[close + 1..]))
            .collect(),
        _ => vec![path.to_owned()],
    }
}

#[test]
fn pages_for_people_name_existing_paths() {
    let mut checked = 0;
    for page in ["README.md", "ARCHITECTURE.md"] {
        let text = read(&root().join(page));
        for path in named_paths(&text) {
            // A bare file name may be one that a user has, or one of several rooms.
            if !path.contains('/') {
                continue;
            }
            assert!(root().join(&path).exists(), "{page} names `{path}`, which does not exist");
            checked += 1;
        }
    }
    assert!(
        checked >= 20,
        "only {checked} paths were found in the pages: this test looks in the wrong place"
    );
    assert_eq!(expand("a/{b,c}.rs"), ["a/b.rs", "a/c.rs"]);
}

#[test]
fn the_changelog_and_licences_are_there() {
    for file in ["CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "rust-toolchain.toml", ".ci/run"] {
        assert!(root().join(file).is_file(), "{file} is missing");
    }
}

/// Modules of a folder of entries: its files and folders but `mod.rs` and tests.
fn entries(folder: &str) -> BTreeSet<String> {
    let path = root().join(folder);
    std::fs::read_dir(&path)
        .unwrap_or_else(|e| panic!("{folder}: {e}"))
        .flatten()
        .map(|e| e.file_name().to_string_lossy().trim_end_matches(".rs").to_owned())
        .filter(|n| n != "mod" && n != "tests")
        .collect()
}

#[test]
fn every_block_kind_has_its_lowering_and_its_rules() {
    let folder = root().join("dsl/src/block");
    let is_kind = |name: &String| read(&folder.join(format!("{name}.rs"))).contains("impl BlockKind for");
    let kinds: BTreeSet<String> = entries("dsl/src/block").into_iter().filter(is_kind).collect();
    assert!(kinds.len() >= 5, "only {kinds:?} were found");
    assert_eq!(kinds, entries("codegen/src/lower"), "dsl/src/block and codegen/src/lower differ");
    let (registry, rules) = (read(&folder.join("mod.rs")), entries("dsl/src/check"));
    for kind in &kinds {
        assert!(registry.contains(&format!("{kind}::")), "dsl/src/block/mod.rs does not list {kind}");
        assert!(rules.contains(kind), "dsl/src/check has no rules for {kind}");
    }
}

#[test]
fn registries_list_their_files() {
    for (folder, registry) in [
        ("codegen/src/fuse", "codegen/src/fuse/mod.rs"),
        ("numerics/src/gguf", "numerics/src/gguf/mod.rs"),
        ("models/src/presets", "models/src/presets/mod.rs"),
        ("cli/src/check/op", "cli/src/check/op/mod.rs"),
    ] {
        let text = read(&root().join(registry));
        let all = entries(folder);
        assert!(!all.is_empty(), "{folder} has no entries");
        for entry in all {
            assert!(text.contains(&format!("mod {entry};")), "{registry} does not list {entry}");
            let uses = text.matches(&format!("{entry}::")).count();
            assert!(uses > 0, "{registry} has no line for {entry}");
        }
    }
}

#[test]
fn every_op_of_the_check_has_vectors() {
    // The folders hold a case of each op; cases of a GGUF file are in a folder of their own.
    let mut seen = BTreeSet::new();
    for path in files(&jet_tests::vectors(""), ".safetensors") {
        let file = jet_models::weights::Safetensors::open(&path).expect("a vector file can be read");
        seen.extend(file.metadata().get("op").cloned());
    }
    for check in jet_cli::check::op::ALL {
        assert!(seen.contains(check.op), "no vector file is a case of `{}`", check.op);
    }
}

#[test]
fn the_project_speaks_of_itself_only() {
    // Words of other machines and of the places where code is written have no business in a committed file.
    let banned = [
        "/root/",
        "/home/",
        "/tmp/",
        "/work/",
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    for path in sources() {
        let name = shown(&path);
        let text = read(&path);
        for word in banned {
            assert!(!text.contains(word) || name == "tests/tests/tidy.rs", "{name} contains `{word}`");
        }
    }
}
