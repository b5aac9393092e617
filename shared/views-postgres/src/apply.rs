use async_trait::async_trait;
use ledgerline_kernel::ports::{Applied, StateSink, StoreError};
use ledgerline_kernel::{ColumnKind, ColumnSpec, Decimal, DynDomain, EntityKey, TableSpec, VersionItem};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::PostgresViews;
use crate::failure::Failure;
use crate::session::{Role, Session, within};
use crate::table_sql::TableSql;

#[async_trait]
impl StateSink for PostgresViews {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn apply(&self, domain: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError> {
        if items.is_empty() {
            return Ok(Applied::default());
        }
        let sql = self.table_sql(domain.table())?;
        let batch = Batch::new(domain.table(), items)?;
        within(self.write_limit, async {
            match self.write(domain, &sql, &batch).await {
                Err(failure) if failure.is_a_dead_connection() || failure.is_a_table_that_is_gone() => {
                    self.write(domain, &sql, &batch).await
                }
                outcome => outcome,
            }
        })
        .await
    }
}

impl PostgresViews {
    /// While the table is being rebuilt, the new one gets the same rows in the same transaction, after
    /// the old one: a switch locks them in that order too.
    async fn write(&self, domain: &dyn DynDomain, sql: &TableSql, batch: &Batch) -> Result<Applied, Failure> {
        let mut session = self.begin(Role::Projector, self.write_limit).await?;
        let written = upsert(&mut session, sql, batch).await?;
        let mut forks = Vec::new();
        if written < batch.keys.len() {
            let [ids, versions, hashes] = batch.identity();
            let statement = sqlx::query_scalar(AssertSqlSafe(sql.forks.clone()));
            let forked: Vec<String> =
                statement.bind(ids).bind(versions).bind(hashes).fetch_all(session.connection()).await?;
            forks.extend(batch.keys.iter().filter(|(id, _)| forked.contains(id)).map(|(_, key)| key.clone()));
        }
        if let Some(schema) = session.rebuild_of(domain.resource()) {
            session.enter(&schema).await?;
            upsert(&mut session, sql, batch).await?;
        }
        session.commit().await?;
        let unchanged = batch.keys.len().saturating_sub(written + forks.len());
        Ok(Applied { written, unchanged, forks })
    }
}

/// Gives the number of rows written.
pub(crate) async fn upsert(session: &mut Session, sql: &TableSql, batch: &Batch) -> Result<usize, Failure> {
    // Safe: see `identifier`; the same goes for the other statement.
    let mut upsert = sqlx::query(AssertSqlSafe(sql.upsert.clone()));
    for column in &batch.columns {
        upsert = upsert.bind(column.as_slice());
    }
    let affected = upsert.execute(session.connection()).await?.rows_affected();
    Ok(usize::try_from(affected).unwrap_or(batch.keys.len()))
}

/// Rows, column by column: how Postgres takes any number of them in one statement. Sorted by id, so
/// that two batches cannot lock rows in opposite orders.
pub(crate) struct Batch {
    keys: Vec<(String, EntityKey)>,
    /// In the order of the table's statement.
    columns: Vec<Vec<Option<String>>>,
}

impl Batch {
    pub(crate) fn new(table: &TableSpec, items: &[&VersionItem]) -> Result<Self, Failure> {
        let mut items: Vec<(String, &VersionItem)> = items.iter().map(|item| (item.key.to_string(), *item)).collect();
        items.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut columns: Vec<Vec<Option<String>>> = Vec::new();
        for (id, item) in &items {
            let attributes = item.state.get("attributes");
            let own = table.columns.iter().map(|column| attribute(id, attributes, column));
            let row = envelope(id, item).into_iter().map(|value| Ok(Some(value))).chain(own);
            for (index, value) in row.enumerate() {
                let value = value?;
                match columns.get_mut(index) {
                    Some(column) => column.push(value),
                    None => columns.push(vec![value]),
                }
            }
        }
        Ok(Self { keys: items.into_iter().map(|(id, item)| (id, item.key.clone())).collect(), columns })
    }

    /// The columns that tell a fork: id, version, hash.
    fn identity(&self) -> [&[Option<String>]; 3] {
        [0, 8, 10].map(|index| self.columns.get(index).map_or(&[][..], Vec::as_slice))
    }
}

/// The envelope columns, in the order of the table's statement.
fn envelope(id: &str, item: &VersionItem) -> [String; 17] {
    let pk = item.key.partition.to_string();
    [
        id.to_owned(),
        item.key.partition.tenant.to_string(),
        pk.clone(),
        item.key.sk.encoded(),
        pk,
        item.key.at(item.version).to_string(),
        item.code.clone(),
        item.name.clone(),
        item.version.to_string(),
        item.is_deleted.to_string(),
        item.hash.to_string(),
        item.created.at.to_string(),
        item.created.by.clone(),
        item.created.ip.clone(),
        item.updated.at.to_string(),
        item.updated.by.clone(),
        item.updated.ip.clone(),
    ]
}

/// An attribute as text for its column; none where the entity has none.
fn attribute(id: &str, attributes: Option<&Value>, column: &ColumnSpec) -> Result<Option<String>, Failure> {
    let Some(value) = attributes.and_then(|attributes| attributes.get(column.name)) else { return Ok(None) };
    match (column.kind, value) {
        (_, Value::Null) => Ok(None),
        (ColumnKind::Json, value) => Ok(Some(value.to_string())),
        (ColumnKind::Text, Value::String(text)) => Ok(Some(text.clone())),
        // Parsed, because Postgres would also take NaN and Infinity.
        (ColumnKind::Numeric, Value::String(text)) if text.parse::<Decimal>().is_ok() => Ok(Some(text.clone())),
        (ColumnKind::Numeric, Value::Number(number)) => Ok(Some(number.to_string())),
        _ => Err(Failure::Nonsense(format!("the attribute {} of {id} does not fit its column", column.name))),
    }
}
