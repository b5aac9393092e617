//! A list as a careful team writes it, with row-level security and a statement for each kind.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

/// What is shown of a product, in the order of [`SHOWN`].
pub(super) type Row = (
    String,
    i64,
    String,
    String,
    String,
    bool,
    DateTime<Utc>,
    String,
    String,
    DateTime<Utc>,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Value>,
);

/// Put before each statement. Shown as text a price keeps its spelling; it is not `price` then, which would
/// be what `ORDER BY price` means.
pub(super) const SHOWN: &str = "SELECT id, version, payload_hash, code, name, is_deleted, created_at, created_by, \
    created_ip, updated_at, updated_by, updated_ip, category, price::text AS shown_price, description, specification \
    FROM product_of_tenant";

/// One list.
pub(super) struct Handwritten {
    /// What comes after [`SHOWN`], up to the limit.
    pub(super) conditions: &'static str,
    pub(super) values: Vec<String>,
    pub(super) limit: usize,
}

/// A read-only transaction in the role that sees one tenant's rows, begun in one round trip.
pub(super) async fn list_by_hand(pool: &PgPool, tenant: &str, list: &Handwritten) -> anyhow::Result<Vec<Row>> {
    let mut connection = pool.acquire().await?;
    // Safe: the tenant was read from a token and checked, and the rest is ours.
    let begin = format!(
        "BEGIN READ ONLY; SELECT set_config('role', 'ledgerline_query', true), \
         set_config('app.tenant', '{tenant}', true), set_config('statement_timeout', '8000', true)"
    );
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *connection).await?;
    let statement = format!("{SHOWN} {} LIMIT {}", list.conditions, list.limit + 1);
    let mut query = sqlx::query_as::<_, Row>(AssertSqlSafe(statement).into_sql_str());
    for value in &list.values {
        query = query.bind(value);
    }
    let rows = query.fetch_all(&mut *connection).await?;
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
    Ok(rows)
}
