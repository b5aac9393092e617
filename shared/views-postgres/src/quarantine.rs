use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ledgerline_kernel::Version;
use ledgerline_kernel::ports::{Poison, Quarantine, QuarantineQuery, Quarantined, STRIKES, StoreError, Strike, Taken};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::PostgresViews;
use crate::failure::Failure;
use crate::session::{Role, Session, within};

/// Answers with whether it is quarantined now.
const STRIKE: &str = "
    INSERT INTO quarantine AS held (projection, record, entity_id, tenant_code, version, error, image, attempts)
    VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, 1)
    ON CONFLICT (projection, record) DO UPDATE SET
        version = greatest(held.version, excluded.version),
        error = excluded.error,
        image = excluded.image,
        attempts = least(held.attempts + 1, $8),
        last_seen_at = now(),
        quarantined_at = coalesce(held.quarantined_at, CASE WHEN held.attempts + 1 >= $8 THEN now() END)
    RETURNING quarantined_at IS NOT NULL";

/// Answers with one row for each that goes: whether it was quarantined. They are locked in the order
/// in which every batch locks them.
const RELEASE: &str = "
    WITH gone AS (
        SELECT held.projection, held.record FROM quarantine AS held
        JOIN UNNEST($1::text[], $2::text[], $3::bigint[]) AS taken (projection, entity_id, version)
            ON held.entity_id = taken.entity_id AND held.projection = taken.projection
        WHERE held.version <= taken.version
        ORDER BY held.projection, held.record FOR UPDATE OF held
    )
    DELETE FROM quarantine AS held USING gone
    WHERE held.projection = gone.projection AND held.record = gone.record
    RETURNING held.quarantined_at IS NOT NULL";

const LIST: &str = "
    SELECT projection, record, entity_id, version, error, attempts, first_seen_at FROM quarantine
    WHERE quarantined_at IS NOT NULL
        AND ($1::text IS NULL OR tenant_code = $1)
        AND ($2::text IS NULL OR entity_id = $2)
        AND ($3::text IS NULL OR (projection, record) > ($3, $4::text))
    ORDER BY projection, record LIMIT $5";

#[async_trait]
impl Quarantine for PostgresViews {
    async fn strike(&self, projection: &str, poison: &Poison) -> Result<Strike, StoreError> {
        let image = (!poison.image.is_null()).then(|| poison.image.to_string());
        match self.again_if_dead(|| self.note(projection, poison, image.as_deref())).await {
            // What makes it poison may be what keeps it out of here, such as a NUL. The ledger has it.
            Err(StoreError::Rejected { .. }) => within(self.write_limit, self.note(projection, poison, None)).await,
            outcome => outcome,
        }
    }

    async fn release(&self, taken: &[Taken]) -> Result<usize, StoreError> {
        if taken.is_empty() {
            return Ok(0);
        }
        self.again_if_dead(|| self.forget(taken)).await
    }

    async fn list(&self, query: &QuarantineQuery) -> Result<Vec<Quarantined>, StoreError> {
        self.again_if_dead(|| self.page(query)).await
    }
}

impl PostgresViews {
    /// Makes a call, once more where the connection was to blame, within the limit of a write.
    pub(crate) async fn again_if_dead<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        within(self.write_limit, async {
            match call().await {
                Err(failure) if failure.is_a_dead_connection() => call().await,
                outcome => outcome,
            }
        })
        .await
    }

    async fn note(&self, projection: &str, poison: &Poison, image: Option<&str>) -> Result<Strike, Failure> {
        let mut session = Session::begin(&self.pool, Role::Projector, self.write_limit).await?;
        let (key, version) = poison.version.as_ref().map(|(key, version)| (key, bigint(*version))).unzip();
        let statement = sqlx::query_scalar::<_, bool>(STRIKE)
            .bind(projection)
            .bind(&poison.record)
            .bind(key.map(ToString::to_string))
            .bind(key.map(|key| key.partition.tenant.as_str()))
            .bind(version)
            .bind(poison.error.replace('\0', ""))
            .bind(image)
            .bind(i32::try_from(STRIKES).unwrap_or(i32::MAX));
        let is_quarantined = statement.fetch_one(session.connection()).await?;
        session.commit().await?;
        Ok(if is_quarantined { Strike::Quarantined } else { Strike::Again })
    }

    async fn forget(&self, taken: &[Taken]) -> Result<usize, Failure> {
        let mut session = Session::begin(&self.pool, Role::Projector, self.write_limit).await?;
        let statement = sqlx::query_scalar::<_, bool>(RELEASE)
            .bind(taken.iter().map(|taken| taken.projection.as_str()).collect::<Vec<_>>())
            .bind(taken.iter().map(|taken| taken.key.to_string()).collect::<Vec<_>>())
            .bind(taken.iter().map(|taken| bigint(taken.version)).collect::<Vec<_>>());
        let gone = statement.fetch_all(session.connection()).await?;
        session.commit().await?;
        Ok(gone.into_iter().filter(|was_quarantined| *was_quarantined).count())
    }

    async fn page(&self, query: &QuarantineQuery) -> Result<Vec<Quarantined>, Failure> {
        let mut session = Session::begin(&self.pool, Role::Projector, self.write_limit).await?;
        let (projection, record) = query.after.as_ref().map(|(projection, record)| (projection, record)).unzip();
        let statement = sqlx::query(LIST)
            .bind(query.tenant.as_ref().map(ledgerline_kernel::TenantCode::as_str))
            .bind(query.entity.as_ref().map(ToString::to_string))
            .bind(projection)
            .bind(record)
            .bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
        let rows = statement.fetch_all(session.connection()).await?;
        session.commit().await?;
        rows.iter().map(quarantined).collect()
    }
}

fn quarantined(row: &PgRow) -> Result<Quarantined, Failure> {
    let key: Option<String> = row.try_get("entity_id")?;
    let version: Option<i64> = row.try_get("version")?;
    let version = version.and_then(|number| Version::new(u64::try_from(number).ok()?).ok());
    Ok(Quarantined {
        projection: row.try_get("projection")?,
        record: row.try_get("record")?,
        version: key.and_then(|key| key.parse().ok()).zip(version),
        error: row.try_get("error")?,
        attempts: u32::try_from(row.try_get::<i32, _>("attempts")?).unwrap_or_default(),
        since: row.try_get::<DateTime<Utc>, _>("first_seen_at")?.into(),
    })
}

/// Versions have at most ten digits.
pub(crate) fn bigint(version: Version) -> i64 {
    i64::try_from(version.number()).unwrap_or(i64::MAX)
}
