use std::time::Duration;

use ledgerline_kernel::TenantCode;
use ledgerline_kernel::ports::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Row as _};

use crate::PostgresViews;
use crate::failure::Failure;

/// In whose name a transaction runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role<'a> {
    /// Writes all tenants' rows.
    Projector,
    /// Reads all tenants' rows, all of them as they are at one moment.
    Snapshot,
    /// Reads the rows of one tenant.
    Query(&'a TenantCode),
    /// Whoever the connection belongs to: for the tables themselves, as row-level security hides
    /// their rows.
    Owner,
}

/// Whether a statement is planned once for all values, or anew for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plans {
    Kept,
    Fresh,
}

/// A rebuild under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rebuilding {
    /// Which domain's tables.
    pub(crate) resource: String,
    /// Where they are being built.
    pub(crate) schema: String,
}

/// A transaction in a [`Role`]. If it is not committed, its connection is closed rather than handed
/// back: neither a failed `BEGIN` nor a future that was dropped half-way may leave a connection in
/// the pool that is in the middle of something, or in somebody's role.
pub(crate) struct Session {
    connection: PoolConnection<Postgres>,
    is_open: bool,
    rebuilds: Vec<Rebuilding>,
}

impl PostgresViews {
    /// Begins a transaction on these views' tables: the live ones, or those under construction.
    pub(crate) async fn begin(&self, role: Role<'_>, limit: Duration) -> Result<Session, Failure> {
        let enter = self.schema.as_deref().map(|schema| format!(", {}", enter(schema)));
        let session = Session::begin_and(&self.pool, role, limit, enter.as_deref().unwrap_or_default()).await?;
        if self.schema.is_none() && matches!(role, Role::Projector) {
            self.learn_of(&session.rebuilds);
        }
        Ok(session)
    }
}

impl Session {
    /// Begins one whose statements, and whose silence between them, the server itself ends after
    /// `limit`: it does not go on with what nobody waits for any more, and a function that is frozen
    /// in the middle holds no locks until it is thawed.
    pub(crate) async fn begin(pool: &PgPool, role: Role<'_>, limit: Duration) -> Result<Self, Failure> {
        Self::begin_and(pool, role, limit, "").await
    }

    /// Begins one that reads lists of a tenant, planned in this way.
    pub(crate) async fn begin_list(
        pool: &PgPool,
        tenant: &TenantCode,
        limit: Duration,
        plans: Plans,
    ) -> Result<Self, Failure> {
        let set = match plans {
            Plans::Kept => ", set_config('plan_cache_mode', 'force_generic_plan', true)",
            Plans::Fresh => ", set_config('plan_cache_mode', 'force_custom_plan', true)",
        };
        Self::begin_and(pool, Role::Query(tenant), limit, set).await
    }

    /// `settings` are further ones, each behind a comma: every statement, also in the same round trip, takes its time.
    async fn begin_and(pool: &PgPool, role: Role<'_>, limit: Duration, settings: &str) -> Result<Self, Failure> {
        let connection = pool.acquire().await.map_err(Failure::Connection)?;
        let mut session = Self { connection, is_open: true, rebuilds: Vec::new() };
        let (begin, name, tenant) = match role {
            Role::Projector => ("BEGIN", "ledgerline_projector", ""),
            Role::Snapshot => ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "ledgerline_projector", ""),
            Role::Query(tenant) => ("BEGIN READ ONLY", "ledgerline_query", tenant.as_str()),
            Role::Owner => ("BEGIN", "none", ""),
        };
        // Safe: a tenant code is made of a-z, 0-9 and -, and so are the names of schemas, with _ for -.
        // Written out, not bound, because that makes it one round trip with the BEGIN.
        let mut begin = format!(
            "{begin}; SELECT set_config('role', '{name}', true), set_config('app.tenant', '{tenant}', true), \
             set_config('statement_timeout', '{limit}', true), \
             set_config('idle_in_transaction_session_timeout', '{limit}', true)",
            limit = limit.as_millis()
        );
        begin.push_str(settings);
        if !matches!(role, Role::Projector) {
            sqlx::raw_sql(AssertSqlSafe(begin)).execute(session.connection()).await.map_err(Failure::Connection)?;
            return Ok(session);
        }
        begin.push_str("; SELECT resource, schema_name FROM rebuild WHERE state = 'running'");
        let rows = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_all(session.connection()).await;
        session.rebuilds = rows.map_err(Failure::Connection)?.iter().filter_map(rebuilding).collect();
        Ok(session)
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// The schema in which the tables of `resource` are being built, if they are.
    pub(crate) fn rebuild_of(&self, resource: &str) -> Option<String> {
        let rebuild = self.rebuilds.iter().find(|rebuild| rebuild.resource == resource);
        rebuild.map(|rebuild| rebuild.schema.clone())
    }

    /// Goes on with the tables of another schema.
    pub(crate) async fn enter(&mut self, schema: &str) -> Result<(), sqlx::Error> {
        let statement = AssertSqlSafe(format!("SELECT {}", enter(schema)));
        sqlx::raw_sql(statement).execute(self.connection()).await?;
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    pub(crate) async fn roll_back(self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(how).execute(self.connection()).await?;
        self.is_open = false;
        Ok(())
    }
}

fn enter(schema: &str) -> String {
    format!("set_config('search_path', '{schema}', true)")
}

/// None for what the other statements answered.
fn rebuilding(row: &PgRow) -> Option<Rebuilding> {
    Some(Rebuilding { resource: row.try_get("resource").ok()?, schema: row.try_get("schema_name").ok()? })
}

/// Waits for a call no longer than `limit`: a server that hangs ends nothing by itself, and neither
/// does a network that swallows its answers. What the call had open is closed.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, call).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Failure::Late(limit).into()),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_open {
            self.connection.close_on_drop();
        }
    }
}
