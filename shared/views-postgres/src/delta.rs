use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use ledgerline_kernel::ports::{DeltaMove, DeltaPosition, DeltaSink, StoreError, SummaryRead, SummaryRow};
use ledgerline_kernel::{DeltaTable, DynDelta, EntityKey, SummarySpec, TenantCode, Version};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use crate::PostgresViews;
use crate::delta_sql::{self, DeltaSql};
use crate::failure::Failure;
use crate::quarantine::bigint;
use crate::session::{Role, Session, within};

const POSITIONS: &str =
    "SELECT entity_id, version, hash, memory FROM projection_position WHERE projection = $1 AND entity_id = ANY($2)";

/// Of entities that were never taken in. Given in the order of their ids, in which they are locked.
const BEGIN: &str = "
    INSERT INTO projection_position (projection, entity_id, tenant_code, version, hash, memory)
    SELECT $1, id, tenant, version, hash, memory::jsonb
    FROM UNNEST($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[]) AS given (id, tenant, version, hash, memory)
    ON CONFLICT (projection, entity_id) DO NOTHING
    RETURNING entity_id";

/// Of entities that stand somewhere. Locked in the order of their ids before any is changed; one that
/// others have moved in the meantime is not among them any more.
const MOVE: &str = "
    WITH given AS (
        SELECT * FROM UNNEST($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[])
            AS given (id, moves_from, version, hash, memory, from_hash, from_memory)
    ), standing AS (
        SELECT held.entity_id FROM projection_position AS held JOIN given ON held.entity_id = given.id
        WHERE held.projection = $1 AND held.version = given.moves_from AND held.hash = given.from_hash
            AND held.memory = given.from_memory::jsonb
        ORDER BY held.entity_id FOR UPDATE OF held
    )
    UPDATE projection_position AS held
    SET version = given.version, hash = given.hash, memory = given.memory::jsonb
    FROM given JOIN standing ON standing.entity_id = given.id
    WHERE held.projection = $1 AND held.entity_id = given.id AND held.version = given.moves_from
    RETURNING held.entity_id";

#[async_trait]
impl DeltaSink for PostgresViews {
    async fn positions(
        &self,
        projection: &dyn DynDelta,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, DeltaPosition>, StoreError> {
        self.again_if_dead(|| self.read_positions(projection, keys)).await
    }

    /// Where the answer to a COMMIT is lost, it is tried again like any other call: if it had gone
    /// through, the moves do not begin where the entities stand any more.
    async fn advance(&self, projection: &dyn DynDelta, moves: &[DeltaMove]) -> Result<Vec<EntityKey>, StoreError> {
        let tables = projection.tables().iter().map(DeltaSql::new).collect::<Result<Vec<_>, _>>()?;
        let mut moves: Vec<(String, &DeltaMove)> =
            moves.iter().map(|moving| (moving.key.to_string(), moving)).collect();
        moves.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.again_if_dead(|| self.write_moves(projection, &tables, &moves)).await
    }

    /// As the last transaction that wrote has seen it: those of the states come before those of the
    /// deltas.
    fn under_construction(&self, resource: &str) -> Option<Arc<dyn DeltaSink>> {
        let rebuilds = self.known_rebuilds();
        let rebuild = rebuilds.iter().find(|rebuild| rebuild.resource == resource)?;
        Some(Arc::new(self.in_schema(&rebuild.schema)))
    }
}

impl PostgresViews {
    async fn read_positions(
        &self,
        projection: &dyn DynDelta,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, DeltaPosition>, Failure> {
        let mut session = self.begin(Role::Projector, self.write_limit).await?;
        let ids: BTreeMap<String, &EntityKey> = keys.iter().map(|key| (key.to_string(), key)).collect();
        let statement = sqlx::query(POSITIONS).bind(projection.name()).bind(ids.keys().collect::<Vec<_>>());
        let rows = statement.fetch_all(session.connection()).await?;
        session.commit().await?;
        let known = |row: &PgRow| -> Result<Option<(EntityKey, DeltaPosition)>, Failure> {
            let id: String = row.try_get("entity_id")?;
            ids.get(&id).map(|key| position(row, &id).map(|held| ((*key).clone(), held))).transpose()
        };
        rows.iter().filter_map(|row| known(row).transpose()).collect()
    }

    /// Gives those that stood elsewhere.
    async fn write_moves(
        &self,
        projection: &dyn DynDelta,
        tables: &[DeltaSql],
        moves: &[(String, &DeltaMove)],
    ) -> Result<Vec<EntityKey>, Failure> {
        let mut session = self.begin(Role::Projector, self.write_limit).await?;
        let moved = move_all(&mut session, projection, tables, moves).await?;
        session.commit().await?;
        Ok(moves.iter().filter(|(id, _)| !moved.contains(id)).map(|(_, moving)| moving.key.clone()).collect())
    }
}

fn position(row: &PgRow, id: &str) -> Result<DeltaPosition, Failure> {
    let nonsense = |what: &str| Failure::Nonsense(format!("the position of {id} has {what}"));
    let version = u64::try_from(row.try_get::<i64, _>("version")?).ok().and_then(|number| Version::new(number).ok());
    Ok(DeltaPosition {
        version: version.ok_or_else(|| nonsense("an impossible version"))?,
        hash: row.try_get::<String, _>("hash")?.parse().map_err(|_| nonsense("a hash that is none"))?,
        memory: row.try_get::<Value, _>("memory")?,
    })
}

/// Moves those entities that stand where their moves begin, and adds what these moves change. Gives
/// their ids. `moves` are in the order of ids.
async fn move_all(
    session: &mut Session,
    projection: &dyn DynDelta,
    tables: &[DeltaSql],
    moves: &[(String, &DeltaMove)],
) -> Result<BTreeSet<String>, Failure> {
    let (begun, moving): (Vec<_>, Vec<_>) = moves.iter().partition(|(_, moving)| moving.from.is_none());
    let mut moved = BTreeSet::new();
    for (statement, some) in [(BEGIN, begun), (MOVE, moving)] {
        if some.is_empty() {
            continue;
        }
        let is_begin = statement == BEGIN;
        let ids: Vec<&str> = some.iter().map(|(id, _)| id.as_str()).collect();
        let mut query = sqlx::query_scalar::<_, String>(statement).bind(projection.name()).bind(ids);
        query = if is_begin {
            query.bind(some.iter().map(|(_, moving)| moving.key.partition.tenant.as_str()).collect::<Vec<_>>())
        } else {
            query.bind(
                some.iter()
                    .map(|(_, moving)| moving.from.as_ref().map(|from| bigint(from.version)))
                    .collect::<Vec<_>>(),
            )
        };
        let mut query = query
            .bind(some.iter().map(|(_, moving)| bigint(moving.to.version)).collect::<Vec<_>>())
            .bind(some.iter().map(|(_, moving)| moving.to.hash.as_str()).collect::<Vec<_>>())
            .bind(some.iter().map(|(_, moving)| moving.to.memory.to_string()).collect::<Vec<_>>());
        if !is_begin {
            let from = || some.iter().map(|(_, moving)| moving.from.as_ref());
            query = query
                .bind(from().map(|from| from.map(|from| from.hash.to_string())).collect::<Vec<_>>())
                .bind(from().map(|from| from.map(|from| from.memory.to_string())).collect::<Vec<_>>());
        }
        moved.extend(query.fetch_all(session.connection()).await?);
    }
    for ((index, table), sql) in projection.tables().iter().enumerate().zip(tables) {
        let won = moves.iter().filter(|(id, _)| moved.contains(id)).map(|(_, moving)| *moving);
        let columns = columns_of(index, table, won)?;
        add(session, table, sql, &columns).await?;
    }
    Ok(moved)
}

/// What moves change in a table, column by column: tenants, keys, sums.
fn columns_of<'a>(
    index: usize,
    table: &DeltaTable,
    moves: impl Iterator<Item = &'a DeltaMove>,
) -> Result<Vec<Vec<String>>, Failure> {
    let mut columns = vec![Vec::new(); 1 + table.key.len() + table.sums.len()];
    for moving in moves {
        for change in moving.changes.iter().filter(|change| change.table == index) {
            if (change.key.len(), change.add.len()) != (table.key.len(), table.sums.len()) {
                return Err(Failure::Nonsense(format!("a change does not fit the table {}", table.name)));
            }
            let tenant = std::iter::once(moving.key.partition.tenant.to_string());
            let values = tenant.chain(change.key.iter().cloned()).chain(change.add.iter().map(ToString::to_string));
            columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
    }
    Ok(columns)
}

/// Adds columns of tenants, keys and sums to a table's rows, and removes those that are zero then.
pub(crate) async fn add(
    session: &mut Session,
    table: &DeltaTable,
    sql: &DeltaSql,
    columns: &[Vec<String>],
) -> Result<(), Failure> {
    if columns.first().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    // Safe: see `identifier`; the same goes for the statement below.
    let mut statement = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql.add.as_str()));
    for column in columns {
        statement = statement.bind(column);
    }
    if statement.fetch_one(session.connection()).await? > 0 {
        let mut statement = sqlx::query(AssertSqlSafe(sql.sweep.as_str()));
        for column in columns.iter().take(1 + table.key.len()) {
            statement = statement.bind(column);
        }
        statement.execute(session.connection()).await?;
    }
    Ok(())
}

#[async_trait]
impl SummaryRead for PostgresViews {
    async fn summary(
        &self,
        spec: &SummarySpec,
        tenant: &TenantCode,
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        let sql = delta_sql::summary(spec, after.is_some())?;
        within(self.read_limit, async {
            match self.read_summary(&sql, spec, tenant, after, limit).await {
                Err(failure) if failure.is_a_dead_connection() => {
                    self.read_summary(&sql, spec, tenant, after, limit).await
                }
                outcome => outcome,
            }
        })
        .await
    }
}

impl PostgresViews {
    async fn read_summary(
        &self,
        sql: &str,
        spec: &SummarySpec,
        tenant: &TenantCode,
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, Failure> {
        let mut session = self.begin(Role::Query(tenant), self.read_limit).await?;
        // Safe: see `identifier`.
        let mut statement = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(bounded(limit));
        for value in after.unwrap_or_default() {
            statement = statement.bind(value);
        }
        let rows = statement.fetch_all(session.connection()).await?;
        session.commit().await?;
        rows.iter().map(|row| Ok(summary_row(spec, row)?)).collect()
    }
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn summary_row(spec: &SummarySpec, row: &PgRow) -> Result<SummaryRow, sqlx::Error> {
    let (keys, sums) = (spec.table.key.len(), spec.table.sums.len());
    let texts = |range: std::ops::Range<usize>| -> Result<Vec<String>, sqlx::Error> {
        range.map(|index| row.try_get(index)).collect()
    };
    let extreme = |index: usize| match spec.histogram {
        Some(_) => row.try_get::<Option<String>, _>(index),
        None => Ok(None),
    };
    Ok(SummaryRow {
        key: texts(0..keys)?,
        sums: texts(keys..keys + sums)?,
        extremes: extreme(keys + sums)?.zip(extreme(keys + sums + 1)?),
    })
}
