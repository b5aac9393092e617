use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::SequenceNumber;

/// How far one mapping has come in one stream, kept in a file so that it survives the process.
#[derive(Debug, Clone)]
pub struct PositionFile {
    path: PathBuf,
    stream: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    stream_arn: String,
    sequence_number: SequenceNumber,
}

impl PositionFile {
    /// The position of the mapping `id` in the stream with this ARN, in a file in `directory`
    /// (which must exist). Nothing is read or written yet.
    #[must_use]
    pub fn new(directory: &Path, id: &str, stream_arn: &str) -> Self {
        let safe = |character: char| {
            if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' }
        };
        let name: String = id.chars().map(safe).collect();
        Self { path: directory.join(format!("{name}.position")), stream: stream_arn.to_owned() }
    }

    /// The position that was saved last; none if none was, or one in another stream (the table was
    /// made anew), or one that cannot be read. Beginning anew is then safe: delivery is at least once.
    ///
    /// # Errors
    /// If there is a file that cannot be opened.
    pub fn load(&self) -> anyhow::Result<Option<SequenceNumber>> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.path.display())),
        };
        match serde_json::from_str::<Saved>(&text) {
            Ok(saved) if saved.stream_arn == self.stream => Ok(Some(saved.sequence_number)),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(
                    "{} is not a position ({error}); its stream is read from the start",
                    self.path.display()
                );
                Ok(None)
            }
        }
    }

    /// Saves a position: after this returns it is found by [`load`](Self::load), whatever happens to
    /// the process or the machine; until then the one before is.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, position: &SequenceNumber) -> anyhow::Result<()> {
        let saved = Saved { stream_arn: self.stream.clone(), sequence_number: position.clone() };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> SequenceNumber {
        SequenceNumber::parse(text).unwrap()
    }

    #[test]
    fn a_position_is_found_again_by_the_same_mapping_in_the_same_stream_only() {
        let directory = tempfile::tempdir().unwrap();
        let open = |id, stream| PositionFile::new(directory.path(), id, stream);
        assert_eq!(open("Sync.Ledger", "arn:1").load().unwrap(), None);
        open("Sync.Ledger", "arn:1").save(&number("7")).unwrap();
        open("Sync.Ledger", "arn:1").save(&number("12")).unwrap();
        assert_eq!(open("Sync.Ledger", "arn:1").load().unwrap(), Some(number("12")));
        assert_eq!(open("Relay.Ledger", "arn:1").load().unwrap(), None);
        assert_eq!(open("Sync.Ledger", "arn:2").load().unwrap(), None, "another stream");
    }

    #[test]
    fn a_damaged_position_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("m.position"), r#"{"streamArn":"arn:1","seq"#).unwrap();
        assert_eq!(PositionFile::new(directory.path(), "m", "arn:1").load().unwrap(), None);
    }

    #[test]
    fn an_id_cannot_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        PositionFile::new(directory.path(), "../../m/n", "arn:1").save(&number("7")).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
