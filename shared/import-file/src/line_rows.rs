use crate::row::RawRow;
use crate::{Found, RowContent};

/// JSON lines, cut at line feeds. What is in a line is not looked at.
#[derive(Debug)]
pub(crate) struct LineRows {
    raw: RawRow,
    next: u64,
}

impl LineRows {
    pub(crate) fn new(row_bytes: usize) -> Self {
        Self { raw: RawRow::new(row_bytes), next: 1 }
    }

    /// Takes from `input` up to the end of a row, and says how much that was.
    pub(crate) fn feed(&mut self, input: &[u8]) -> (usize, Option<Found>) {
        match memchr::memchr(b'\n', input) {
            Some(end) => {
                self.raw.add(input.get(..=end).unwrap_or_default());
                (end + 1, self.complete())
            }
            None => {
                self.raw.add(input);
                (input.len(), None)
            }
        }
    }

    /// A last line without a line end.
    pub(crate) fn finish(&mut self) -> Option<Found> {
        if self.raw.is_empty() { None } else { self.complete() }
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.raw.held()
    }

    fn complete(&mut self) -> Option<Found> {
        let number = self.next;
        self.next += 1;
        let content = match self.raw.text() {
            Ok(text) if text.trim_ascii().is_empty() => None,
            Ok(text) => Some(RowContent::Text(text.to_owned())),
            Err(problem) => Some(problem),
        };
        self.raw.clear();
        content.map(|content| Found::Row { number, content })
    }
}
