//! The page that says which forms there are: made from the tables that decoding matches against.

use std::fmt::Write as _;

use super::FAMILIES;
use super::form::{Need, Status};

/// The page, as Markdown.
pub fn page() -> String {
    let mut text = String::from(HEAD);
    let all = || FAMILIES.iter().flat_map(|f| f.forms.iter());
    let count = |f: fn(&Status) -> bool| all().filter(|form| f(&form.status)).count();
    let _ = writeln!(
        text,
        "\n{} lines: {} supported, {} deviating, {} refused.",
        all().count(),
        count(|s| matches!(s, Status::Supported)),
        count(|s| matches!(s, Status::Deviating(_))),
        count(|s| matches!(s, Status::Error(_)))
    );
    for family in FAMILIES {
        let _ = writeln!(text, "\n## {}\n\n| form | from | status |\n|---|---|---|", family.name);
        for form in family.forms {
            let need = match form.need {
                Need::Sm(n) => format!("sm_{n}"),
                only @ Need::Only(_) => only.to_string(),
            };
            let status = match form.status {
                Status::Supported => "supported".to_owned(),
                Status::Error(why) => format!("**error**: {why}"),
                Status::Deviating(how) => format!("deviating: {how}"),
            };
            let _ = writeln!(text, "| `{}` | {need} | {status} |", form.pattern);
        }
    }
    text
}

const HEAD: &str = "# Instruction forms\n\n\
Generated from the tables in `emu/src/isa/`; `JET_BLESS=1 cargo test -p jet-emu coverage` writes it anew.\n\n\
A bare word must be there, `{a,b}` takes exactly one of its words, `[a,b]` at most one; `*` stands for the rest of a\n\
word, `**` for any words. The order of the words is free. \"From\" is the first target that has the form, or the only\n\
ones, with the suffix `a` or `f`.\n";

#[cfg(test)]
mod tests {
    #[test]
    fn coverage_page_is_what_the_tables_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/coverage.md");
        let page = super::page();
        if std::env::var_os("JET_BLESS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"))
                .expect("the folder can be made");
            std::fs::write(path, &page).expect("the page can be written");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == page, "emu/docs/coverage.md is not what the tables say; JET_BLESS=1 writes it");
    }
}
