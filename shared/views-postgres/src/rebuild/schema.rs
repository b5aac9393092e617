//! The schema of a rebuild, and the row that tells everybody of it.

use ledgerline_kernel::ports::{RebuildError, SegmentProgress, StoreError};
use sqlx::migrate::MigrateError;
use sqlx::{AssertSqlSafe, Row as _};

use super::{LIMIT, Place, run};
use crate::PostgresViews;
use crate::failure::Failure;
use crate::session::{Role, within};
use crate::views::migrations;

/// A rebuild, as its row says.
pub(super) struct Begun {
    pub(super) schema: String,
    /// Nobody has been told of it yet.
    pub(super) is_new: bool,
    pub(super) segments: Vec<SegmentProgress>,
}

/// Finds the row of a domain's rebuild, or makes one. The name of a schema is never used again: who
/// still works on a rebuild that was given up finds nothing to write to.
pub(super) async fn begin(views: &PostgresViews, resource: &str, segments: u32) -> Result<Begun, Failure> {
    let mut session = views.begin(Role::Owner, LIMIT).await?;
    let left_over = sqlx::query_scalar::<_, String>(
        "SELECT schema_name FROM rebuild WHERE resource = $1 AND state = 'done' FOR UPDATE",
    );
    let left_over = left_over.bind(resource).fetch_optional(session.connection()).await?;
    if let Some(schema) = left_over {
        run(&mut session, format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
    }
    let beginning = vec![SegmentProgress::default(); usize::try_from(segments.max(1)).unwrap_or(1)];
    let make = sqlx::query(
        "INSERT INTO rebuild AS held (resource, schema_name, state, segments)
         VALUES ($1, $2 || to_hex((random() * 2147483647)::integer), 'preparing', $3::text::jsonb)
         ON CONFLICT (resource) DO UPDATE SET schema_name = excluded.schema_name, state = excluded.state,
             segments = excluded.segments, started_at = now(), updated_at = now()
         WHERE held.state = 'done'",
    );
    let prefix = format!("ledgerline_rebuild_{}_", resource.replace('-', "_"));
    make.bind(resource)
        .bind(prefix)
        .bind(serde_json::to_string(&beginning).map_err(|error| nonsense(&error))?)
        .execute(session.connection())
        .await?;
    let row = sqlx::query("SELECT schema_name, state, segments::text FROM rebuild WHERE resource = $1");
    let row = row.bind(resource).fetch_one(session.connection()).await?;
    session.commit().await?;
    let segments: String = row.try_get("segments")?;
    Ok(Begun {
        schema: row.try_get("schema_name")?,
        is_new: row.try_get::<String, _>("state")? == "preparing",
        segments: serde_json::from_str(&segments).map_err(|error| nonsense(&error))?,
    })
}

/// Makes the schema and what belongs into it, as far as it is not there.
pub(super) async fn make(views: &PostgresViews, schema: &str) -> Result<(), RebuildError> {
    let made = within(LIMIT, async {
        let mut session = views.begin(Role::Owner, LIMIT).await?;
        let statements = format!(
            "CREATE SCHEMA IF NOT EXISTS {schema};
             GRANT USAGE ON SCHEMA {schema} TO ledgerline_query, ledgerline_projector;
             CREATE TABLE IF NOT EXISTS {schema}.rebuild_confirmed
                 (kind text COLLATE \"C\", id text COLLATE \"C\", version bigint, hash text COLLATE \"C\",
                  PRIMARY KEY (kind, id));
             GRANT SELECT, INSERT, UPDATE ON {schema}.rebuild_confirmed TO ledgerline_projector"
        );
        run(&mut session, statements).await?;
        Ok(session.commit().await?)
    });
    made.await?;
    views.migrate_in(schema).await.map_err(|error| {
        let reason = format!("cannot make the tables to rebuild into: {error}");
        RebuildError::Store(StoreError::Unavailable { store: "postgres", reason })
    })
}

/// From here on, whatever is written to the live tables is written to these too.
pub(super) async fn announce(views: &PostgresViews, place: &Place) -> Result<(), Failure> {
    let mut session = views.begin(Role::Owner, LIMIT).await?;
    sqlx::query("UPDATE rebuild SET state = 'running', updated_at = now() WHERE schema_name = $1")
        .bind(&place.schema)
        .execute(session.connection())
        .await?;
    Ok(session.commit().await?)
}

/// Says what differs, if the two schemas have not had the same migrations.
pub(super) async fn compare_migrations(views: &PostgresViews, place: &Place) -> Result<Result<(), String>, Failure> {
    let Place { live, schema, .. } = place;
    let statement = format!(
        "SELECT coalesce(live.version, own.version) FROM {live}._sqlx_migrations AS live
         FULL JOIN {schema}._sqlx_migrations AS own ON live.version = own.version
         WHERE live.checksum IS DISTINCT FROM own.checksum ORDER BY 1 LIMIT 1"
    );
    let different: Option<i64> = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_optional(&views.pool).await?;
    Ok(different.map_or(Ok(()), |version| Err(format!("{version} is not the same in both"))))
}

/// `false` if the rebuild has ended.
pub(super) async fn note(
    views: &PostgresViews,
    place: &Place,
    segment: u32,
    progress: &SegmentProgress,
) -> Result<bool, Failure> {
    let mut session = views.begin(Role::Owner, views.write_limit).await?;
    let noted = sqlx::query(
        "UPDATE rebuild SET segments = jsonb_set(segments, ARRAY[$2], $3::text::jsonb), updated_at = now()
         WHERE schema_name = $1 AND state = 'running'",
    );
    let noted = noted
        .bind(&place.schema)
        .bind(segment.to_string())
        .bind(serde_json::to_string(progress).map_err(|error| nonsense(&error))?);
    let noted = noted.execute(session.connection()).await?.rows_affected();
    session.commit().await?;
    Ok(noted > 0)
}

/// `false` if there was no rebuild to give up.
pub(super) async fn abandon(views: &PostgresViews, resource: &str) -> Result<bool, Failure> {
    let mut session = views.begin(Role::Owner, LIMIT).await?;
    let given_up = sqlx::query_scalar::<_, String>(
        "DELETE FROM rebuild WHERE resource = $1 AND state <> 'done' RETURNING schema_name",
    );
    let given_up = given_up.bind(resource).fetch_optional(session.connection()).await?;
    if let Some(schema) = &given_up {
        run(&mut session, format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
    }
    session.commit().await?;
    Ok(given_up.is_some())
}

pub(super) async fn drop_schema(views: &PostgresViews, schema: &str) -> Result<(), Failure> {
    let mut session = views.begin(Role::Owner, LIMIT).await?;
    run(&mut session, format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
    Ok(session.commit().await?)
}

impl PostgresViews {
    /// Brings the tables of rebuilds under way to the same shape as the live ones.
    pub(crate) async fn migrate_rebuilds(&self) -> Result<(), MigrateError> {
        let schemas: Vec<String> =
            sqlx::query_scalar("SELECT schema_name FROM rebuild WHERE state = 'running'").fetch_all(&self.pool).await?;
        for schema in schemas {
            self.migrate_in(&schema).await?;
        }
        Ok(())
    }

    /// Applies the migrations in a schema.
    async fn migrate_in(&self, schema: &str) -> Result<(), MigrateError> {
        let mut connection = self.pool.acquire().await?;
        // Nobody else is to come upon this schema by surprise.
        connection.close_on_drop();
        sqlx::raw_sql(AssertSqlSafe(format!("SET search_path TO {schema}"))).execute(&mut *connection).await?;
        migrations().run_direct(None, &mut *connection, false).await
    }
}

fn nonsense(error: &serde_json::Error) -> Failure {
    Failure::Nonsense(format!("how far a rebuild is: {error}"))
}
