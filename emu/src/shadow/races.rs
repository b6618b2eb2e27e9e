//! What was found, each pair of instructions once.

use std::collections::HashMap;

use super::types::{Class, Race};

type Key = (Class, Option<u32>, u32);

/// Races by class and sites.
#[derive(Debug, Default)]
pub(super) struct Races {
    most: usize,
    /// Races, and how many of each are told.
    list: Vec<(Race, u64)>,
    index: HashMap<Key, usize>,
    fresh: usize,
}

impl Races {
    pub(super) fn new(most: usize) -> Self {
        Races { most, ..Races::default() }
    }

    pub(super) fn add(&mut self, race: Race) {
        let key = (race.class, race.first.map(|p| p.site), race.second.site);
        match self.index.get(&key) {
            Some(&i) => self.list[i].0.count += race.count,
            None if self.list.len() < self.most => {
                self.index.insert(key, self.list.len());
                self.list.push((race, 0));
                self.fresh += 1;
            }
            None => {}
        }
    }

    pub(super) fn any(&self) -> bool {
        self.fresh > 0
    }

    pub(super) fn take(&mut self) -> Vec<Race> {
        let start = self.list.len() - self.fresh;
        self.fresh = 0;
        let fresh = self.list[start..].iter_mut();
        fresh
            .map(|(race, told)| {
                *told = race.count;
                *race
            })
            .collect()
    }

    pub(super) fn take_repeats(&mut self) -> Vec<(Class, Option<u32>, u32, u64)> {
        let told = self.list.len() - self.fresh;
        let more = self.list[..told].iter_mut().filter(|(race, told)| race.count > *told);
        more.map(|(race, told)| {
            let new = race.count - *told;
            *told = race.count;
            (race.class, race.first.map(|p| p.site), race.second.site, new)
        })
        .collect()
    }
}
