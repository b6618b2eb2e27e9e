//! Work per byte against speed: how near each task is to what the machine has shown.

use super::escape;
use super::scale::{Log, axes, si3};
use crate::report::{TaskReport, time};
use std::fmt::Write as _;

const SIZE: (f64, f64) = (960.0, 440.0);

/// The plot; empty where no task has both bytes and operations.
pub(super) fn draw(tasks: &[TaskReport]) -> String {
    let point = |t: &'_ TaskReport| {
        let (bytes, flops) = (t.bytes_per_second?, t.flops_per_second?);
        (bytes > 0.0 && flops > 0.0).then_some((flops / bytes, flops))
    };
    let points: Vec<_> = tasks.iter().filter_map(|t| point(t).map(|p| (t, p))).collect();
    if points.is_empty() {
        return String::new();
    }
    let before = |t: &TaskReport, flops: f64| flops / t.speedup();
    let x = Log::around(points.iter().map(|(_, p)| p.0), 100.0, SIZE.0 - 20.0);
    let speeds = points.iter().flat_map(|(t, p)| [p.1, before(t, p.1)]);
    let y = Log::around(speeds, SIZE.1 - 50.0, 34.0);
    let mut out = format!(
        "<p class=\"soft\">Each task by the operations it does for a byte that it must move, and by its speed: \
         a ring is the default schedule, a dot the one in use. Dashed: the highest bandwidth and the highest \
         speed that any task of this run has reached.</p>\n<svg viewBox=\"0 0 {} {}\" role=\"img\" \
         aria-label=\"roofline plot\">\n",
        SIZE.0, SIZE.1
    );
    out += &axes(x, y, "operations per byte (FLOP/B)", "speed (FLOP/s)", ("", "FLOP/s"));
    let bandwidth = points.iter().map(|(_, p)| p.1 / p.0).fold(0.0, f64::max);
    let speed = points.iter().map(|(_, p)| p.1).fold(0.0, f64::max);
    let (low, high) = x.ends();
    let floor = y.ends().0;
    let (start, knee) = (low.max(floor / bandwidth), (speed / bandwidth).min(high));
    let _ = writeln!(
        out,
        "<path class=\"roof\" d=\"M{:.1} {:.1}L{:.1} {:.1}H{:.1}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}B/s, {}FLOP/s</text>",
        x.place(start),
        y.place(start * bandwidth),
        x.place(knee),
        y.place(knee * bandwidth),
        x.place(high),
        x.place(high),
        y.place(knee * bandwidth) - 8.0,
        si3(bandwidth),
        si3(speed)
    );
    for (t, (intensity, flops)) in &points {
        let (at, now, then) = (x.place(*intensity), y.place(*flops), y.place(before(t, *flops)));
        let words = format!(
            "{}: {} with {} ({:.2}× the default)",
            t.task,
            t.best_ns.map_or_else(String::new, time),
            t.schedule,
            t.speedup()
        );
        let _ = writeln!(
            out,
            "<g><title>{}</title><line class=\"move\" x1=\"{at:.1}\" y1=\"{then:.1}\" x2=\"{at:.1}\" y2=\"{now:.1}\"/>\
             <circle class=\"base\" cx=\"{at:.1}\" cy=\"{then:.1}\" r=\"4.5\"/>\
             <circle class=\"dot\" cx=\"{at:.1}\" cy=\"{now:.1}\" r=\"4\"/></g>",
            escape(&words)
        );
    }
    out + "</svg>\n"
}
