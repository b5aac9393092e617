use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::postgres::{LocalPostgres, PostgresChoice};

/// Names a server for tests to create their databases on, instead of one that they start.
const SERVER_VARIABLE: &str = "LEDGERLINE_TEST_DATABASE_URL";

/// One server for all tests of the process, which ends with the process. None where every test has
/// an embedded one of its own.
static SHARED: OnceCell<Option<LocalPostgres>> = OnceCell::const_new();

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An empty Postgres database for one test alone, gone when dropped: on the machine's own
/// PostgreSQL where there is one, else on an embedded one.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    max_connections: u32,
    _origin: Origin,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for what their drop does")]
enum Origin {
    Shared(Database),
    Own(Box<LocalPostgres>),
}

/// A database on a shared server.
#[derive(Debug)]
struct Database {
    server: String,
    name: String,
}

impl TestDatabase {
    /// Makes one.
    ///
    /// # Errors
    /// If no Postgres can be started, or the one that `LEDGERLINE_TEST_DATABASE_URL` names refuses.
    pub async fn create() -> anyhow::Result<Self> {
        let Some(server) = SHARED.get_or_try_init(start_shared).await? else {
            let own = LocalPostgres::start(None, PostgresChoice { url: None, allow_machine: false }).await?;
            let (url, max_connections) = (own.url().to_owned(), own.max_connections());
            return Ok(Self { url, max_connections, _origin: Origin::Own(Box::new(own)) });
        };
        // The process id keeps test processes apart that share a server.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = Database {
            server: server.url().to_owned(),
            name: format!("ledgerline_test_{}_{number}", std::process::id()),
        };
        database
            .run(format!("CREATE DATABASE {}", database.name))
            .await
            .context("cannot create a database for the test")?;
        let options: PgConnectOptions = database.server.parse()?;
        Ok(Self {
            url: options.database(&database.name).to_url_lossy().into(),
            max_connections: server.max_connections(),
            _origin: Origin::Shared(database),
        })
    }

    /// Where to connect to, as an administrator.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many connections a pool may open: 1 on an embedded one.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        self.max_connections
    }
}

async fn start_shared() -> anyhow::Result<Option<LocalPostgres>> {
    let url = std::env::var(SERVER_VARIABLE).ok();
    let choice = PostgresChoice { url, allow_machine: true };
    if choice.means_embedded()? { Ok(None) } else { LocalPostgres::start(None, choice).await.map(Some) }
}

impl Database {
    async fn run(&self, statement: String) -> anyhow::Result<()> {
        let mut server = PgConnection::connect(&self.server).await?;
        // Safe: made of our own words only. A database's name cannot be bound.
        sqlx::query(AssertSqlSafe(statement)).execute(&mut server).await?;
        Ok(server.close().await?)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            // FORCE: the test's pool may still be connected.
            runtime.block_on(self.run(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)))
        };
        // On a thread of its own: this one may be running the test's async runtime.
        let dropped = thread::scope(|scope| scope.spawn(drop).join());
        if !matches!(dropped, Ok(Ok(()))) {
            tracing::warn!("the test database {} could not be dropped", self.name);
        }
    }
}

#[cfg(test)]
#[path = "test_database_tests.rs"]
mod tests;
