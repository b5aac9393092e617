//! A private cluster of the PostgreSQL that is installed on the machine.

mod account;
mod binaries;
mod postmaster;
mod watchdog;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use self::account::Account;
pub(super) use self::binaries::Binaries;
use self::watchdog::Watchdog;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// How often to see whether the server is still there.
const SUPERVISE: Duration = Duration::from_millis(200);

/// Names the folder that the cluster had to move to, in the folder where it should be.
const MOVED: &str = "moved-to";

/// Names the folder where a cluster that had to move should be, in the one where it is.
const HOME: &str = "moved-from";

/// How the names of folders in the system's folder for temporary files begin.
const PREFIX: &str = "ledgerline-postgres-";

/// A running cluster of this process alone, on loopback. A server that ends unasked is started
/// again, at the same address.
#[derive(Debug)]
pub(super) struct Cluster {
    port: u16,
    is_new: bool,
    home: PathBuf,
    running: Arc<Mutex<Running>>,
    stopping: Arc<AtomicBool>,
    supervisor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Running {
    setup: Setup,
    server: Child,
}

/// What a cluster is started with.
#[derive(Debug)]
struct Setup {
    binaries: Binaries,
    account: Account,
    /// Holds `data` and `log`.
    home: PathBuf,
    is_temporary: bool,
    watchdog: Watchdog,
}

impl Cluster {
    /// Starts a cluster in `home`, making it if need be; without `home` a temporary one.
    pub(super) fn start(binaries: &Binaries, home: Option<&Path>) -> anyhow::Result<Self> {
        let (account, binaries) = (Account::unprivileged()?, binaries.clone());
        let mut setup = match home {
            Some(home) => {
                let home = settle(home, account)?;
                postmaster::stop_orphan(&home.join("data"))?;
                Setup { binaries, account, home, is_temporary: false, watchdog: Watchdog::start(None)? }
            }
            None => {
                let home = temporary_home(account)?;
                let watchdog = Watchdog::start(Some(&home))?;
                Setup { binaries, account, home, is_temporary: true, watchdog }
            }
        };
        let is_new = !setup.data().exists();
        if is_new {
            setup.init()?;
        }
        let stopping = Arc::<AtomicBool>::default();
        let (server, port) = setup.launch(None, &stopping)?;
        let home = setup.home.clone();
        let running = Arc::new(Mutex::new(Running { setup, server }));
        let supervise = {
            let (running, stopping) = (Arc::clone(&running), Arc::clone(&stopping));
            move || supervise(&running, port, &stopping)
        };
        let supervisor = thread::Builder::new().name("postgres-supervisor".to_owned()).spawn(supervise)?;
        Ok(Self { port, is_new, home, running, stopping, supervisor: Some(supervisor) })
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        let Some(supervisor) = self.supervisor.take() else { return Ok(()) };
        self.stopping.store(true, Ordering::SeqCst);
        supervisor.thread().unpark();
        if supervisor.join().is_err() {
            tracing::warn!("the supervisor of PostgreSQL panicked");
        }
        let mut running = lock(&self.running);
        let Running { setup, server } = &mut *running;
        setup.watchdog.release();
        let deadline = Instant::now() + STOP_LIMIT;
        while server.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("PostgreSQL (process {}) does not stop", server.id());
            }
            thread::sleep(POLL);
        }
        setup.watchdog.wait()
    }
}

/// Starts the server again whenever it ends, until told to stop.
fn supervise(running: &Mutex<Running>, port: u16, stopping: &AtomicBool) {
    while !stopping.load(Ordering::SeqCst) {
        thread::park_timeout(SUPERVISE);
        let mut running = lock(running);
        let Ok(Some(ended)) = running.server.try_wait() else { continue };
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let again = postmaster::stop_orphan(&running.setup.data());
        match again.and_then(|()| running.setup.launch(Some(port), stopping)) {
            Ok((server, _)) => {
                running.server = server;
                tracing::warn!("PostgreSQL ended unasked ({ended}) and was started again");
            }
            Err(error) => {
                tracing::error!("PostgreSQL ended unasked ({ended}) and cannot be started again yet: {error:#}");
                drop(running);
                thread::park_timeout(10 * SUPERVISE);
            }
        }
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!("{error:#}");
        }
    }
}

impl Setup {
    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Makes the cluster under another name and renames it: `data` is complete or not there.
    fn init(&mut self) -> anyhow::Result<()> {
        let unfinished = self.home.join("data.unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        let log = File::create(self.log())?;
        let mut initdb = self
            .account
            .command(&self.binaries.initdb())
            .arg("-D")
            .arg(&unfinished)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot run initdb")?;
        self.watchdog.guard(initdb.id())?;
        let ended = initdb.wait()?;
        if !ended.success() {
            bail!("initdb ended with {ended}: {}", self.said());
        }
        fs::rename(&unfinished, self.data()).context("cannot rename the new cluster")
    }

    /// Starts the server, at a given port or at any that is free.
    fn launch(&mut self, port: Option<u16>, stopping: &AtomicBool) -> anyhow::Result<(Child, u16)> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let port = port.map_or_else(free_port, Ok)?;
            let mut server = self.spawn(port)?;
            self.watchdog.guard(server.id())?;
            while server.try_wait()?.is_none() {
                // To stop it is the watchdog's business then, ready or not.
                if postmaster::is_ready(&self.data(), server.id()) || stopping.load(Ordering::SeqCst) {
                    return Ok((server, port));
                }
                if Instant::now() > deadline {
                    bail!("PostgreSQL is not ready after {} s: {}", START_LIMIT.as_secs(), self.said());
                }
                thread::sleep(POLL);
            }
            let said = self.said();
            // The port was free a moment ago; and the sessions of a killed server take a moment to
            // notice.
            let may_pass = said.contains("could not bind") || said.contains("pre-existing shared memory block");
            if !may_pass || Instant::now() > deadline || stopping.load(Ordering::SeqCst) {
                bail!("PostgreSQL did not start: {said}");
            }
            thread::sleep(10 * POLL);
        }
    }

    fn spawn(&self, port: u16) -> anyhow::Result<Child> {
        let log = File::create(self.log())?;
        let mut command = self.account.command(&self.binaries.postgres());
        command.arg("-D").arg(self.data()).arg("-p").arg(port.to_string());
        let mut settings = vec![
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "shared_buffers=32MB",
            "max_connections=200",
            "timezone=UTC",
            "logging_collector=off",
            "wal_level=minimal",
            "max_wal_senders=0",
        ];
        if self.is_temporary {
            // Autovacuum would hold up CREATE DATABASE.
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off"]);
        }
        for setting in settings {
            command.args(["-c", setting]);
        }
        // Its own process group: Ctrl-C in the terminal is for us, and we stop it in our own time.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        command.spawn().context("cannot run postgres")
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default().trim().to_owned()
    }
}

/// Makes `home` a folder that the server's account owns and reaches; if it cannot reach it, moves to
/// a temporary folder that `home` names, so that the next start finds it.
fn settle(home: &Path, account: Account) -> anyhow::Result<PathBuf> {
    if let Some(moved) = moved_to(home)
        && account.owns(&moved)
    {
        return Ok(moved);
    }
    fs::create_dir_all(home).with_context(|| format!("cannot create {}", home.display()))?;
    account.give(home)?;
    if account.reaches(home) {
        return Ok(home.to_owned());
    }
    sweep(&std::env::temp_dir(), account);
    let elsewhere = temporary_home(account)?;
    tracing::warn!("{} is out of reach of PostgreSQL's account; using {}", home.display(), elsewhere.display());
    // In this order: a folder that names no home is never swept.
    fs::write(home.join(MOVED), elsewhere.as_os_str().as_encoded_bytes())?;
    fs::write(elsewhere.join(HOME), home.as_os_str().as_encoded_bytes())?;
    Ok(elsewhere)
}

/// Removes the clusters that had to move to `folder` and whose homes are gone since: nobody will
/// look for them there.
fn sweep(folder: &Path, account: Account) {
    for found in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_ours = found.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        let Ok(home) = fs::read_to_string(found.join(HOME)) else { continue };
        if !is_ours || !account.owns(&found) || moved_to(Path::new(&home)).as_ref() == Some(&found) {
            continue;
        }
        let removed = postmaster::stop_orphan(&found.join("data")).and_then(|()| Ok(fs::remove_dir_all(&found)?));
        match removed {
            Ok(()) => tracing::info!("removed {}, the Postgres of {home}, which is gone", found.display()),
            Err(error) => tracing::debug!("cannot remove {}: {error:#}", found.display()),
        }
    }
}

fn moved_to(home: &Path) -> Option<PathBuf> {
    fs::read_to_string(home.join(MOVED)).ok().map(PathBuf::from)
}

fn temporary_home(account: Account) -> anyhow::Result<PathBuf> {
    for parent in [std::env::temp_dir(), PathBuf::from("/tmp")] {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent)?;
        account.give(folder.path())?;
        if account.reaches(folder.path()) {
            return Ok(folder.keep());
        }
    }
    bail!("PostgreSQL's account reaches no temporary directory; set TMPDIR to one that everybody may enter")
}

/// Stops whatever runs in `home` and removes what lies elsewhere because of it. Does nothing for a
/// folder that never held a cluster.
pub(super) fn abandon(home: &Path) -> anyhow::Result<()> {
    let moved = moved_to(home);
    for folder in moved.iter().map(PathBuf::as_path).chain([home]) {
        postmaster::stop_orphan(&folder.join("data"))?;
    }
    if let Some(moved) = moved
        && Account::unprivileged()?.owns(&moved)
    {
        fs::remove_dir_all(&moved)?;
    }
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_had_to_move_is_swept_once_its_home_is_gone_and_no_sooner() {
        let (temporary, account) = (tempfile::tempdir().unwrap(), Account::unprivileged().unwrap());
        let folder = |name: &str| {
            let folder = temporary.path().join(name);
            fs::create_dir(&folder).unwrap();
            account.give(&folder).unwrap();
            folder
        };
        let home = folder("home");
        let [used, gone, unmarked] = ["used", "gone", "unmarked"].map(|name| folder(&format!("{PREFIX}{name}")));
        let stranger = folder("stranger");
        fs::write(home.join(MOVED), used.as_os_str().as_encoded_bytes()).unwrap();
        fs::write(used.join(HOME), home.as_os_str().as_encoded_bytes()).unwrap();
        for marked in [&gone, &stranger] {
            fs::write(marked.join(HOME), temporary.path().join("nowhere").as_os_str().as_encoded_bytes()).unwrap();
        }
        sweep(temporary.path(), account);
        assert_eq!([&used, &gone, &unmarked, &stranger].map(|folder| folder.exists()), [true, false, true, true]);
        fs::remove_dir_all(&home).unwrap();
        sweep(temporary.path(), account);
        assert!(!used.exists());
    }
}
