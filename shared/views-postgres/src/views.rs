use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ledgerline_kernel::TableSpec;
use ledgerline_kernel::ports::StoreError;
use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::failure::Failure;
use crate::session::Rebuilding;
use crate::table_sql::TableSql;

/// How long a call waits for a connection before it reports that Postgres is not available.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(4);

/// How long a list may take in all: its caller is to be told before the gateway gives up.
const READ_LIMIT: Duration = Duration::from_secs(8);

/// How long a batch may take in all.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

/// The read models of all domains in one Postgres database. Clones share the connections.
#[derive(Debug, Clone)]
pub struct PostgresViews {
    pub(crate) pool: PgPool,
    pub(crate) read_limit: Duration,
    pub(crate) write_limit: Duration,
    /// Where the tables are, if they are not the live ones.
    pub(crate) schema: Option<Arc<str>>,
    /// The rebuilds under way, as the last transaction that wrote has seen them.
    rebuilds: Arc<Mutex<Arc<[Rebuilding]>>>,
    tables: Arc<Mutex<HashMap<&'static str, Arc<TableSql>>>>,
}

impl PostgresViews {
    /// Read models behind this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            read_limit: READ_LIMIT,
            write_limit: WRITE_LIMIT,
            schema: None,
            rebuilds: Arc::default(),
            tables: Arc::default(),
        }
    }

    /// The same views with the tables of another schema, over the same connections.
    pub(crate) fn in_schema(&self, schema: &str) -> Self {
        Self { schema: Some(schema.into()), ..self.clone() }
    }

    pub(crate) fn learn_of(&self, rebuilds: &[Rebuilding]) {
        let mut known = self.rebuilds.lock().unwrap_or_else(PoisonError::into_inner);
        if **known != *rebuilds {
            *known = rebuilds.into();
        }
    }

    /// See [`learn_of`](Self::learn_of).
    pub(crate) fn known_rebuilds(&self) -> Arc<[Rebuilding]> {
        Arc::clone(&self.rebuilds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The connections, which those may share that work on the same database.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Read models behind a pool of its own, which connects on first use. Call it within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] for a URL that makes no sense. It does not repeat the URL, which
    /// may hold a password.
    pub fn lazy(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let options: PgConnectOptions =
            url.parse().map_err(|_| Failure::Nonsense("the database URL makes no sense".to_owned()))?;
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_LIMIT)
            // Off the wire before it is used: a Lambda's connections die while it is frozen.
            .test_before_acquire(true)
            .connect_lazy_with(options.application_name("ledgerline"));
        Ok(Self::new(pool))
    }

    /// Brings the tables up to date, those of rebuilds under way included. Migrations that a newer release has applied are left alone, so
    /// rolling back a release does nothing here.
    ///
    /// # Errors
    /// [`MigrateError`] of the migration that failed; it has been undone, those before it have not.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        migrations().run(&self.pool).await?;
        self.migrate_rebuilds().await
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if there is none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map_err(Failure::from)?;
        Ok(())
    }

    /// The statements of a table, put together once.
    pub(crate) fn table_sql(&self, table: &'static TableSpec) -> Result<Arc<TableSql>, Failure> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sql) = tables.get(table.name) {
            return Ok(Arc::clone(sql));
        }
        let sql = Arc::new(TableSql::new(table)?);
        tables.insert(table.name, Arc::clone(&sql));
        Ok(sql)
    }
}

pub(crate) fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!("../../migrations");
    migrations.set_ignore_missing(true);
    migrations
}
