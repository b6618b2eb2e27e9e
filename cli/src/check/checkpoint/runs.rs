//! The runs of an `expected.safetensors`: one, or several by name.

use crate::check::case::CaseFile;
use crate::check::expect::Expectations;
use crate::check::tally::Tallies;
use anyhow::{Result, ensure};

/// Name of the run that holds the greedy continuation.
pub(super) const GREEDY: &str = "greedy";
const IDS: &str = "input_ids";

/// A batch of rows with expected values.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// In front of its tensors' names, with the dot; empty for the only run of a flat file.
    prefix: String,
    /// Token ids without padding.
    pub(super) rows: Vec<Vec<u32>>,
    /// Tokens of a row with padding, which stands on the left.
    pub(super) padded: usize,
    /// The logits to compare with.
    pub(super) logits: Option<String>,
}

/// The runs of `case` but for the greedy continuation.
pub(super) fn find(case: &CaseFile) -> Result<Vec<Run>> {
    let mut prefixes: Vec<String> =
        case.names().iter().filter_map(|n| n.strip_suffix(IDS)).map(str::to_owned).collect();
    prefixes.retain(|p| (p.is_empty() || p.ends_with('.')) && p.strip_suffix('.') != Some(GREEDY));
    prefixes.sort();
    prefixes.into_iter().map(|p| Run::read(case, p)).collect()
}

impl Run {
    fn read(case: &CaseFile, prefix: String) -> Result<Self> {
        let ids = format!("{prefix}{IDS}");
        let mut rows = case.token_rows(&ids)?;
        let padded = rows.first().map_or(0, Vec::len);
        let mask = format!("{prefix}attention_mask");
        if case.has(&mask) {
            let (shape, mask) = case.ints(&mask)?;
            ensure!(shape == [rows.len(), padded], "`{prefix}attention_mask` has shape {shape:?}");
            for (row, mask) in rows.iter_mut().zip(mask.chunks(padded)) {
                let pad = mask.iter().take_while(|m| **m == 0).count();
                ensure!(
                    pad < padded && mask[pad..].iter().all(|m| *m != 0),
                    "`{prefix}attention_mask` is not padding and then real tokens"
                );
                row.drain(..pad);
            }
        }
        let (exact, rounded) = (format!("{prefix}logits_f64"), format!("{prefix}logits"));
        let logits = if case.has(&exact) {
            case.skip(&rounded);
            Some(exact)
        } else {
            case.has(&rounded).then_some(rounded)
        };
        Ok(Self { prefix, rows, padded, logits })
    }

    /// The run's tensor `what`.
    pub(super) fn name(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }

    /// The rows, the first of them stream `at.0`, are in watched buffer `at.1`; `tensor` is `[rows, padded, width]`.
    /// Padding is not compared.
    pub(super) fn expect_rows(
        &self,
        tensor: &str,
        at: (usize, usize),
        width: usize,
        expect: &mut Expectations,
        tallies: &mut Tallies,
    ) {
        for (b, row) in self.rows.iter().enumerate() {
            let (start, pad) = (b * self.padded, self.padded - row.len());
            tallies.excuse(tensor, start * width, pad * width);
            expect.rows(at.0 + b, at.1, 0, row.len(), tensor, (start + pad) * width);
        }
    }
}
