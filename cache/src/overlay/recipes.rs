//! The recipes of models in the overlay. Sessions read them, so each commit writes the snapshot anew, too.

use super::Overlay;
use crate::contents::Contents;
use crate::envelope::Stored as _;
use crate::error::CacheError;
use crate::key::StoreKey;
use crate::merge::{keep_greater, rank_of_recipe};
use crate::recipe::{RecipeKey, StoredRecipe};
use std::collections::BTreeMap;

impl Overlay {
    /// Stores the recipe of a model in place of an older one.
    ///
    /// # Errors
    /// [`CacheError::InvalidEntry`]; [`CacheError::Store`] and [`CacheError::NotWritable`] where the disk does not take it.
    pub fn keep_recipe(&mut self, recipe: StoredRecipe) -> Result<(), CacheError> {
        self.put_recipes(vec![recipe])
    }

    /// The recipe under `key`.
    pub fn recipe(&self, key: &RecipeKey) -> Option<&StoredRecipe> {
        self.recipes.get(&key.store_key())
    }

    /// All recipes in store order.
    pub fn recipes(&self) -> impl ExactSizeIterator<Item = &StoredRecipe> {
        self.recipes.values()
    }

    /// Takes in those recipes that are not here, or are later than what is here; says how many.
    pub(super) fn import_recipes(
        &mut self,
        arrivals: impl Iterator<Item = StoredRecipe>,
    ) -> Result<usize, CacheError> {
        let (mut all, mut chosen) = (self.recipes.clone(), Vec::new());
        for recipe in arrivals {
            if keep_greater(&mut all, recipe.place(), recipe.clone(), rank_of_recipe)? {
                chosen.push(recipe);
            }
        }
        let count = chosen.len();
        if count > 0 {
            self.put_recipes(chosen)?;
        }
        Ok(count)
    }

    /// Reads the recipes from the store at opening; those that it has lost come from the snapshot. Says whether the
    /// snapshot had them all.
    pub(super) fn read_recipes(
        &mut self,
        snapshot: BTreeMap<StoreKey, StoredRecipe>,
    ) -> Result<bool, CacheError> {
        let mut all = Contents::default();
        self.add_extras(&mut all);
        let complete = all.recipes == snapshot;
        self.recipes = all.recipes;
        let lost: Vec<_> = snapshot.into_iter().filter(|(key, _)| !self.recipes.contains_key(key)).collect();
        let mut sealed = Vec::with_capacity(lost.len());
        for (key, recipe) in &lost {
            sealed.push((*key, recipe.encode()?));
        }
        self.put_sealed_extras(&sealed)?;
        self.recipes.extend(lost);
        Ok(complete)
    }

    fn put_recipes(&mut self, recipes: Vec<StoredRecipe>) -> Result<(), CacheError> {
        let mut sealed = Vec::with_capacity(recipes.len());
        for recipe in &recipes {
            sealed.push((recipe.place(), recipe.encode()?));
        }
        self.recipes.extend(recipes.into_iter().map(|recipe| (recipe.place(), recipe)));
        let stored = self.put_sealed_extras(&sealed);
        // The snapshot is written even where the store fails: it alone brings the recipes to the sessions.
        self.export_snapshot()?;
        stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::sample;
    use crate::folders::Layout;
    use crate::lookup::{Mode, ScheduleCache};
    use crate::recipe::tests::recipe;
    use std::path::Path;

    fn open(folder: &Path) -> Overlay {
        let overlay = Overlay::open(folder, "0.1.0").unwrap();
        assert!(overlay.notices().is_empty(), "{:?}", overlay.notices());
        overlay
    }

    #[test]
    fn a_session_finds_what_was_kept_and_the_next_opening_too() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).keep_recipe(recipe("m")).unwrap();
        let found = |name| ScheduleCache::open(folder.path(), Mode::Default).recipe(&recipe(name).key);
        assert_eq!((found("m"), found("n")), (Some(recipe("m")), None));
        let mut overlay = open(folder.path());
        assert_eq!(overlay.recipe(&recipe("m").key), Some(&recipe("m")));
        // A commit of schedules keeps the recipes in the snapshot.
        overlay.commit(sample(64, 8)).unwrap();
        assert_eq!(found("m"), Some(recipe("m")));
    }

    #[test]
    fn store_and_snapshot_mend_each_other() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).keep_recipe(recipe("m")).unwrap();
        let layout = Layout::of(folder.path());
        let snapshot = std::fs::read(&layout.snapshot).unwrap();
        std::fs::remove_file(&layout.snapshot).unwrap();
        assert_eq!(open(folder.path()).recipes().len(), 1);
        assert!(layout.snapshot.exists());
        std::fs::remove_dir_all(&layout.store).unwrap();
        std::fs::write(&layout.snapshot, snapshot).unwrap();
        assert_eq!(open(folder.path()).recipes().len(), 1);
        std::fs::remove_file(&layout.snapshot).unwrap();
        assert_eq!(open(folder.path()).recipes().len(), 1, "the store has it again");
    }

    #[test]
    fn the_later_of_two_recipes_is_kept() {
        let mut overlay = Overlay::in_memory("0.1.0");
        overlay.keep_recipe(recipe("m")).unwrap();
        let mut later = recipe("m");
        (later.provenance.time, later.evidence.kl) = (later.provenance.time + 1, 0.0);
        assert_eq!(overlay.import_recipes([later.clone(), recipe("n")].into_iter()).unwrap(), 2);
        assert_eq!(overlay.import_recipes([recipe("m"), recipe("n")].into_iter()).unwrap(), 0);
        assert_eq!(overlay.recipe(&later.key), Some(&later));
        assert_eq!(overlay.recipes().len(), 2);
    }
}
