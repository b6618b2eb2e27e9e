//! Templates cut into items.
//!
//! A line `//@ name other_name` begins an item that declares these names; it goes to the next such line. What an item
//! needs is found by reading it: every identifier that is the name of another item. Items are printed in the order of
//! the files, so each may use only what stands before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// The tile primitives, in the order they are printed.
const TILES: &[(&str, &str)] = &[
    ("types", include_str!("../../cuda/tile/types.cuh")),
    ("batch", include_str!("../../cuda/tile/batch.cuh")),
    ("math", include_str!("../../cuda/tile/math.cuh")),
    ("memory", include_str!("../../cuda/tile/memory.cuh")),
    ("reduce", include_str!("../../cuda/tile/reduce.cuh")),
    ("scan", include_str!("../../cuda/tile/scan.cuh")),
    ("shared", include_str!("../../cuda/tile/shared.cuh")),
    ("cluster", include_str!("../../cuda/tile/cluster.cuh")),
    ("copy", include_str!("../../cuda/tile/copy.cuh")),
    ("matrix", include_str!("../../cuda/tile/matrix.cuh")),
    ("mma", include_str!("../../cuda/tile/mma.cuh")),
    ("softmax", include_str!("../../cuda/tile/softmax.cuh")),
    ("pipeline", include_str!("../../cuda/tile/pipeline.cuh")),
    ("tma", include_str!("../../cuda/tile/tma.cuh")),
    ("wgmma", include_str!("../../cuda/tile/wgmma.cuh")),
];

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The file's stem.
    pub file: &'static str,
    /// What it declares.
    pub names: Vec<&'static str>,
    /// Its text, without the line that begins it.
    pub text: &'static str,
    /// The different identifiers of its text.
    words: BTreeSet<&'static str>,
}

/// The items of a file.
pub fn items(file: &'static str, text: &'static str) -> Vec<Item> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(at) = item_start(rest) {
        let line_end = rest[at..].find('\n').map_or(rest.len(), |n| at + n);
        let names = rest[at + MARK.len()..line_end].split_whitespace().collect();
        let body = &rest[line_end..];
        let len = item_start(body).unwrap_or(body.len());
        let text = body[..len].trim_matches('\n');
        all.push(Item { file, names, text, words: identifiers(text).into_iter().collect() });
        rest = &body[len..];
    }
    all
}

const MARK: &str = "//@ ";

/// Where the next item begins: the mark at the start of a line.
fn item_start(text: &str) -> Option<usize> {
    if text.starts_with(MARK) { Some(0) } else { text.find(&format!("\n{MARK}")).map(|n| n + 1) }
}

/// All tile primitives.
pub fn tiles() -> &'static [Item] {
    static ITEMS: OnceLock<Vec<Item>> = OnceLock::new();
    ITEMS.get_or_init(|| TILES.iter().flat_map(|(file, text)| items(file, text)).collect())
}

/// Those of `items` that `roots` reach, in order. `roots` are names of items, or texts that use them.
pub fn reached<'a>(items: &'a [Item], roots: &[&str]) -> Vec<&'a Item> {
    let by_name: BTreeMap<&str, usize> =
        items.iter().enumerate().flat_map(|(i, item)| item.names.iter().map(move |n| (*n, i))).collect();
    let (mut taken, mut waiting) = (BTreeSet::new(), Vec::new());
    let mut take = |word: &str, waiting: &mut Vec<usize>| {
        let found = by_name.get(word).filter(|i| taken.insert(**i));
        waiting.extend(found);
    };
    roots.iter().flat_map(|root| identifiers(root)).for_each(|word| take(word, &mut waiting));
    while let Some(i) = waiting.pop() {
        items[i].words.iter().for_each(|word| take(word, &mut waiting));
    }
    taken.into_iter().map(|i| &items[i]).collect()
}

/// The identifiers of a text, comments apart.
pub fn identifiers(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let code = |line: &'_ str| line.find("//").unwrap_or(line.len());
    text.lines()
        .flat_map(|l| l[..code(l)].split(move |c: char| !is_word(c)))
        .filter(|w| !w.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_needs_only_what_stands_before_it() {
        let all = tiles();
        let mut known = BTreeSet::new();
        for (i, item) in all.iter().enumerate() {
            let own: BTreeSet<&str> = item.names.iter().copied().collect();
            for word in identifiers(item.text) {
                let later = all[i + 1..].iter().find(|o| o.names.contains(&word));
                assert!(
                    later.is_none() || own.contains(word) || known.contains(word),
                    "`{word}` of {} is used in `{}` and declared after it",
                    later.map_or("", |o| o.file),
                    item.names.join(" ")
                );
            }
            for name in own {
                assert!(known.insert(name), "`{name}` is declared twice");
                let whole = identifiers(item.text);
                assert!(whole.contains(&name), "the item `{name}` does not declare it");
            }
        }
    }

    #[test]
    fn what_is_reached_comes_once_and_in_order() {
        const TEXT: &str = "about the file\n//@ a\nint a();\n//@ b b2\nint b() { return a(); }\nint b2();\n\
                            //@ c\n// not a\nint c() { return b(); }\n//@ d\nint d();\n";
        let all = items("f", TEXT);
        let names = |roots: &[&str]| -> Vec<Vec<&str>> {
            reached(&all, roots).into_iter().map(|i| i.names.clone()).collect()
        };
        assert_eq!(names(&["c"]), [vec!["a"], vec!["b", "b2"], vec!["c"]]);
        assert_eq!(names(&["x = d() + b2();"]), [vec!["a"], vec!["b", "b2"], vec!["d"]]);
        assert_eq!(all[2].text, "// not a\nint c() { return b(); }");
    }
}
