use ledgerline_kernel::TenantCode;
use serde::{Deserialize, Serialize};

use crate::row::cut;
use crate::{Found, RowContent};

/// Consecutive rows of one file, as one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Whose import it is.
    pub tenant: TenantCode,
    /// The import's id.
    pub import: String,
    /// Its place among the chunks of the import, from 0.
    pub chunk: u64,
    /// The file's name inside the ZIP, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The file's columns; none of JSON lines.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The rows, in the order of the file; at least one.
    pub rows: Vec<ChunkRow>,
}

/// One row of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// Its number in the file; see [`Found::Row`].
    pub row: u64,
    /// What is in it.
    #[serde(flatten)]
    pub content: RowContent,
}

/// How much goes into a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Bytes of its JSON. The names of the import, the file and the columns must leave room for 8 KiB.
    pub max_bytes: usize,
    /// Rows.
    pub max_rows: usize,
}

impl Default for ChunkLimits {
    /// 240 KiB, of the 256 that an SQS message may have, and 500 rows.
    fn default() -> Self {
        Self { max_bytes: 240 << 10, max_rows: 500 }
    }
}

/// Packs the rows of a file into chunks. What it makes depends on nothing but the rows and the
/// limits, so whoever begins again gets the same chunks.
///
/// A row that does not fit into a chunk alone becomes one with a problem, `ROW_TOO_LARGE`.
#[derive(Debug)]
pub struct Chunker {
    limits: ChunkLimits,
    /// What is packed; without rows, what the next one begins with.
    open: Chunk,
    /// What its JSON takes so far.
    bytes: usize,
}

impl Chunker {
    /// Packs the rows of this import.
    #[must_use]
    pub fn new(tenant: TenantCode, import: String, limits: ChunkLimits) -> Self {
        let open = Chunk { tenant, import, chunk: 0, file: None, columns: Vec::new(), rows: Vec::new() };
        let bytes = bytes_of(&open);
        Self { limits, open, bytes }
    }

    /// Adds what came out of the file. The chunk that this completes, if any, is without it.
    pub fn add(&mut self, found: Found) -> Option<Chunk> {
        match found {
            Found::File { name, columns } => {
                let complete = self.close();
                (self.open.file, self.open.columns) = (name, columns);
                self.bytes = bytes_of(&self.open);
                complete
            }
            Found::Row { number, content } => self.add_row(ChunkRow { row: number, content }),
        }
    }

    /// The last chunk.
    #[must_use]
    pub fn finish(mut self) -> Option<Chunk> {
        self.close()
    }

    fn add_row(&mut self, row: ChunkRow) -> Option<Chunk> {
        let bytes = row.bytes();
        let is_full = self.open.rows.len() >= self.limits.max_rows;
        let complete = if is_full || self.after(bytes) > self.limits.max_bytes { self.close() } else { None };
        let (row, bytes) = if self.after(bytes) > self.limits.max_bytes { self.shortened(row) } else { (row, bytes) };
        self.bytes = self.after(bytes);
        self.open.rows.push(row);
        complete
    }

    /// What the chunk's JSON takes with one more row of so many bytes.
    fn after(&self, row: usize) -> usize {
        self.bytes + row + usize::from(!self.open.rows.is_empty())
    }

    fn shortened(&self, row: ChunkRow) -> (ChunkRow, usize) {
        let too_large = || ("ROW_TOO_LARGE", "is too large for a message".to_owned());
        let (text, (code, message)) = match row.content {
            RowContent::Fields(fields) => (fields.join(","), too_large()),
            RowContent::Text(text) => (text, too_large()),
            RowContent::Problem { text, code, message } => (text, (code, message)),
        };
        let shortened = |text| {
            let row = ChunkRow { row: row.row, content: RowContent::problem(text, code, message.as_str()) };
            let bytes = row.bytes();
            (row, bytes)
        };
        let (row, bytes) = shortened(cut(text.as_bytes()));
        // Control characters take six times their room in JSON.
        if self.after(bytes) > self.limits.max_bytes { shortened(cut(&[])) } else { (row, bytes) }
    }

    fn close(&mut self) -> Option<Chunk> {
        if self.open.rows.is_empty() {
            return None;
        }
        let next = self.open.frame_of_next();
        let complete = std::mem::replace(&mut self.open, next);
        self.bytes = bytes_of(&self.open);
        Some(complete)
    }
}

impl Chunk {
    fn frame_of_next(&self) -> Self {
        Self {
            tenant: self.tenant.clone(),
            import: self.import.clone(),
            chunk: self.chunk + 1,
            file: self.file.clone(),
            columns: self.columns.clone(),
            rows: Vec::new(),
        }
    }
}

/// What `serde_json` makes of a chunk's frame. That of a million rows is not written to be counted.
fn bytes_of(frame: &Chunk) -> usize {
    serde_json::to_string(frame).map_or(0, |json| json.len())
}

impl ChunkRow {
    /// How many bytes `serde_json` writes for it.
    fn bytes(&self) -> usize {
        const AROUND: usize = r#"{"row":,}"#.len();
        let content = match &self.content {
            RowContent::Fields(fields) => {
                let commas = fields.len().saturating_sub(1);
                r#""fields":[]"#.len() + commas + fields.iter().map(|field| bytes_of_text(field)).sum::<usize>()
            }
            RowContent::Text(text) => r#""text":"#.len() + bytes_of_text(text),
            RowContent::Problem { text, code, message } => {
                let around = r#""text":,"problem":{"code":,"message":}"#.len();
                around + bytes_of_text(text) + bytes_of_text(code) + bytes_of_text(message)
            }
        };
        AROUND + digits(self.row) + content
    }
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// A text in JSON, with its quotes. Only quotes, backslashes and control characters are escaped.
fn bytes_of_text(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + 2 + text.bytes().map(escaped).sum::<usize>()
}
