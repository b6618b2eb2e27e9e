//! Aligned tables.

use std::fmt;

/// A table: words to the left, numbers to the right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    headings: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; one that begins with `>` is aligned to the right.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let column = |h: &&str| match h.strip_prefix('>') {
            Some(name) => (name.to_owned(), true),
            None => ((*h).to_owned(), false),
        };
        Self { headings: headings.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the columns are dropped, missing ones are empty.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).take(self.headings.len()).collect();
        row.resize(self.headings.len(), String::new());
        self.rows.push(row);
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |i: usize| self.rows.iter().map(|r| width(&r[i])).max().unwrap_or(0);
        let widths: Vec<usize> =
            self.headings.iter().enumerate().map(|(i, (h, _))| width(h).max(widest(i))).collect();
        let names: Vec<String> = self.headings.iter().map(|(h, _)| h.clone()).collect();
        let headed = names.iter().any(|n| !n.is_empty());
        for row in headed.then_some(&names).into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (i, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[i] - width(cell));
                let (before, after) =
                    if self.headings[i].1 { (pad, String::new()) } else { (String::new(), pad) };
                line += &format!("{}{before}{cell}{after}", if i == 0 { "" } else { "  " });
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let mut table = Table::new(&["layer", ">params", "note"]);
        table.row(["embedding", "1,024", ""]);
        table.row(["é", "7", "äöü", "dropped"]);
        table.row(["last"]);
        let text = table.to_string();
        assert_eq!(text, "layer      params  note\nembedding   1,024\né               7  äöü\nlast\n");
    }

    #[test]
    fn a_table_without_headings_is_its_rows() {
        let mut table = Table::new(&["", ">"]);
        table.row(["a", "10"]);
        table.row(["bb", "1"]);
        assert_eq!(table.to_string(), "a   10\nbb   1\n");
    }
}
