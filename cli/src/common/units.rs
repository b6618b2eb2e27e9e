//! Numbers for people.

/// `1,543,714,304`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `3.09 G`: three significant digits and a decimal prefix.
pub(crate) fn short(n: u64) -> String {
    const PREFIXES: [&str; 6] = ["", " k", " M", " G", " T", " P"];
    let mut x = n as f64;
    let mut step = 0;
    while x >= 999.5 && step + 1 < PREFIXES.len() {
        x /= 1000.0;
        step += 1;
    }
    let decimals = match x {
        _ if step == 0 => 0,
        x if x < 9.995 => 2,
        x if x < 99.95 => 1,
        _ => 0,
    };
    format!("{x:.decimals$}{}", PREFIXES[step])
}

/// `4K` for 4096 tokens; other numbers as they are.
pub(crate) fn tokens(n: u64) -> String {
    if n >= 1024 && n.is_multiple_of(1024) { format!("{}K", n / 1024) } else { n.to_string() }
}

/// The middle value, or the mean of the two; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (n, half) if n.is_multiple_of(2) => (sorted[half - 1] + sorted[half]) / 2.0,
        (_, half) => sorted[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shortened() {
        assert_eq!(
            [count(0), count(999), count(1000), count(134_515_008)],
            ["0", "999", "1,000", "134,515,008"]
        );
        assert_eq!(
            [short(0), short(999), short(1000), short(1_543_714_304)],
            ["0", "999", "1.00 k", "1.54 G"]
        );
        assert_eq!([short(12_345), short(999_499), short(999_500)], ["12.3 k", "999 k", "1.00 M"]);
        assert_eq!([tokens(4096), tokens(262_144), tokens(500)], ["4K", "256K", "500"]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }
}
