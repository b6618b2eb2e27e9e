use super::pareto::{Choice, front};
use super::*;
use crate::report::{Rejected, Tried};

fn task(format: &str, ns: f64, error: f64) -> TaskReport {
    let tried = |schedule: &str, median_ns| Tried { schedule: schedule.into(), median_ns, samples: 15 };
    TaskReport {
        schedule: "tile=32".into(),
        default_ns: Some(2.0 * ns),
        best_ns: Some(ns),
        bytes_per_second: Some(1e10),
        flops_per_second: Some(4e10),
        rel_rms: Some(error),
        candidates: 3,
        timed: 2,
        tried: vec![tried("tile=16", 2.0 * ns), tried("tile=32", ns)],
        rejected: vec![Rejected {
            schedule: "tile=64".into(),
            reason: "its output is <wrong> & late".into(),
            known: false,
        }],
        ..TaskReport::without(
            "id".into(),
            format!("gemm[k=64 n=64 tokens=8] {format} on cpu"),
            Outcome::Tuned,
            "faster".into(),
        )
    }
}

fn whole() -> String {
    let tasks = vec![task("q4_0/int8", 1e4, 1e-2), task("bf16/bf16", 3e4, 1e-3), task("f32/f32", 9e4, 1e-6)];
    let spent = crate::race::Spent { setup: 1.0, validate: 2.0, race: 5.0 };
    let report = Report { tasks, seconds: 9.0, spent, notices: vec!["a note".into()], ..Report::default() };
    let about = About { model: "a<b".into(), device: "cpu".into(), grade: "measured".into(), facts: vec![] };
    page(&report, &about)
}

#[test]
fn every_part_of_the_page_is_there_and_what_was_given_is_escaped() {
    let page = whole();
    for part in
        ["Tasks", "Roofline", "Formats against", "Where the time", "Candidates of each", "Rejected cand"]
    {
        assert!(page.contains(&format!("<h2>{part}")), "{part}");
    }
    assert!(page.contains("<title>jet-tune: a&lt;b</title>") && page.contains("&lt;wrong&gt; &amp; late"));
    assert!(page.contains("2.00×") && page.contains("10.0 us") && page.contains("a note"), "{page}");
    assert!(page.contains("operations per byte (FLOP/B)") && page.contains("speed (FLOP/s)"));
    assert!(!page.contains("NaN") && !page.contains("inf"), "a place is a number");
}

#[test]
fn the_page_needs_no_network_and_no_script() {
    let page = whole();
    for word in ["http", "<script", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn tags_are_closed_in_order() {
    let mut open = Vec::new();
    let page = whole();
    for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.split_whitespace().next().unwrap().trim_end_matches('/');
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name.to_owned()), "{tag}"),
            None if tag.starts_with('!') || tag.ends_with('/') || name == "meta" => {}
            None => open.push(name.to_owned()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_run_without_anything_is_a_page_too() {
    let page = page(&Report::default(), &About::default());
    assert!(page.contains("<h2>Tasks") && !page.contains("<h2>Roofline") && page.ends_with("</html>\n"));
}

#[test]
fn the_front_is_what_nothing_beats_in_both() {
    let choice = |task, ns, error| Choice { task, ns, error };
    let all = [choice("a", 1.0, 9.0), choice("b", 2.0, 9.5), choice("c", 3.0, 1.0), choice("d", 4.0, 1.0)];
    let names: Vec<_> = front(&all).iter().map(|c| c.task).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn labels_at_one_place_stand_above_each_other() {
    let at = |ns, format| task(format, ns, 1e-3);
    let tasks = vec![at(1e4, "a"), at(1.01e4, "b"), at(1.02e4, "c")];
    let page = page(&Report { tasks, ..Report::default() }, &About::default());
    let plot = page.split("Formats against").nth(1).unwrap().split("</section>").next().unwrap();
    let height = |name: &str| -> f64 {
        let before = plot.split(&format!("\">{name}</text>")).next().unwrap();
        before.rsplit("y=\"").next().unwrap().parse().unwrap()
    };
    let heights = ["a", "b", "c"].map(height);
    assert!(heights[0] - heights[1] >= 13.0 && heights[1] - heights[2] >= 13.0, "{heights:?}");
}

#[test]
fn a_default_that_was_never_timed_draws_nothing() {
    let mut wrong = task("f32/f32", 1e4, 1e-6);
    wrong.tried[0].median_ns = 0.0;
    let page = page(&Report { tasks: vec![wrong], ..Report::default() }, &About::default());
    assert!(!page.contains("NaN") && !page.contains("Candidates of each"));
}
