//! Where a host keeps its state, who is using it, and at which addresses.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The directory of a host's state, held by this process alone until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    ephemeral: Option<tempfile::TempDir>,
    // The operating system releases it with the process, however that ends.
    _lock: File,
}

/// What a process holds a directory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use<'a> {
    /// To serve from it.
    Host,
    /// To run a command of this name on it.
    Command(&'a str),
}

impl fmt::Display for Use<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("a host"),
            Self::Command(name) => write!(f, "`ledgerline {name}`"),
        }
    }
}

/// Who holds a directory, as it has written into the lock itself.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    what: String,
}

/// A running host, as it is recorded in its data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRecord {
    /// Its process.
    pub pid: u32,
    /// Where it answers.
    pub url: String,
    /// Its DynamoDB.
    pub dynamodb: String,
    /// Its S3.
    #[serde(default)]
    pub s3: String,
    /// Its Postgres.
    pub database: String,
}

impl DataDir {
    /// Takes a directory, making it if need be.
    ///
    /// # Errors
    /// [`Failure::IN_USE`] if another process holds it (the error says which, if that is known), or if it
    /// cannot be made.
    pub fn take(path: &Path, what: Use<'_>) -> anyhow::Result<Self> {
        make_private(path).with_context(|| format!("cannot make the data directory {}", path.display()))?;
        // Absolute, because Postgres is told of it and does not run in this directory.
        let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        let taken = Self { _lock: Self::lock(&path, what)?, path, ephemeral: None };
        // Whoever wrote it down did not live to remove it.
        taken.forget_record();
        Ok(taken)
    }

    /// Takes a directory that is removed in the end.
    ///
    /// # Errors
    /// If none can be made.
    pub fn ephemeral() -> anyhow::Result<Self> {
        sweep(&std::env::temp_dir());
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode()));
        let made = builder.prefix(EPHEMERAL).tempdir().context("cannot make a temporary directory")?;
        let lock = Self::lock(made.path(), Use::Host)?;
        // After the lock: from here on, who finds it and can lock it finds it abandoned.
        std::fs::write(made.path().join(MARK), "").context("cannot write to the temporary directory")?;
        Ok(Self { path: made.path().to_owned(), ephemeral: Some(made), _lock: lock })
    }

    /// A folder in it that nobody else may enter, made if need be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is gone when the host stops.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.ephemeral.is_some()
    }

    /// Writes down that this process serves at these addresses.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn record(&self, record: &HostRecord) -> anyhow::Result<()> {
        self.write(RECORD, &serde_json::to_vec_pretty(record)?).map(drop)
    }

    /// Writes a file that its owner alone may read, whole or not at all. Gives its path.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        let write = || -> anyhow::Result<()> {
            // Such a file is made for its owner alone.
            let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(&self.path))?;
            file.write_all(content)?;
            file.persist(&path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Forgets what [`record`](Self::record) wrote.
    pub fn forget_record(&self) {
        if let Err(error) = std::fs::remove_file(self.path.join(RECORD)) {
            tracing::debug!("no {RECORD} to remove: {error}");
        }
    }

    /// A secret or an id that is made once and stays with the directory.
    ///
    /// # Errors
    /// If the file can be neither read nor written.
    pub fn lasting(&self, name: &str) -> anyhow::Result<String> {
        let path = self.path.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.is_empty() => return Ok(text),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
        // Two ULIDs: 160 random bits and no other dependency.
        let made = format!("{}{}", ulid::Ulid::generate(), ulid::Ulid::generate());
        self.write(name, made.as_bytes())?;
        Ok(made)
    }

    fn lock(path: &Path, what: Use<'_>) -> anyhow::Result<File> {
        let lock_path = path.join("lock");
        // Not emptied: somebody else's name may be in it.
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&lock_path);
        let mut lock = opened.with_context(|| format!("cannot write {}", lock_path.display()))?;
        match ledgerline_stores::lock(&lock) {
            Ok(()) => {
                let holder = Holder { pid: std::process::id(), what: what.to_string() };
                let note = |lock: &mut File| {
                    lock.set_len(0).and_then(|()| serde_json::to_writer(lock, &holder).map_err(Into::into))
                };
                note(&mut lock).with_context(|| format!("cannot write {}", lock_path.display()))?;
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                let (dir, who) = (path.display(), holder_of(path));
                let message = format!("{dir} is in use by {who}; stop it or wait for it, or name another --data-dir");
                Err(Failure::new(Failure::IN_USE, message).into())
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", lock_path.display()))
            }
        }
    }
}

/// Who holds a directory that is in use, as far as that is known for certain: a name that a process has
/// left behind is not that of the one that holds it now.
fn holder_of(path: &Path) -> String {
    let noted: Option<Holder> =
        std::fs::read(path.join("lock")).ok().and_then(|note| serde_json::from_slice(&note).ok());
    let Some(Holder { pid, what }) = noted.filter(|holder| lives(holder.pid)) else {
        return "another process".to_owned();
    };
    match read_record(path).filter(|record| record.pid == pid) {
        Some(record) => format!("{what} at {}, process {pid}", record.url),
        None => format!("{what}, process {pid}"),
    }
}

#[cfg(unix)]
fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // One that may not be asked is there.
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn lives(_: u32) -> bool {
    true
}

/// Removes the temporary directories of hosts that were killed before they could.
fn sweep(parent: &Path) {
    for found in std::fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_ours = found.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(EPHEMERAL.as_bytes()));
        if !is_ours || !found.join(MARK).is_file() {
            continue;
        }
        // Held while it is removed: whoever holds the lock of a directory has not lost it.
        let lock = File::options().write(true).open(found.join("lock"));
        let Some(lock) = lock.ok().filter(|lock| lock.try_lock().is_ok()) else { continue };
        match std::fs::remove_dir_all(&found) {
            Ok(()) => tracing::info!("removed {}, left by a host that was killed", found.display()),
            Err(error) => tracing::debug!("cannot remove {}: {error}", found.display()),
        }
        drop(lock);
    }
}

/// Makes a directory that others may not look into.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode());
    builder.recursive(true).create(path)
}

/// The mode of a data directory. PostgreSQL, which does not run as root, has to pass through root's
/// to its own folder; all else in it is its owner's alone.
#[cfg(unix)]
fn mode() -> u32 {
    if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 }
}

/// How the names of temporary data directories begin, and the file that says that one is.
const EPHEMERAL: &str = "ledgerline-";
const MARK: &str = "ephemeral";

const RECORD: &str = "host.json";

/// What was last recorded in a directory. The host may be gone: only its lock tells.
#[must_use]
pub fn read_record(dir: &Path) -> Option<HostRecord> {
    serde_json::from_slice(&std::fs::read(dir.join(RECORD)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pid: u32) -> HostRecord {
        let url = "http://127.0.0.1:3000".to_owned();
        HostRecord { pid, url, dynamodb: String::new(), s3: String::new(), database: String::new() }
    }

    fn refusal(dir: &Path) -> String {
        let refused = DataDir::take(dir, Use::Host).unwrap_err();
        assert_eq!(Failure::of(&refused).code, Failure::IN_USE);
        refused.to_string()
    }

    #[test]
    fn a_directory_in_use_is_refused_with_the_name_of_its_user() {
        let (root, own) = (tempfile::tempdir().unwrap(), std::process::id());
        let held = DataDir::take(root.path(), Use::Host).unwrap();
        let starting = refusal(root.path());
        assert!(starting.contains(&format!("in use by a host, process {own};")), "{starting}");
        held.record(&record(own)).unwrap();
        let serving = refusal(root.path());
        assert!(serving.contains(&format!("a host at http://127.0.0.1:3000, process {own};")), "{serving}");
        assert!(refusal(root.path()) == serving, "to be refused changes nothing");
    }

    #[test]
    fn a_command_is_not_taken_for_a_host_nor_for_one_that_is_gone() {
        let (root, own) = (tempfile::tempdir().unwrap(), std::process::id());
        drop(DataDir::take(root.path(), Use::Host).unwrap());
        // A host that was killed.
        std::fs::write(root.path().join(RECORD), serde_json::to_vec(&record(4_000_000)).unwrap()).unwrap();
        let held = DataDir::take(root.path(), Use::Command("rebuild")).unwrap();
        let refused = refusal(root.path());
        assert!(refused.contains(&format!("in use by `ledgerline rebuild`, process {own};")), "{refused}");
        assert_eq!(read_record(root.path()), None, "nobody is sent to where nobody is");
        // Between taking the lock and saying so, the name in it is that of the one before.
        std::fs::write(root.path().join("lock"), r#"{"pid":4000000,"what":"a host"}"#).unwrap();
        assert!(refusal(root.path()).contains("in use by another process;"), "{}", refusal(root.path()));
        drop(held);
    }

    #[test]
    fn a_temporary_directory_is_swept_once_its_host_is_gone_and_no_sooner() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str, marked: bool| {
            let path = root.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("lock"), "").unwrap();
            if marked {
                std::fs::write(path.join(MARK), "").unwrap();
            }
            path
        };
        let [used, left] = ["ledgerline-used", "ledgerline-left"].map(|name| folder(name, true));
        let [unmarked, stranger] = [folder("ledgerline-unmarked", false), folder("stranger", true)];
        let held = DataDir::lock(&used, Use::Host).unwrap();
        sweep(root.path());
        assert_eq!([&used, &left, &unmarked, &stranger].map(|path| path.exists()), [true, false, true, true]);
        drop(held);
        sweep(root.path());
        assert!(!used.exists());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_secret_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::take(&root.path().join("made/here"), Use::Host).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()) & 0o066, 0);
        dir.lasting("id").unwrap();
        dir.record(&record(1)).unwrap();
        crate::issuer::IssuerKey::of_data_dir(dir.path()).unwrap();
        for name in ["id", RECORD, "issuer.pem"] {
            assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn a_directory_whose_user_is_gone_can_be_taken_with_all_that_it_left() {
        let root = tempfile::tempdir().unwrap();
        let first = DataDir::take(root.path(), Use::Host).unwrap();
        let id = first.lasting("id").unwrap();
        drop(first);
        std::fs::write(root.path().join(RECORD), r#"{"pid":1,"url":"x","dynamodb":"x","database":"x"}"#).unwrap();
        let second = DataDir::take(root.path(), Use::Host).unwrap();
        assert_eq!(second.lasting("id").unwrap(), id);
    }
}
