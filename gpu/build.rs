//! Takes the cases of the kernel tests in: whatever family has them there is checked on a GPU, without a line here.
#![allow(clippy::unwrap_used, reason = "a build script fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;

/// The lints that the tests' own root allows them.
const ALLOWED: &str =
    "#[allow(dead_code, unused_imports, unreachable_pub, missing_docs, clippy::unwrap_used)]";
/// What the files ask their root for.
const ROOT: &str = "/// The compiler, if there is one.
#[allow(dead_code)]
pub(crate) fn nvrtc(_test: &str) -> Option<&'static jet_codegen::nvrtc::Nvrtc> {
    jet_codegen::nvrtc::Nvrtc::get().ok()
}";

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../codegen/tests/kernels");
    let folder = folder.canonicalize().expect("the kernel tests lie beside this crate");
    println!("cargo:rerun-if-changed={}", folder.display());
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    let mut out = String::new();
    let list = main.split("const FAMILIES").nth(1).expect("the tests list their families");
    let list = &list[list.find('=').unwrap()..list.find(';').unwrap() + 1];
    for line in main.lines() {
        let Some(name) = line.strip_prefix("mod ").and_then(|l| l.strip_suffix(';')) else { continue };
        let path = [format!("{name}.rs"), format!("{name}/mod.rs")].map(|f| folder.join(f));
        let path = path.into_iter().find(|p| p.is_file()).expect("a module has a file");
        let text = std::fs::read_to_string(&path).unwrap();
        // What has a family's cases is wanted, and what helps; a file of tests alone is not.
        let of_a_family = list.contains(&format!("&{name}::"));
        if of_a_family || !text.contains("#[test]") {
            writeln!(out, "{ALLOWED}\n#[path = {path:?}]\npub mod {name};").unwrap();
        }
    }
    writeln!(out, "/// The cases of every family.\npub const FAMILIES: &[&dyn case::Family] {list}").unwrap();
    writeln!(out, "{ROOT}").unwrap();
    std::fs::write(Path::new(&std::env::var_os("OUT_DIR").unwrap()).join("families.rs"), out).unwrap();
}
