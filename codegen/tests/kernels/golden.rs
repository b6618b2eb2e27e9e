//! The sources of the named problems, as committed: a change of output is part of the review.

use crate::families;
use jet_codegen::arch;
use std::path::PathBuf;

/// Architectures whose sources are kept; the others differ in their names only.
const KEPT: [&str; 2] = ["sm_80", "sm_90a"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

#[test]
fn sources_are_the_committed_ones() {
    let bless = std::env::var_os("JET_BLESS").is_some();
    let mut wrong = Vec::new();
    for (kernel, family) in families() {
        for (name, problem) in family.goldens() {
            for arch in KEPT.map(|a| arch::parse(a).expect("it is a row")) {
                let Ok(values) = kernel.default_for(&problem, arch) else { continue };
                let source = kernel.emit(&problem, &values, arch).expect("the default is legal").text;
                let again = kernel.emit(&problem, &values, arch).expect("the default is legal").text;
                assert_eq!(source, again, "{problem} is not the same twice");
                let file = folder().join(kernel.name()).join(format!("{name}.{arch}.cu"));
                if bless {
                    std::fs::create_dir_all(file.parent().expect("it is in a folder"))
                        .expect("the folder is ours");
                    std::fs::write(&file, &source).expect("the golden can be written");
                } else if std::fs::read_to_string(&file).ok().as_deref() != Some(&source) {
                    wrong.push(file.display().to_string());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "these sources changed (cargo xtask bless accepts them): {wrong:#?}");
}
