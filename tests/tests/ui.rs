//! Wrong definitions with their messages, word for word, as rustc shows them (`tests/ui/*.rs` with `.stderr`
//! beside each). What compiles is in `every_part.rs`: a case that passes would make this suite build the whole
//! workspace a second time instead of checking it.
//!
//! rustc's own wording moves from version to version, so these tests speak for the pinned toolchain only.
//! `TRYBUILD=overwrite` accepts new messages.

#[test]
fn wrong_definitions_say_what_is_wrong() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
    let wrong = std::fs::read_dir("ui").expect("the folder is there");
    let wrong = wrong.filter(|e| e.as_ref().is_ok_and(|e| e.path().extension().is_some_and(|x| x == "rs")));
    assert!(wrong.count() >= 30, "there must be enough of them");
}
