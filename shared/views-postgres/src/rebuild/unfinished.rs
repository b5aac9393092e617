//! Rebuilds that nobody has finished: until somebody does, every batch is written twice.

use chrono::{DateTime, Utc};
use ledgerline_kernel::Timestamp;
use ledgerline_kernel::ports::{SegmentProgress, StoreError};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::PostgresViews;
use crate::failure::Failure;
use crate::session::{Role, within};

/// Whoever is at a rebuild has its lock, where there are connections to have it on. Where there are not,
/// it has noted something a moment ago.
const UNFINISHED: &str = "
    SELECT resource, segments::text, started_at, updated_at,
           CASE WHEN NOT $1 THEN updated_at > now() - interval '10 seconds' ELSE EXISTS (
               SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND classid = hashtext('ledgerline.rebuild')::oid AND objid = hashtext(resource)::oid
           ) END AS is_running
    FROM rebuild WHERE state <> 'done' ORDER BY resource";

/// A rebuild that was begun and is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedRebuild {
    /// Of which domain.
    pub resource: String,
    /// How far it is with each segment of the ledger.
    pub segments: Vec<SegmentProgress>,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it got on last.
    pub moved_at: Timestamp,
    /// Whether somebody is at it now.
    pub is_running: bool,
}

impl PostgresViews {
    /// The rebuilds that are not finished, by resource.
    ///
    /// # Errors
    /// That of the store.
    pub async fn unfinished_rebuilds(&self) -> Result<Vec<UnfinishedRebuild>, StoreError> {
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            let rows = sqlx::query(UNFINISHED).bind(self.takes_several_connections());
            let rows = rows.fetch_all(session.connection()).await?;
            session.commit().await?;
            rows.iter().map(unfinished).collect()
        })
        .await
    }
}

fn unfinished(row: &PgRow) -> Result<UnfinishedRebuild, Failure> {
    let segments: String = row.try_get("segments")?;
    let nonsense = |error| Failure::Nonsense(format!("how far a rebuild is: {error}"));
    Ok(UnfinishedRebuild {
        resource: row.try_get("resource")?,
        segments: serde_json::from_str(&segments).map_err(nonsense)?,
        started_at: row.try_get::<DateTime<Utc>, _>("started_at")?.into(),
        moved_at: row.try_get::<DateTime<Utc>, _>("updated_at")?.into(),
        is_running: row.try_get("is_running")?,
    })
}
