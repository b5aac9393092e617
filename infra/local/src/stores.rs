//! The stores of a host: DynamoDB with the template's tables, and a Postgres that holds the read
//! model of exactly this ledger.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use ledgerline_app::{Projector, Registry};
use ledgerline_lambda::{Config, dynamodb_client};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_stores::{DynamoAt, LocalDynamo, LocalPostgres, PostgresChoice, PostgresKind};
use ledgerline_views_postgres::PostgresViews;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::data_dir::DataDir;
use crate::read_model::{self, Belongs};
use crate::template::Template;

/// Both stores, running.
pub struct Stores {
    /// DynamoDB.
    pub dynamo: LocalDynamo,
    /// Postgres.
    pub postgres: LocalPostgres,
    /// Connections to it: the only pool of this process, because the embedded Postgres serves one
    /// connection at a time.
    pub pool: PgPool,
    /// Tells this ledger from any other.
    ledger_id: String,
}

impl Stores {
    /// Starts both; makes the tables; applies the migrations. A private Postgres that cannot be
    /// used, or that holds another ledger's rows, is replaced by a new one. One that `database_url`
    /// names is never emptied.
    ///
    /// # Errors
    /// If a store cannot be used.
    pub async fn start(dir: &DataDir, database_url: Option<String>, template: &Template) -> anyhow::Result<Self> {
        let file = ledger_file(dir.path());
        if let Some(ledger_dir) = file.parent() {
            std::fs::create_dir_all(ledger_dir).with_context(|| format!("cannot make {}", ledger_dir.display()))?;
        }
        let ledger_id = dir.lasting("dynamodb/id")?;
        let at = DynamoAt::File(file);
        let postgres_dir = dir.path().join("postgres");
        let (dynamo, postgres) =
            tokio::join!(start_dynamo(at, template), start_postgres(&postgres_dir, database_url, &ledger_id));
        let (postgres, pool) = postgres?;
        Ok(Self { dynamo: dynamo?, postgres, pool, ledger_id })
    }

    /// Makes the read models again from the ledger unless Postgres holds them already.
    ///
    /// # Errors
    /// If a store fails.
    pub async fn ensure_read_models(&self, config: &Config) -> anyhow::Result<()> {
        let belongs = read_model::belongs(&self.pool, &self.ledger_id).await?;
        if belongs == Belongs::Here {
            return Ok(());
        }
        if belongs == Belongs::Elsewhere {
            tracing::warn!(
                "DATABASE_URL names a database that holds the rows of another ledger; they stay there beside ours"
            );
        }
        let client = dynamodb_client(config).await;
        let ledger = DynamoLedger::new(client.clone(), config.required("LEDGER_TABLE")?);
        let views = PostgresViews::new(self.pool.clone());
        let data_table = DynamoDataTable::new(client, config.required("DATA_TABLE")?);
        let projector = Projector::new(Registry::shipped()?, vec![Arc::new(views), Arc::new(data_table)]);
        let scanned = read_model::make_again(&self.pool, &self.ledger_id, &ledger, &projector).await?;
        if scanned > 0 {
            tracing::info!("the read models were made again from the {scanned} versions in the ledger");
        }
        Ok(())
    }

    /// Closes this process's own connections, for functions in other processes.
    pub async fn leave_postgres_to_others(&self) {
        self.pool.close().await;
        if self.postgres.kind() == PostgresKind::Embedded {
            tracing::warn!(
                "the embedded Postgres serves one process at a time, so query-api and data-sync will wait for each \
                 other; install PostgreSQL or name one with DATABASE_URL"
            );
        }
    }

    /// Stops Postgres, then DynamoDB.
    ///
    /// # Errors
    /// If Postgres does not stop.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.pool.close().await;
        let stopped = self.postgres.stop().await.context("Postgres did not stop cleanly");
        self.dynamo.stop().await;
        stopped
    }
}

/// Where a data directory keeps DynamoDB's tables, the ledger among them.
#[must_use]
pub fn ledger_file(data_dir: &Path) -> PathBuf {
    data_dir.join("dynamodb").join("tables.sqlite")
}

async fn start_dynamo(at: DynamoAt, template: &Template) -> anyhow::Result<LocalDynamo> {
    let dynamo = LocalDynamo::start(at).await.context("cannot start the local DynamoDB")?;
    for table in &template.tables {
        anyhow::ensure!(table.keys == ["pk", "sk"], "table {} has other keys than pk and sk", table.logical_id);
        dynamo.create_table(&table.name, table.stream)?;
    }
    Ok(dynamo)
}

async fn start_postgres(dir: &Path, url: Option<String>, ledger_id: &str) -> anyhow::Result<(LocalPostgres, PgPool)> {
    let choice = PostgresChoice { url, allow_machine: true };
    let error = match open_postgres(dir, choice.clone(), ledger_id).await {
        Ok(opened) => return Ok(opened),
        Err(Unusable::Mine(error)) => error,
        Err(Unusable::External(error)) => return Err(error),
    };
    tracing::warn!("the local Postgres cannot be used and is made anew from the ledger: {error:#}");
    LocalPostgres::wipe(dir).await.with_context(|| format!("cannot empty {}", dir.display()))?;
    open_postgres(dir, choice, ledger_id).await.map_err(|(Unusable::Mine(error) | Unusable::External(error))| error)
}

enum Unusable {
    Mine(anyhow::Error),
    External(anyhow::Error),
}

async fn open_postgres(
    dir: &Path,
    choice: PostgresChoice,
    ledger_id: &str,
) -> Result<(LocalPostgres, PgPool), Unusable> {
    let named = choice.url.is_some();
    let unusable = |error: anyhow::Error| if named { Unusable::External(error) } else { Unusable::Mine(error) };
    let postgres = LocalPostgres::start(Some(dir), choice).await.map_err(unusable)?;
    match prepare(&postgres, ledger_id).await {
        Ok(pool) => Ok((postgres, pool)),
        Err(error) => {
            if let Err(also) = postgres.stop().await {
                tracing::warn!("Postgres did not stop: {also:#}");
            }
            Err(unusable(error))
        }
    }
}

async fn prepare(postgres: &LocalPostgres, ledger_id: &str) -> anyhow::Result<PgPool> {
    let options = PgPoolOptions::new().max_connections(postgres.max_connections());
    let pool = options.connect(postgres.url()).await.context("cannot connect to Postgres")?;
    let belongs = read_model::belongs(&pool, ledger_id).await?;
    if belongs == Belongs::Elsewhere && postgres.kind() != PostgresKind::External {
        pool.close().await;
        anyhow::bail!("it holds the rows of another ledger");
    }
    PostgresViews::new(pool.clone()).migrate().await.context("cannot apply the migrations")?;
    Ok(pool)
}
