//! Identifiers in generated sources: the names of schedules, sizes and roles, in the spelling of the language.

/// `tile_m` as `TileM`.
pub fn camel(name: &str) -> String {
    let word = |w: &str| {
        let mut chars = w.chars();
        chars.next().map(|c| c.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
    };
    name.split('_').map(word).collect()
}

/// The constant of a size or a schedule parameter: `kTileM`.
pub fn constant(name: &str) -> String {
    format!("k{}", camel(name))
}

/// The element type of a role: `StateType`.
pub fn element_type(role: &str) -> String {
    format!("{}Type", camel(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_words() {
        assert_eq!(constant("tile_m"), "kTileM");
        assert_eq!(constant("width"), "kWidth");
        assert_eq!(element_type("k_cache"), "KCacheType");
    }
}
