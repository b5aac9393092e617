use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const LOCK: &str = "lock";

/// The directory of one kind of Postgres, used by this process alone.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    // Released by the system however the process ends.
    _lock: File,
}

impl DataDir {
    /// Locks `root` and removes all in it but `name`: the data of other kinds and versions, which
    /// falls behind from now on.
    pub(super) fn lock(root: &Path, name: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("cannot open {}", root.display()))?;
        let lock = File::create(root.join(LOCK)).with_context(|| format!("cannot write to {}", root.display()))?;
        if crate::lock(&lock).is_err() {
            bail!("{} is in use by another process; stop that one, or use another directory", root.display());
        }
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            if entry.file_name() != name && entry.file_name() != LOCK {
                remove(&entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(Self { path: root.join(name), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    #[cfg(unix)]
    super::machine::abandon(path)?;
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path)?;
    } else {
        fs::remove_file(path)?;
    }
    Ok(())
}
