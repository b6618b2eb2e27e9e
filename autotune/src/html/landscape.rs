//! The candidates of one task by their time.

use super::escape;
use super::scale::{Log, short};
use crate::report::{TaskReport, time};
use std::fmt::Write as _;

const WIDTH: f64 = 960.0;

/// The cards of all tasks.
pub(super) fn section(tasks: &[TaskReport]) -> String {
    let cards: String = tasks.iter().map(draw).collect();
    match cards.is_empty() {
        true => cards,
        false => format!(
            "<p class=\"soft\">A dot is a candidate, the green square the one in use, the ring the default; \
             a browser shows the schedule and its time where the pointer rests.</p>\n{cards}"
        ),
    }
}

/// A card with a strip: every candidate that was timed, the fastest to the left. Empty where fewer than two were.
fn draw(task: &TaskReport) -> String {
    let mut tried: Vec<_> = task.tried.iter().filter(|t| t.median_ns > 0.0).collect();
    let default = task.tried.first().map_or(0.0, |t| t.median_ns);
    if tried.len() < 2 || default <= 0.0 {
        return String::new();
    }
    tried.sort_by(|a, b| a.median_ns.total_cmp(&b.median_ns));
    let x = Log::around(tried.iter().map(|t| t.median_ns / default), 20.0, WIDTH - 20.0);
    let mut out = format!(
        "<div class=\"card\"><h3>{}</h3><p class=\"soft\">{} of {} candidates timed; in use: {}; {}</p>\n\
         <svg viewBox=\"0 0 {WIDTH} 92\" role=\"img\" aria-label=\"times of the candidates\">",
        escape(super::shape_of(&task.task)),
        tried.len(),
        task.candidates,
        escape(&task.schedule),
        escape(&task.note)
    );
    for v in x.ticks() {
        let at = x.place(v);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"8\" x2=\"{at:.1}\" y2=\"56\"/>\
             <text x=\"{at:.1}\" y=\"72\" text-anchor=\"middle\">{}×</text>",
            short(v)
        );
    }
    let _ = write!(out, "<path class=\"axis\" d=\"M20 56H{}\"/>", WIDTH - 20.0);
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"89\" text-anchor=\"middle\">time over the default's ({})</text>",
        WIDTH / 2.0,
        time(default)
    );
    // Those at one place are stacked, so that none hides another.
    let mut taken = [f64::NEG_INFINITY; 6];
    for t in tried {
        let at = x.place(t.median_ns / default);
        let row = taken.iter().position(|last| at - last > 7.0).unwrap_or(taken.len() - 1);
        taken[row] = at;
        let y = 50.0 - 8.0 * row as f64;
        let words = format!("{}: {}, {} samples", t.schedule, time(t.median_ns), t.samples);
        let _ = match t.schedule == task.schedule {
            // The one in use and the default are told apart by shape as well as by colour.
            true => write!(
                out,
                "<rect class=\"win\" x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\">",
                at - 4.5,
                y - 4.5
            ),
            false => {
                let class = if t.schedule == task.tried[0].schedule { "base" } else { "dot" };
                write!(out, "<circle class=\"{class}\" cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"3.5\">")
            }
        };
        let end = if t.schedule == task.schedule { "rect" } else { "circle" };
        let _ = write!(out, "<title>{}</title></{end}>", escape(&words));
    }
    out + "</svg></div>\n"
}
