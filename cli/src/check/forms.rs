//! Forms: the ways to feed the same sequences to a device. Every one must give the same result.

/// One open sequence of a form: which stream it runs, and in what segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Index of the stream.
    pub stream: usize,
    /// Lengths of its segments, all of them at least 1.
    pub segments: Vec<usize>,
}

/// A way to run streams: the `i`-th batch holds the `i`-th segment of every lane that has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// As in reports.
    pub name: String,
    /// Its lanes. A stream may have several.
    pub lanes: Vec<Lane>,
}

/// Segment lengths for the uneven splits, repeated as needed: short ones after a long one and the other way
/// round, none of them a chunk length.
const UNEVEN: &[usize] = &[5, 1, 2, 3, 17, 1, 1, 40];

impl Form {
    /// Each stream in one call, all streams in one batch.
    pub fn one_call(lengths: &[usize]) -> Self {
        Self::of("one call", lengths, |n| vec![n])
    }

    /// One token a call.
    pub fn token_by_token(lengths: &[usize]) -> Self {
        Self::of("token by token", lengths, |n| vec![1; n])
    }

    /// Segments of 5, 1, 2, 3, … tokens.
    pub fn uneven(lengths: &[usize]) -> Self {
        Self::of("split unevenly", lengths, |n| cycle(n, UNEVEN))
    }

    /// Streams in a batch together, each cut in its own way, so that long segments, short ones and single tokens
    /// meet in one batch. Streams are repeated until there are at least three lanes.
    pub fn ragged(lengths: &[usize]) -> Self {
        let lanes = (0..lengths.len().max(3))
            .map(|i| {
                let (stream, n) = (i % lengths.len(), lengths[i % lengths.len()]);
                let segments = match i % 4 {
                    0 => cut(n, &[n.div_ceil(2) + 1]),
                    1 => cycle(n, &UNEVEN[i % UNEVEN.len()..]),
                    2 => cut(n, &[1, n.saturating_sub(2)]),
                    _ => vec![n],
                };
                Lane { stream, segments }
            })
            .collect();
        Self { name: "ragged batch".into(), lanes }
    }

    /// One stream without company.
    pub fn alone(name: &str, stream: usize, segments: Vec<usize>) -> Self {
        Self { name: name.to_owned(), lanes: vec![Lane { stream, segments }] }
    }

    /// Each stream cut as `segments` says.
    pub fn of(name: &str, lengths: &[usize], segments: impl Fn(usize) -> Vec<usize>) -> Self {
        let lanes =
            lengths.iter().enumerate().map(|(stream, n)| Lane { stream, segments: segments(*n) }).collect();
        Self { name: name.to_owned(), lanes }
    }

    /// Tokens of each batch.
    pub fn batch_sizes(&self) -> Vec<usize> {
        let rounds = self.lanes.iter().map(|l| l.segments.len()).max().unwrap_or(0);
        (0..rounds).map(|r| self.lanes.iter().filter_map(|l| l.segments.get(r)).sum()).collect()
    }

    /// Tokens of the largest batch.
    pub fn max_tokens(&self) -> usize {
        self.batch_sizes().into_iter().max().unwrap_or(0)
    }
}

/// Every form for streams of these lengths; equal ones once.
pub fn all(lengths: &[usize]) -> Vec<Form> {
    let mut forms = vec![Form::one_call(lengths), Form::token_by_token(lengths)];
    let mut add = |form: Form| {
        if forms.iter().all(|f| f.lanes != form.lanes) {
            forms.push(form);
        }
    };
    add(Form::of("split in halves", lengths, |n| cut(n, &[n / 2])));
    add(Form::of("split after the first token", lengths, |n| cut(n, &[1])));
    add(Form::of("split before the last token", lengths, |n| cut(n, &[n - 1])));
    add(Form::uneven(lengths));
    add(Form::ragged(lengths));
    if lengths.len() > 1 {
        for (stream, n) in lengths.iter().enumerate().take(MAX_ALONE) {
            add(Form::alone("one call, alone", stream, vec![*n]));
            add(Form::alone("token by token, alone", stream, vec![1; *n]));
        }
    }
    forms
}

/// Streams that are also run without company.
const MAX_ALONE: usize = 8;

/// A few forms that between them take every path: for the runs that are repeated per schedule.
pub fn few(lengths: &[usize]) -> Vec<Form> {
    let mut forms = vec![Form::one_call(lengths)];
    for form in [Form::uneven(lengths), Form::ragged(lengths)] {
        if forms.iter().all(|f| f.lanes != form.lanes) {
            forms.push(form);
        }
    }
    forms
}

/// `n` tokens cut into segments of `lengths` as far as they go, then the rest.
fn cut(n: usize, lengths: &[usize]) -> Vec<usize> {
    let mut left = n;
    let mut segments: Vec<usize> = lengths
        .iter()
        .map(|l| {
            let take = (*l).min(left);
            left -= take;
            take
        })
        .collect();
    segments.push(left);
    segments.retain(|s| *s > 0);
    segments
}

/// `n` tokens cut into segments of `lengths` over and over.
fn cycle(n: usize, lengths: &[usize]) -> Vec<usize> {
    let mut left = n;
    let mut segments = Vec::new();
    for l in lengths.iter().cycle() {
        if left == 0 {
            break;
        }
        segments.push((*l).min(left));
        left -= segments.last().expect("one was pushed");
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_covers_every_stream() {
        let whole = |f: &Form, n: usize| (0..n).all(|s| f.lanes.iter().any(|l| l.stream == s));
        for lengths in [vec![1], vec![2, 2], vec![7], vec![70, 33, 1], vec![200, 200], vec![3, 3, 3, 3, 3]] {
            for form in all(&lengths).into_iter().chain(few(&lengths)) {
                for lane in &form.lanes {
                    assert_eq!(lane.segments.iter().sum::<usize>(), lengths[lane.stream], "{}", form.name);
                    assert!(lane.segments.iter().all(|s| *s > 0), "{}", form.name);
                }
                assert!(whole(&form, lengths.len()) || form.name.ends_with("alone"), "{}", form.name);
            }
        }
    }

    #[test]
    fn a_ragged_batch_mixes_lengths() {
        let form = Form::ragged(&[20]);
        let first: Vec<_> = form.lanes.iter().map(|l| l.segments[0]).collect();
        assert_eq!(first, [11, 1, 1]);
        assert_eq!(form.lanes[1].segments, [1, 2, 3, 14]);
        assert_eq!(form.max_tokens(), 9 + 2 + 18);
    }
}
