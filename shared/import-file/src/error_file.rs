use std::io::{self, Write};

use csv::Terminator;

use crate::RowContent;
use crate::header::{CODE, FILE, MESSAGE, ROW, TEXT};

/// Writes failed rows as CSV that can be mended and imported again, in the same format of rows:
///
/// ```csv
/// code,name,import_row,import_code,import_message,import_text
/// ,Ring,7,REQUIRED,code must be given,
/// ,,9,WRONG_NUMBER_OF_FIELDS,"has 3 fields, where the header has 2","R-9,Ring,red"
/// ```
///
/// The first columns are those of the
/// file that was imported, and hold its cells as they came. A later import ignores the columns
/// `import_row`, `import_file` (there where a ZIP was imported), `import_code` and `import_message`.
///
/// A row that could not be told apart into cells, and every row of JSON lines, is in `import_text` as
/// it stood in the file. A later import takes such a text for the row: it may be mended where it
/// stands, or moved into the columns. JSON lines have no other columns, so that their error file is
/// imported again as CSV whose rows are objects.
///
/// Cells are not altered, those that a spreadsheet takes for a formula included: they would come
/// back altered.
#[derive(Debug)]
pub struct ErrorFile<W: Write> {
    writer: csv::Writer<W>,
    columns: Vec<String>,
    of_several_files: bool,
    is_begun: bool,
}

/// A row and why it was not imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedRow<'a> {
    /// The file in the ZIP that it is from.
    pub file: Option<&'a str>,
    /// Its number in that file.
    pub row: u64,
    /// The row as it came.
    pub content: &'a RowContent,
    /// What is wrong, for programs.
    pub code: &'a str,
    /// What is wrong, for people.
    pub message: &'a str,
}

/// Why a row was not written.
#[derive(Debug, thiserror::Error)]
pub enum ErrorFileError {
    /// The row has other columns than the error file, which would give its cells other meanings. It
    /// belongs in an error file of its own.
    #[error("the row has {found} cells, the error file {expected} columns")]
    OtherColumns {
        /// Columns of the error file.
        expected: usize,
        /// Cells of the row.
        found: usize,
    },
    /// What is written to did not take it.
    #[error("the error file could not be written")]
    Write(#[source] io::Error),
}

impl<W: Write> ErrorFile<W> {
    /// An error file for rows of files with these `columns` (none for JSON lines). With
    /// `of_several_files`, a column says which one a row is from. The header is written at once with
    /// the first row, or by [`Self::finish`].
    pub fn new(output: W, columns: &[String], of_several_files: bool) -> Self {
        let writer = csv::WriterBuilder::new().terminator(Terminator::CRLF).from_writer(output);
        Self { writer, columns: columns.to_vec(), of_several_files, is_begun: false }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`ErrorFileError`]; after `OtherColumns`, the file goes on as if the row had not been there.
    pub fn write(&mut self, failed: FailedRow<'_>) -> Result<(), ErrorFileError> {
        let nothing = vec![String::new(); self.columns.len()];
        let (cells, text) = match failed.content {
            RowContent::Fields(fields) => (fields, ""),
            RowContent::Text(text) | RowContent::Problem { text, .. } => (&nothing, text.as_str()),
        };
        if cells.len() != self.columns.len() {
            return Err(ErrorFileError::OtherColumns { expected: self.columns.len(), found: cells.len() });
        }
        self.begin()?;
        let row = failed.row.to_string();
        let file = self.of_several_files.then_some(failed.file.unwrap_or_default());
        let cells = cells.iter().map(String::as_str);
        let added = [Some(row.as_str()), file, Some(failed.code), Some(failed.message), Some(text)];
        self.writer.write_record(cells.chain(added.into_iter().flatten())).map_err(not_written)
    }

    /// Writes what is left, and gives back what was written to.
    ///
    /// # Errors
    /// [`ErrorFileError::Write`].
    pub fn finish(mut self) -> Result<W, ErrorFileError> {
        self.begin()?;
        self.writer.into_inner().map_err(|error| ErrorFileError::Write(error.into_error()))
    }

    fn begin(&mut self) -> Result<(), ErrorFileError> {
        if self.is_begun {
            return Ok(());
        }
        self.is_begun = true;
        let columns = self.columns.iter().map(String::as_str);
        let added = [Some(ROW), self.of_several_files.then_some(FILE), Some(CODE), Some(MESSAGE), Some(TEXT)];
        self.writer.write_record(columns.chain(added.into_iter().flatten())).map_err(not_written)
    }
}

fn not_written(error: csv::Error) -> ErrorFileError {
    ErrorFileError::Write(error.into())
}
