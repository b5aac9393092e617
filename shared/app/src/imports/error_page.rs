//! Failed rows as CSV that can be mended and imported again, page by page.

use ledgerline_import_file::{ErrorFile, ErrorFileError, FailedRow, RowContent};
use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{Hash, ImportKey, RowContent as Kept};
use serde::{Deserialize, Serialize};

use super::ask::{ImportError, Imports, RowErrors};
use super::rejected;

/// A page ends behind the outcome with which it is as large as this, in bytes. What one outcome adds is
/// less than an item of the ledger.
const PAGE: usize = 2 * 1024 * 1024;

/// Where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorPlace {
    /// Behind this outcome: its chunk and first row.
    after: (u32, u32),
    /// What tells the columns that were written last from others.
    columns: Hash,
    /// The table that has them.
    table: u32,
}

/// Some of the rows that were not accepted.
///
/// All of them have the same columns. Where an archive's files have not, the rows make several tables, each of
/// which is imported again by itself: in one table with the columns of all, a row would have empty cells
/// where its file has no column, and an empty cell is `null` in a patch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPage {
    /// CSV. The pages of a table follow each other in one file.
    pub csv: Vec<u8>,
    /// Which table that is, from 1; 0 if every row was accepted.
    pub table: u32,
    /// Whether it begins with a header: those are the first page of each table.
    pub has_header: bool,
    /// Where the next page begins; none if this is the last.
    pub next: Option<ErrorPlace>,
}

impl Imports {
    /// A page of the rows that were not accepted, in the order of the file, beginning at `from`.
    ///
    /// # Errors
    /// [`ImportError::NotFound`], [`ImportError::Store`].
    pub async fn error_page(&self, key: &ImportKey, from: Option<ErrorPlace>) -> Result<ErrorPage, ImportError> {
        let mut page = ErrorPage { table: from.as_ref().map_or(0, |from| from.table), ..ErrorPage::default() };
        let (mut after, mut columns) = from.map(|from| (from.after, from.columns)).unzip();
        loop {
            let (errors, next) = self.errors(key, after).await?;
            for rows in errors {
                let of_these = columns_of(&rows);
                let goes_on = columns.as_ref() == Some(&of_these);
                let is_full = page.csv.len() >= PAGE || (!goes_on && !page.csv.is_empty());
                if is_full {
                    return Ok(page.continued(after, columns));
                }
                if !goes_on {
                    page.table += 1;
                    page.has_header = true;
                }
                write(&mut page.csv, &rows, goes_on)?;
                (after, columns) = (Some(rows.place), Some(of_these));
            }
            after = next;
            if after.is_none() {
                return Ok(page);
            }
            if page.csv.len() >= PAGE {
                return Ok(page.continued(after, columns));
            }
        }
    }
}

impl ErrorPage {
    fn continued(self, after: Option<(u32, u32)>, columns: Option<Hash>) -> Self {
        let table = self.table;
        let next = after.zip(columns).map(|(after, columns)| ErrorPlace { after, columns, table });
        Self { next, ..self }
    }
}

fn columns_of(rows: &RowErrors) -> Hash {
    let mut text = if rows.file.is_some() { "files".to_owned() } else { String::new() };
    for column in &rows.columns {
        text.push_str(&format!("\n{}:{column}", column.len()));
    }
    Hash::of(&text)
}

fn write(csv: &mut Vec<u8>, rows: &RowErrors, continues: bool) -> Result<(), StoreError> {
    let written = |error: ErrorFileError| rejected(format!("failed rows cannot be written: {error}"));
    let file = || ErrorFile::new(Vec::new(), &rows.columns, rows.file.is_some());
    let header = file().finish().map_err(written)?.len();
    let mut lines = file();
    for failed in &rows.rows {
        let content = match &failed.content {
            Kept::Fields(fields) => RowContent::Fields(fields.clone()),
            Kept::Text(text) => RowContent::Text(text.clone()),
        };
        let (code, message) = (failed.code.as_str(), message_of(failed.path.as_deref(), &failed.message));
        let failed =
            FailedRow { file: rows.file.as_deref(), row: failed.row, content: &content, code, message: &message };
        lines.write(failed).map_err(written)?;
    }
    let lines = lines.finish().map_err(written)?;
    csv.extend_from_slice(lines.get(if continues { header } else { 0 }..).unwrap_or_default());
    Ok(())
}

/// A sentence: a problem's message completes one that begins with its field.
fn message_of(path: Option<&str>, message: &str) -> String {
    path.filter(|path| !path.is_empty()).map_or_else(|| message.to_owned(), |path| format!("{path} {message}"))
}
