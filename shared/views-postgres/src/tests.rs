//! Against a real Postgres, or the embedded one where the machine has none.

mod catalogue;
mod contract;
mod deltas;
mod failures;
mod fields;
mod migrations;
mod paging;
mod plans;
mod quarantine;
mod redelivery;
mod tenants;
mod words;

use std::sync::Arc;

use ledgerline_kernel::ports::ListQuery;
use ledgerline_kernel::{DynDomain, EntityKey, erase};
use ledgerline_stores::TestDatabase;
use ledgerline_testkit::note::Note;
use sqlx::AssertSqlSafe;

use crate::PostgresViews;

/// The table of [`Note`], which no migration makes. Made as `product` is.
const NOTE_TABLE: &str = r#"
    CREATE TABLE note (LIKE product INCLUDING ALL);
    ALTER TABLE note DROP COLUMN search;
    ALTER TABLE note DROP COLUMN category, DROP COLUMN price, DROP COLUMN description, DROP COLUMN specification;
    ALTER TABLE note ADD COLUMN body text COLLATE "C", ADD COLUMN stars numeric;
    DO $$
    DECLARE
        words text := (
            SELECT replace(pg_get_expr(adbin, adrelid), 'description', 'body')
            FROM pg_attrdef WHERE adrelid = 'product'::regclass
        );
    BEGIN
        EXECUTE format('ALTER TABLE note ADD COLUMN search tsvector GENERATED ALWAYS AS (%s) STORED', words);
    END $$;
    CREATE INDEX note_by_words ON note USING gin (search);
    ALTER TABLE note ENABLE ROW LEVEL SECURITY;
    ALTER TABLE note FORCE ROW LEVEL SECURITY;
    CREATE POLICY note_of_the_tenant ON note FOR SELECT TO ledgerline_query
        USING (tenant_code = NULLIF(current_setting('app.tenant', true), ''));
    CREATE POLICY note_projection ON note TO ledgerline_projector USING (current_user = 'ledgerline_projector');
    CREATE POLICY note_views ON note FOR SELECT TO ledgerline_views USING (true);
    GRANT SELECT ON note TO ledgerline_query, ledgerline_views;
    GRANT SELECT, INSERT, UPDATE ON note TO ledgerline_projector;
    CREATE VIEW note_of_tenant AS
        SELECT * FROM note WHERE tenant_code = NULLIF(current_setting('app.tenant', true), '');
    GRANT SELECT ON note_of_tenant TO ledgerline_query;
    GRANT CREATE ON SCHEMA public TO ledgerline_views;
    ALTER VIEW note_of_tenant OWNER TO ledgerline_views;
"#;

/// Migrated read models in a database of their own. Keep the database as long as the views.
async fn migrated() -> (PostgresViews, TestDatabase) {
    let database = TestDatabase::create().await.unwrap();
    let views = PostgresViews::lazy(database.url(), database.max_connections()).unwrap();
    views.migrate().await.unwrap();
    (views, database)
}

/// As [`migrated`], with the table of notes.
async fn with_notes() -> (PostgresViews, TestDatabase) {
    let (views, database) = migrated().await;
    run(&views, NOTE_TABLE).await;
    (views, database)
}

/// Runs statements as the administrator.
async fn run(views: &PostgresViews, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&views.pool).await.unwrap();
}

fn notes() -> Arc<dyn DynDomain> {
    erase::<Note>().unwrap()
}

fn note_of(tenant: &str, sk: &str) -> EntityKey {
    format!("NOTE#{tenant}#{sk}").parse().unwrap()
}

/// Everything that a tenant has.
fn all_of(tenant: &str) -> ListQuery {
    ListQuery {
        tenant: tenant.parse().unwrap(),
        filters: Vec::new(),
        words: Vec::new(),
        sort: Vec::new(),
        after: None,
        limit: 1000,
        include_deleted: true,
        with_total: false,
    }
}
