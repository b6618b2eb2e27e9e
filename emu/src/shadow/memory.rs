//! What a memory remembers of its accesses.
//!
//! A cell stands for 16 bytes whose accesses all covered them as a whole; where they did not, it is split into words,
//! and a word into bytes. A cell holds numbers: of the last writes that no later one covers, and of the reads since.
//! One number is one access of a whole warp, so neighbouring cells mostly hold the same pair, and what was found out
//! for one pair holds for the next.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::event::{Event, Shape};

/// Bytes of a page, and of a cell.
const PAGE: u64 = 4096;
const CELL: u64 = 16;
const CELLS: usize = (PAGE / CELL) as usize;

type Page = Box<[Cell; CELLS]>;

/// In `Cell::writes`: the rest is the number of four smaller cells.
const SPLIT: u32 = 1 << 31;
/// In a list: the rest is the number of a node, not of an event.
const NODE: u32 = 1 << 30;

/// Two lists: 0 is empty, an event's number is itself, others are nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) writes: u32,
    pub(super) reads: u32,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    event: u32,
    next: u32,
    /// Events in the list.
    count: u32,
}

/// Turns a cell into another when an access touches it.
pub(super) trait Visit {
    /// The cell of `len` bytes from `address` is touched as a whole.
    fn leaf(&mut self, log: &mut Log, cell: Cell, address: u64, len: u32) -> Cell;
    /// What [`Visit::leaf`] would surely say, if that is known.
    fn shortcut(&self, cell: Cell) -> Option<Cell>;
    /// The last thing that is known for sure: what becomes of which cell.
    fn latest(&self) -> (Cell, Cell);
}

/// The accesses that cells speak of.
#[derive(Debug)]
pub(super) struct Log {
    events: Vec<Event>,
    pub(super) tables: Vec<[u32; 32]>,
    nodes: Vec<Node>,
}

impl Log {
    fn new() -> Self {
        let mut log = Log { events: Vec::new(), tables: Vec::new(), nodes: Vec::new() };
        log.clear();
        log
    }

    fn clear(&mut self) {
        let nobody = Event::nobody();
        self.events.clear();
        self.events.push(nobody);
        self.tables.clear();
        self.nodes.clear();
        self.nodes.push(Node { event: 0, next: 0, count: 0 });
    }

    /// Remembers an access.
    pub(super) fn add(&mut self, event: Event) -> u32 {
        self.events.push(event);
        self.events.len() as u32 - 1
    }

    /// Remembers where lanes went.
    pub(super) fn add_table(&mut self, addresses: [u32; 32]) -> Shape {
        self.tables.push(addresses);
        Shape::Table(self.tables.len() as u32 - 1)
    }

    #[inline]
    pub(super) fn event(&self, id: u32) -> &Event {
        &self.events[id as usize]
    }

    /// The number that the next event gets.
    pub(super) fn next_id(&self) -> u32 {
        self.events.len() as u32
    }

    /// The events of a list, the latest first.
    pub(super) fn ids(&self, mut list: u32) -> impl Iterator<Item = u32> {
        std::iter::from_fn(move || {
            if list == 0 {
                return None;
            }
            if list & NODE == 0 {
                return Some(std::mem::take(&mut list));
            }
            let node = self.nodes[(list & !NODE) as usize];
            list = node.next;
            Some(node.event)
        })
    }

    /// How many events a list has.
    pub(super) fn count(&self, list: u32) -> u32 {
        match list {
            0 => 0,
            node if node & NODE != 0 => self.nodes[(node & !NODE) as usize].count,
            _ => 1,
        }
    }

    /// A list with an event before it.
    pub(super) fn prepend(&mut self, event: u32, next: u32) -> u32 {
        if next == 0 {
            return event;
        }
        let count = self.count(next) + 1;
        self.nodes.push(Node { event, next, count });
        (self.nodes.len() as u32 - 1) | NODE
    }

    /// A list of events, the latest first.
    pub(super) fn list(&mut self, ids: &[u32]) -> u32 {
        ids.iter().rev().fold(0, |list, &id| self.prepend(id, list))
    }
}

/// Multiplicative hashing of page numbers.
#[derive(Debug, Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(b.into()));
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// Shadow of a memory.
#[derive(Debug)]
pub(super) struct Memory {
    index: HashMap<u64, u32, BuildHasherDefault<PageHasher>>,
    last: (u64, u32),
    pages: Vec<Page>,
    free_pages: Vec<u32>,
    splits: Vec<[Cell; 4]>,
    free_splits: Vec<u32>,
    pub(super) log: Log,
    /// Whether somebody else than its CTA, or an asynchronous operation, accessed it.
    pub(super) foreign: bool,
    collect_at: usize,
}

const NO_PAGE: (u64, u32) = (u64::MAX, 0);
/// Events, nodes and tables before the first collection.
const FIRST_COLLECTION: usize = 1 << 16;

impl Default for Memory {
    fn default() -> Self {
        Memory {
            index: HashMap::default(),
            last: NO_PAGE,
            pages: Vec::new(),
            free_pages: Vec::new(),
            splits: Vec::new(),
            free_splits: Vec::new(),
            log: Log::new(),
            foreign: false,
            collect_at: FIRST_COLLECTION,
        }
    }
}

impl Memory {
    /// Forgets everything; keeps its room.
    pub(super) fn clear(&mut self) {
        for &page in self.index.values() {
            self.pages[page as usize].fill(Cell::default());
            self.free_pages.push(page);
        }
        self.index.clear();
        self.last = NO_PAGE;
        self.foreign = false;
        self.splits.clear();
        self.free_splits.clear();
        self.log.clear();
        self.collect_at = FIRST_COLLECTION;
    }

    fn page(&mut self, number: u64) -> usize {
        if self.last.0 != number {
            let page = match self.index.get(&number) {
                Some(&page) => page,
                None => {
                    let page = self.free_pages.pop().unwrap_or_else(|| {
                        self.pages.push(Box::new([Cell::default(); CELLS]));
                        self.pages.len() as u32 - 1
                    });
                    self.index.insert(number, page);
                    page
                }
            };
            self.last = (number, page);
        }
        self.last.1 as usize
    }

    /// Visits a range.
    pub(super) fn visit(&mut self, start: u64, len: u64, visit: &mut impl Visit) {
        let end = start.saturating_add(len);
        let mut at = start;
        while at < end {
            let page = self.page(at / PAGE);
            let stop = end.min((at / PAGE + 1).saturating_mul(PAGE));
            while at < stop {
                if at.is_multiple_of(CELL) {
                    let (first, last) = ((at % PAGE / CELL) as usize, ((stop - at) / CELL) as usize);
                    let (from, to) = visit.latest();
                    let alike = self.pages[page][first..first + last].iter_mut().take_while(|c| **c == from);
                    at += alike.map(|c| *c = to).count() as u64 * CELL;
                    if at == stop {
                        break;
                    }
                }
                let index = (at % PAGE / CELL) as usize;
                let inside = (at % CELL) as u32;
                let size = (CELL - u64::from(inside)).min(stop - at) as u32;
                let cell = self.pages[page][index];
                if let Some(new) = visit.shortcut(cell)
                    && u64::from(size) == CELL
                {
                    self.pages[page][index] = new;
                } else {
                    self.pages[page][index] =
                        self.visit_cell(cell, at - u64::from(inside), 16, inside, size, visit);
                }
                at += u64::from(size);
            }
        }
    }

    /// Visits a range, but only pages that were accessed before.
    pub(super) fn visit_present(&mut self, start: u64, len: u64, visit: &mut impl Visit) {
        let end = start.saturating_add(len);
        let touched = |&number: &u64| number <= end / PAGE && number >= start / PAGE;
        let pages: Vec<u64> = self.index.keys().copied().filter(touched).collect();
        for number in pages {
            let (from, to) = (start.max(number * PAGE), end.min((number + 1).saturating_mul(PAGE)));
            self.visit(from, to.saturating_sub(from), visit);
        }
    }

    /// Visits `size` bytes from `inside` of a cell of `width` bytes.
    fn visit_cell(
        &mut self,
        cell: Cell,
        base: u64,
        width: u32,
        inside: u32,
        size: u32,
        visit: &mut impl Visit,
    ) -> Cell {
        let whole = size == width;
        if whole && cell.writes & SPLIT == 0 {
            return match visit.shortcut(cell) {
                Some(new) => new,
                None => visit.leaf(&mut self.log, cell, base, width),
            };
        }
        let split = if cell.writes & SPLIT != 0 { cell.writes & !SPLIT } else { self.split(cell) };
        let part = width / 4;
        for i in inside / part..(inside + size).div_ceil(part) {
            let from = inside.max(i * part);
            let to = (inside + size).min((i + 1) * part);
            let old = self.splits[split as usize][i as usize];
            let start = base + u64::from(i * part);
            let new = self.visit_cell(old, start, part, from - i * part, to - from, visit);
            self.splits[split as usize][i as usize] = new;
        }
        if whole {
            let all = self.splits[split as usize];
            if all.iter().all(|c| *c == all[0] && c.writes & SPLIT == 0) {
                self.free_splits.push(split);
                return all[0];
            }
        }
        Cell { writes: split | SPLIT, reads: 0 }
    }

    fn split(&mut self, cell: Cell) -> u32 {
        let four = [cell; 4];
        match self.free_splits.pop() {
            Some(i) => {
                self.splits[i as usize] = four;
                i
            }
            None => {
                self.splits.push(four);
                self.splits.len() as u32 - 1
            }
        }
    }

    /// All cells that are not empty, with their address.
    pub(super) fn for_each(&self, mut each: impl FnMut(&Log, Cell, u64)) {
        for (&number, &page) in &self.index {
            for (i, &cell) in self.pages[page as usize].iter().enumerate() {
                self.for_each_in(cell, number * PAGE + i as u64 * CELL, CELL / 4, &mut each);
            }
        }
    }

    fn for_each_in(&self, cell: Cell, base: u64, part: u64, each: &mut impl FnMut(&Log, Cell, u64)) {
        if cell.writes & SPLIT == 0 {
            if cell != Cell::default() {
                each(&self.log, cell, base);
            }
            return;
        }
        for (i, &inner) in self.splits[(cell.writes & !SPLIT) as usize].iter().enumerate() {
            self.for_each_in(inner, base + i as u64 * part, part / 4, each);
        }
    }

    /// Forgets the accesses that no cell speaks of, if it is time.
    pub(super) fn collect_if_due(&mut self) {
        let size = self.log.events.len().max(self.log.nodes.len());
        if size < self.collect_at {
            return;
        }
        self.collect();
        let left = self.log.events.len().max(self.log.nodes.len());
        self.collect_at = FIRST_COLLECTION.max(left.saturating_mul(4)).min((NODE - 4096) as usize);
    }

    fn collect(&mut self) {
        let mut marks = Marks::new(&self.log);
        let free: std::collections::HashSet<u32> = self.free_splits.iter().copied().collect();
        for &page in self.index.values() {
            self.pages[page as usize].iter().for_each(|c| marks.cell(*c));
        }
        for (i, four) in self.splits.iter().enumerate() {
            if !free.contains(&(i as u32)) {
                four.iter().for_each(|c| marks.cell(*c));
            }
        }
        marks.finish(&mut self.log);
        for &page in self.index.values() {
            self.pages[page as usize].iter_mut().for_each(|c| marks.rename(c));
        }
        for (i, four) in self.splits.iter_mut().enumerate() {
            if free.contains(&(i as u32)) {
                *four = [Cell::default(); 4];
            }
            four.iter_mut().for_each(|c| marks.rename(c));
        }
    }
}

/// New numbers of events and nodes; 0 is "not seen".
struct Marks {
    events: Vec<u32>,
    nodes: Vec<u32>,
}

impl Marks {
    fn new(log: &Log) -> Self {
        Marks { events: vec![0; log.events.len()], nodes: vec![0; log.nodes.len()] }
    }

    fn cell(&mut self, cell: Cell) {
        if cell.writes & SPLIT == 0 {
            self.list(cell.writes);
            self.list(cell.reads);
        }
    }

    fn list(&mut self, list: u32) {
        if list & NODE != 0 {
            self.nodes[(list & !NODE) as usize] = 1;
        } else {
            self.events[list as usize] = 1;
        }
    }

    /// Drops what is not marked, and gives what is left its new numbers.
    fn finish(&mut self, log: &mut Log) {
        for i in (1..log.nodes.len()).rev() {
            if self.nodes[i] != 0 {
                let Node { event, next, .. } = log.nodes[i];
                self.list(event);
                self.list(next);
            }
        }
        self.events[0] = 0;
        let mut kept = vec![log.events[0]];
        let mut tables = Vec::new();
        let mut table_names: HashMap<u32, u32> = HashMap::new();
        for i in 1..log.events.len() {
            if self.events[i] == 0 {
                continue;
            }
            self.events[i] = kept.len() as u32;
            let mut event = log.events[i];
            if let Shape::Table(old) = &mut event.shape {
                *old = *table_names.entry(*old).or_insert_with(|| {
                    tables.push(log.tables[*old as usize]);
                    tables.len() as u32 - 1
                });
            }
            kept.push(event);
        }
        log.events = kept;
        log.tables = tables;
        let mut nodes = vec![log.nodes[0]];
        for i in 1..log.nodes.len() {
            if self.nodes[i] != 0 {
                self.nodes[i] = nodes.len() as u32;
                let Node { event, next, count } = log.nodes[i];
                nodes.push(Node { event: self.new_name(event), next: self.new_name(next), count });
            }
        }
        log.nodes = nodes;
    }

    fn new_name(&self, list: u32) -> u32 {
        if list & NODE != 0 { self.nodes[(list & !NODE) as usize] | NODE } else { self.events[list as usize] }
    }

    fn rename(&self, cell: &mut Cell) {
        if cell.writes & SPLIT == 0 {
            cell.writes = self.new_name(cell.writes);
            cell.reads = self.new_name(cell.reads);
        }
    }
}

/// Forgets what it visits.
pub(super) struct Forget;

impl Visit for Forget {
    fn leaf(&mut self, _: &mut Log, _: Cell, _: u64, _: u32) -> Cell {
        Cell::default()
    }

    fn shortcut(&self, cell: Cell) -> Option<Cell> {
        (cell.writes & SPLIT == 0).then(Cell::default)
    }

    fn latest(&self) -> (Cell, Cell) {
        (Cell::default(), Cell::default())
    }
}
