//! What was asked to be projected again, and the reconciler's rounds.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ledgerline_kernel::TenantCode;
use ledgerline_kernel::ports::{Resync, ResyncState, Resyncs, Round, Rounds, StoreError};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::PostgresViews;
use crate::failure::Failure;
use crate::session::{Role, Session, within};

/// Finished ones are kept for so long.
const SAVE: &str = "
    WITH old AS (
        DELETE FROM resync WHERE state IN ('done', 'failed') AND changed_at < now() - interval '30 days' AND id <> $1
    )
    INSERT INTO resync (id, tenant_code, resource, sk, asked_by, asked_at, state, progress, report)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, progress = excluded.progress, report = excluded.report, changed_at = now()";

/// Who asks for the same entities waits until the one before has been answered.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(hashtext('ledgerline.resync'), hashtext($1 || '#' || $2))";

const SAME: &str =
    "tenant_code = $1 AND resource = $2 AND sk IS NOT DISTINCT FROM $3 AND state IN ('asked', 'running')";

const COLUMNS: &str = "id, tenant_code, resource, sk, asked_by, asked_at, state, progress, report";

/// As many rounds are kept as a week has at one every ten minutes or so.
const SAVE_ROUND: &str = "
    WITH old AS (
        DELETE FROM reconcile_round WHERE started_at < now() - interval '7 days' AND id <> $1
    )
    INSERT INTO reconcile_round (id, started_at, finished_at, progress, report) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET
        finished_at = excluded.finished_at, progress = excluded.progress, report = excluded.report";

#[async_trait]
impl Resyncs for PostgresViews {
    async fn ask(&self, resync: &Resync) -> Result<Option<Resync>, StoreError> {
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            let alone = sqlx::query(ONE_AT_A_TIME).bind(resync.tenant.as_str()).bind(&resync.resource);
            alone.execute(session.connection()).await?;
            let same =
                sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM resync WHERE {SAME} ORDER BY asked_at, id LIMIT 1"));
            let same = sqlx::query(same).bind(resync.tenant.as_str()).bind(&resync.resource).bind(sk_of(resync));
            let same = same.fetch_optional(session.connection()).await?;
            if same.is_none() {
                write(&mut session, resync).await?;
            }
            session.commit().await?;
            same.as_ref().map(resync_of).transpose()
        })
        .await
    }

    async fn save(&self, resync: &Resync) -> Result<(), StoreError> {
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            write(&mut session, resync).await?;
            Ok(session.commit().await?)
        })
        .await
    }

    async fn get(&self, tenant: &TenantCode, id: &str) -> Result<Option<Resync>, StoreError> {
        // A text that Postgres cannot hold names nothing in it.
        if id.contains('\0') {
            return Ok(None);
        }
        within(self.read_limit, async {
            let mut session = self.begin(Role::Query(tenant), self.read_limit).await?;
            let query = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM resync WHERE id = $1")));
            let row = query.bind(id).fetch_optional(session.connection()).await?;
            session.commit().await?;
            row.as_ref().map(resync_of).transpose()
        })
        .await
    }

    async fn next(&self) -> Result<Option<Resync>, StoreError> {
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            let query = sqlx::query(sqlx::AssertSqlSafe(format!(
                "SELECT {COLUMNS} FROM resync WHERE state IN ('asked', 'running') ORDER BY asked_at, id LIMIT 1"
            )));
            let row = query.fetch_optional(session.connection()).await?;
            session.commit().await?;
            row.as_ref().map(resync_of).transpose()
        })
        .await
    }
}

#[async_trait]
impl Rounds for PostgresViews {
    async fn save_round(&self, round: &Round) -> Result<(), StoreError> {
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            sqlx::query(SAVE_ROUND)
                .bind(&round.id)
                .bind(round.started_at.as_datetime())
                .bind(round.finished_at.map(|at| at.as_datetime()))
                .bind(&round.progress)
                .bind(&round.report)
                .execute(session.connection())
                .await?;
            Ok(session.commit().await?)
        })
        .await
    }

    async fn newest_round(&self) -> Result<Option<Round>, StoreError> {
        within(self.write_limit, async {
            let mut session = self.begin(Role::Projector, self.write_limit).await?;
            let query = sqlx::query(
                "SELECT id, started_at, finished_at, progress, report FROM reconcile_round
                 ORDER BY started_at DESC, id DESC LIMIT 1",
            );
            let row = query.fetch_optional(session.connection()).await?;
            session.commit().await?;
            row.as_ref().map(round_of).transpose()
        })
        .await
    }
}

async fn write(session: &mut Session, resync: &Resync) -> Result<(), Failure> {
    sqlx::query(SAVE)
        .bind(&resync.id)
        .bind(resync.tenant.as_str())
        .bind(&resync.resource)
        .bind(sk_of(resync))
        .bind(&resync.asked_by)
        .bind(resync.asked_at.as_datetime())
        .bind(state_name(resync.state))
        .bind(&resync.progress)
        .bind(&resync.report)
        .execute(session.connection())
        .await?;
    Ok(())
}

fn sk_of(resync: &Resync) -> Option<String> {
    resync.sk.as_ref().map(ledgerline_kernel::SortKey::encoded)
}

fn resync_of(row: &PgRow) -> Result<Resync, Failure> {
    let id: String = row.try_get("id")?;
    let nonsense = |what: &str| Failure::Nonsense(format!("the resync {id} has {what}"));
    let sk: Option<String> = row.try_get("sk")?;
    let sk = sk.map(|sk| ledgerline_kernel::SortKey::decode(&sk)).transpose();
    let state: String = row.try_get("state")?;
    Ok(Resync {
        tenant: row.try_get::<String, _>("tenant_code")?.parse().map_err(|_| nonsense("no tenant"))?,
        resource: row.try_get("resource")?,
        sk: sk.map_err(|_| nonsense("an impossible sort key"))?,
        asked_by: row.try_get("asked_by")?,
        asked_at: row.try_get::<DateTime<Utc>, _>("asked_at")?.into(),
        state: state_of(&state).ok_or_else(|| nonsense("an unknown state"))?,
        progress: json(row, "progress")?,
        report: json(row, "report")?,
        id,
    })
}

fn round_of(row: &PgRow) -> Result<Round, Failure> {
    Ok(Round {
        id: row.try_get("id")?,
        started_at: row.try_get::<DateTime<Utc>, _>("started_at")?.into(),
        finished_at: row.try_get::<Option<DateTime<Utc>>, _>("finished_at")?.map(Into::into),
        progress: json(row, "progress")?,
        report: json(row, "report")?,
    })
}

fn json(row: &PgRow, column: &str) -> Result<Value, sqlx::Error> {
    Ok(row.try_get::<Option<Value>, _>(column)?.unwrap_or(Value::Null))
}

fn state_name(state: ResyncState) -> &'static str {
    match state {
        ResyncState::Asked => "asked",
        ResyncState::Running => "running",
        ResyncState::Done => "done",
        ResyncState::Failed => "failed",
    }
}

fn state_of(name: &str) -> Option<ResyncState> {
    let states = [ResyncState::Asked, ResyncState::Running, ResyncState::Done, ResyncState::Failed];
    states.into_iter().find(|state| state_name(*state) == name)
}
