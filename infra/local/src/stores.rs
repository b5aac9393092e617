//! The stores of a host: DynamoDB with the template's tables, S3 with its buckets, and a Postgres that
//! holds the read model of exactly this ledger.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ledgerline_app::{Projector, Registry};
use ledgerline_lambda::{Config, dynamodb_client, large_states};
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_stores::{DynamoAt, LocalDynamo, LocalMessaging, LocalPostgres, LocalS3, PostgresChoice, PostgresKind};
use ledgerline_views_postgres::PostgresViews;
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::data_dir::DataDir;
use crate::messaging;
use crate::notifications::Journal;
use crate::read_model::{self, Belongs};
use crate::template::Template;

/// How long to wait for connections that are in use when the stores are stopped.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// All stores, running.
pub struct Stores {
    /// DynamoDB.
    pub dynamo: LocalDynamo,
    /// S3: with nothing in it, where no domain has large states.
    pub s3: LocalS3,
    /// What S3 tells functions of.
    pub notifications: Arc<Journal>,
    /// SNS and SQS. In memory: queues are empty after a restart.
    pub messaging: LocalMessaging,
    /// Postgres.
    pub postgres: LocalPostgres,
    /// Connections to it: the only pool of this process, because the embedded Postgres serves one
    /// connection at a time.
    pub pool: PgPool,
    /// Keeps other hosts away from a Postgres that is not this host's own.
    hold: Option<PgConnection>,
    registry: Registry,
    /// Tells this ledger from any other.
    ledger_id: String,
}

impl Stores {
    /// Starts them; makes the tables and buckets; applies the migrations. A private Postgres that cannot be
    /// used is replaced by a new one. Of one that `database_url` names, only the read models that a
    /// local host has made are ever replaced.
    ///
    /// # Errors
    /// If a store cannot be used.
    pub async fn start(dir: &DataDir, database_url: Option<String>, template: &Template) -> anyhow::Result<Self> {
        let file = ledger_file(dir.path());
        for private in ["dynamodb", "notifications"] {
            dir.folder(private)?;
        }
        let ledger_id = dir.lasting("dynamodb/id")?;
        let at = DynamoAt::File(file);
        let postgres_dir = dir.path().join("postgres");
        let registry = Registry::shipped()?;
        let (dynamo, s3, messaging, opened) = tokio::join!(
            start_dynamo(at, template),
            start_s3(dir.path(), template),
            messaging::start(template),
            start_postgres(&postgres_dir, database_url, &registry)
        );
        let Opened { postgres, pool, hold } = opened?;
        let ((s3, notifications), dynamo, messaging) = (s3?, dynamo?, messaging?);
        Ok(Self { dynamo, s3, notifications, messaging, postgres, pool, hold, registry, ledger_id })
    }

    /// Makes the read models again from the ledger unless Postgres holds them already.
    ///
    /// # Errors
    /// If a store fails.
    pub async fn ensure_read_models(&self, config: &Config) -> anyhow::Result<()> {
        match read_model::belongs(&self.pool, &self.ledger_id).await? {
            Belongs::Here => return Ok(()),
            Belongs::Elsewhere => tracing::warn!("Postgres held the read models of another ledger, which are replaced"),
            Belongs::Nowhere => {}
        }
        read_model::empty(&self.pool, &self.registry).await?;
        let client = dynamodb_client(config).await;
        let large = large_states(config, &self.registry)?;
        let ledger = Arc::new(large.over(DynamoLedger::new(client.clone(), config.required("LEDGER_TABLE")?)));
        let views = Arc::new(PostgresViews::new(self.pool.clone()));
        let data_table = large.over(DynamoDataTable::new(client, config.required("DATA_TABLE")?));
        let projector = Projector::new(self.registry.clone(), vec![views.clone(), Arc::new(data_table)])
            .with_deltas(ledger.clone(), views);
        let scanned = read_model::make_again(&self.pool, &self.ledger_id, ledger.as_ref(), &projector).await?;
        if scanned > 0 {
            tracing::info!("the read models were made again from the {scanned} versions in the ledger");
        }
        Ok(())
    }

    /// Closes this process's own connections, for functions in other processes.
    ///
    /// # Errors
    /// If Postgres serves this process alone.
    pub async fn leave_postgres_to_others(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.postgres.kind() != PostgresKind::Embedded,
            "the embedded Postgres serves one connection at a time, too few for functions in processes of their own: \
             install PostgreSQL, or name a database with DATABASE_URL"
        );
        self.pool.close().await;
        Ok(())
    }

    /// Stops Postgres, then DynamoDB and S3.
    ///
    /// # Errors
    /// If Postgres does not stop.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let Self { hold, pool, .. } = &mut self;
        // One that hangs must not hold up the rest; stopping Postgres ends them all.
        let close = async {
            pool.close().await;
            match hold.take() {
                Some(hold) => hold.close().await,
                None => Ok(()),
            }
        };
        if !matches!(tokio::time::timeout(CLOSE_LIMIT, close).await, Ok(Ok(()))) {
            tracing::debug!("not all connections to Postgres were closed");
        }
        let stopped = self.postgres.stop().await.context("Postgres did not stop cleanly");
        self.dynamo.stop().await;
        self.s3.stop().await;
        self.messaging.stop().await;
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

/// Serves the objects of a data directory. That takes a millisecond or a few, so they are served
/// whether or not anybody needs them. Of what is created, the notifications are kept until somebody delivers
/// them.
///
/// # Errors
/// If they cannot be served.
pub async fn start_s3(data_dir: &Path, template: &Template) -> anyhow::Result<(LocalS3, Arc<Journal>)> {
    let journal = Arc::new(Journal::open(&data_dir.join("notifications"), &template.notifications)?);
    let s3 = LocalS3::start_with(&data_dir.join("s3"), Arc::<Journal>::clone(&journal)).await;
    let s3 = s3.context("cannot start the local S3")?;
    for bucket in &template.buckets {
        s3.create_bucket(&bucket.name)?;
    }
    Ok((s3, journal))
}

/// A Postgres that is ready for the read models.
struct Opened {
    postgres: LocalPostgres,
    pool: PgPool,
    hold: Option<PgConnection>,
}

async fn start_postgres(dir: &Path, url: Option<String>, registry: &Registry) -> anyhow::Result<Opened> {
    let choice = PostgresChoice { url, allow_machine: true };
    // A mistake in the settings says nothing about the data: it must not get as far as the wiping.
    choice.check()?;
    let error = match open_postgres(dir, choice.clone(), registry).await {
        Ok(opened) => return Ok(opened),
        Err(Unusable::Mine(error)) => error,
        Err(Unusable::External(error)) => return Err(error),
    };
    tracing::warn!("the local Postgres cannot be used and is made anew from the ledger: {error:#}");
    LocalPostgres::wipe(dir).await.with_context(|| format!("cannot empty {}", dir.display()))?;
    open_postgres(dir, choice, registry).await.map_err(|(Unusable::Mine(error) | Unusable::External(error))| error)
}

enum Unusable {
    Mine(anyhow::Error),
    External(anyhow::Error),
}

async fn open_postgres(dir: &Path, choice: PostgresChoice, registry: &Registry) -> Result<Opened, Unusable> {
    let named = choice.url.is_some();
    let unusable = |error: anyhow::Error| if named { Unusable::External(error) } else { Unusable::Mine(error) };
    let postgres = LocalPostgres::start(Some(dir), choice).await.map_err(unusable)?;
    match prepare(&postgres, registry).await {
        Ok((pool, hold)) => Ok(Opened { postgres, pool, hold }),
        Err(error) => {
            let error =
                if named { error.context("the Postgres that DATABASE_URL names cannot be used") } else { error };
            if let Err(also) = postgres.stop().await {
                tracing::warn!("Postgres did not stop: {also:#}");
            }
            Err(unusable(error))
        }
    }
}

async fn prepare(postgres: &LocalPostgres, registry: &Registry) -> anyhow::Result<(PgPool, Option<PgConnection>)> {
    let hold = match postgres.kind() {
        PostgresKind::External => Some(read_model::lock(postgres.url()).await?),
        PostgresKind::Machine | PostgresKind::Embedded => None,
    };
    let views = PostgresViews::lazy(postgres.url(), postgres.max_connections())?;
    read_model::adopt(views.pool(), registry).await?;
    views.migrate().await.context("cannot apply the migrations")?;
    Ok((views.pool().clone(), hold))
}
