//! A run's report as one page: tables and pictures in a single file, readable without network and without scripts, in light
//! and dark.

mod landscape;
mod pareto;
mod roofline;
mod scale;
mod spent;

use crate::report::{Outcome, Report, TaskReport, time};
use std::fmt::Write as _;

/// What the page says about the run beside its report.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The model.
    pub model: String,
    /// The device, in words.
    pub device: String,
    /// What the numbers are worth: `measured`, `modelled`.
    pub grade: String,
    /// Anything else: names and values, in order.
    pub facts: Vec<(String, String)>,
}

/// The page.
pub fn page(report: &Report, about: &About) -> String {
    let title = format!("jet-tune: {}", about.model);
    let mut body = format!("<h1>{}</h1>\n", escape(&title));
    let facts = [("device", about.device.as_str()), ("times are", about.grade.as_str())];
    let facts =
        facts.into_iter().chain(about.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let facts = facts.map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value)));
    body += &format!("<dl>{}</dl>\n", facts.collect::<String>());
    body += &tiles(report);
    for notice in &report.notices {
        body += &format!("<p class=\"note\">{}</p>\n", escape(notice));
    }
    let sections = [
        ("Tasks", table(report)),
        ("Roofline", roofline::draw(&report.tasks)),
        ("Formats against each other", pareto::draw(&report.tasks)),
        ("Where the time went", spent::draw(report)),
        ("Candidates of each task", landscape::section(&report.tasks)),
        ("Rejected candidates", rejected(report)),
    ];
    for (name, text) in sections.iter().filter(|(_, text)| !text.is_empty()) {
        body += &format!("<section><h2>{name}</h2>\n{text}</section>\n");
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{}</style></head>\n\
         <body>\n{body}</body></html>\n",
        escape(&title),
        include_str!("page.css")
    )
}

/// Text that may stand anywhere in the page.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c => out.push(c),
        }
    }
    out
}

/// A task's label without its device, which is the same for all and stands at the top.
fn shape_of(label: &str) -> &str {
    label.rsplit_once(" on ").map_or(label, |(shape, _)| shape)
}

/// Whether the schedule in use was found to be faster than the default.
fn faster(task: &TaskReport) -> bool {
    matches!(task.outcome, Outcome::Tuned | Outcome::Modelled) && task.speedup() > 1.0
}

fn tiles(report: &Report) -> String {
    let tried: usize = report.tasks.iter().map(|t| t.timed).sum();
    let legal: usize = report.tasks.iter().map(|t| t.candidates).sum();
    let best = report.tasks.iter().map(TaskReport::speedup).fold(1.0, f64::max);
    let tiles = [
        ("tasks", report.tasks.len().to_string()),
        ("tasks faster", report.tasks.iter().filter(|t| faster(t)).count().to_string()),
        ("mean gain", format!("{:.2}×", report.mean_speedup())),
        ("largest gain", format!("{best:.2}×")),
        ("candidates timed", format!("{tried}/{legal}")),
        ("rejected", report.rejected().to_string()),
        ("time", format!("{:.1} s", report.seconds)),
    ];
    let tile = |(name, value): &(&str, String)| format!("<div><b>{value}</b><span>{name}</span></div>");
    format!("<div class=\"tiles\">{}</div>\n", tiles.iter().map(tile).collect::<String>())
}

fn table(report: &Report) -> String {
    let mut out = "<div class=\"wide\"><table><thead><tr><th>task</th><th>outcome</th><th class=\"n\">default</th>\
                   <th class=\"n\">now</th><th class=\"n\">gain</th><th class=\"n\">GB/s</th>\
                   <th class=\"n\">GFLOP/s</th><th class=\"n\">tried</th><th>schedule</th></tr></thead><tbody>\n"
        .to_owned();
    let dash = || "–".to_owned();
    for t in &report.tasks {
        let class = if faster(t) { " class=\"won\"" } else { "" };
        let giga = |x: Option<f64>| x.map_or_else(dash, |x| format!("{:.1}", x / 1e9));
        let gain = t.best_ns.map_or_else(dash, |_| format!("{:.2}×", t.speedup()));
        let numbers = [
            t.default_ns.map_or_else(dash, time),
            t.best_ns.map_or_else(dash, time),
            gain,
            giga(t.bytes_per_second),
            giga(t.flops_per_second),
            format!("{}/{}", t.timed, t.candidates),
        ];
        let numbers: String = numbers.iter().map(|n| format!("<td class=\"n\">{n}</td>")).collect();
        let last = if t.schedule.is_empty() { &t.note } else { &t.schedule };
        let _ = writeln!(
            out,
            "<tr{class}><td>{}</td><td title=\"{}\">{}</td>{numbers}<td class=\"long\">{}</td></tr>",
            escape(shape_of(&t.task)),
            escape(&t.note),
            t.outcome,
            escape(last)
        );
    }
    out + "</tbody></table></div>\n"
}

fn rejected(report: &Report) -> String {
    let all = report.tasks.iter().flat_map(|t| t.rejected.iter().map(move |r| (t, r)));
    let row = |(t, r): (&TaskReport, &crate::report::Rejected)| {
        let cells = [shape_of(&t.task), &r.schedule].map(|cell| format!("<td>{}</td>", escape(cell)));
        format!("<tr>{}<td class=\"long\">{}</td></tr>\n", cells.concat(), escape(&r.reason))
    };
    let rows: String = all.map(row).collect();
    match rows.is_empty() {
        true => rows,
        false => format!(
            "<div class=\"wide\"><table><thead><tr><th>task</th><th>schedule</th><th>reason</th></tr></thead>\
             <tbody>\n{rows}</tbody></table></div>\n"
        ),
    }
}

#[cfg(test)]
mod tests;
