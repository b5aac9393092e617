//! Whether the sums of a delta projection are what its entities add, and making them so.
//!
//! What an entity adds follows from what is remembered at its position. So nothing has to be read but
//! the positions, and a position that was lost or went back shows: its part is in the sums, and nobody
//! is there who adds it.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use ledgerline_kernel::ports::{StoreError, SumsFound};
use ledgerline_kernel::{Decimal, DeltaTable, TenantCode};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::audit::{Positions, range};
use crate::delta::add;
use crate::delta_sql::DeltaSql;
use crate::failure::Failure;
use crate::session::{Role, Session};

const MEMORIES: &str =
    "SELECT memory FROM projection_position WHERE projection = $1 AND entity_id > $2 AND entity_id < $3";

/// Keeps everybody out who moves a position, and lets in who reads. Whoever moves one has this table
/// before any with sums.
const KEEP_WRITERS_OUT: &str = "LOCK TABLE projection_position IN SHARE ROW EXCLUSIVE MODE";

/// Compares the sums of `tenant` with what its positions add up to. Writers wait only where something
/// is to be corrected.
pub(crate) async fn compare(
    positions: &Positions,
    tenant: &TenantCode,
    correct: bool,
) -> Result<SumsFound, StoreError> {
    let views = &positions.views;
    let tables = positions.delta.tables().iter().map(|table| Ok((table, DeltaSql::new(table)?)));
    let tables: Vec<(&DeltaTable, DeltaSql)> = tables.collect::<Result<_, Failure>>()?;
    let compared = async {
        let mut session = views.begin(Role::Snapshot, views.write_limit).await?;
        let found = Comparison::of(&mut session, positions, &tables, tenant).await?;
        session.commit().await?;
        if found.rows() == 0 || found.unreadable > 0 || !correct {
            return Ok(if found.rows() == 0 { SumsFound::Right } else { SumsFound::Wrong(found.rows()) });
        }
        let mut session = views.begin(Role::Projector, views.write_limit).await?;
        sqlx::raw_sql(KEEP_WRITERS_OUT).execute(session.connection()).await?;
        let found = Comparison::of(&mut session, positions, &tables, tenant).await?;
        if found.unreadable > 0 {
            return Ok(SumsFound::Wrong(found.rows()));
        }
        for ((table, sql), columns) in tables.iter().zip(&found.missing) {
            add(&mut session, table, sql, columns).await?;
        }
        session.commit().await?;
        Ok(if found.rows() == 0 { SumsFound::Right } else { SumsFound::Corrected(found.rows()) })
    };
    // The server gives up a little later than we do.
    match tokio::time::timeout(views.write_limit, compared).await {
        Ok(found) => found.map_err(|failure: Failure| failure.into()),
        Err(_) => Ok(SumsFound::Unknown),
    }
}

/// What the sums are short of.
struct Comparison {
    /// How many entities nobody can tell the part of.
    unreadable: u64,
    /// Of each table, columns of what would have to be added to which rows: tenants, keys, sums.
    missing: Vec<Vec<Vec<String>>>,
}

/// What the rows of a table should be, by their keys.
type Due = BTreeMap<Vec<String>, Vec<Decimal>>;

impl Comparison {
    async fn of(
        session: &mut Session,
        positions: &Positions,
        tables: &[(&DeltaTable, DeltaSql)],
        tenant: &TenantCode,
    ) -> Result<Self, Failure> {
        let (due, unreadable) = add_up(session, positions, tenant).await?;
        let mut missing = Vec::new();
        for ((table, sql), due) in tables.iter().zip(due) {
            let width = 1 + table.key.len() + table.sums.len();
            let mut given = vec![Vec::with_capacity(due.len()); width];
            for (key, sums) in due {
                let row = std::iter::once(tenant.to_string()).chain(key).chain(sums.iter().map(ToString::to_string));
                given.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
            }
            // Safe: see `identifier`.
            let mut statement = sqlx::query_scalar::<_, Vec<String>>(AssertSqlSafe(sql.differs.as_str()));
            for column in given {
                statement = statement.bind(column);
            }
            let rows = statement.bind(tenant.as_str()).fetch_all(session.connection()).await?;
            let mut columns = vec![Vec::with_capacity(rows.len()); width];
            for row in rows {
                columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
            }
            missing.push(columns);
        }
        Ok(Self { unreadable, missing })
    }

    fn rows(&self) -> u64 {
        let rows = self.missing.iter().filter_map(|columns| columns.first()).map(Vec::len).sum::<usize>();
        self.unreadable + u64::try_from(rows).unwrap_or(u64::MAX)
    }
}

/// What all entities of a tenant add, for each table; and of how many nobody can tell.
async fn add_up(session: &mut Session, positions: &Positions, tenant: &TenantCode) -> Result<(Vec<Due>, u64), Failure> {
    let delta = positions.delta.as_ref();
    let [from, to] = range(&positions.entity_type, tenant, None);
    let (mut due, mut unreadable) = (vec![Due::new(); delta.tables().len()], 0);
    let memories = sqlx::query_scalar::<_, Value>(MEMORIES).bind(delta.name()).bind(from).bind(to);
    let mut memories = memories.fetch(session.connection());
    while let Some(memory) = memories.try_next().await? {
        let fits = |table: &DeltaTable, key: &[String], add: &[Decimal]| {
            (key.len(), add.len()) == (table.key.len(), table.sums.len())
        };
        let mut is_readable = true;
        match delta.adds(&memory) {
            None => is_readable = false,
            Some(changes) => {
                for change in changes {
                    match (delta.tables().get(change.table), due.get_mut(change.table)) {
                        (Some(table), Some(due)) if fits(table, &change.key, &change.add) => {
                            let sums =
                                due.entry(change.key).or_insert_with(|| vec![Decimal::from(0); change.add.len()]);
                            sums.iter_mut().zip(&change.add).for_each(|(sum, add)| *sum = sum.plus(add));
                        }
                        _ => is_readable = false,
                    }
                }
            }
        }
        unreadable += u64::from(!is_readable);
    }
    Ok((due, unreadable))
}
