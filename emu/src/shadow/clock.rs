//! Vector clocks: what is known of every thread, kept by CTA and warp.
//!
//! A warp counts ticks: one more each time it gives knowledge away. A clock says up to which tick it knows each lane.
//! Clocks are shared by reference and copied when they change; parts about a CTA are shared as well, so that a clock
//! that knows many CTAs costs a pointer for each.

use std::sync::Arc;

/// A tick for each lane of a warp; 0 is "nothing".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    /// The least over the lanes.
    low: u32,
    /// The greatest.
    high: u32,
    /// Lanes at `high`; the others are at `low`, unless `exact` says otherwise.
    mask: u32,
    exact: Option<Box<[u32; 32]>>,
}

impl Ticks {
    /// The least over all lanes.
    #[inline]
    pub(super) fn low(&self) -> u32 {
        self.low
    }

    /// The greatest over all lanes.
    #[inline]
    pub(super) fn high(&self) -> u32 {
        self.high
    }

    /// A lane's.
    pub(super) fn get(&self, lane: u32) -> u32 {
        match &self.exact {
            Some(list) => list[lane as usize & 31],
            None if self.mask >> (lane & 31) & 1 == 1 => self.high,
            None => self.low,
        }
    }

    /// Whether any of some lanes is at a tick or beyond.
    pub(super) fn reaches(&self, lanes: u32, tick: u32) -> bool {
        self.high >= tick && (0..32).any(|l| lanes >> l & 1 == 1 && self.get(l) >= tick)
    }

    fn list(&self) -> [u32; 32] {
        std::array::from_fn(|lane| self.get(lane as u32))
    }

    fn from_list(list: [u32; 32]) -> Self {
        let low = list.iter().copied().min().unwrap_or(0);
        let high = list.iter().copied().max().unwrap_or(0);
        let at_high = (0..32).filter(|&i| list[i] == high).fold(0u32, |m, i| m | 1 << i);
        let two_levels = list.iter().all(|&t| t == low || t == high);
        Ticks { low, high, mask: at_high, exact: (!two_levels).then(|| Box::new(list)) }
    }

    /// Raises lanes to a tick.
    pub(super) fn raise(&mut self, lanes: u32, tick: u32) {
        if lanes == 0 || tick <= self.low {
            return;
        }
        if lanes == u32::MAX && tick >= self.high {
            *self = Ticks { low: tick, high: tick, mask: u32::MAX, exact: None };
        } else if self.exact.is_none()
            && tick >= self.high
            && (self.low == self.high || self.mask & !lanes == 0)
        {
            *self = Ticks { low: self.low, high: tick, mask: lanes, exact: None };
        } else {
            let mut list = self.list();
            for (lane, t) in list.iter_mut().enumerate() {
                if lanes >> lane & 1 == 1 {
                    *t = (*t).max(tick);
                }
            }
            *self = Ticks::from_list(list);
        }
    }

    /// The same for some lanes, nothing for the others.
    pub(super) fn only(&self, lanes: u32) -> Self {
        if lanes == u32::MAX || self.high == 0 {
            return self.clone();
        }
        let mut list = self.list();
        for (lane, t) in list.iter_mut().enumerate() {
            if lanes >> lane & 1 == 0 {
                *t = 0;
            }
        }
        Ticks::from_list(list)
    }

    pub(super) fn join(&mut self, other: &Ticks) {
        if other.high <= self.low {
            return;
        }
        if self.high <= other.low {
            *self = other.clone();
            return;
        }
        if *self != *other {
            let (mine, theirs) = (self.list(), other.list());
            *self = Ticks::from_list(std::array::from_fn(|i| mine[i].max(theirs[i])));
        }
    }

    fn within(&self, other: &Ticks) -> bool {
        self.high <= other.low || *self == *other || (0..32).all(|lane| self.get(lane) <= other.get(lane))
    }
}

/// What is known of a CTA.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    warps: Vec<Ticks>,
    /// Completed phases of its mbarriers.
    phases: Vec<u32>,
}

impl Part {
    /// What is known of a warp.
    #[inline]
    pub(super) fn warp(&self, warp: u32) -> Option<&Ticks> {
        self.warps.get(warp as usize)
    }

    /// Phases of an mbarrier that are known to be complete.
    pub(super) fn phase(&self, index: u32) -> u32 {
        self.phases.get(index as usize).copied().unwrap_or(0)
    }

    fn warp_mut(&mut self, warp: u32) -> &mut Ticks {
        let index = warp as usize;
        if index >= self.warps.len() {
            self.warps.resize_with(index + 1, Ticks::default);
        }
        &mut self.warps[index]
    }

    fn join(&mut self, other: &Part) {
        for (warp, ticks) in other.warps.iter().enumerate() {
            self.warp_mut(warp as u32).join(ticks);
        }
        if self.phases.len() < other.phases.len() {
            self.phases.resize(other.phases.len(), 0);
        }
        for (mine, theirs) in self.phases.iter_mut().zip(&other.phases) {
            *mine = (*mine).max(*theirs);
        }
    }

    fn within(&self, other: &Part) -> bool {
        let none = Ticks::default();
        self.warps.iter().enumerate().all(|(i, t)| t.within(other.warps.get(i).unwrap_or(&none)))
            && self.phases.iter().enumerate().all(|(i, p)| *p <= other.phase(i as u32))
    }
}

/// What is known of all CTAs.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    /// By CTA, in order.
    parts: Vec<(u32, Arc<Part>)>,
}

impl Clock {
    /// Whether it knows nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What it knows of a CTA.
    #[inline]
    pub(super) fn part(&self, cta: u32) -> Option<&Part> {
        match self.parts.as_slice() {
            [] => None,
            [(only, part)] => (*only == cta).then_some(&**part),
            many => many.binary_search_by_key(&cta, |p| p.0).ok().map(|i| &*many[i].1),
        }
    }

    fn part_mut(&mut self, cta: u32) -> &mut Part {
        let at = match self.parts.binary_search_by_key(&cta, |p| p.0) {
            Ok(i) => i,
            Err(i) => {
                self.parts.insert(i, (cta, Arc::default()));
                i
            }
        };
        Arc::make_mut(&mut self.parts[at].1)
    }

    fn join(&mut self, other: &Clock) {
        if let ([(a, mine)], [(b, theirs)]) = (self.parts.as_mut_slice(), other.parts.as_slice())
            && a == b
        {
            return join_part(mine, theirs);
        }
        let mut merged = Vec::with_capacity(self.parts.len().max(other.parts.len()));
        let (mut mine, mut theirs) = (self.parts.drain(..).peekable(), other.parts.iter().peekable());
        loop {
            match (mine.peek(), theirs.peek()) {
                (Some(a), Some(b)) if a.0 == b.0 => {
                    if let (Some(mut a), Some(b)) = (mine.next(), theirs.next()) {
                        join_part(&mut a.1, &b.1);
                        merged.push(a);
                    }
                }
                (Some(a), Some(b)) if a.0 < b.0 => merged.extend(mine.next()),
                (_, Some(_)) => merged.extend(theirs.next().cloned()),
                (Some(_), None) => merged.extend(mine.next()),
                (None, None) => break,
            }
        }
        drop(mine);
        self.parts = merged;
    }

    fn within(&self, other: &Clock) -> bool {
        if self.parts.len() > other.parts.len() {
            return false;
        }
        let mut theirs = other.parts.iter();
        self.parts.iter().all(|(cta, part)| {
            theirs
                .find(|(c, _)| c >= cta)
                .is_some_and(|(c, p)| c == cta && (Arc::ptr_eq(part, p) || part.within(p)))
        })
    }
}

fn join_part(mine: &mut Arc<Part>, theirs: &Arc<Part>) {
    if Arc::ptr_eq(mine, theirs) || theirs.within(mine) {
    } else if mine.within(theirs) {
        *mine = theirs.clone();
    } else {
        Arc::make_mut(mine).join(theirs);
    }
}

/// A clock that is shared until it changes.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedClock(Arc<Clock>);

impl std::ops::Deref for SharedClock {
    type Target = Clock;

    fn deref(&self) -> &Clock {
        &self.0
    }
}

impl SharedClock {
    /// Whether both are one object.
    pub(super) fn same(&self, other: &SharedClock) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.is_empty() && other.is_empty()
    }

    /// Learns what another knows.
    pub(super) fn join(&mut self, other: &SharedClock) {
        if self.same(other) || other.is_empty() {
        } else if self.is_empty() {
            *self = other.clone();
        } else if let Some(mine) = Arc::get_mut(&mut self.0) {
            mine.join(other);
        } else if !other.within(self) {
            if self.within(other) {
                *self = other.clone();
            } else {
                Arc::make_mut(&mut self.0).join(other);
            }
        }
    }

    /// Learns of lanes of a warp up to a tick.
    pub(super) fn raise(&mut self, cta: u32, warp: u32, lanes: u32, tick: u32) {
        Arc::make_mut(&mut self.0).part_mut(cta).warp_mut(warp).raise(lanes, tick);
    }

    /// Learns of a warp by lanes.
    pub(super) fn raise_by_lane(&mut self, cta: u32, warp: u32, ticks: &Ticks) {
        if ticks.high() > 0 {
            Arc::make_mut(&mut self.0).part_mut(cta).warp_mut(warp).join(ticks);
        }
    }

    /// Learns of an mbarrier's phases.
    pub(super) fn raise_phase(&mut self, cta: u32, index: u32, phase: u32) {
        if self.part(cta).is_some_and(|p| p.phase(index) >= phase) {
            return;
        }
        let part = Arc::make_mut(&mut self.0).part_mut(cta);
        if part.phases.len() <= index as usize {
            part.phases.resize(index as usize + 1, 0);
        }
        part.phases[index as usize] = phase;
    }
}

/// Everything that travels along an edge of synchronisation.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// What happened before.
    pub(super) order: SharedClock,
    /// Of that, what a fence has since made visible to the async proxy.
    pub(super) fenced: SharedClock,
    /// What few kernels need.
    pub(super) rare: Option<Arc<Rare>>,
}

/// Further clocks of a [`View`].
#[derive(Debug, Clone, Default)]
pub(super) struct Rare {
    /// What a release of the tensormap proxy covers.
    pub(super) map_released: SharedClock,
    /// What an acquire of the tensormap proxy covers.
    pub(super) map_acquired: SharedClock,
    /// Initialisations of mbarriers that their fence covers.
    pub(super) init: SharedClock,
    /// What would have happened before if all scopes were wide.
    pub(super) wide: SharedClock,
}

impl View {
    /// Learns what another knows.
    pub(super) fn join(&mut self, other: &View) {
        self.order.join(&other.order);
        self.fenced.join(&other.fenced);
        if let Some(theirs) = &other.rare {
            match &mut self.rare {
                None => self.rare = Some(theirs.clone()),
                Some(mine) if Arc::ptr_eq(mine, theirs) => {}
                Some(mine) => {
                    let mine = Arc::make_mut(mine);
                    mine.map_released.join(&theirs.map_released);
                    mine.map_acquired.join(&theirs.map_acquired);
                    mine.init.join(&theirs.init);
                    mine.wide.join(&theirs.wide);
                }
            }
        }
    }

    /// The further clocks, to be changed.
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        Arc::make_mut(self.rare.get_or_insert_default())
    }

    /// Whether both are the same objects.
    pub(super) fn same(&self, other: &View) -> bool {
        self.order.same(&other.order)
            && self.fenced.same(&other.fenced)
            && match (&self.rare, &other.rare) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ticks_are_a_list_of_maxima(steps in prop::collection::vec((0usize..3, any::<u32>(), 0u32..6, 0usize..4), 1..30)) {
            let mut ticks = vec![Ticks::default(); 3];
            let mut model = vec![[0u32; 32]; 3];
            for (i, lanes, tick, what) in steps {
                let lanes = match what { 0 => u32::MAX, 1 => lanes & 0xff, _ => lanes };
                if what == 3 {
                    let j = (i + 1) % 3;
                    let other = ticks[j].clone();
                    prop_assert_eq!(other.within(&ticks[i]), (0..32).all(|l| model[j][l] <= model[i][l]));
                    ticks[i].join(&other);
                    for l in 0..32 { model[i][l] = model[i][l].max(model[j][l]) }
                } else {
                    ticks[i].raise(lanes, tick);
                    for l in 0..32 { if lanes >> l & 1 == 1 { model[i][l] = model[i][l].max(tick) } }
                }
                prop_assert_eq!(ticks[i].list(), model[i]);
                prop_assert_eq!(ticks[i].low(), *model[i].iter().min().expect("32 lanes"));
                prop_assert_eq!(ticks[i].high(), *model[i].iter().max().expect("32 lanes"));
                let part = ticks[i].only(lanes);
                for l in 0..32 { prop_assert_eq!(part.get(l), if lanes >> l & 1 == 1 { model[i][l as usize] } else { 0 }) }
            }
        }

        #[test]
        fn clocks_are_maps_of_maxima(steps in prop::collection::vec((0usize..3, 0u32..4, 0u32..3, 1u32..9, any::<bool>()), 1..40)) {
            let mut clocks = vec![SharedClock::default(); 3];
            let mut model = vec![std::collections::BTreeMap::new(); 3];
            for (i, cta, warp, tick, join) in steps {
                if join {
                    let j = (i + 1) % 3;
                    let other = clocks[j].clone();
                    clocks[i].join(&other);
                    for (k, v) in model[j].clone() {
                        let e = model[i].entry(k).or_insert(0u32);
                        *e = (*e).max(v);
                    }
                } else {
                    clocks[i].raise(cta, warp, 1 << (tick % 3), tick);
                    clocks[i].raise_phase(cta, warp, tick);
                    for key in [(cta, warp, tick % 3), (cta, warp, 99)] {
                        let e = model[i].entry(key).or_insert(0);
                        *e = (*e).max(tick);
                    }
                }
                for c in 0..3 {
                    for cta in 0..4 {
                        for warp in 0..3 {
                            for lane in 0..4 {
                                let got = clocks[c].part(cta).and_then(|p| p.warp(warp)).map_or(0, |t| t.get(lane));
                                prop_assert_eq!(got, model[c].get(&(cta, warp, lane)).copied().unwrap_or(0));
                            }
                            let got = clocks[c].part(cta).map_or(0, |p| p.phase(warp));
                            prop_assert_eq!(got, model[c].get(&(cta, warp, 99)).copied().unwrap_or(0));
                        }
                    }
                }
            }
        }
    }
}
