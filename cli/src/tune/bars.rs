//! The tuner's events on stderr: bars on a terminal, lines elsewhere.

use crate::common::output;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jet_autotune::report::time;
use jet_autotune::{Event, Outcome, Progress, TaskReport};
use std::io::{self, IsTerminal as _};
use std::time::Instant;

/// Shows progress in one of two ways, or not at all.
pub(crate) enum Bars {
    /// Nobody wants to see it.
    Silent,
    /// A line per finished task.
    Lines(Lines),
    /// Two bars that are redrawn.
    Drawn(Box<Drawn>),
}

/// What is counted for lines.
pub(crate) struct Lines {
    begun: Instant,
    open: usize,
    worked: usize,
}

impl Lines {
    /// About how long it still takes, by the tasks so far.
    fn left(&self) -> String {
        let open = self.open.saturating_sub(self.worked);
        let each = self.begun.elapsed().as_secs_f64() / self.worked.max(1) as f64;
        if open == 0 { String::new() } else { format!("; about {:.0} s left", each * open as f64) }
    }
}

/// The bars of a terminal.
pub(crate) struct Drawn {
    all: MultiProgress,
    tasks: ProgressBar,
    current: ProgressBar,
    label: String,
}

impl Bars {
    /// Bars where stderr is a terminal, lines where it is not, nothing where no `notes` are wanted.
    pub(crate) fn new(notes: bool) -> Self {
        match (notes, io::stderr().is_terminal()) {
            (false, _) => Bars::Silent,
            (true, false) => Bars::Lines(Lines { begun: Instant::now(), open: 0, worked: 0 }),
            (true, true) => Bars::Drawn(Box::new(Drawn::new())),
        }
    }
}

impl Drawn {
    fn new() -> Self {
        let style = |template: &str| {
            let style = ProgressStyle::with_template(template).expect("a template of known parts");
            style.progress_chars("━╸─")
        };
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let tasks = all.add(ProgressBar::new(0));
        tasks.set_style(style("{bar:32} {pos}/{len} tasks  {elapsed} gone, about {eta} left"));
        let current = all.add(ProgressBar::new_spinner());
        current.set_style(style("  {wide_msg}"));
        Self { all, tasks, current, label: String::new() }
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Planned { tasks, .. } => self.tasks.set_length(*tasks as u64),
            Event::TaskStarted { label, candidates, .. } => {
                self.label = format!("{label}, {candidates} candidates");
                self.current.set_message(self.label.clone());
                self.tasks.tick();
            }
            Event::Round { tried, racing, best, best_seconds, default_seconds, bound_seconds } => {
                let floor = bound_seconds.filter(|bound| *bound > 0.0);
                let floor = floor
                    .map_or_else(String::new, |bound| format!(", {:.2}x its bound", best_seconds / bound));
                let best = format!("best {} ({best}{floor})", time(best_seconds * 1e9));
                let default = time(default_seconds * 1e9);
                let message =
                    format!("{}: {tried} tried, {racing} racing, {best}, default {default}", self.label);
                self.current.set_message(message);
                self.tasks.tick();
            }
            Event::TaskFinished { index, tasks, report } => {
                if worked_on(report) {
                    // Where the terminal has gone away there is nothing to draw on.
                    let _ = self.all.println(line(*index, *tasks, report));
                }
                self.tasks.inc(1);
            }
        }
    }
}

impl Progress for Bars {
    fn event(&mut self, event: &Event<'_>) {
        match self {
            Bars::Silent => {}
            Bars::Drawn(drawn) => drawn.event(event),
            Bars::Lines(lines) => match event {
                Event::Planned { tasks, stored } => {
                    lines.open = tasks - stored;
                    output::complain(&format!("{tasks} tasks, {stored} of them stored already"));
                }
                Event::TaskFinished { index, tasks, report } if worked_on(report) => {
                    lines.worked += 1;
                    output::complain(&format!("{}{}", line(*index, *tasks, report), lines.left()));
                }
                Event::TaskStarted { .. } | Event::Round { .. } | Event::TaskFinished { .. } => {}
            },
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Bars::Drawn(drawn) = self {
            drawn.current.finish_and_clear();
            drawn.tasks.finish_and_clear();
        }
    }
}

/// Whether this run found something out about a task; the others are in the final table only.
fn worked_on(report: &TaskReport) -> bool {
    !matches!(report.outcome, Outcome::Stored | Outcome::NotReached)
}

fn line(index: usize, tasks: usize, report: &TaskReport) -> String {
    let head = format!("[{}/{tasks}] {} {}", index + 1, report.task, report.outcome);
    match report.best_ns {
        Some(best) => {
            let bound = report.bound_ns.filter(|bound| *bound > 0.0);
            let bound = bound.map_or_else(String::new, |bound| format!(", {:.2}x its bound", best / bound));
            format!("{head}: {} ({:.2}x{bound}) {}", time(best), report.speedup(), report.schedule)
        }
        None => format!("{head}: {}", report.note),
    }
}
