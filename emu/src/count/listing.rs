//! Counters as text: a summary for the terminal, and the PTX with what each line did, hot lines first.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::counters::{Counters, InstructionCounters, ratio};

/// A table whose columns line up: the first column to the left, the others to the right.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
    left: Vec<usize>,
}

impl Table {
    /// A table with a line of titles; the columns `left` are aligned to the left.
    pub fn new(titles: &[&str], left: &[usize]) -> Self {
        Table { rows: vec![titles.iter().map(|t| (*t).to_owned()).collect()], left: left.to_vec() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has rows besides its titles.
    pub fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| {
            self.rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (c, cell) in row.iter().enumerate() {
                line.push_str(if c == 0 { "  " } else { "   " });
                let w = widths[c];
                let _ = if self.left.contains(&c) {
                    write!(line, "{cell:<w$}")
                } else {
                    write!(line, "{cell:>w$}")
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A count with its thousands apart: `1 234 567`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(c);
    }
    text
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * ratio(part, whole))
}

fn times(total: u64, unique: u64) -> String {
    if unique == 0 { "-".to_owned() } else { format!("{:.2}", ratio(total, unique)) }
}

/// What was counted in sum, as tables.
pub fn summary(counters: &Counters) -> String {
    let mut out = String::new();
    let i = &counters.instructions;
    let mut facts = Table::new(&["counter", "value"], &[0]);
    let mut fact = |name: &str, value: String| facts.row([name.to_owned(), value]);
    fact("warp instructions", grouped(i.warp));
    fact("thread instructions", grouped(i.thread));
    fact("average active lanes", format!("{:.2}", i.average_lanes));
    fact("branches", grouped(counters.branches.executed));
    fact("divergent branches", grouped(counters.branches.divergent));
    for t in &counters.tensor {
        fact(&format!("tensor FLOPs, {} into {}", t.inputs, t.accumulator), grouped(t.flops));
    }
    let g = &counters.global;
    fact("global requests", grouped(g.requests));
    fact("global bytes read", grouped(g.read_bytes));
    fact("global bytes written", grouped(g.written_bytes));
    fact("sectors per global request", format!("{:.2}", g.sectors_per_request));
    fact("sectors against ideal", times(g.sectors, g.ideal_sectors));
    let s = &counters.shared;
    if s.requests > 0 {
        fact("shared requests", grouped(s.requests));
        fact("shared bytes read", grouped(s.read_bytes));
        fact("shared bytes written", grouped(s.written_bytes));
        fact("shared wavefronts", grouped(s.wavefronts));
        fact("shared wavefronts of bank conflicts", grouped(s.conflicts()));
    }
    if s.cluster_bytes > 0 {
        fact("shared bytes of other CTAs", grouped(s.cluster_bytes));
    }
    let l = &counters.local;
    if l.read_bytes + l.written_bytes > 0 {
        fact("local bytes read", grouped(l.read_bytes));
        fact("local bytes written", grouped(l.written_bytes));
    }
    for c in &counters.copies {
        fact(&format!("{} bytes", c.mechanism), grouped(c.bytes));
    }
    for b in &counters.barriers {
        fact(&format!("{}, by warps", b.kind), grouped(b.warp));
    }
    let _ = write!(out, "{facts}");
    let mut classes = Table::new(&["class", "warps", "threads", "share"], &[0]);
    for c in &i.classes {
        classes.row([c.class.clone(), grouped(c.warp), grouped(c.thread), percent(c.thread, i.thread)]);
    }
    section(&mut out, &classes);
    let mut buffers =
        Table::new(&["buffer", "bytes", "read", "unique", "times", "written", "unique", "times"], &[0]);
    for b in &counters.buffers {
        buffers.row([
            b.name.clone(),
            grouped(b.len),
            grouped(b.read_bytes),
            grouped(b.unique_read_bytes),
            times(b.read_bytes, b.unique_read_bytes),
            grouped(b.written_bytes),
            grouped(b.unique_written_bytes),
            times(b.written_bytes, b.unique_written_bytes),
        ]);
    }
    section(&mut out, &buffers);
    out
}

fn section(out: &mut String, table: &Table) {
    if !table.is_empty() {
        let _ = write!(out, "\n{table}");
    }
}

/// What one line of the text did, all its instructions together.
#[derive(Debug, Clone, Default)]
struct Line {
    warp: u64,
    thread: u64,
    lanes: u64,
    sectors: u64,
    ideal_sectors: u64,
    requests: u64,
    wavefronts: u64,
    ideal_wavefronts: u64,
    notes: Vec<String>,
}

impl Line {
    fn add(&mut self, c: &InstructionCounters) {
        self.warp += c.warp;
        self.thread += c.thread;
        self.lanes += c.lanes;
        if let Some(g) = &c.global {
            self.requests += g.requests;
            self.sectors += g.sectors;
            self.ideal_sectors += g.ideal_sectors;
            let bytes = grouped(g.read_bytes + g.written_bytes);
            self.notes.push(format!("global {bytes} B, {:.2} sectors a request", g.sectors_per_request));
        }
        if let Some(s) = &c.shared {
            self.wavefronts += s.wavefronts;
            self.ideal_wavefronts += s.ideal_wavefronts;
            let bytes = grouped(s.read_bytes + s.written_bytes);
            let ways = times(s.wavefronts, s.ideal_wavefronts);
            self.notes.push(format!("shared {bytes} B, {ways} x ideal wavefronts"));
        }
        if let Some(l) = &c.local {
            self.notes.push(format!("local {} B", grouped(l.read_bytes + l.written_bytes)));
        }
        if c.divergent > 0 {
            self.notes.push(format!("parted {} times", grouped(c.divergent)));
        }
        if c.tensor_flops > 0 {
            self.notes.push(format!("{} FLOPs", grouped(c.tensor_flops)));
        }
        if c.copied_bytes > 0 {
            self.notes.push(format!("copied {} B", grouped(c.copied_bytes)));
        }
    }
}

fn by_line(counters: &Counters) -> BTreeMap<u32, Line> {
    let mut lines: BTreeMap<u32, Line> = BTreeMap::new();
    for c in &counters.lines {
        lines.entry(c.line).or_default().add(c);
    }
    lines
}

/// The annotated text: the `top` hottest lines as tables, then all of it.
pub fn listing(counters: &Counters, text: &str, top: usize) -> String {
    let lines = by_line(counters);
    let texts: Vec<&str> = text.lines().collect();
    let text_of =
        |line: u32| (line as usize).checked_sub(1).and_then(|i| texts.get(i)).map_or("", |t| t.trim());
    let all = counters.instructions.warp;
    let mut out = String::from("Hot lines, by instructions of warps\n");
    let mut hot: Vec<(&u32, &Line)> = lines.iter().collect();
    hot.sort_by_key(|(_, l)| std::cmp::Reverse(l.warp));
    let mut table = Table::new(&["line", "warps", "share", "lanes", "instruction"], &[4]);
    for (number, l) in hot.iter().take(top) {
        let lanes = format!("{:.1}", ratio(l.lanes, l.warp));
        let text = text_of(**number).to_owned();
        table.row([number.to_string(), grouped(l.warp), percent(l.warp, all), lanes, text]);
    }
    let _ = writeln!(out, "{table}");
    worst_sectors(&mut out, &lines, top, &text_of);
    worst_banks(&mut out, &lines, top, &text_of);
    source(&mut out, counters, top);
    let _ = writeln!(out, "The whole text\n");
    let mut table = Table::new(&["line", "warps", "share", "threads", "text", "what it did"], &[4, 5]);
    for (i, raw) in texts.iter().enumerate() {
        let number = i as u32 + 1;
        let raw = raw.replace('\t', "    ");
        match lines.get(&number) {
            Some(l) => table.row([
                number.to_string(),
                grouped(l.warp),
                percent(l.warp, all),
                grouped(l.thread),
                raw,
                l.notes.join("; "),
            ]),
            None => {
                table.row([number.to_string(), String::new(), String::new(), String::new(), shorten(&raw)]);
            }
        }
    }
    let _ = write!(out, "{table}");
    out
}

/// Lines of debug sections and initialisers would make the column too wide.
fn shorten(raw: &str) -> String {
    const WIDTH: usize = 120;
    if raw.chars().count() <= WIDTH {
        return raw.to_owned();
    }
    raw.chars().take(WIDTH - 1).chain(['…']).collect()
}

fn worst_sectors<'t>(
    out: &mut String,
    lines: &BTreeMap<u32, Line>,
    top: usize,
    text_of: &impl Fn(u32) -> &'t str,
) {
    let excess = |l: &Line| l.sectors.saturating_sub(l.ideal_sectors);
    let mut worst: Vec<(&u32, &Line)> = lines.iter().filter(|(_, l)| excess(l) > 0).collect();
    worst.sort_by_key(|(_, l)| std::cmp::Reverse(excess(l)));
    let mut table = Table::new(&["line", "requests", "sectors", "ideal", "a request", "instruction"], &[5]);
    for (number, l) in worst.into_iter().take(top) {
        let each = format!("{:.2}", ratio(l.sectors, l.requests));
        let (sectors, ideal) = (grouped(l.sectors), grouped(l.ideal_sectors));
        let text = text_of(*number).to_owned();
        table.row([number.to_string(), grouped(l.requests), sectors, ideal, each, text]);
    }
    if !table.is_empty() {
        let _ = writeln!(out, "Global requests that touch more sectors than their bytes need\n{table}");
    }
}

fn worst_banks<'t>(
    out: &mut String,
    lines: &BTreeMap<u32, Line>,
    top: usize,
    text_of: &impl Fn(u32) -> &'t str,
) {
    let excess = |l: &Line| l.wavefronts.saturating_sub(l.ideal_wavefronts);
    let mut worst: Vec<(&u32, &Line)> = lines.iter().filter(|(_, l)| excess(l) > 0).collect();
    worst.sort_by_key(|(_, l)| std::cmp::Reverse(excess(l)));
    let mut table = Table::new(&["line", "wavefronts", "ideal", "times", "instruction"], &[4]);
    for (number, l) in worst.into_iter().take(top) {
        let (passes, ideal) = (grouped(l.wavefronts), grouped(l.ideal_wavefronts));
        let ways = times(l.wavefronts, l.ideal_wavefronts);
        table.row([number.to_string(), passes, ideal, ways, text_of(*number).to_owned()]);
    }
    if !table.is_empty() {
        let _ = writeln!(out, "Bank conflicts\n{table}");
    }
}

fn source(out: &mut String, counters: &Counters, top: usize) {
    let mut table = Table::new(&["source", "warps", "share", "FLOPs", "global B", "conflicts"], &[0]);
    for s in counters.source_lines.iter().take(top) {
        table.row([
            format!("{}:{}", s.file, s.line),
            grouped(s.warp),
            percent(s.warp, counters.instructions.warp),
            grouped(s.tensor_flops),
            grouped(s.global_bytes),
            grouped(s.bank_conflicts),
        ]);
    }
    if !table.is_empty() {
        let _ = writeln!(out, "Lines of the source\n{table}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown: Vec<String> = [0, 12, 999, 1000, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(shown, ["0", "12", "999", "1 000", "1 234 567"]);
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", "n"], &[0]);
        table.row(["a".to_owned(), "12 345".to_owned()]);
        table.row(["longer".to_owned(), "7".to_owned()]);
        let text = table.to_string();
        let ends: Vec<usize> = text.lines().map(|l| l.chars().count()).collect();
        assert!(ends.iter().all(|e| *e == ends[0]), "{text}");
    }

    #[test]
    fn the_hottest_line_comes_first_and_every_line_of_the_text_is_there() {
        let line = |line, warp| InstructionCounters { line, warp, lanes: 32 * warp, ..Default::default() };
        let counters = Counters { lines: vec![line(2, 5), line(3, 900)], ..Default::default() };
        let text = "first\nsecond\nthird\nfourth";
        let shown = listing(&counters, text, 1);
        let hot: Vec<&str> = shown.lines().take(3).collect();
        assert!(hot[2].contains("third") && hot[2].contains("900") && hot[2].contains("32.0"), "{shown}");
        let whole = shown.split("The whole text").nth(1).expect("the second part");
        for (i, t) in text.lines().enumerate() {
            let wanted = format!("{} ", i + 1);
            assert!(whole.lines().any(|l| l.trim_start().starts_with(&wanted) && l.contains(t)), "{shown}");
        }
    }
}
