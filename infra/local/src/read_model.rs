//! Whether the Postgres at hand holds this ledger's read model, and making it again if not.

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use ledgerline_app::{Projector, rebuild};
use ledgerline_kernel::ports::LedgerScan;
use sqlx::PgPool;

/// Names the ledger whose read model a database holds. In a schema of its own, away from the
/// domains' tables.
const MARKER: &str = "
    CREATE SCHEMA IF NOT EXISTS ledgerline_local;
    CREATE TABLE IF NOT EXISTS ledgerline_local.read_model (ledger_id text PRIMARY KEY)";

/// What the marker in a database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belongs {
    /// It holds the read model of this ledger.
    Here,
    /// It holds none.
    Nowhere,
    /// It holds the read model of another ledger.
    Elsewhere,
}

/// Whose read model the database holds.
///
/// # Errors
/// If the database cannot be asked.
pub async fn belongs(pool: &PgPool, ledger_id: &str) -> anyhow::Result<Belongs> {
    sqlx::raw_sql(MARKER).execute(pool).await.context("cannot keep the marker of the read model")?;
    let marked: Option<String> =
        sqlx::query_scalar("SELECT ledger_id FROM ledgerline_local.read_model").fetch_optional(pool).await?;
    Ok(match marked {
        Some(marked) if marked == ledger_id => Belongs::Here,
        Some(_) => Belongs::Elsewhere,
        None => Belongs::Nowhere,
    })
}

/// Projects the whole ledger, then marks the database as holding it. Interrupted, it starts over
/// with the next start. Gives the number of version items.
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
    let rebuilt = rebuild(ledger, projector, |scanned| bar.set_position(scanned.try_into().unwrap_or(u64::MAX))).await;
    bar.finish_and_clear();
    let rebuilt = rebuilt.context("cannot rebuild the read models")?;
    for bad in &rebuilt.bad {
        tracing::warn!("not in the read models: {bad}");
    }
    let mut transaction = pool.begin().await?;
    sqlx::query("DELETE FROM ledgerline_local.read_model").execute(&mut *transaction).await?;
    let mark = sqlx::query("INSERT INTO ledgerline_local.read_model (ledger_id) VALUES ($1)").bind(ledger_id);
    mark.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(rebuilt.scanned)
}
