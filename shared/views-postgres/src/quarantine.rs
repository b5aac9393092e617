use async_trait::async_trait;
use ledgerline_kernel::ports::{Poison, Quarantine, STRIKES, StoreError, Strike};

use crate::PostgresViews;
use crate::failure::Failure;
use crate::session::{Role, Session, within};

/// Answers with whether the record is quarantined now.
const STRIKE: &str = "
    INSERT INTO quarantine AS held
        (projection, sequence_number, entity_id, tenant_code, version, error, image, attempts)
    VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, 1)
    ON CONFLICT (projection, sequence_number) DO UPDATE SET
        error = excluded.error,
        image = excluded.image,
        attempts = held.attempts + 1,
        last_seen_at = now(),
        quarantined_at = coalesce(held.quarantined_at, CASE WHEN held.attempts + 1 >= $8 THEN now() END)
    RETURNING quarantined_at IS NOT NULL";

#[async_trait]
impl Quarantine for PostgresViews {
    async fn strike(&self, projection: &str, poison: &Poison) -> Result<Strike, StoreError> {
        let image = poison.image.to_string();
        let noted = within(self.write_limit, async {
            match self.note(projection, poison, Some(&image)).await {
                Err(failure) if failure.is_a_dead_connection() => self.note(projection, poison, Some(&image)).await,
                outcome => outcome,
            }
        });
        match noted.await {
            // What makes it poison may be what keeps it out of here, such as a NUL. The ledger has it.
            Err(StoreError::Rejected { .. }) => within(self.write_limit, self.note(projection, poison, None)).await,
            outcome => outcome,
        }
    }
}

impl PostgresViews {
    async fn note(&self, projection: &str, poison: &Poison, image: Option<&str>) -> Result<Strike, Failure> {
        let mut session = Session::begin(&self.pool, Role::Projector, self.write_limit).await?;
        let (key, version) = poison.version.as_ref().map(|(key, version)| (key, version.number())).unzip();
        let statement = sqlx::query_scalar::<_, bool>(STRIKE)
            .bind(projection)
            .bind(&poison.record)
            .bind(key.map(ToString::to_string))
            .bind(key.map(|key| key.partition.tenant.as_str()))
            .bind(version.and_then(|version| i64::try_from(version).ok()))
            .bind(poison.error.replace('\0', ""))
            .bind(image)
            .bind(i32::try_from(STRIKES).unwrap_or(i32::MAX));
        let is_quarantined = statement.fetch_one(session.connection()).await?;
        session.commit().await?;
        Ok(if is_quarantined { Strike::Quarantined } else { Strike::Again })
    }
}
