//! From what a person types to a task: the beginning of its short name, or a part of its label.

use crate::entry::Entry;
use crate::error::CacheError;

/// Whether `wanted` names this entry: its short name begins so, or its label contains it.
pub fn is_named(entry: &Entry, wanted: &str) -> bool {
    entry.key.short_id().starts_with(wanted) || entry.key.label().contains(wanted)
}

/// The one entry that `wanted` names. A label or short name that is given in full names its task alone, even where it
/// is the beginning of another's.
///
/// # Errors
/// [`CacheError::NoSuchTask`] where there is none, or more than one.
pub fn the_one<T: AsRef<Entry>>(entries: impl IntoIterator<Item = T>, wanted: &str) -> Result<T, CacheError> {
    let mut found: Vec<T> = entries.into_iter().filter(|e| is_named(e.as_ref(), wanted)).collect();
    let exact = |e: &T| e.as_ref().key.short_id() == wanted || e.as_ref().key.label() == wanted;
    if found.iter().filter(|e| exact(e)).count() == 1 {
        found.retain(exact);
    }
    let first = found.pop();
    match (first, found.len()) {
        (Some(only), 0) => Ok(only),
        (Some(last), more) => {
            let names: Vec<String> =
                found.iter().chain([&last]).take(3).map(|e| e.as_ref().key.short_id()).collect();
            let reason = format!("{} tasks are called {wanted:?} ({}, …)", more + 1, names.join(", "));
            Err(CacheError::NoSuchTask { reason })
        }
        (None, _) => Err(CacheError::NoSuchTask { reason: format!("no stored task is called {wanted:?}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::sample;
    use std::sync::Arc;

    #[test]
    fn a_task_is_found_by_short_name_or_label_if_it_is_the_only_one() {
        let all = [1, 16, 161].map(|tokens| Arc::new(sample(tokens, 8)));
        let find = |wanted: &str| the_one(all.clone(), wanted).map(|e| e.key.store_key().bucket());
        assert_eq!(find(&all[1].key.short_id()[..8]).unwrap(), 16);
        assert_eq!(find(&all[1].key.label()).unwrap(), 16);
        assert_eq!(find("tokens=161").unwrap(), 161);
        let many = find("gemm").unwrap_err().to_string();
        assert!(many.contains("3 tasks are called \"gemm\"") && many.contains("jet-tune show"), "{many}");
        assert!(find("scan").unwrap_err().to_string().contains("no stored task is called \"scan\""));
    }
}
