use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ledgerline_kernel::ports::{EntityList, ListPage, ListQuery, Position, StoreError};
use ledgerline_kernel::{ColumnKind, DynDomain, Entity, Stamp, TableSpec, Version};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use crate::PostgresViews;
use crate::failure::Failure;
use crate::list_sql::ListSql;
use crate::session::{Role, Session, within};

#[async_trait]
impl EntityList for PostgresViews {
    async fn list(&self, domain: &dyn DynDomain, query: &ListQuery) -> Result<ListPage, StoreError> {
        let sql = ListSql::new(domain, query)?;
        within(self.read_limit, async {
            match self.read(domain.table(), query, &sql).await {
                Err(failure) if failure.is_a_dead_connection() => self.read(domain.table(), query, &sql).await,
                outcome => outcome,
            }
        })
        .await
    }
}

impl PostgresViews {
    async fn read(&self, table: &TableSpec, query: &ListQuery, sql: &ListSql) -> Result<ListPage, Failure> {
        let mut session = Session::begin(&self.pool, Role::Query(&query.tenant), self.read_limit).await?;
        // Safe: see `identifier`; the same goes for the statement below.
        let mut page = sqlx::query(AssertSqlSafe(sql.page.text.as_str()));
        for value in &sql.page.values {
            page = page.bind(value);
        }
        let rows = page.fetch_all(session.connection()).await?;
        let mut total = None;
        if let Some(statement) = &sql.total {
            let mut count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement.text.as_str()));
            for value in &statement.values {
                count = count.bind(value);
            }
            total = u64::try_from(count.fetch_one(session.connection()).await?).ok();
        }
        session.commit().await?;
        let shown = rows.iter().take(query.limit);
        let entities = shown.map(|row| entity_of(table, row)).collect::<Result<Vec<_>, _>>()?;
        let last = if rows.len() > query.limit { entities.last() } else { None };
        let next = last.map(|entity| position_of(entity, query));
        Ok(ListPage { entities, next, total })
    }
}

/// Reads a row whose columns are those that the list's statement selects.
fn entity_of(table: &TableSpec, row: &PgRow) -> Result<Entity, Failure> {
    let id: String = row.try_get("id")?;
    let nonsense = |what: &str| Failure::Nonsense(format!("the row of {id} has {what}"));
    let mut attributes = Map::new();
    for column in table.columns {
        let value = match column.kind {
            ColumnKind::Text | ColumnKind::Numeric => row.try_get::<Option<String>, _>(column.name)?.map(Value::String),
            ColumnKind::Json => row.try_get::<Option<Value>, _>(column.name)?,
        };
        if let Some(value) = value {
            attributes.insert(column.name.to_owned(), value);
        }
    }
    let version = u64::try_from(row.try_get::<i64, _>("version")?).ok().and_then(|number| Version::new(number).ok());
    Ok(Entity {
        key: id.parse().map_err(|_| nonsense("an id that is no key"))?,
        version: version.ok_or_else(|| nonsense("an impossible version"))?,
        hash: row.try_get::<String, _>("payload_hash")?.parse().map_err(|_| nonsense("a hash that is none"))?,
        code: row.try_get("code")?,
        name: row.try_get("name")?,
        is_deleted: row.try_get("is_deleted")?,
        attributes: Value::Object(attributes),
        created: stamp_of(row, ["created_at", "created_by", "created_ip"])?,
        updated: stamp_of(row, ["updated_at", "updated_by", "updated_ip"])?,
    })
}

fn stamp_of(row: &PgRow, [at, by, ip]: [&str; 3]) -> Result<Stamp, sqlx::Error> {
    Ok(Stamp { at: row.try_get::<DateTime<Utc>, _>(at)?.into(), by: row.try_get(by)?, ip: row.try_get(ip)? })
}

/// Where an entity stands in a list: its sort fields, as text that casts back to the same value.
fn position_of(entity: &Entity, query: &ListQuery) -> Position {
    let value = |field: &str| match field {
        "code" => Some(entity.code.clone()),
        "name" => Some(entity.name.clone()),
        "createdAt" => Some(entity.created.at.to_string()),
        "updatedAt" => Some(entity.updated.at.to_string()),
        own => entity.attributes.get(own).and_then(Value::as_str).map(str::to_owned),
    };
    Position { values: query.sort.iter().map(|sort| value(&sort.field)).collect(), id: entity.key.to_string() }
}
