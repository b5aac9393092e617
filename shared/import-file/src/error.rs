use std::io;

/// Why no more rows come out of a file. Every row that came before stands.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading it failed, for a reason that lies outside the file. It is worth another try.
    #[error("the file could not be read")]
    Source(#[source] io::Error),
    /// The file is such that it cannot be read, now or later.
    #[error(transparent)]
    Refused(#[from] FileProblem),
}

/// What is wrong with a file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FileProblem {
    /// What, for programs: `EMPTY_FILE`, `NO_HEADER`, `HEADER_TOO_LARGE`, `WRONG_SEPARATOR`,
    /// `EMPTY_COLUMN_NAME`, `DUPLICATE_COLUMN_NAME`, `UNSUPPORTED_ENCODING`, `UNSUPPORTED_FORMAT`,
    /// `MALFORMED_ARCHIVE`, `ENCRYPTED_ARCHIVE`, `UNSUPPORTED_COMPRESSION`, `NESTED_ARCHIVE`,
    /// `TOO_MANY_FILES`, `FILE_TOO_LARGE`, `SUSPICIOUS_COMPRESSION`.
    pub code: &'static str,
    /// The file's name inside the ZIP, where there is one.
    pub file: Option<String>,
    /// What, for people: a sentence.
    pub message: String,
}

impl FileProblem {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, file: None, message: message.into() }
    }

    pub(crate) fn in_file(self, file: Option<&str>) -> Self {
        Self { file: self.file.or_else(|| file.map(str::to_owned)), ..self }
    }
}

impl FileError {
    pub(crate) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused(FileProblem::new(code, message))
    }

    pub(crate) fn in_file(self, file: Option<&str>) -> Self {
        match self {
            Self::Refused(problem) => Self::Refused(problem.in_file(file)),
            Self::Source(error) => Self::Source(error),
        }
    }
}
