//! Places through which knowledge travels: a location in memory that is released and acquired, a barrier.

use std::collections::VecDeque;

use super::clock::{SharedClock, View};
use super::types::Scope;

/// Where a thread is, as far as scopes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) cta: u32,
    pub(super) cluster: u32,
}

impl Place {
    /// The narrowest scope that holds both.
    pub(super) fn reach(self, other: Place) -> Scope {
        if self.cta == other.cta {
            Scope::Cta
        } else if self.cluster == other.cluster {
            Scope::Cluster
        } else {
            Scope::Gpu
        }
    }
}

/// What was seen at a location, by how far away it came from.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    /// From the CTA, the cluster, elsewhere.
    from: [View; 3],
    /// What scopes kept away.
    refused: SharedClock,
}

impl Observed {
    pub(super) fn join(&mut self, other: &Observed) {
        for (mine, theirs) in self.from.iter_mut().zip(&other.from) {
            mine.join(theirs);
        }
        self.refused.join(&other.refused);
    }

    /// What an acquire of a scope gets of it.
    pub(super) fn up_to(&self, scope: Scope) -> View {
        let mut view = View::default();
        let mut refused = self.refused.clone();
        for (reach, from) in [Scope::Cta, Scope::Cluster, Scope::Gpu].into_iter().zip(&self.from) {
            if reach <= scope {
                view.join(from);
            } else {
                refused.join(&from.order);
            }
        }
        if !refused.is_empty() {
            view.rare_mut().wide.join(&refused);
        }
        view
    }

    /// Adds to what came from near.
    pub(super) fn learn_phase(&mut self, cta: u32, index: u32, phase: u32) {
        self.from[0].order.raise_phase(cta, index, phase);
    }
}

#[derive(Debug, Clone)]
struct Release {
    place: Place,
    scope: Scope,
    view: View,
}

/// The releases that a read of a location's value sees.
#[derive(Debug, Clone, Default)]
pub(super) struct Location {
    releases: Vec<Release>,
    /// All of device scope or wider, joined.
    device: View,
    /// Whether some of device scope are only in `device`.
    forgot: bool,
}

/// Releases that are told apart by CTA.
const MOST_RELEASES: usize = 256;

impl Location {
    /// Adds a release.
    pub(super) fn release(&mut self, place: Place, scope: Scope, view: &View) {
        let scope = scope.min(Scope::Gpu);
        if scope == Scope::Gpu {
            self.device.join(view);
        }
        match self.releases.iter_mut().find(|r| r.place == place && r.scope == scope) {
            Some(release) => release.view.join(view),
            None => {
                if self.releases.len() >= MOST_RELEASES {
                    self.releases.retain(|r| r.scope < Scope::Gpu);
                    self.forgot = true;
                }
                self.releases.push(Release { place, scope, view: view.clone() });
            }
        }
    }

    /// What a read of scope `scope` sees, by distance.
    pub(super) fn observe(&self, place: Place, scope: Scope) -> Observed {
        let mut seen = Observed::default();
        for release in &self.releases {
            let reach = release.place.reach(place);
            if reach <= scope.min(release.scope) {
                if reach < Scope::Gpu {
                    seen.from[reach as usize].join(&release.view);
                }
            } else {
                seen.refused.join(&release.view.order);
                if let Some(rare) = &release.view.rare {
                    seen.refused.join(&rare.wide);
                }
            }
        }
        if scope >= Scope::Gpu || self.forgot {
            seen.from[2].join(&self.device);
        }
        if self.forgot && scope < Scope::Gpu {
            seen.from[0].join(&self.device);
        }
        seen
    }

    /// What an acquire of scope `scope` gets.
    pub(super) fn acquire(&self, place: Place, scope: Scope) -> View {
        self.observe(place, scope).up_to(scope)
    }

    /// Adds all releases of another.
    pub(super) fn join(&mut self, other: &Location) {
        for release in &other.releases {
            self.release(release.place, release.scope, &release.view);
        }
        self.device.join(&other.device);
        self.forgot |= other.forgot;
    }

    /// Forgets all releases.
    pub(super) fn clear(&mut self) {
        *self = Location::default();
    }

    /// Everything released, whatever its scope.
    pub(super) fn everything(&self) -> View {
        let mut view = self.device.clone();
        for release in &self.releases {
            view.join(&release.view);
        }
        view
    }
}

/// What arrivals of a barrier gave away, by generation.
#[derive(Debug, Default)]
pub(super) struct Generations {
    recent: VecDeque<(u64, View)>,
    /// All older ones, together.
    older: View,
}

/// Generations that are told apart: a warp mostly leaves one before the next is complete.
const MOST_GENERATIONS: usize = 8;

impl Generations {
    pub(super) fn arrive(&mut self, generation: u64, view: &View) {
        match self.recent.iter_mut().find(|g| g.0 == generation) {
            Some((_, known)) => known.join(view),
            None => {
                if self.recent.len() >= MOST_GENERATIONS
                    && let Some((_, oldest)) = self.recent.pop_front()
                {
                    self.older.join(&oldest);
                }
                self.recent.push_back((generation, view.clone()));
            }
        }
    }

    pub(super) fn get(&self, generation: u64) -> &View {
        self.recent.iter().find(|g| g.0 == generation).map_or(&self.older, |g| &g.1)
    }
}
