use csv_core::{ReadRecordResult, Reader};

use crate::header::Header;
use crate::row::RawRow;
use crate::{FileError, Found, Limits, RowContent};

/// The rows of one CSV file, by RFC 4180. A line ends with CRLF, LF or CR.
///
/// A quote that opens a cell is closed by the next one, wherever that is: what looks like rows in
/// between is the cell's. One that is never closed makes the rest of the file one row with a problem;
/// to guess where that row was meant to end would import what somebody wrote into a cell.
#[derive(Debug)]
pub(crate) struct CsvRows {
    reader: Reader,
    file: Option<String>,
    limits: Limits,
    header: Option<Header>,
    raw: RawRow,
    cells: Cells,
    next: u64,
    is_inside: bool,
    /// The last row ended with a CR, to which a LF may belong.
    after_cr: bool,
}

/// What the parser made of the row so far. Never larger than twice what a row may have.
#[derive(Debug, Default)]
struct Cells {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
    ended: usize,
}

impl CsvRows {
    pub(crate) fn new(file: Option<String>, limits: Limits) -> Self {
        let mut reader = Reader::new();
        // Its own look for a byte order mark would depend on how much it is given at first.
        let mut ends = [0];
        reader.read_record(b"\n", &mut [0], &mut ends);
        let raw = RawRow::new(limits.header_bytes);
        let cells = Cells::default();
        Self { reader, file, limits, header: None, raw, cells, next: 1, is_inside: false, after_cr: false }
    }

    /// Rows with this header, which is not in the text.
    fn under(header: Header, limits: Limits) -> Self {
        Self { header: Some(header), raw: RawRow::new(limits.row_bytes), ..Self::new(None, limits) }
    }

    /// Takes from `input` up to the end of a row, and says how much that was.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Found>), FileError> {
        let mut taken = self.skip_blank_lines(input);
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            let (result, read) = self.cells.read(&mut self.reader, rest);
            let read_bytes = rest.get(..read).unwrap_or_default();
            self.raw.add(read_bytes);
            taken += read;
            if matches!(result, ReadRecordResult::Record) {
                self.after_cr = read_bytes.ends_with(b"\r");
                return Ok((taken, Some(self.complete(true)?)));
            }
            self.cells.make_room(&result, self.raw.overflows());
        }
        Ok((taken, None))
    }

    /// A last row without a line end.
    pub(crate) fn finish(&mut self) -> Result<Option<Found>, FileError> {
        if !self.is_inside && self.header.is_none() {
            return Err(FileError::refused("NO_HEADER", "The file has no header, only blank lines."));
        }
        while self.is_inside {
            // Within quotes this line end is one of the cell's.
            let (result, read) = self.cells.read(&mut self.reader, b"\n");
            match result {
                ReadRecordResult::Record => return self.complete(true).map(Some),
                _ if read > 0 => return self.complete(false).map(Some),
                result => self.cells.make_room(&result, self.raw.overflows()),
            }
        }
        Ok(None)
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        let Cells { bytes, ends, .. } = &self.cells;
        self.raw.held() + bytes.capacity() + ends.capacity() * size_of::<usize>()
    }

    /// A blank line is a row of a spreadsheet too, but there is nothing in it.
    fn skip_blank_lines(&mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        while !self.is_inside {
            match input.get(taken) {
                Some(b'\n') if self.after_cr => self.after_cr = false,
                Some(end @ (b'\n' | b'\r')) => {
                    self.next += 1;
                    self.after_cr = *end == b'\r';
                }
                Some(_) => {
                    self.is_inside = true;
                    return taken;
                }
                None => return taken,
            }
            taken += 1;
        }
        taken
    }

    fn complete(&mut self, is_closed: bool) -> Result<Found, FileError> {
        let number = self.next;
        self.next += 1;
        self.is_inside = false;
        let found = match &self.header {
            Some(header) => {
                let content = self.content(header, is_closed).unwrap_or_else(|problem| problem);
                Ok(Found::Row { number, content })
            }
            None => self.begin(is_closed),
        };
        self.raw.clear();
        self.cells.clear();
        if self.header.is_some() && self.raw.most() != self.limits.row_bytes {
            self.raw = RawRow::new(self.limits.row_bytes);
        }
        found
    }

    fn begin(&mut self, is_closed: bool) -> Result<Found, FileError> {
        if let Err(RowContent::Problem { code, .. }) = self.raw.text() {
            let (code, message) = match code {
                "ROW_TOO_LARGE" => ("HEADER_TOO_LARGE", format!("The header has more than {} bytes.", self.raw.most())),
                "NUL_CHARACTER" => ("UNSUPPORTED_ENCODING", "The header holds a NUL character.".to_owned()),
                _ => ("UNSUPPORTED_ENCODING", "The header is not text in UTF-8; save the file in UTF-8.".to_owned()),
            };
            return Err(FileError::refused(code, message));
        }
        if !is_closed {
            return Err(FileError::refused("NO_HEADER", "The header opens a quote that is never closed."));
        }
        let header = Header::of(&self.cells.texts())?;
        let columns = header.columns.clone();
        self.header = Some(header);
        Ok(Found::File { name: self.file.clone(), columns })
    }

    fn content(&self, header: &Header, is_closed: bool) -> Result<RowContent, RowContent> {
        let too_large_or = |problem| if is_closed { problem } else { unclosed(problem) };
        let text = self.raw.text().map_err(too_large_or)?;
        if !is_closed {
            return Err(unclosed(RowContent::Text(text.to_owned())));
        }
        let cells = self.cells.texts();
        if cells.len() != header.width {
            let message = format!("has {} fields, where the header has {}", cells.len(), header.width);
            return Err(RowContent::problem(text, "WRONG_NUMBER_OF_FIELDS", message));
        }
        match header.text(&cells).transpose()? {
            Some(text) if header.columns.is_empty() => Ok(RowContent::Text(text.to_owned())),
            Some(text) => row_in(text, header, self.limits),
            None => Ok(RowContent::Fields(header.fields(&cells))),
        }
    }
}

fn unclosed(content: RowContent) -> RowContent {
    let (RowContent::Problem { text, .. } | RowContent::Text(text)) = content else { return content };
    let message = "opens a quote that is never closed; what follows it in the file is part of this row";
    RowContent::problem(text, "UNCLOSED_QUOTE", message)
}

/// Reads the one row that is the text in a cell.
fn row_in(text: &str, header: &Header, limits: Limits) -> Result<RowContent, RowContent> {
    let refused = |code, message| Err(RowContent::problem(text, code, message));
    let mut rows = CsvRows::under(header.of_texts(), limits);
    let mut found = None;
    let mut left = text.as_bytes();
    loop {
        let (taken, row) = rows.feed(left).unwrap_or((left.len(), None));
        left = left.get(taken..).unwrap_or_default();
        let row = if row.is_none() && left.is_empty() { rows.finish().ok().flatten() } else { row };
        match (row, &found) {
            (Some(Found::Row { content, .. }), None) => found = Some(content),
            (Some(_), _) => return refused("SEVERAL_ROWS", "has more than one row in import_text"),
            (None, _) if left.is_empty() => break,
            (None, _) => {}
        }
    }
    found.map_or_else(|| refused("MALFORMED_ROW", "has no row in import_text"), Ok)
}

impl Cells {
    fn read(&mut self, reader: &mut Reader, input: &[u8]) -> (ReadRecordResult, usize) {
        if self.bytes.is_empty() {
            self.bytes.resize(4 << 10, 0);
            self.ends.resize(64, 0);
        }
        let bytes = self.bytes.get_mut(self.written..).unwrap_or_default();
        let ends = self.ends.get_mut(self.ended..).unwrap_or_default();
        let (result, read, written, ended) = reader.read_record(input, bytes, ends);
        self.written += written;
        self.ended += ended;
        (result, read)
    }

    /// Where the parser has no room left, makes some; of a row that is too large, by forgetting it.
    fn make_room(&mut self, result: &ReadRecordResult, is_lost: bool) {
        if is_lost {
            self.clear();
        } else if matches!(result, ReadRecordResult::OutputFull) {
            self.bytes.resize(self.bytes.len() * 2, 0);
        } else if matches!(result, ReadRecordResult::OutputEndsFull) {
            self.ends.resize(self.ends.len() * 2, 0);
        }
    }

    fn clear(&mut self) {
        self.written = 0;
        self.ended = 0;
    }

    /// The cells, which are text because the row is: what lies between two of them is ASCII.
    fn texts(&self) -> Vec<&str> {
        let ends = self.ends.get(..self.ended).unwrap_or_default();
        let starts = std::iter::once(&0).chain(ends);
        let cells = starts.zip(ends).map(|(start, end)| self.bytes.get(*start..*end).unwrap_or_default());
        cells.map(|cell| std::str::from_utf8(cell).unwrap_or_default()).collect()
    }
}
