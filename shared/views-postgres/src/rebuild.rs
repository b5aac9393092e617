//! A domain's tables built anew beside the live ones, in a schema of their own.
//!
//! The schema is made by the same migrations, so that its tables, indexes, views, policies and grants
//! are what a new database has. From the moment that the row in `rebuild` is there, every batch goes
//! into both (`apply.rs`). A batch that began before has its versions in the ledger already, where
//! filling the tables, which begins after, finds them.

mod differences;
mod schema;
mod switch;
mod unfinished;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ledgerline_kernel::DynDomain;
use ledgerline_kernel::ports::{
    DeltaSink, Difference, RebuildError, SegmentProgress, StateSink, Switched, ViewRebuild,
};
use sqlx::{Connection as _, PgConnection};

use crate::PostgresViews;
use crate::failure::Failure;
use crate::session::{Role, Session, within};
use crate::table_sql::identifier;

/// How long a statement over whole tables may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Where the positions of all domains' delta projections are.
const POSITIONS: &str = "projection_position";

pub use unfinished::UnfinishedRebuild;

/// A rebuild of one domain's tables. Dropped half-way, or killed, it goes on where it was the next time.
pub struct PostgresRebuild {
    live: PostgresViews,
    own: PostgresViews,
    place: Place,
    segments: Vec<SegmentProgress>,
    is_resumed: bool,
    _hold: Option<PgConnection>,
}

/// What is built where.
#[derive(Debug, Clone)]
struct Place {
    /// The schema of the live tables, quoted.
    live: String,
    /// That of those under construction, which needs no quotes.
    schema: String,
    /// The table of states, quoted.
    states: String,
    /// The tables of the delta projections, and that of their positions, quoted.
    deltas: Vec<String>,
    /// The names of the delta projections.
    projections: Vec<String>,
}

impl PostgresViews {
    /// Begins to rebuild a domain's tables, reading the ledger in so many segments, or goes on with
    /// what was begun: then in as many as it was begun with. Needs the rights of the tables' owner,
    /// and that of making a schema.
    ///
    /// # Errors
    /// [`RebuildError::Running`] if another process is at it, [`RebuildError::OtherMigrations`] if the
    /// live tables are of another release, or that of the store.
    pub async fn rebuild(&self, domain: &dyn DynDomain, segments: u32) -> Result<PostgresRebuild, RebuildError> {
        let resource = domain.resource();
        let hold = within(LIMIT, hold(self, resource)).await?;
        if hold.is_none() && self.takes_several_connections() {
            return Err(RebuildError::Running(resource.to_owned()));
        }
        let begun = within(LIMIT, schema::begin(self, resource, segments)).await?;
        if begun.is_new {
            schema::make(self, &begun.schema).await?;
        }
        let place = within(LIMIT, Place::find(self, domain, begun.schema)).await?;
        within(LIMIT, schema::compare_migrations(self, &place)).await?.map_err(RebuildError::OtherMigrations)?;
        if begun.is_new {
            within(LIMIT, schema::announce(self, &place)).await?;
        }
        let own = self.in_schema(&place.schema);
        let (segments, is_resumed) = (begun.segments, !begun.is_new);
        Ok(PostgresRebuild { live: self.clone(), own, place, segments, is_resumed, _hold: hold })
    }

    /// Gives up a rebuild: what was built is dropped. The live tables are not touched. `false` if there
    /// was none.
    ///
    /// # Errors
    /// That of the store.
    pub async fn abandon_rebuild(&self, domain: &dyn DynDomain) -> Result<bool, RebuildError> {
        Ok(within(LIMIT, schema::abandon(self, domain.resource())).await?)
    }

    fn takes_several_connections(&self) -> bool {
        self.pool.options().get_max_connections() > 1
    }
}

impl PostgresRebuild {
    /// Whether it was begun earlier.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }
}

#[async_trait]
impl ViewRebuild for PostgresRebuild {
    fn segments(&self) -> &[SegmentProgress] {
        &self.segments
    }

    fn states(&self) -> Arc<dyn StateSink> {
        Arc::new(self.own.clone())
    }

    fn deltas(&self) -> Arc<dyn DeltaSink> {
        Arc::new(self.own.clone())
    }

    async fn note(&self, segment: u32, progress: &SegmentProgress) -> Result<(), RebuildError> {
        let noted = within(self.live.write_limit, async {
            match schema::note(&self.live, &self.place, segment, progress).await {
                Err(failure) if failure.is_a_dead_connection() => {
                    schema::note(&self.live, &self.place, segment, progress).await
                }
                outcome => outcome,
            }
        });
        if noted.await? { Ok(()) } else { Err(RebuildError::Ended) }
    }

    /// Statistics move with the tables; without any, the first queries would be planned badly.
    async fn filled(&self) -> Result<(), RebuildError> {
        let tables = self.place.tables().map(|table| format!("{}.{table}", self.place.schema));
        let analyze = format!("ANALYZE {}", tables.collect::<Vec<_>>().join(", "));
        let analyzed = within(LIMIT, async {
            let mut session = self.live.begin(Role::Owner, LIMIT).await?;
            run(&mut session, analyze).await?;
            Ok(session.commit().await?)
        });
        Ok(analyzed.await?)
    }

    async fn rows(&self) -> Result<u64, RebuildError> {
        Ok(within(LIMIT, differences::rows(&self.live, &self.place)).await?)
    }

    async fn differences(&self, limit: u32) -> Result<Vec<Difference>, RebuildError> {
        Ok(within(LIMIT, differences::list(&self.live, &self.place, limit)).await?)
    }

    async fn confirm(&self, right: &[Difference]) -> Result<(), RebuildError> {
        Ok(within(LIMIT, differences::confirm(&self.live, &self.place, right)).await?)
    }

    async fn switch(&self) -> Result<Option<Switched>, RebuildError> {
        within(LIMIT, schema::compare_migrations(&self.live, &self.place))
            .await?
            .map_err(RebuildError::OtherMigrations)?;
        match within(LIMIT, switch::switch(&self.live, &self.place)).await? {
            switch::Outcome::Switched(switched) => {
                // One that stays for now goes with the next rebuild.
                let _ = within(LIMIT, schema::drop_schema(&self.live, &self.place.schema)).await;
                Ok(Some(switched))
            }
            switch::Outcome::Different => Ok(None),
            switch::Outcome::Ended => Err(RebuildError::Ended),
        }
    }
}

impl Place {
    async fn find(views: &PostgresViews, domain: &dyn DynDomain, schema: String) -> Result<Self, Failure> {
        let live = sqlx::query_scalar("SELECT quote_ident(current_schema())").fetch_one(&views.pool).await?;
        let projections = domain.deltas();
        let deltas = projections.iter().flat_map(|delta| delta.tables()).map(|table| table.name);
        let positions = (!projections.is_empty()).then_some(POSITIONS);
        Ok(Self {
            live,
            schema,
            states: identifier(domain.table().name)?,
            deltas: positions.into_iter().chain(deltas).map(identifier).collect::<Result<_, _>>()?,
            projections: projections.iter().map(|delta| delta.name().to_owned()).collect(),
        })
    }

    /// The tables that take the place of others, quoted.
    fn tables(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.states.as_str()).chain(self.deltas.iter().map(String::as_str))
    }
}

/// Keeps other processes away from a domain's rebuild for as long as the connection lives; none if
/// another one is at it, or where this process has the only connection anyway.
async fn hold(views: &PostgresViews, resource: &str) -> Result<Option<PgConnection>, Failure> {
    if !views.takes_several_connections() {
        return Ok(None);
    }
    let connection = PgConnection::connect_with(&views.pool.connect_options()).await;
    let mut connection = connection.map_err(Failure::Connection)?;
    // With some patience, for the server to notice that the process before was killed.
    sqlx::raw_sql("SET lock_timeout = '3s'").execute(&mut connection).await?;
    let lock = sqlx::query("SELECT pg_advisory_lock(hashtext('ledgerline.rebuild'), hashtext($1))").bind(resource);
    match lock.execute(&mut connection).await.map_err(Failure::from) {
        Ok(_) => Ok(Some(connection)),
        Err(failure) if failure.is_a_lock_held_by_others() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Runs statements that are put together from names of tables, schemas and nothing else.
async fn run(session: &mut Session, statements: String) -> Result<(), Failure> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(session.connection()).await?;
    Ok(())
}
