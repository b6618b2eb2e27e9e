//! Where the run's time went.

use crate::report::Report;
use std::fmt::Write as _;

/// A bar in parts, with its numbers.
pub(super) fn draw(report: &Report) -> String {
    let s = report.spent;
    let other = (report.seconds - s.total()).max(0.0);
    let parts = [
        ("a", "racing candidates", s.race),
        ("b", "comparing with the reference", s.validate),
        ("c", "setting problems up", s.setup),
        ("d", "everything else", other),
    ];
    let all: f64 = parts.iter().map(|(.., seconds)| seconds).sum();
    if all <= 0.0 {
        return String::new();
    }
    let mut out = "<svg viewBox=\"0 0 960 46\" role=\"img\" aria-label=\"time spent, in parts\">".to_owned();
    let mut at = 0.0;
    for (class, name, seconds) in parts {
        let width = seconds / all * 960.0;
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{at:.1}\" y=\"0\" width=\"{width:.1}\" height=\"28\"><title>{name}: \
             {seconds:.2} s</title></rect>"
        );
        at += width;
    }
    let _ = write!(
        out,
        "<text x=\"0\" y=\"43\">0 s</text><text x=\"960\" y=\"43\" text-anchor=\"end\">{all:.1} s</text></svg>\n\
         <table><thead><tr><th></th><th>part</th><th class=\"n\">seconds</th><th class=\"n\">share</th></tr></thead><tbody>"
    );
    for (class, name, seconds) in parts {
        let _ = write!(
            out,
            "<tr><td style=\"width:1.6rem\"><svg viewBox=\"0 0 10 10\" style=\"width:.8em\"><rect class=\"{class}\" width=\"10\" \
             height=\"10\"/></svg></td><td>{name}</td><td class=\"n\">{seconds:.2}</td><td class=\"n\">{:.1} %</td></tr>",
            seconds / all * 100.0
        );
    }
    out + "</tbody></table>\n"
}
