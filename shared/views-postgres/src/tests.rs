//! Against a real Postgres, or the embedded one where the machine has none.

mod contract;
mod failures;
mod fields;
mod migrations;
mod paging;
mod quarantine;
mod redelivery;
mod tenants;

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
    ALTER TABLE note DROP COLUMN category, DROP COLUMN price, DROP COLUMN description, DROP COLUMN specification;
    ALTER TABLE note ADD COLUMN body text COLLATE "C", ADD COLUMN stars numeric;
    ALTER TABLE note ENABLE ROW LEVEL SECURITY;
    ALTER TABLE note FORCE ROW LEVEL SECURITY;
    CREATE POLICY note_of_the_tenant ON note FOR SELECT TO ledgerline_query
        USING (tenant_code = NULLIF(current_setting('app.tenant', true), ''));
    CREATE POLICY note_projection ON note TO ledgerline_projector USING (current_user = 'ledgerline_projector');
    GRANT SELECT ON note TO ledgerline_query;
    GRANT SELECT, INSERT, UPDATE ON note TO ledgerline_projector;
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
        sort: Vec::new(),
        after: None,
        limit: 1000,
        include_deleted: true,
        with_total: false,
    }
}
