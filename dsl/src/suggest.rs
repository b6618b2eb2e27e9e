//! "Did you mean …?": the nearest known word to one that is not known.

/// The candidate that `word` was probably meant to be: nearest by edit distance (a swap of two neighbours
/// counts once), or one that contains the word. `None` if nothing is near enough to be worth saying.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody means a known name with a word of this length, and the table below is quadratic.
    if word.is_empty() || word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    let near = (word.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let plain = candidate.to_lowercase();
        let distance = distance(&word, &plain);
        // `heads` for `n_heads`, `window_size` for `window`: rarely within the distance, yet plainly meant.
        let part = word.len().min(plain.len()) >= 3 && (plain.contains(&*word) || word.contains(&*plain));
        // At equal length of the difference, containing the word is the better sign.
        let rank = match (part, distance <= near) {
            (true, _) => 2 * word.len().abs_diff(plain.len()),
            (false, true) => 2 * distance + 1,
            (false, false) => continue,
        };
        if best.is_none_or(|(r, _)| rank < r) {
            best = Some((rank, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let at = |i: usize, j: usize| i * width + j;
            table[at(i, j)] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[at(i - 1, j - 1)] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(table[at(i - 1, j)] + 1).min(table[at(i, j - 1)] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(table[at(i - 2, j - 2)] + 1);
                }
                least
            };
        }
    }
    table[a.len() * width + b.len()]
}

/// `a`, `a or b`, `a, b or c`, each in backticks.
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "or")
}

/// `a`, `a and b`, `a, b and c`, each in backticks.
pub fn all_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "and")
}

fn listed<'a>(words: impl IntoIterator<Item = &'a str>, joint: &str) -> String {
    let quoted: Vec<String> = words.into_iter().map(|w| format!("`{w}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} {joint} {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 5] = ["n_heads", "n_kv_heads", "d_head", "window", "rope"];

    #[test]
    fn finds_typing_mistakes() {
        assert_eq!(closest("n_haeds", FIELDS), Some("n_heads"));
        assert_eq!(closest("heads", FIELDS), Some("n_heads"));
        assert_eq!(closest("kv_heads", FIELDS), Some("n_kv_heads"));
        assert_eq!(closest("window_size", FIELDS), Some("window"));
        assert_eq!(closest("Rope", FIELDS), Some("rope"));
    }

    #[test]
    fn stays_silent_when_nothing_is_near() {
        assert_eq!(closest("temperature", FIELDS), None);
        assert_eq!(closest("", FIELDS), None);
        assert_eq!(closest(&"n".repeat(100_000), FIELDS), None);
    }

    #[test]
    fn measures_swaps_as_one() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn lists_words() {
        assert_eq!(one_of(["a"]), "`a`");
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(all_of(["a", "b"]), "`a` and `b`");
    }
}
