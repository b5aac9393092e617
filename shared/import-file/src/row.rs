use serde::{Deserialize, Deserializer, Serialize};

/// What comes out of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file begins.
    File {
        /// Its name inside the ZIP, where there is one.
        name: Option<String>,
        /// Its columns, without those that an [`crate::ErrorFile`] adds; none where a row is an object.
        /// One without a name is an empty text: it has cells, of which a field comes only if a mapping says so.
        columns: Vec<String>,
    },
    /// A row.
    Row {
        /// As a spreadsheet counts: the header is row 1, a row over several lines is one, and a blank
        /// line is a row as well, though not one that is handed out. JSON lines begin with 1.
        number: u64,
        /// What is in it.
        content: RowContent,
    },
}

/// What is in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Written")]
pub enum RowContent {
    /// The cells of a CSV row, as many as the file has columns.
    Fields(Vec<String>),
    /// A line that should be a JSON object.
    Text(String),
    /// A row that could not be read.
    Problem {
        /// The row as it stands in the file, as far as it is text: what is not became U+FFFD, and of a
        /// row that is too large there are 4 KiB.
        text: String,
        /// What is wrong, for programs: one of [`RowContent::CODES`].
        code: &'static str,
        /// What is wrong, for people; completes the sentence "The row …".
        message: String,
    },
}

impl RowContent {
    /// The codes of rows that could not be read.
    pub const CODES: [&'static str; 8] = [
        "WRONG_NUMBER_OF_FIELDS",
        "INVALID_ENCODING",
        "NUL_CHARACTER",
        "ROW_TOO_LARGE",
        "UNCLOSED_QUOTE",
        "AMBIGUOUS_ROW",
        "SEVERAL_ROWS",
        "MALFORMED_ROW",
    ];

    pub(crate) fn problem(text: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::Problem { text: text.into(), code, message: message.into() }
    }
}

/// How a row's content is written in a message.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<WrittenProblem>,
}

#[derive(Clone, Serialize, Deserialize)]
struct WrittenProblem {
    code: String,
    message: String,
}

impl From<RowContent> for Written {
    fn from(content: RowContent) -> Self {
        match content {
            RowContent::Fields(fields) => Self { fields: Some(fields), ..Self::default() },
            RowContent::Text(text) => Self { text: Some(text), ..Self::default() },
            RowContent::Problem { text, code, message } => {
                let problem = WrittenProblem { code: code.to_owned(), message };
                Self { text: Some(text), problem: Some(problem), fields: None }
            }
        }
    }
}

impl TryFrom<Written> for RowContent {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written { fields: Some(fields), text: None, problem: None } => Ok(Self::Fields(fields)),
            Written { fields: None, text: Some(text), problem: None } => Ok(Self::Text(text)),
            Written { fields: None, text: Some(text), problem: Some(WrittenProblem { code, message }) } => {
                // A newer splitter may know a code that this code does not.
                let code = Self::CODES.into_iter().find(|known| *known == code).unwrap_or("MALFORMED_ROW");
                Ok(Self::Problem { text, code, message })
            }
            _ => Err("a row has either fields, or text and perhaps a problem"),
        }
    }
}

impl<'de> Deserialize<'de> for RowContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// How much is told of a row that is too large.
const SHOWN_BYTES: usize = 4 << 10;

/// What ends the text of a row that was cut. A row that still ends so is not taken for a whole one
/// when it is imported again.
pub(crate) const CUT: &str = "… [cut]";

/// The beginning of a row that is too large.
pub(crate) fn cut(row: &[u8]) -> String {
    let mut end = row.len().min(SHOWN_BYTES);
    // Not in the middle of a character.
    while end > 0 && row.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    let shown = row.get(..end).unwrap_or_default();
    String::from_utf8_lossy(shown).into_owned() + CUT
}

/// A row's bytes as they come, of which no more are held than a row may have.
#[derive(Debug)]
pub(crate) struct RawRow {
    bytes: Vec<u8>,
    length: u64,
    most: usize,
}

/// Room for a line end.
const LINE_END: usize = 2;

impl RawRow {
    pub(crate) fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), length: 0, most }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let room = (self.most + LINE_END).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.length += bytes.len() as u64;
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.length = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many bytes a row may have.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Whether it is too large for certain, whatever its line end.
    pub(crate) fn overflows(&self) -> bool {
        self.length > (self.most + LINE_END) as u64
    }

    /// The row without its line end.
    pub(crate) fn row(&self) -> &[u8] {
        if self.overflows() {
            return &self.bytes;
        }
        let row = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        row.strip_suffix(b"\r").unwrap_or(row)
    }

    /// The row as text, or what is wrong with it.
    pub(crate) fn text(&self) -> Result<&str, RowContent> {
        let row = self.row();
        if row.len() > self.most || self.overflows() {
            let message = format!("is larger than {} bytes", self.most);
            return Err(RowContent::problem(cut(row), "ROW_TOO_LARGE", message));
        }
        let text = std::str::from_utf8(row).map_err(|_| {
            RowContent::problem(String::from_utf8_lossy(row), "INVALID_ENCODING", "is not text in UTF-8")
        })?;
        if text.contains('\0') {
            return Err(RowContent::problem(text, "NUL_CHARACTER", "holds a NUL character"));
        }
        Ok(text)
    }
}
