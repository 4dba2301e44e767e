//! Columns for people: aligned, and as wide as what is in them.

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}
pub(super) use Align::{Left, Right};

/// Between two columns.
const GAP: &str = "  ";

/// A table with a heading; a row may have a line below it.
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<(Vec<String>, Option<String>)>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<String>, below: Option<String>) {
        self.rows.push((cells, below));
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let width = |text: &str| text.chars().count();
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| width(name)).collect();
        for (cells, _) in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(cells) {
                *widest = (*widest).max(width(cell));
            }
        }
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells
                .zip(&widths)
                .zip(&self.columns)
                .map(|((cell, widest), (_, align))| {
                    let space = " ".repeat(widest.saturating_sub(width(cell)));
                    match align {
                        Left => format!("{cell}{space}"),
                        Right => format!("{space}{cell}"),
                    }
                })
                .collect();
            padded.join(GAP).trim_end().to_owned()
        };
        let mut lines = vec![line(&mut self.columns.iter().map(|(name, _)| *name))];
        let indent = widths.first().copied().unwrap_or(0);
        for (cells, below) in &self.rows {
            lines.push(line(&mut cells.iter().map(String::as_str)));
            lines.extend(
                below
                    .as_ref()
                    .map(|text| format!("{}{GAP}{text}", " ".repeat(indent))),
            );
        }
        lines
    }
}
