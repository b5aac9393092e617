//! What the tables under construction do not have in common with the live ones.

use ledgerline_kernel::ports::Difference;
use ledgerline_kernel::{Hash, Version};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{LIMIT, POSITIONS, Place};
use crate::PostgresViews;
use crate::failure::Failure;
use crate::session::Role;

/// What is compared with what: a table of states, or positions.
struct Pair {
    kind: String,
    live: String,
    own: String,
    /// When they differ.
    differs: &'static str,
}

/// Both sides of everything that is compared, side by side, and whether the new one was confirmed. Of
/// states, the new table has what the live one has. Of positions, it is not behind: it may be ahead, as
/// whoever writes writes there first.
pub(super) fn sides(place: &Place) -> String {
    let Place { live, schema, states, .. } = place;
    let table = |schema: &str| format!("(SELECT id, version, payload_hash AS hash FROM {schema}.{states})");
    let different = "(live.version, live.hash) IS DISTINCT FROM (own.version, own.hash)";
    let states =
        Pair { kind: states.trim_matches('"').to_owned(), live: table(live), own: table(schema), differs: different };
    let behind = "live.id IS NOT NULL AND (own.id IS NULL OR own.version < live.version
                  OR (own.version = live.version AND own.hash <> live.hash))";
    let positions = place.projections.iter().map(|name| {
        let of = |schema: &str| {
            format!("(SELECT entity_id AS id, version, hash FROM {schema}.{POSITIONS} WHERE projection = '{name}')")
        };
        Pair { kind: name.clone(), live: of(live), own: of(schema), differs: behind }
    });
    let both = std::iter::once(states).chain(positions).map(|Pair { kind, live, own, differs }| {
        format!(
            "SELECT '{kind}' AS kind, coalesce(live.id, own.id) AS id, live.version AS live_version,
                    live.hash AS live_hash, own.version AS own_version, own.hash AS own_hash, {differs} AS differs,
                    confirmed.id IS NOT NULL
                        AND (confirmed.version, confirmed.hash) IS NOT DISTINCT FROM (own.version, own.hash)
                        AS is_confirmed
             FROM {live} AS live FULL JOIN {own} AS own ON live.id = own.id
             LEFT JOIN {schema}.rebuild_confirmed AS confirmed
                 ON confirmed.kind = '{kind}' AND confirmed.id = coalesce(live.id, own.id)"
        )
    });
    both.collect::<Vec<_>>().join(" UNION ALL ")
}

pub(super) async fn rows(views: &PostgresViews, place: &Place) -> Result<u64, Failure> {
    let mut session = views.begin(Role::Projector, LIMIT).await?;
    let count = format!("SELECT count(*) FROM {}.{}", place.schema, place.states);
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(session.connection()).await?;
    session.commit().await?;
    Ok(count.unsigned_abs())
}

pub(super) async fn list(views: &PostgresViews, place: &Place, limit: u32) -> Result<Vec<Difference>, Failure> {
    let mut session = views.begin(Role::Projector, LIMIT).await?;
    let open = format!("SELECT * FROM ({}) AS row WHERE differs AND NOT is_confirmed LIMIT {limit}", sides(place));
    let open = sqlx::query(AssertSqlSafe(open)).fetch_all(session.connection()).await?;
    session.commit().await?;
    open.iter().map(difference).collect()
}

/// A version or hash that makes no sense is none; it never gets confirmed.
fn difference(row: &PgRow) -> Result<Difference, Failure> {
    let side = |version: &str, hash: &str| -> Result<Option<(Version, Hash)>, sqlx::Error> {
        let (version, hash): (Option<i64>, Option<String>) = (row.try_get(version)?, row.try_get(hash)?);
        let version = version.and_then(|version| Version::new(u64::try_from(version).ok()?).ok());
        Ok(version.zip(hash.and_then(|hash| hash.parse().ok())))
    };
    Ok(Difference {
        id: row.try_get("id")?,
        of: row.try_get("kind")?,
        live: side("live_version", "live_hash")?,
        rebuilt: side("own_version", "own_hash")?,
    })
}

pub(super) async fn confirm(views: &PostgresViews, place: &Place, right: &[Difference]) -> Result<(), Failure> {
    if right.is_empty() {
        return Ok(());
    }
    let mut session = views.begin(Role::Projector, LIMIT).await?;
    let statement = format!(
        "INSERT INTO {}.rebuild_confirmed (kind, id, version, hash)
         SELECT kind, id, version::bigint, hash
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[]) AS given (kind, id, version, hash)
         ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, hash = excluded.hash",
        place.schema
    );
    let rebuilt = || right.iter().map(|difference| difference.rebuilt.as_ref());
    sqlx::query(AssertSqlSafe(statement))
        .bind(right.iter().map(|difference| difference.of.clone()).collect::<Vec<_>>())
        .bind(right.iter().map(|difference| difference.id.clone()).collect::<Vec<_>>())
        .bind(rebuilt().map(|side| side.map(|(version, _)| version.to_string())).collect::<Vec<_>>())
        .bind(rebuilt().map(|side| side.map(|(_, hash)| hash.to_string())).collect::<Vec<_>>())
        .execute(session.connection())
        .await?;
    Ok(session.commit().await?)
}
