use std::time::Duration;

use ledgerline_kernel::TenantCode;
use ledgerline_kernel::ports::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres};

use crate::failure::Failure;

/// In whose name a transaction runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role<'a> {
    /// Writes all tenants' rows.
    Projector,
    /// Reads the rows of one tenant.
    Query(&'a TenantCode),
}

/// A transaction in a [`Role`]. If it is not committed, its connection is closed rather than handed
/// back: neither a failed `BEGIN` nor a future that was dropped half-way may leave a connection in
/// the pool that is in the middle of something, or in somebody's role.
pub(crate) struct Session {
    connection: PoolConnection<Postgres>,
    is_open: bool,
}

impl Session {
    /// Begins one whose statements, and whose silence between them, the server itself ends after
    /// `limit`: it does not go on with what nobody waits for any more, and a function that is frozen
    /// in the middle holds no locks until it is thawed.
    pub(crate) async fn begin(pool: &PgPool, role: Role<'_>, limit: Duration) -> Result<Self, Failure> {
        let connection = pool.acquire().await.map_err(Failure::Connection)?;
        let mut session = Self { connection, is_open: true };
        let (begin, role, tenant) = match role {
            Role::Projector => ("BEGIN", "ledgerline_projector", ""),
            Role::Query(tenant) => ("BEGIN READ ONLY", "ledgerline_query", tenant.as_str()),
        };
        // Safe: a tenant code is made of a-z, 0-9 and -. Written out, not bound, because that makes
        // it one round trip with the BEGIN.
        let begin = AssertSqlSafe(format!(
            "{begin}; SELECT set_config('role', '{role}', true), set_config('app.tenant', '{tenant}', true), \
             set_config('statement_timeout', '{limit}', true), \
             set_config('idle_in_transaction_session_timeout', '{limit}', true)",
            limit = limit.as_millis()
        ));
        sqlx::raw_sql(begin).execute(session.connection()).await.map_err(Failure::Connection)?;
        Ok(session)
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("COMMIT").execute(self.connection()).await?;
        self.is_open = false;
        Ok(())
    }
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
