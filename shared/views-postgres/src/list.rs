use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ledgerline_kernel::ports::{EntityList, ListPage, ListQuery, Position, StoreError};
use ledgerline_kernel::{ColumnKind, DynDomain, Entity, PartitionKey, SortKey, Stamp, TableSpec, TenantCode, Version};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Decode, Postgres, Row, Type};

use crate::PostgresViews;
use crate::failure::Failure;
use crate::list_sql::{ListSql, Statement, view};
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

    async fn versions(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        sks: &[SortKey],
    ) -> Result<Vec<(SortKey, Version)>, StoreError> {
        within(self.read_limit, async {
            match self.read_versions(domain, tenant, sks).await {
                Err(failure) if failure.is_a_dead_connection() => self.read_versions(domain, tenant, sks).await,
                outcome => outcome,
            }
        })
        .await
    }
}

impl PostgresViews {
    async fn read(&self, table: &TableSpec, query: &ListQuery, sql: &ListSql<'_>) -> Result<ListPage, Failure> {
        let mut session = Session::begin_list(&self.pool, &query.tenant, self.read_limit, sql.plans()).await?;
        let rows = page(&mut session, sql, query.limit).await?;
        let mut total = None;
        if let Some(statement) = &sql.total() {
            // Safe: see `fetch`.
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

    async fn read_versions(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        sks: &[SortKey],
    ) -> Result<Vec<(SortKey, Version)>, Failure> {
        let partition = PartitionKey { entity_type: domain.entity_type().clone(), tenant: tenant.clone() };
        let mut session = Session::begin(&self.pool, Role::Query(tenant), self.read_limit).await?;
        let text = format!("SELECT sk, version FROM {} WHERE pk = $1 AND sk = ANY($2)", view(domain.table())?);
        // Safe: see `identifier`.
        let rows: Vec<(String, i64)> = sqlx::query_as(AssertSqlSafe(text))
            .bind(partition.to_string())
            .bind(sks.iter().map(SortKey::encoded).collect::<Vec<_>>())
            .fetch_all(session.connection())
            .await?;
        session.commit().await?;
        rows.into_iter()
            .map(|(sk, version)| Some((SortKey::decode(&sk).ok()?, version_of(version)?)))
            .collect::<Option<_>>()
            .ok_or_else(|| Failure::Nonsense(format!("{partition} has a key or a version that is none")))
    }
}

/// The rows of a page, and one more where there is a next one.
async fn page(session: &mut Session, sql: &ListSql<'_>, limit: usize) -> Result<Vec<PgRow>, sqlx::Error> {
    if let Some(glance) = &sql.glance() {
        let mut rows = fetch(session, glance).await?;
        let is_page = rows.first().is_some_and(|row| row.try_get("is_page").unwrap_or_default());
        rows.retain(|row| row.try_get::<&str, _>("id").is_ok());
        if is_page {
            return Ok(rows);
        }
    }
    let mut rows = fetch(session, &sql.page()).await?;
    if rows.len() <= limit
        && let Some(whole) = &sql.whole()
    {
        rows = fetch(session, whole).await?;
    }
    if rows.len() <= limit
        && let Some(gathered) = &sql.gathered()
    {
        let gathered = fetch(session, gathered).await?;
        return Ok(if gathered.len() > rows.len() { gathered } else { rows });
    }
    Ok(rows)
}

async fn fetch(session: &mut Session, statement: &Statement) -> Result<Vec<PgRow>, sqlx::Error> {
    // Safe: see `identifier`.
    let mut query = sqlx::query(AssertSqlSafe(statement.text.as_str()));
    for value in &statement.values {
        query = query.bind(value);
    }
    query.fetch_all(session.connection()).await
}

fn version_of(number: i64) -> Option<Version> {
    Version::new(u64::try_from(number).ok()?).ok()
}

/// The values of a row from left to right. By their names, finding them takes longer than reading them.
struct Cells<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Cells<'r> {
    fn next<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T, sqlx::Error> {
        let place = self.next;
        self.next += 1;
        self.row.try_get(place)
    }

    fn stamp(&mut self) -> Result<Stamp, sqlx::Error> {
        Ok(Stamp { at: self.next::<DateTime<Utc>>()?.into(), by: self.next()?, ip: self.next()? })
    }
}

/// Reads a row whose columns are those that the list's statement selects, in its order: see `shown`.
fn entity_of(table: &TableSpec, row: &PgRow) -> Result<Entity, Failure> {
    let mut cells = Cells { row, next: 0 };
    let id: &str = cells.next()?;
    let nonsense = |what: &str| Failure::Nonsense(format!("the row of {id} has {what}"));
    let mut entity = Entity {
        key: id.parse().map_err(|_| nonsense("an id that is no key"))?,
        version: version_of(cells.next()?).ok_or_else(|| nonsense("an impossible version"))?,
        hash: cells.next::<&str>()?.parse().map_err(|_| nonsense("a hash that is none"))?,
        code: cells.next()?,
        name: cells.next()?,
        is_deleted: cells.next()?,
        created: cells.stamp()?,
        updated: cells.stamp()?,
        attributes: Value::Null,
    };
    let mut attributes = Map::new();
    for column in table.columns {
        let value = match column.kind {
            ColumnKind::Text | ColumnKind::Numeric => cells.next::<Option<String>>()?.map(Value::String),
            ColumnKind::Json => cells.next::<Option<Value>>()?,
        };
        if let Some(value) = value {
            attributes.insert(column.name.to_owned(), value);
        }
    }
    entity.attributes = Value::Object(attributes);
    Ok(entity)
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
