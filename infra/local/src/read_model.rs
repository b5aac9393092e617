//! Whether the Postgres at hand holds this ledger's read model, and making it again if not.

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use ledgerline_app::{Projector, Registry, reproject};
use ledgerline_kernel::ports::LedgerScan;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

/// Names the ledger whose read model a database holds, and proves that a local host made it. In a
/// schema of its own, away from the domains' tables. Without a row, what they hold is half made.
const MARKER: &str = "
    CREATE SCHEMA IF NOT EXISTS ledgerline_local;
    CREATE TABLE IF NOT EXISTS ledgerline_local.read_model (ledger_id text PRIMARY KEY)";

/// What every local host locks in the database that it uses: the bytes of `ledgerln`.
const LOCK: i64 = 0x6c65_6467_6572_6c6e;

/// What the marker in a database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belongs {
    /// It holds the read model of this ledger.
    Here,
    /// It holds none, or the beginning of one.
    Nowhere,
    /// It holds the read model of another ledger.
    Elsewhere,
}

/// Keeps other hosts, and commands beside them, away from a database for as long as this connection lives.
///
/// # Errors
/// If one uses it already, or it cannot be asked.
pub async fn lock(url: &str) -> anyhow::Result<PgConnection> {
    let mut connection = PgConnection::connect(url).await?;
    let taken: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut connection).await?;
    anyhow::ensure!(
        taken,
        "another local host, or a command beside none, is using this database; stop it or wait for it, or name another \
         database"
    );
    Ok(connection)
}

/// Marks a database as one whose read models a local host makes, and replaces.
///
/// # Errors
/// If its tables hold what no local host has put there. Nothing has been changed then.
pub async fn adopt(pool: &PgPool, registry: &Registry) -> anyhow::Result<()> {
    let is_marked: bool =
        sqlx::query_scalar("SELECT to_regclass('ledgerline_local.read_model') IS NOT NULL").fetch_one(pool).await?;
    if is_marked {
        return Ok(());
    }
    for table in tables(registry) {
        // By its size, because row-level security hides the rows themselves from its owner.
        let is_used: bool = sqlx::query_scalar("SELECT coalesce(pg_relation_size(to_regclass($1)), 0) > 0")
            .bind(table)
            .fetch_one(pool)
            .await?;
        anyhow::ensure!(
            !is_used,
            "its table {table} is in use and was not made by a local host, which would empty it; nothing was \
             changed. Name another database"
        );
    }
    sqlx::raw_sql(MARKER).execute(pool).await.context("cannot keep the marker of the read model")?;
    Ok(())
}

/// Whose read model the database holds, which must have been [adopted](adopt).
///
/// # Errors
/// If the database cannot be asked.
pub async fn belongs(pool: &PgPool, ledger_id: &str) -> anyhow::Result<Belongs> {
    let marked: Option<String> =
        sqlx::query_scalar("SELECT ledger_id FROM ledgerline_local.read_model").fetch_optional(pool).await?;
    Ok(match marked {
        Some(marked) if marked == ledger_id => Belongs::Here,
        Some(_) => Belongs::Elsewhere,
        None => Belongs::Nowhere,
    })
}

/// Empties the tables, and with them the marker: from here on they are half made.
///
/// # Errors
/// If the database refuses. Nothing has been changed then.
pub async fn empty(pool: &PgPool, registry: &Registry) -> anyhow::Result<()> {
    let mut transaction = pool.begin().await?;
    sqlx::query("DELETE FROM ledgerline_local.read_model").execute(&mut *transaction).await?;
    // Safe: the names of tables are part of the program.
    let truncate = AssertSqlSafe(format!("TRUNCATE {}", tables(registry).collect::<Vec<_>>().join(", ")));
    sqlx::query(truncate).execute(&mut *transaction).await.context("cannot empty the read models")?;
    Ok(transaction.commit().await?)
}

/// Everything that projections write.
fn tables(registry: &Registry) -> impl Iterator<Item = &'static str> {
    let states = registry.domains().map(|domain| domain.table().name);
    let deltas = registry.domains().flat_map(|domain| domain.deltas());
    let sums = deltas.flat_map(|delta| delta.tables().iter().map(|table| table.name));
    states.chain(sums).chain(["projection_position", "quarantine"])
}

/// Projects the whole ledger into [emptied](empty) tables, then marks the database as holding it.
/// Interrupted, it starts over with the next start. Gives the number of version items.
///
/// # Errors
/// If a store fails.
pub async fn make_again(
    pool: &PgPool,
    ledger_id: &str,
    ledger: &dyn LedgerScan,
    projector: &Projector,
) -> anyhow::Result<usize> {
    let bar =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} read models: {pos} versions")?);
    let rebuilt =
        reproject(ledger, projector, |scanned| bar.set_position(scanned.try_into().unwrap_or(u64::MAX))).await;
    bar.finish_and_clear();
    let rebuilt = rebuilt.context("cannot rebuild the read models")?;
    for bad in &rebuilt.bad {
        tracing::warn!("not in the read models: {bad}");
    }
    let mark = sqlx::query("INSERT INTO ledgerline_local.read_model (ledger_id) VALUES ($1)").bind(ledger_id);
    mark.execute(pool).await?;
    Ok(rebuilt.scanned)
}
