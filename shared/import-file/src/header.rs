//! The header of a CSV file, and the columns that an error file adds.

use std::collections::BTreeSet;

use crate::row::CUT;
use crate::{FileError, RowContent};

/// The row's number in the file that was imported.
pub(crate) const ROW: &str = "import_row";
/// The name of the file in the ZIP that was imported.
pub(crate) const FILE: &str = "import_file";
/// What was wrong with the row, for programs.
pub(crate) const CODE: &str = "import_code";
/// What was wrong with the row, for people.
pub(crate) const MESSAGE: &str = "import_message";
/// The row as it stood in the file, where it could not be told apart into columns.
pub(crate) const TEXT: &str = "import_text";

const ADDED: [&str; 5] = [ROW, FILE, CODE, MESSAGE, TEXT];

/// Which cell of a row is what.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    /// How many cells a row has.
    pub(crate) width: usize,
    /// The columns that are imported. Those without a name are among them, so that an error file keeps their cells.
    pub(crate) columns: Vec<String>,
    /// Where these are.
    places: Vec<usize>,
    text: Option<usize>,
    code: Option<usize>,
}

impl Header {
    /// Names are trimmed: nobody sees a blank at their end.
    pub(crate) fn of(cells: &[&str]) -> Result<Self, FileError> {
        check_separator(cells)?;
        let names: Vec<_> = cells.iter().map(|cell| cell.trim()).collect();
        check_names(&names)?;
        let place_of = |wanted| names.iter().position(|name| *name == wanted);
        let places: Vec<_> = (0..names.len()).filter(|at| !names.get(*at).is_some_and(is_added)).collect();
        let (text, code) = (place_of(TEXT), place_of(CODE));
        if places.is_empty() && text.is_none() {
            return Err(FileError::refused("NO_HEADER", "The header has no column but those that an error file adds."));
        }
        let columns = names.iter().filter(|name| !is_added(name)).map(|name| (*name).to_owned()).collect();
        Ok(Self { width: names.len(), columns, places, text, code })
    }

    /// The header of rows that are the text in a cell of another one.
    pub(crate) fn of_texts(&self) -> Self {
        let width = self.columns.len();
        Self { width, columns: self.columns.clone(), places: (0..width).collect(), text: None, code: None }
    }

    /// The cells that are imported.
    pub(crate) fn fields(&self, cells: &[&str]) -> Vec<String> {
        self.places.iter().filter_map(|at| cells.get(*at)).map(|cell| (*cell).to_owned()).collect()
    }

    /// The row that a row of an error file has in a cell, if it has one.
    pub(crate) fn text<'a>(&self, cells: &[&'a str]) -> Option<Result<&'a str, RowContent>> {
        let cell = |at: Option<usize>| at.and_then(|at| cells.get(at)).copied();
        let text = cell(self.text).filter(|text| !text.is_empty() || self.columns.is_empty())?;
        let unmended = |code, message: &str| Some(Err(RowContent::problem(text, code, message)));
        if self.places.iter().any(|at| cells.get(*at).is_some_and(|cell| !cell.is_empty())) {
            return unmended("AMBIGUOUS_ROW", "has both cells and a text in import_text; one of them must go");
        }
        if text.ends_with(CUT) {
            return unmended("ROW_TOO_LARGE", "was too large and is only the beginning of itself");
        }
        if cell(self.code) == Some("INVALID_ENCODING") && text.contains(char::REPLACEMENT_CHARACTER) {
            return unmended("INVALID_ENCODING", "still holds characters that were not UTF-8, shown as U+FFFD");
        }
        Some(Ok(text))
    }
}

fn is_added(name: &&str) -> bool {
    ADDED.contains(name)
}

/// A table with other separators would be one whose every row has a problem, or one of a single, strange column.
fn check_separator(cells: &[&str]) -> Result<(), FileError> {
    let [cell] = cells else { return Ok(()) };
    // A tab at the end is a blank that nobody sees; one at the beginning follows a column without a name.
    let separator = match cell.trim_end() {
        cell if cell.contains(';') => "semicolons",
        cell if cell.contains('\t') => "tabs",
        _ => return Ok(()),
    };
    let message =
        format!("The header is a single column with {separator} in it; columns are to be separated by commas.");
    Err(FileError::refused("WRONG_SEPARATOR", message))
}

fn check_names(names: &[&str]) -> Result<(), FileError> {
    let empty: Vec<_> = (1..).zip(names).filter(|(_, name)| name.is_empty()).map(|(at, _)| at.to_string()).collect();
    // Some tools leave the column of row numbers without a name; where no other has one, nothing could be imported.
    if !empty.is_empty() && names.iter().all(|name| name.is_empty() || is_added(name)) {
        let message = format!("The header has no name for column {}.", few(&empty));
        return Err(FileError::refused("EMPTY_COLUMN_NAME", message));
    }
    let mut seen = BTreeSet::new();
    let named = names.iter().filter(|name| !name.is_empty());
    let twice: BTreeSet<_> = named.filter(|name| !seen.insert(**name)).map(|name| format!("{name:?}")).collect();
    if !twice.is_empty() {
        let message = format!("The header has more than one column {}.", few(&Vec::from_iter(twice)));
        return Err(FileError::refused("DUPLICATE_COLUMN_NAME", message));
    }
    Ok(())
}

/// The first few of a list, for a sentence.
fn few(all: &[String]) -> String {
    const FEW: usize = 10;
    let more = if all.len() > FEW { format!(" and {} more", all.len() - FEW) } else { String::new() };
    all.get(..FEW).unwrap_or(all).join(", ") + &more
}
