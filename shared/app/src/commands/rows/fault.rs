//! What a failed row is told: what a request would have been answered with.

use ledgerline_import_file::RowContent as Came;
use ledgerline_kernel::input::Problem;
use ledgerline_kernel::{FailedRow, RowContent};

use crate::CommandError;

/// The longest message that is kept, in characters: an outcome has to hold those of all its rows.
const LONGEST: usize = 500;

/// Why a row is not accepted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    code: String,
    message: String,
    path: Option<String>,
}

impl Fault {
    pub(super) fn of(error: &CommandError) -> Self {
        let problems = error.problems();
        if problems.is_empty() {
            return Self { code: error.code().to_owned(), message: shortened(error.detail()), path: None };
        }
        Self::of_problems(error.code(), &problems)
    }

    /// What is wrong with a row before there is a command. What stands for the row as a whole has a code
    /// of its own.
    pub(super) fn of_row(content: &Came, problems: &[Problem]) -> Self {
        match (content, problems) {
            (Came::Problem { code, message, .. }, _) => {
                Self { code: (*code).to_owned(), message: shortened(message.clone()), path: None }
            }
            (_, [Problem { path, code, .. }]) if path.is_empty() => Self::of_problems(code, problems),
            _ => Self::of_problems("VALIDATION_ERROR", problems),
        }
    }

    /// The first names the field; the others are told with theirs.
    fn of_problems(code: &str, problems: &[Problem]) -> Self {
        let mut message = String::new();
        for problem in problems {
            match message.is_empty() {
                true => message.push_str(&problem.message),
                false => message.push_str(&format!("; {} {}", problem.path, problem.message)),
            }
        }
        let path = problems.first().map(|first| first.path.clone()).filter(|path| !path.is_empty());
        Self { code: code.to_owned(), message: shortened(message), path }
    }

    /// The row with what is wrong with it.
    pub(super) fn at(self, row: u64, content: &Came) -> FailedRow {
        let content = match content {
            Came::Fields(fields) => RowContent::Fields(fields.clone()),
            Came::Text(text) | Came::Problem { text, .. } => RowContent::Text(text.clone()),
        };
        FailedRow { row, content, code: self.code, message: self.message, path: self.path }
    }
}

fn shortened(message: String) -> String {
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message,
    }
}
