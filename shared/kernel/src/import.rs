//! Imports: files of rows, each of which ends as an entity that was created, updated or left alone,
//! or as a row that failed. `infra/adr/0016-imports-account-for-every-row.md` has the reasons.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{KeyError, Stamp, TenantCode, Timestamp, VersionedKey};

/// The id of an import: a ULID as text, 26 of Crockford's digits and capital letters. Later ones come
/// later in the order of text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImportId(String);

impl ImportId {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImportId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digit = |b: u8| b.is_ascii_digit() || (b.is_ascii_uppercase() && !matches!(b, b'I' | b'L' | b'O' | b'U'));
        let is_ulid = text.len() == 26 && text.bytes().all(digit) && text.starts_with(|first| first <= '7');
        if is_ulid { Ok(Self(text.to_owned())) } else { Err(KeyError::Malformed) }
    }
}

impl fmt::Display for ImportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ImportId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ImportId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One import of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImportKey {
    /// Whose.
    pub tenant: TenantCode,
    /// Which.
    pub id: ImportId,
}

impl ImportKey {
    /// `IMPORT#{tenant}`: the partition of a tenant's jobs.
    #[must_use]
    pub fn jobs_pk(tenant: &TenantCode) -> String {
        format!("IMPORT#{tenant}")
    }

    /// `IMPORT#{tenant}#{import id}`: the partition of the import's outcomes.
    #[must_use]
    pub fn outcomes_pk(&self) -> String {
        format!("IMPORT#{}#{}", self.tenant, self.id)
    }

    /// Reads a stored partition key of outcomes back.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for any text that [`ImportKey::outcomes_pk`] would not have written.
    pub fn of_outcomes_pk(pk: &str) -> Result<Self, KeyError> {
        let key = pk.strip_prefix("IMPORT#").and_then(|rest| rest.split_once('#')).ok_or(KeyError::Malformed)?;
        Ok(Self { tenant: key.0.parse()?, id: key.1.parse()? })
    }
}

impl fmt::Display for ImportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "import {} of {}", self.id, self.tenant)
    }
}

/// How an import's file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportFormat {
    /// Comma-separated values, RFC 4180, with a header.
    Csv,
    /// One JSON object on each line.
    Jsonl,
}

/// What becomes of a row whose entity exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportMode {
    /// It fails.
    Create,
    /// The entity is changed by what the row says.
    Upsert,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportState {
    /// Its file is not there yet.
    AwaitingUpload,
    /// Its file is being read.
    Splitting,
    /// All rows are on their way.
    Running,
    /// Every row has an outcome, and the read models show it.
    Completed,
    /// Somebody stopped it.
    Cancelled,
    /// Its file cannot be read on.
    Failed,
}

impl ImportState {
    /// Whether nothing more happens to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

impl fmt::Display for ImportState {
    /// As callers read it: `awaiting-upload`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AwaitingUpload => "awaiting-upload",
            Self::Splitting => "splitting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        })
    }
}

/// How far the splitter is with the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitProgress {
    /// Chunks sent, all of them from the first on.
    pub chunks: u32,
    /// The rows in them.
    pub rows: u64,
    /// Whether that was all.
    pub whole: bool,
}

/// Why an import's file cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportFailure {
    /// A stable code in `SCREAMING_SNAKE_CASE`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// What became of how many rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportCounts {
    /// Their entity was made.
    pub created: u64,
    /// Their entity was changed.
    pub updated: u64,
    /// Their entity was like that already.
    pub unchanged: u64,
    /// They were not accepted.
    pub failed: u64,
}

impl ImportCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.failed
    }

    /// Takes in some more.
    pub fn add(&mut self, other: &Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.failed += other.failed;
    }
}

/// An import: what was asked for, and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportJob {
    /// Which.
    pub key: ImportKey,
    /// Into which resource, such as `products`.
    pub resource: String,
    /// How its file is written.
    pub format: ImportFormat,
    /// What becomes of rows whose entity exists.
    pub mode: ImportMode,
    /// Which columns go into which fields; null for those of the same names.
    pub mapping: Value,
    /// How far it is.
    pub state: ImportState,
    /// The etag of its file, once it has one: rows of another one are not its own.
    pub source_etag: Option<String>,
    /// Who asked for it.
    pub created: Stamp,
    /// When the splitter began.
    pub started_at: Option<Timestamp>,
    /// When it changed last; of an ended one, when it ended.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1: whoever changes it says which one it has seen.
    pub revision: u64,
    /// How far the splitter is.
    pub split: SplitProgress,
    /// Why it failed, if it did.
    pub failure: Option<ImportFailure>,
    /// What became of all rows, once it is completed. Until then their outcomes are added up.
    pub counts: Option<ImportCounts>,
    /// When it, and what became of its rows, may be forgotten.
    pub expires_at: Timestamp,
}

/// A row as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RowContent {
    /// The fields of a row of a table, in the order of its columns.
    Fields(Vec<String>),
    /// A line of JSON, or what could not be read.
    Text(String),
}

impl RowContent {
    /// How many bytes of text it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Fields(fields) => fields.iter().map(String::len).sum(),
            Self::Text(text) => text.len(),
        }
    }
}

/// A row that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRow {
    /// Where it stands in its file, as a spreadsheet counts.
    pub row: u64,
    /// The row itself.
    #[serde(flatten)]
    pub content: RowContent,
    /// What is wrong with it, for programs: the code that a request would have been answered with.
    pub code: String,
    /// What is wrong with it, for people.
    pub message: String,
    /// The field that is to blame, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What became of consecutive rows of a chunk: the outcome of a part. Written in the transaction that
/// writes what the rows led to, and only once for each place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRows {
    /// Of which import.
    pub import: ImportKey,
    /// In which chunk, from 0.
    pub chunk: u32,
    /// The place of the first of them in the chunk, from 0.
    pub first: u32,
    /// How many.
    pub rows: u32,
    /// What became of them; adds up to `rows`.
    pub counts: ImportCounts,
    /// In which file of an archive the failed ones are.
    pub file: Option<String>,
    /// What the fields of the failed ones are, where they are rows of a table.
    pub columns: Vec<String>,
    /// The rows that were not accepted.
    pub failures: Vec<FailedRow>,
    /// What was written, which the read models have to show. Forgotten once they do.
    pub written: Vec<VersionedKey>,
    /// Whether the read models show it.
    pub shown: bool,
    /// The command that wrote this: tells an ambiguous retry of our own write from somebody else's.
    pub command_id: String,
    /// When it was written.
    pub at: Timestamp,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
}

impl ImportedRows {
    /// `{chunk:010}.{first:010}`: its sort key. Those of a chunk follow each other, and so do chunks.
    #[must_use]
    pub fn sk(&self) -> String {
        Self::sk_of(self.chunk, self.first)
    }

    /// The sort key of the outcome at this place.
    #[must_use]
    pub fn sk_of(chunk: u32, first: u32) -> String {
        format!("{chunk:010}.{first:010}")
    }

    /// The chunk, and the place in it, that a sort key names.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for any text that [`ImportedRows::sk`] would not have written.
    pub fn parse_sk(sk: &str) -> Result<(u32, u32), KeyError> {
        let (chunk, first) = sk.split_once('.').ok_or(KeyError::Malformed)?;
        let place = (chunk.parse(), first.parse());
        let (Ok(chunk), Ok(first)) = place else { return Err(KeyError::Malformed) };
        if Self::sk_of(chunk, first) == sk { Ok((chunk, first)) } else { Err(KeyError::Malformed) }
    }

    /// The place in the chunk right behind these rows.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.first.saturating_add(self.rows)
    }
}

/// The sum of an import's outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportTotals {
    /// What became of the rows.
    pub counts: ImportCounts,
    /// Outcomes that the read models do not show yet.
    pub unshown: u64,
}

impl ImportTotals {
    /// Takes in one more outcome.
    pub fn add(&mut self, counts: &ImportCounts, shown: bool) {
        self.counts.add(counts);
        self.unshown += u64::from(!shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01KAGZ6Q3V8X4T5N7M9P0R2S1W";

    #[test]
    fn an_id_is_a_ulid_and_nothing_else() {
        assert_eq!(ID.parse::<ImportId>().unwrap().as_str(), ID);
        let long = format!("{ID}0");
        for text in
            ["", &ID[1..], &long, &ID.to_lowercase(), "81KAGZ6Q3V8X4T5N7M9P0R2S1W", "01KAGZ6Q3V8X4T5N7M9P0R2S1U"]
        {
            assert_eq!(text.parse::<ImportId>(), Err(KeyError::Malformed), "{text}");
        }
    }

    #[test]
    fn keys_are_spelled_as_documented_and_read_back() {
        let key = ImportKey { tenant: "acme".parse().unwrap(), id: ID.parse().unwrap() };
        assert_eq!(ImportKey::jobs_pk(&key.tenant), "IMPORT#acme");
        assert_eq!(key.outcomes_pk(), format!("IMPORT#acme#{ID}"));
        assert_eq!(ImportKey::of_outcomes_pk(&key.outcomes_pk()), Ok(key));
        assert!(ImportKey::of_outcomes_pk("IMPORT#acme").is_err());
        assert_eq!(ImportedRows::sk_of(12, 45), "0000000012.0000000045");
        assert_eq!(ImportedRows::parse_sk("0000000012.0000000045"), Ok((12, 45)));
        for sk in ["12.45", "0000000012", "0000000012.00000000045", "+000000012.0000000045", ""] {
            assert!(ImportedRows::parse_sk(sk).is_err(), "{sk}");
        }
    }

    #[test]
    fn a_state_is_spelled_alike_in_sentences_and_in_json() {
        use ImportState::{AwaitingUpload, Cancelled, Completed, Failed, Running, Splitting};
        for state in [AwaitingUpload, Splitting, Running, Completed, Cancelled, Failed] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.to_string());
        }
    }

    #[test]
    fn a_row_is_written_as_fields_or_as_text() {
        let failed = |content| FailedRow {
            row: 2,
            content,
            code: "VALIDATION_ERROR".to_owned(),
            message: "must be given".to_owned(),
            path: Some("name".to_owned()),
        };
        let texts = [
            (RowContent::Fields(vec!["R-1".to_owned()]), r#""fields":["R-1"]"#),
            (RowContent::Text("{}".to_owned()), r#""text":"{}""#),
        ];
        for (content, text) in texts {
            let written = serde_json::to_string(&failed(content.clone())).unwrap();
            assert!(written.contains(text), "{written}");
            assert_eq!(serde_json::from_str::<FailedRow>(&written).unwrap(), failed(content));
        }
    }
}
