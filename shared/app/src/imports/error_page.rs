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
}

/// Some of the rows that were not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// CSV. Its first line is a header, unless the page before had the same columns; so pages follow each
    /// other in one file. Where an archive's files have other columns, a header comes in between.
    pub csv: Vec<u8>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<ErrorPlace>,
}

impl Imports {
    /// A page of the rows that were not accepted, in the order of the file, beginning at `from`.
    ///
    /// # Errors
    /// [`ImportError::NotFound`], [`ImportError::Store`].
    pub async fn error_page(&self, key: &ImportKey, from: Option<ErrorPlace>) -> Result<ErrorPage, ImportError> {
        let (mut after, mut columns) = from.map(|from| (from.after, from.columns)).unzip();
        let mut csv = Vec::new();
        loop {
            let (errors, next) = self.errors(key, after).await?;
            for rows in errors {
                let of_these = columns_of(&rows);
                write(&mut csv, &rows, columns.as_ref() == Some(&of_these))?;
                columns = Some(of_these);
            }
            after = next;
            match (after, &columns) {
                (None, _) => return Ok(ErrorPage { csv, next: None }),
                (Some(after), Some(columns)) if csv.len() >= PAGE => {
                    let next = Some(ErrorPlace { after, columns: columns.clone() });
                    return Ok(ErrorPage { csv, next });
                }
                _ => {}
            }
        }
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
