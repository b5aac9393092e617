use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::SequenceNumber;

/// How far a mapping is with one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// All records up to this one are done with; none if not even the first is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<SequenceNumber>,
    /// The shard is closed, and all of it is done with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_finished: bool,
}

impl Position {
    /// Whether all records up to `number` are done with.
    #[must_use]
    pub fn reached(&self, number: &SequenceNumber) -> bool {
        self.is_finished || self.sequence_number.as_ref().is_some_and(|at| at >= number)
    }
}

/// By the names of shards.
pub type Positions = BTreeMap<String, Position>;

/// Where a mapping keeps its positions.
#[async_trait]
pub trait PositionStore: Send + Sync + 'static {
    /// What was saved last; nothing if nothing was, or if it cannot be read: beginning anew is safe,
    /// because delivery is at least once.
    ///
    /// # Errors
    /// If the store is there and cannot be opened.
    async fn load(&self) -> anyhow::Result<Positions>;

    /// Saves: from now on it is [loaded](Self::load), whatever happens to the process.
    ///
    /// # Errors
    /// If the store cannot be written.
    async fn save(&self, positions: &Positions) -> anyhow::Result<()>;
}

/// The positions of one mapping in one stream, kept in a file so that they survive the process.
#[derive(Debug, Clone)]
pub struct PositionFile {
    path: PathBuf,
    stream: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    stream_arn: String,
    shards: Positions,
}

impl PositionFile {
    /// The positions of the mapping `id` in the stream with this ARN, in a file in `directory`
    /// (which must exist). Nothing is read or written yet.
    #[must_use]
    pub fn new(directory: &Path, id: &str, stream_arn: &str) -> Self {
        let safe = |character: char| {
            if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' }
        };
        let name: String = id.chars().map(safe).collect();
        Self { path: directory.join(format!("{name}.position")), stream: stream_arn.to_owned() }
    }

    fn load_blocking(&self) -> anyhow::Result<Positions> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Positions::new()),
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.path.display())),
        };
        match serde_json::from_str::<Saved>(&text) {
            Ok(saved) if saved.stream_arn == self.stream => Ok(saved.shards),
            // The table was made anew.
            Ok(_) => Ok(Positions::new()),
            Err(error) => {
                tracing::warn!(
                    "{} is not a position ({error}); its stream is read from the start",
                    self.path.display()
                );
                Ok(Positions::new())
            }
        }
    }

    fn save_blocking(&self, shards: Positions) -> anyhow::Result<()> {
        let saved = Saved { stream_arn: self.stream.clone(), shards };
        let new = self.path.with_extension("position.new");
        let write = || -> anyhow::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(&saved)?)?;
            file.sync_all()?;
            std::fs::rename(&new, &self.path)?;
            if let Some(directory) = self.path.parent() {
                // Makes the rename itself durable. Not every platform can open a directory.
                File::open(directory).and_then(|directory| directory.sync_all()).ok();
            }
            Ok(())
        };
        write().with_context(|| format!("writing {}", self.path.display()))
    }
}

#[async_trait]
impl PositionStore for PositionFile {
    async fn load(&self) -> anyhow::Result<Positions> {
        let file = self.clone();
        tokio::task::spawn_blocking(move || file.load_blocking()).await?
    }

    async fn save(&self, positions: &Positions) -> anyhow::Result<()> {
        let (file, positions) = (self.clone(), positions.clone());
        tokio::task::spawn_blocking(move || file.save_blocking(positions)).await?
    }
}

/// Positions in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryPositions(Arc<Mutex<Positions>>);

impl MemoryPositions {
    /// Forgets them: everything is delivered again.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[async_trait]
impl PositionStore for MemoryPositions {
    async fn load(&self) -> anyhow::Result<Positions> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn save(&self, positions: &Positions) -> anyhow::Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = positions.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Positions {
        let position = Position { sequence_number: SequenceNumber::parse(text), is_finished: false };
        [("shard".to_owned(), position)].into()
    }

    #[test]
    fn a_position_has_reached_numbers_by_their_value_however_many_digits_they_have() {
        let position = Position { sequence_number: SequenceNumber::parse("99"), is_finished: false };
        let reached = |text: &str| position.reached(&SequenceNumber::parse(text).unwrap());
        assert_eq!(["9", "99", "099", "100"].map(reached), [true, true, true, false]);
    }

    #[tokio::test]
    async fn positions_are_found_again_by_the_same_mapping_in_the_same_stream_only() {
        let directory = tempfile::tempdir().unwrap();
        let open = |id, stream| PositionFile::new(directory.path(), id, stream);
        assert_eq!(open("Sync.Ledger", "arn:1").load().await.unwrap(), Positions::new());
        open("Sync.Ledger", "arn:1").save(&at("7")).await.unwrap();
        open("Sync.Ledger", "arn:1").save(&at("12")).await.unwrap();
        assert_eq!(open("Sync.Ledger", "arn:1").load().await.unwrap(), at("12"));
        assert_eq!(open("Relay.Ledger", "arn:1").load().await.unwrap(), Positions::new());
        assert_eq!(open("Sync.Ledger", "arn:2").load().await.unwrap(), Positions::new(), "another stream");
    }

    #[tokio::test]
    async fn a_damaged_position_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("m.position"), r#"{"streamArn":"arn:1","seq"#).unwrap();
        assert_eq!(PositionFile::new(directory.path(), "m", "arn:1").load().await.unwrap(), Positions::new());
    }

    #[tokio::test]
    async fn an_id_cannot_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        PositionFile::new(directory.path(), "../../m/n", "arn:1").save(&at("7")).await.unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
