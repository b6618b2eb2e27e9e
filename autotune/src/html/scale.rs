//! Axes: from values to places, with ticks where a person expects them.

use std::fmt::Write as _;

/// A logarithmic axis from one value to another, over some pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Log {
    /// An axis that holds all of `values`, which are positive, with some room on both sides; it spans a factor of 1.3 at
    /// least, so that noise does not look like a difference.
    pub(super) fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        if !(low.is_finite() && low > 0.0) {
            return Self { low: 0.1, high: 10.0, from, to };
        }
        let span = high / low;
        let room = span.powf(0.08).max((1.3 / span).sqrt()).clamp(1.05, 3.0);
        Self { low: low / room, high: high * room, from, to }
    }

    /// Where `value` is.
    pub(super) fn place(self, value: f64) -> f64 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + (self.to - self.from) * part
    }

    /// The ends.
    pub(super) fn ends(self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// 1, 2 and 5 of each power of ten, all tenths where those are too few, or the powers alone where they are too many.
    pub(super) fn ticks(self) -> Vec<f64> {
        let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let inside = |v: &f64| (self.low..=self.high).contains(v);
        let all = |steps: &[f64]| -> Vec<f64> {
            let of = |p: i32| steps.iter().map(move |s| s * 10_f64.powi(p)).collect::<Vec<_>>();
            powers.clone().flat_map(of).filter(inside).collect()
        };
        let fine = all(&[1.0, 2.0, 5.0]);
        match fine.len() {
            0..=2 => {
                let tenths: Vec<f64> = (10..100).map(|i| f64::from(i) / 10.0).collect();
                let whole: Vec<f64> = (1..10).map(f64::from).collect();
                let (tenths, whole) = (all(&tenths), all(&whole));
                if tenths.len() <= 9 || whole.len() < 3 { tenths } else { whole }
            }
            3..=9 => fine,
            _ => all(&[1.0]),
        }
    }
}

/// A number with a prefix of the SI, as in `20 G`.
pub(super) fn si(value: f64) -> String {
    let scales = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, " ")];
    let found = scales.iter().find(|(scale, _)| value >= *scale * 0.9995);
    match found {
        Some((scale, name)) => format!("{}{name}", short(value / scale)),
        None => format!("{} ", short(value)),
    }
}

/// The same for a measured number: three digits.
pub(super) fn si3(value: f64) -> String {
    if value == 0.0 {
        return si(value);
    }
    let digits = 10_f64.powi(2 - value.abs().log10().floor() as i32);
    si((value * digits).round() / digits)
}

/// As few digits as say it.
pub(super) fn short(value: f64) -> String {
    if value > 0.0 && value < 1e-2 {
        return format!("{value:.0e}");
    }
    let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Grid, ticks and titles of a picture whose axes are `x` (to the right) and `y` (upwards).
pub(super) fn axes(x: Log, y: Log, x_title: &str, y_title: &str, units: (&str, &str)) -> String {
    let mut out = String::new();
    let (left, right, bottom, top) = (x.from, x.to, y.from, y.to);
    for v in x.ticks() {
        let at = x.place(v);
        let _ =
            write!(out, "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{bottom}\" x2=\"{at:.1}\" y2=\"{top}\"/>");
        let _ = write!(
            out,
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}{}</text>",
            bottom + 16.0,
            si(v),
            units.0
        );
    }
    for v in y.ticks() {
        let at = y.place(v);
        let _ =
            write!(out, "<line class=\"grid\" x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>");
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}{}</text>",
            left - 6.0,
            at + 4.0,
            si(v),
            units.1
        );
    }
    let _ = write!(out, "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/>");
    let _ = write!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{x_title}</text>",
        (left + right) / 2.0,
        bottom + 36.0
    );
    let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{y_title}</text>", left - 80.0, top - 12.0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_inside_and_in_order_and_ticks_are_round() {
        let axis = Log::around([3.0, 700.0].into_iter(), 0.0, 100.0);
        let places: Vec<_> = axis.ticks().into_iter().map(|t| axis.place(t)).collect();
        assert_eq!(axis.ticks(), [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]);
        assert!(places.is_sorted() && places.iter().all(|p| (0.0..=100.0).contains(p)), "{places:?}");
        for narrow in [[1.0, 1.0], [0.99, 1.01], [0.8, 1.6], [4.2, 5.1], [9.9, 10.1]] {
            let axis = Log::around(narrow.into_iter(), 0.0, 100.0);
            let (low, high) = axis.ends();
            assert!(
                high / low >= 1.299 && (3..=14).contains(&axis.ticks().len()),
                "{narrow:?} {:?}",
                axis.ticks()
            );
        }
        assert!(Log::around([1e-3, 1e9].into_iter(), 0.0, 1.0).ticks().len() <= 14);
    }

    #[test]
    fn numbers_are_written_for_people() {
        let all: Vec<_> = [2e9, 1.5e12, 0.25, 12.0, 999.0].into_iter().map(si).collect();
        assert_eq!(all, ["2 G", "1.5 T", "0.25 ", "12 ", "999 "]);
        assert_eq!([66.137e9, 161.2e9, 5.0, 0.0].map(si3), ["66.1 G", "161 G", "5 ", "0 "]);
        assert_eq!([1e-5, 5e-3, 0.05].map(short), ["1e-5", "5e-3", "0.05"]);
    }
}
