//! The Postgres of a machine that runs the local host or the tests.

mod data_dir;
mod embedded;
#[cfg(unix)]
mod machine;

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::{Connection, PgConnection};

use self::data_dir::DataDir;
use self::embedded::EmbeddedServer;

/// Picks a kind of Postgres whatever the choice says; its only value is `embedded`.
const KIND_VARIABLE: &str = "LEDGERLINE_POSTGRES";
const PING_LIMIT: Duration = Duration::from_secs(20);

/// Where a [`LocalPostgres`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostgresKind {
    /// Somebody else's server, given by its URL.
    External,
    /// A private cluster of the PostgreSQL that is installed on the machine.
    Machine,
    /// PostgreSQL 17 inside this process. Serves one connection at a time; others wait.
    Embedded,
}

/// Which Postgres may be used. `LEDGERLINE_POSTGRES=embedded` in the environment overrides it.
#[derive(Debug, Clone)]
pub struct PostgresChoice {
    /// A server that runs already.
    pub url: Option<String>,
    /// Whether the machine's own PostgreSQL may be used, where it has one.
    pub allow_machine: bool,
}

impl PostgresChoice {
    /// Whether the environment allows for it, before anything is opened or made.
    ///
    /// # Errors
    /// If `LEDGERLINE_POSTGRES` has a value that it cannot have.
    pub fn check(&self) -> anyhow::Result<()> {
        self.clone().overridden().map(drop)
    }

    fn overridden(self) -> anyhow::Result<Self> {
        let kind = std::env::var_os(KIND_VARIABLE);
        self.overridden_by(kind.as_deref().unwrap_or_default())
    }

    fn overridden_by(self, kind: &OsStr) -> anyhow::Result<Self> {
        match kind.to_str() {
            Some("") => Ok(self),
            Some("embedded") => Ok(Self { url: None, allow_machine: false }),
            _ => bail!("{KIND_VARIABLE} is {kind:?}; its only value is \"embedded\""),
        }
    }

    /// Whether a start would come down to the embedded one.
    pub(crate) fn means_embedded(&self) -> anyhow::Result<bool> {
        let choice = self.clone().overridden()?;
        Ok(choice.url.is_none() && machine(choice.allow_machine).is_none())
    }
}

#[cfg(unix)]
fn machine(allowed: bool) -> Option<machine::Binaries> {
    allowed.then(machine::Binaries::find).flatten()
}

/// Private clusters need accounts, process groups and signals.
#[cfg(not(unix))]
fn machine(_: bool) -> Option<std::convert::Infallible> {
    None
}

/// A running Postgres. [`stop`](Self::stop) ends it and so does dropping it; a private cluster does
/// not even outlive a `kill -9` of this process.
#[derive(Debug)]
pub struct LocalPostgres {
    url: String,
    is_new: bool,
    server: Server,
    // After the server: the directory stays locked until nothing runs on it.
    _dir: Option<DataDir>,
}

#[derive(Debug)]
enum Server {
    External,
    #[cfg(unix)]
    Machine(machine::Cluster),
    Embedded(EmbeddedServer),
}

impl LocalPostgres {
    /// Starts a Postgres that keeps its data in `dir`, or without one a temporary Postgres that is
    /// gone with this process. What `dir` holds of another kind or major version is removed: it
    /// would be stale.
    ///
    /// A cluster that a killed process left running is stopped first, and one whose making was
    /// interrupted is made again.
    ///
    /// # Errors
    /// Says what could not be done and what to do about it. A caller that can rebuild the data may
    /// [`wipe`](Self::wipe) `dir` and start again; that fails too where another process uses `dir`.
    pub async fn start(dir: Option<&Path>, choice: PostgresChoice) -> anyhow::Result<Self> {
        let choice = choice.overridden()?;
        let dir = dir.map(Path::to_owned);
        // Starting forks, waits and polls: a thread of its own keeps that from the async ones.
        let postgres = tokio::task::spawn_blocking(move || match choice.url {
            Some(url) => Self::external(dir.as_deref(), url),
            None => Self::private(dir.as_deref(), choice.allow_machine),
        })
        .await??;
        // The embedded one opens its data on the first connection only.
        ping(&postgres.url).await.context(match postgres.kind() {
            PostgresKind::External => "the Postgres that DATABASE_URL names cannot be used",
            PostgresKind::Machine | PostgresKind::Embedded => "the local Postgres cannot open its data",
        })?;
        if let Server::Embedded(server) = &postgres.server {
            server.mark_complete()?;
        }
        Ok(postgres)
    }

    fn external(dir: Option<&Path>, url: String) -> anyhow::Result<Self> {
        let dir = dir.map(|dir| DataDir::lock(dir, "external")).transpose()?;
        Ok(Self { url, is_new: false, server: Server::External, _dir: dir })
    }

    fn private(dir: Option<&Path>, allow_machine: bool) -> anyhow::Result<Self> {
        #[cfg(unix)]
        if let Some(binaries) = machine(allow_machine) {
            let dir = dir.map(|dir| DataDir::lock(dir, &format!("postgresql-{}", binaries.major()))).transpose()?;
            let cluster = machine::Cluster::start(&binaries, dir.as_ref().map(DataDir::path)).with_context(|| {
                format!(
                    "cannot run the PostgreSQL in {}; {KIND_VARIABLE}=embedded does without it",
                    binaries.folder().display()
                )
            })?;
            let (url, is_new) = (cluster.url(), cluster.is_new());
            return Ok(Self { url, is_new, server: Server::Machine(cluster), _dir: dir });
        }
        let dir = dir.map(|dir| DataDir::lock(dir, "embedded")).transpose()?;
        let server = EmbeddedServer::start(dir.as_ref().map(DataDir::path))
            .context("cannot start the embedded Postgres; DATABASE_URL can name another one")?;
        let (url, is_new) = (server.url(), server.is_new());
        Ok(Self { url, is_new, server: Server::Embedded(server), _dir: dir })
    }

    /// Removes everything that Postgres kept in `dir`, after stopping a cluster that was left
    /// running on it. The next start makes a new, empty one.
    ///
    /// # Errors
    /// If another process uses `dir`, or files cannot be removed.
    pub async fn wipe(dir: &Path) -> anyhow::Result<()> {
        let dir = dir.to_owned();
        tokio::task::spawn_blocking(move || DataDir::lock(&dir, "").map(drop)).await?
    }

    /// Where to connect to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it comes from.
    #[must_use]
    pub fn kind(&self) -> PostgresKind {
        match self.server {
            Server::External => PostgresKind::External,
            #[cfg(unix)]
            Server::Machine(_) => PostgresKind::Machine,
            Server::Embedded(_) => PostgresKind::Embedded,
        }
    }

    /// Where the cluster of the machine's PostgreSQL is, which may not be below the directory that it
    /// was started with: its account has to be able to get there.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.server {
            #[cfg(unix)]
            Server::Machine(cluster) => Some(cluster.home()),
            Server::External | Server::Embedded(_) => None,
        }
    }

    /// Whether this start made it, so that it is empty. Of an external one nothing is known: false.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// How many connections a pool may open.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        match self.kind() {
            PostgresKind::External | PostgresKind::Machine => 8,
            PostgresKind::Embedded => 1,
        }
    }

    /// Ends it, open connections included, and waits until it has. An external one is left alone.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn stop(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || match self.server {
            Server::External => Ok(()),
            #[cfg(unix)]
            Server::Machine(mut cluster) => cluster.stop(),
            Server::Embedded(mut server) => server.stop(),
        })
        .await?
    }
}

async fn ping(url: &str) -> anyhow::Result<()> {
    let connect = async {
        let mut connection = PgConnection::connect(url).await?;
        connection.ping().await?;
        connection.close().await
    };
    tokio::time::timeout(PING_LIMIT, connect).await.context("no answer in time")?.map_err(Into::into)
}

#[cfg(test)]
#[path = "postgres_tests.rs"]
mod tests;
