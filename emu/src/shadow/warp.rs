//! What the lanes of a warp know.

use super::clock::{SharedClock, Ticks, View};
use super::location::Observed;
use super::types::Scope;

/// What each lane did up to now, which it knows without being told.
#[derive(Debug, Clone)]
pub(super) struct Own {
    /// The CTA.
    pub(super) cta: u32,
    /// The warp.
    pub(super) warp: u32,
    /// The tick that accesses get now.
    pub(super) tick: u32,
    /// Up to where each lane's accesses are fenced for the async proxy.
    pub(super) fenced: Ticks,
    /// Up to where its initialisations of mbarriers are fenced.
    pub(super) init: Ticks,
    /// Up to where a release of the tensormap proxy covers its accesses.
    pub(super) map_released: Ticks,
    /// Up to where an acquire of the tensormap proxy covers them.
    pub(super) map_acquired: Ticks,
}

impl Own {
    /// What others may know when these lanes, which know `view`, release.
    fn publish(&self, mut view: View, lanes: u32) -> View {
        let (cta, warp) = (self.cta, self.warp);
        view.order.raise(cta, warp, lanes, self.tick);
        if self.fenced.high() > 0 {
            view.fenced.raise_by_lane(cta, warp, &self.fenced.only(lanes));
        }
        if self.init.high().max(self.map_released.high()) > 0 {
            let rare = view.rare_mut();
            rare.init.raise_by_lane(cta, warp, &self.init.only(lanes));
            rare.map_released.raise_by_lane(cta, warp, &self.map_released.only(lanes));
            rare.map_acquired.raise_by_lane(cta, warp, &self.map_acquired.only(lanes));
        }
        view
    }
}

/// Lanes that know the same.
#[derive(Debug, Clone)]
pub(super) struct LaneGroup {
    pub(super) lanes: u32,
    pub(super) view: View,
}

/// What lanes knew at a fence: what a later strong write of theirs gives away.
#[derive(Debug, Clone)]
struct Fence {
    lanes: u32,
    scope: Scope,
    view: View,
    own: Own,
}

/// A warp.
#[derive(Debug, Clone)]
pub(super) struct WarpState {
    pub(super) own: Own,
    /// Together all 32 lanes.
    pub(super) groups: Vec<LaneGroup>,
    fences: Vec<Fence>,
    /// What relaxed reads saw, by lanes.
    observed: Vec<(u32, Observed)>,
}

impl WarpState {
    pub(super) fn new(cta: u32, warp: u32) -> Self {
        let none = Ticks::default();
        WarpState {
            own: Own {
                cta,
                warp,
                tick: 1,
                fenced: none.clone(),
                init: none.clone(),
                map_released: none.clone(),
                map_acquired: none,
            },
            groups: vec![LaneGroup { lanes: u32::MAX, view: View::default() }],
            fences: Vec::new(),
            observed: Vec::new(),
        }
    }

    /// Ends what has been given away: later accesses are not part of it.
    pub(super) fn advance(&mut self) {
        self.own.tick = self.own.tick.saturating_add(1);
    }

    /// What lanes know, their own accesses included; [`WarpState::advance`] must follow before their next access.
    pub(super) fn publish(&self, lanes: u32) -> View {
        self.own.publish(self.known(lanes), lanes)
    }

    /// What lanes know of others.
    pub(super) fn known(&self, lanes: u32) -> View {
        let mut groups = self.groups.iter().filter(|g| g.lanes & lanes != 0);
        let mut view = groups.next().map_or_else(View::default, |g| g.view.clone());
        for group in groups {
            view.join(&group.view);
        }
        view
    }

    /// Changes what lanes know, group by group.
    pub(super) fn change(&mut self, lanes: u32, mut change: impl FnMut(&mut View)) {
        for i in 0..self.groups.len() {
            let hit = self.groups[i].lanes & lanes;
            if hit == 0 {
                continue;
            }
            if hit == self.groups[i].lanes {
                change(&mut self.groups[i].view);
            } else {
                let mut view = self.groups[i].view.clone();
                self.groups[i].lanes &= !hit;
                change(&mut view);
                self.groups.push(LaneGroup { lanes: hit, view });
            }
        }
        self.merge();
    }

    /// Lanes learn.
    pub(super) fn learn(&mut self, lanes: u32, what: &View) {
        self.change(lanes, |view| view.join(what));
    }

    fn merge(&mut self) {
        let mut i = 0;
        while i < self.groups.len() {
            let mut j = i + 1;
            while j < self.groups.len() {
                if self.groups[i].view.same(&self.groups[j].view) {
                    self.groups[i].lanes |= self.groups.swap_remove(j).lanes;
                } else {
                    j += 1;
                }
            }
            i += 1;
        }
    }

    /// All of some lanes learn what all of them know.
    pub(super) fn sync(&mut self, lanes: u32) {
        let all = self.publish(lanes);
        self.advance();
        self.change(lanes, |view| *view = all.clone());
    }

    /// Remembers a fence's releasing half.
    pub(super) fn fence_release(&mut self, lanes: u32, scope: Scope) {
        for fence in self.fences.iter_mut().filter(|f| f.scope <= scope) {
            fence.lanes &= !lanes;
        }
        self.fences.retain(|f| f.lanes != 0);
        for group in self.groups.iter().filter(|g| g.lanes & lanes != 0) {
            let (view, own) = (group.view.clone(), self.own.clone());
            self.fences.push(Fence { lanes: group.lanes & lanes, scope, view, own });
        }
        self.advance();
    }

    /// Whether a strong write of these lanes gives away what they knew at a fence.
    pub(super) fn has_fence(&self, lanes: u32) -> bool {
        self.fences.iter().any(|f| f.lanes & lanes != 0)
    }

    /// What a strong write of scope `scope` gives away by fences before it.
    pub(super) fn fenced_before(&self, lanes: u32, scope: Scope) -> impl Iterator<Item = (Scope, View)> {
        let hit = self.fences.iter().filter(move |f| f.lanes & lanes != 0);
        hit.map(move |f| (f.scope.min(scope), f.own.publish(f.view.clone(), f.lanes & lanes)))
    }

    /// Remembers what a relaxed read saw, for a fence to come.
    pub(super) fn observe(&mut self, lanes: u32, seen: &Observed) {
        for i in 0..self.observed.len() {
            let hit = self.observed[i].0 & lanes;
            if hit != 0 && hit != self.observed[i].0 {
                self.observed[i].0 &= !hit;
                let rest = self.observed[i].1.clone();
                self.observed.push((hit, rest));
            }
        }
        let mut new = lanes;
        for (mask, list) in self.observed.iter_mut().filter(|o| o.0 & lanes != 0) {
            new &= !*mask;
            list.join(seen);
        }
        if new != 0 {
            self.observed.push((new, seen.clone()));
        }
    }

    /// A fence's acquiring half: lanes learn what their relaxed reads saw, as far as the scope reaches.
    pub(super) fn fence_acquire(&mut self, lanes: u32, scope: Scope) {
        if self.observed.is_empty() {
            return;
        }
        let seen = std::mem::take(&mut self.observed);
        for (mask, list) in &seen {
            if mask & lanes != 0 {
                let view = list.up_to(scope);
                self.learn(mask & lanes, &view);
            }
        }
        if scope < Scope::Gpu {
            self.observed = seen;
        } else {
            self.observed = seen.into_iter().map(|(m, o)| (m & !lanes, o)).filter(|(m, _)| *m != 0).collect();
        }
    }

    /// `fence.proxy.async`.
    pub(super) fn fence_async(&mut self, lanes: u32) {
        let tick = self.own.tick;
        self.own.fenced.raise(lanes, tick);
        self.change(lanes, |view| {
            let order = view.order.clone();
            view.fenced.join(&order);
        });
        self.advance();
    }

    /// `fence.mbarrier_init`.
    pub(super) fn fence_init(&mut self, lanes: u32) {
        let tick = self.own.tick;
        self.own.init.raise(lanes, tick);
        self.advance();
    }

    /// Releases to the tensormap proxy.
    pub(super) fn release_map(&mut self, lanes: u32) {
        let tick = self.own.tick;
        self.own.map_released.raise(lanes, tick);
        self.change(lanes, |view| {
            let order = view.order.clone();
            view.rare_mut().map_released.join(&order);
        });
        self.advance();
    }

    /// Acquires for the tensormap proxy.
    pub(super) fn acquire_map(&mut self, lanes: u32) {
        let released = self.own.map_released.only(lanes);
        self.own.map_acquired.join(&released);
        self.change(lanes, |view| {
            let rare = view.rare_mut();
            let released = rare.map_released.clone();
            rare.map_acquired.join(&released);
        });
        self.advance();
    }

    /// What a relaxed arrive at the cluster's barrier gives away: fenced initialisations, and what a fence covers.
    pub(super) fn publish_relaxed(&self, lanes: u32) -> View {
        let mut out = View::default();
        let view = self.known(lanes);
        let mut init = view.rare.as_ref().map_or_else(SharedClock::default, |r| r.init.clone());
        init.raise_by_lane(self.own.cta, self.own.warp, &self.own.init.only(lanes));
        if !init.is_empty() {
            out.rare_mut().init = init;
        }
        for (scope, view) in self.fenced_before(lanes, Scope::Sys) {
            if scope >= Scope::Cluster {
                out.join(&view);
            }
        }
        out
    }
}
