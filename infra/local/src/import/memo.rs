//! Which import a file became, so that the command goes on with it when it is run again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::Import;

/// A note in the data directory, under what was asked for of which file.
pub(super) struct Memo(PathBuf);

impl Memo {
    /// The note on this file as it is now: another size or time is another file.
    pub(super) fn of(import: &Import, request: &Value, data_dir: &Path) -> anyhow::Result<Self> {
        let unreadable = || format!("cannot read {}", import.file.display());
        let path = import.file.canonicalize().with_context(unreadable)?;
        let about = path.metadata().with_context(unreadable)?;
        let mut hasher = DefaultHasher::new();
        (&path, about.len(), about.modified().ok(), &import.tenant, request.to_string()).hash(&mut hasher);
        Ok(Self(data_dir.join("imports").join(format!("{:016x}", hasher.finish()))))
    }

    /// The id of the import.
    pub(super) fn read(&self) -> Option<String> {
        let id = std::fs::read_to_string(&self.0).ok()?;
        (!id.trim().is_empty()).then(|| id.trim().to_owned())
    }

    pub(super) fn write(&self, id: &str) -> anyhow::Result<()> {
        let write = || {
            self.0.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(&self.0, id)
        };
        write().with_context(|| format!("cannot write {}", self.0.display()))
    }

    pub(super) fn forget(&self) {
        // Nothing to forget is fine, and what stays names an import that has ended: it is told once more.
        let _ = std::fs::remove_file(&self.0);
    }
}
