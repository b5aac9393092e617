//! New tables in the place of the live ones, in one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use ledgerline_kernel::ports::Switched;
use sqlx::AssertSqlSafe;

use super::{LIMIT, POSITIONS, Place, differences, run};
use crate::PostgresViews;
use crate::failure::Failure;
use crate::session::{Role, Session};

/// How often the whole is tried while others hold the tables.
const TRIES: usize = 5;

/// How often it is tried to get the tables for ourselves, while nobody can write to them but everybody
/// can read: each time for as long as readers may be made to wait, with a pause in between.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

pub(super) enum Outcome {
    Switched(Switched),
    /// There are differences that were not confirmed. Nothing was changed.
    Different,
    /// There is no such rebuild any more.
    Ended,
}

pub(super) async fn switch(views: &PostgresViews, place: &Place) -> Result<Outcome, Failure> {
    let mut tries = 1;
    loop {
        match attempt(views, place).await {
            Err(failure) if failure.is_a_lock_held_by_others() && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

async fn attempt(views: &PostgresViews, place: &Place) -> Result<Outcome, Failure> {
    let mut session = views.begin(Role::Owner, LIMIT).await?;
    run(&mut session, "SET LOCAL lock_timeout = '5s'".to_owned()).await?;
    let row = sqlx::query("SELECT FROM rebuild WHERE schema_name = $1 AND state = 'running' FOR UPDATE");
    if row.bind(&place.schema).fetch_optional(session.connection()).await?.is_none() {
        session.roll_back().await?;
        return Ok(Outcome::Ended);
    }
    keep_writers_out(&mut session, place).await?;
    let Some(switched) = compare(&mut session, place).await? else {
        session.roll_back().await?;
        return Ok(Outcome::Different);
    };
    let swap = swap(&mut session, place).await?;
    keep_readers_out_and(&mut session, swap).await?;
    session.commit().await?;
    Ok(Outcome::Switched(switched))
}

/// Who writes comes to the live tables first, so that is where they wait; whoever is in the middle of
/// it is waited for.
async fn keep_writers_out(session: &mut Session, place: &Place) -> Result<(), Failure> {
    let of = |schema: &str| place.tables().map(|table| format!("{schema}.{table}")).collect::<Vec<_>>().join(", ");
    let lock = |tables: String| format!("LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE");
    run(session, format!("{}; {}", lock(of(&place.live)), lock(of(&place.schema)))).await
}

/// None if there are differences that count.
async fn compare(session: &mut Session, place: &Place) -> Result<Option<Switched>, Failure> {
    // Row-level security shows the rows to the projector only.
    run(session, "SET LOCAL ROLE ledgerline_projector".to_owned()).await?;
    let statement = format!(
        "SELECT count(own_version) FILTER (WHERE is_state), count(*) FILTER (WHERE differs AND is_state),
                count(*) FILTER (WHERE differs AND NOT is_confirmed)
         FROM (SELECT *, kind = '{}' AS is_state FROM ({}) AS side) AS row",
        place.states.trim_matches('"'),
        differences::sides(place)
    );
    let (rows, corrected, open): (i64, i64, i64) =
        sqlx::query_as(AssertSqlSafe(statement)).fetch_one(session.connection()).await?;
    if open == 0 && !place.projections.is_empty() {
        // All domains' positions are in one table: the others' come along.
        let others = format!(
            "INSERT INTO {}.{POSITIONS} SELECT * FROM {}.{POSITIONS} WHERE projection <> ALL ($1)",
            place.schema, place.live
        );
        let others = sqlx::query(AssertSqlSafe(others)).bind(&place.projections);
        others.execute(session.connection()).await?;
    }
    run(session, "SET LOCAL ROLE NONE".to_owned()).await?;
    let switched = Switched { rows: rows.unsigned_abs(), corrected: corrected.unsigned_abs() };
    Ok((open == 0).then_some(switched))
}

/// The statements that do it. Views first, as queries take hold of a view before its tables. Without
/// CASCADE: what somebody else has built upon the old tables stops the switch.
async fn swap(session: &mut Session, place: &Place) -> Result<String, Failure> {
    let Place { live, schema, .. } = place;
    let views = sqlx::query_as::<_, (String, Option<String>)>(
        "WITH RECURSIVE needed AS (
             SELECT to_regclass(name)::oid AS oid FROM UNNEST($2::text[]) AS given (name)
             UNION
             SELECT rule.ev_class FROM needed
             JOIN pg_depend AS depend ON depend.refobjid = needed.oid
                 AND depend.refclassid = 'pg_class'::regclass AND depend.classid = 'pg_rewrite'::regclass
             JOIN pg_rewrite AS rule ON rule.oid = depend.objid
         )
         SELECT quote_ident(relname),
                CASE WHEN NOT pg_has_role(current_user, relowner, 'USAGE') THEN quote_ident(relowner::regrole::text) END
         FROM needed JOIN pg_class USING (oid)
         WHERE relkind = 'v' AND relnamespace = $1::text::regnamespace ORDER BY 1",
    );
    let tables: Vec<String> = place.tables().map(|table| format!("{schema}.{table}")).collect();
    let views = views.bind(schema).bind(tables).fetch_all(session.connection()).await?;
    let (views, owners): (Vec<String>, Vec<Option<String>>) = views.into_iter().unzip();
    // To move a view one has to be in its owner's role: until the end of this transaction, and nobody
    // else sees it.
    let owners: BTreeSet<String> = owners.into_iter().flatten().collect();
    let mut statements = Vec::new();
    statements.extend(owners.iter().map(|owner| format!("GRANT {owner} TO CURRENT_USER")));
    statements.extend(views.iter().map(|view| format!("DROP VIEW {live}.{view}")));
    statements.extend(place.tables().map(|table| format!("DROP TABLE {live}.{table}")));
    statements.extend(place.tables().map(|table| format!("ALTER TABLE {schema}.{table} SET SCHEMA {live}")));
    statements.extend(views.iter().map(|view| format!("ALTER VIEW {schema}.{view} SET SCHEMA {live}")));
    statements.extend(owners.iter().map(|owner| format!("REVOKE {owner} FROM CURRENT_USER")));
    statements.push(format!("UPDATE rebuild SET state = 'done', updated_at = now() WHERE schema_name = '{schema}'"));
    Ok(statements.join("; "))
}

/// Queries that come while the lock is waited for queue up behind it, so it is not waited for long.
async fn keep_readers_out_and(session: &mut Session, statements: String) -> Result<(), Failure> {
    let statements = format!("SAVEPOINT swap; SET LOCAL lock_timeout = '200ms'; {statements}");
    let mut attempts = 1;
    loop {
        match run(session, statements.clone()).await {
            Err(failure) if failure.is_a_lock_held_by_others() && attempts < ATTEMPTS => attempts += 1,
            outcome => return outcome,
        }
        run(session, "ROLLBACK TO SAVEPOINT swap; RELEASE SAVEPOINT swap".to_owned()).await?;
        tokio::time::sleep(PAUSE).await;
    }
}
