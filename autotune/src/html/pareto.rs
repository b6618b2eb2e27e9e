//! Tasks that are one but for their number format: what precision costs, and what it buys.

use super::escape;
use super::scale::{Log, axes};
use crate::report::{TaskReport, time};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const SIZE: (f64, f64) = (960.0, 300.0);

/// A format's time and error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice<'t> {
    pub(super) task: &'t str,
    pub(super) ns: f64,
    pub(super) error: f64,
}

/// Those that no other beats in time without being worse in error, by time.
pub(super) fn front<'c, 't>(choices: &'c [Choice<'t>]) -> Vec<&'c Choice<'t>> {
    let mut sorted: Vec<_> = choices.iter().collect();
    sorted.sort_by(|a, b| a.ns.total_cmp(&b.ns).then(a.error.total_cmp(&b.error)));
    let mut least = f64::INFINITY;
    sorted.retain(|c| {
        let better = c.error < least;
        least = least.min(c.error);
        better
    });
    sorted
}

/// The height nearest above `at` where a label hides none of those that were placed before.
fn free(at: (f64, f64), taken: &mut Vec<(f64, f64)>) -> f64 {
    const LABEL: (f64, f64) = (120.0, 13.0);
    let mut up = at.1;
    while taken.iter().any(|t| (t.0 - at.0).abs() < LABEL.0 && (t.1 - up).abs() < LABEL.1) {
        up -= LABEL.1;
    }
    taken.push((at.0, up));
    up
}

/// A plot for each shape that was tuned in several formats; empty where there is none.
pub(super) fn draw(tasks: &[TaskReport]) -> String {
    let mut groups: BTreeMap<&str, Vec<Choice<'_>>> = BTreeMap::new();
    for t in tasks {
        let shape = t.task.split_once(']').map_or(t.task.as_str(), |(shape, _)| shape);
        if let (Some(ns), Some(error)) = (t.best_ns, t.rel_rms.filter(|e| *e > 0.0)) {
            groups.entry(shape).or_default().push(Choice { task: &t.task, ns, error });
        }
    }
    groups.into_iter().filter(|(_, choices)| choices.len() > 1).map(|(shape, c)| plot(shape, &c)).collect()
}

fn plot(shape: &str, choices: &[Choice<'_>]) -> String {
    let x = Log::around(choices.iter().map(|c| c.ns / 1e3), 100.0, SIZE.0 - 120.0);
    let y = Log::around(choices.iter().map(|c| c.error), SIZE.1 - 50.0, 34.0);
    let mut out = format!(
        "<div class=\"card\"><h3>{}]</h3>\n<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"time against error\">\n",
        escape(shape),
        SIZE.0,
        SIZE.1
    );
    out += &axes(x, y, "time (µs)", "relative error against the reference (rms)", ("µs", ""));
    let place = |c: &Choice<'_>| (x.place(c.ns / 1e3), y.place(c.error));
    let best = front(choices);
    let line: Vec<_> = best.iter().map(|c| place(c)).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let _ = write!(out, "<path class=\"front\" d=\"M{}\"/>", line.join("L"));
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for c in choices {
        let (at, up) = place(c);
        let format = c.task.split_once(']').map_or("", |(_, rest)| rest.trim());
        let format = format.split(" on ").next().unwrap_or(format);
        let class = if best.contains(&c) { "win" } else { "dot" };
        let _ = writeln!(
            out,
            "<circle class=\"{class}\" cx=\"{at:.1}\" cy=\"{up:.1}\" r=\"4.5\"><title>{}: {}, error {:.1e}</title></circle>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            escape(c.task),
            time(c.ns),
            c.error,
            at + 7.0,
            free((at, up - 7.0), &mut taken),
            escape(format)
        );
    }
    out + "</svg><p class=\"soft\">green: no other format is both faster and as right</p></div>\n"
}
