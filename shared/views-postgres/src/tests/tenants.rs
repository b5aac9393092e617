use ledgerline_kernel::ports::{EntityList, StateSink};
use ledgerline_stores::TestDatabase;
use ledgerline_testkit::version_items;

use super::{NOTE_TABLE, all_of, note_of, notes, run, with_notes};
use crate::PostgresViews;
use crate::session::{Role, Session};

/// What a careless query, one without any condition, finds.
async fn ids_seen(views: &PostgresViews, role: Role<'_>) -> Vec<String> {
    let mut session = Session::begin(&views.pool, role, views.read_limit).await.unwrap();
    let ids = sqlx::query_scalar("SELECT id FROM note ORDER BY id").fetch_all(session.connection()).await.unwrap();
    session.commit().await.unwrap();
    ids
}

async fn fill(views: &PostgresViews) {
    for tenant in ["acme", "other"] {
        let [item] = version_items(&note_of(tenant, "n"), 1).try_into().unwrap();
        views.apply(notes().as_ref(), &[&item]).await.unwrap();
    }
}

#[tokio::test]
async fn a_query_without_a_condition_still_sees_its_tenants_rows_only() {
    let (views, _database) = with_notes().await;
    fill(&views).await;
    for (tenant, expected) in [("acme", vec!["NOTE#acme#n"]), ("other", vec!["NOTE#other#n"]), ("nobody", vec![])] {
        assert_eq!(ids_seen(&views, Role::Query(&tenant.parse().unwrap())).await, expected);
    }
    assert_eq!(ids_seen(&views, Role::Projector).await.len(), 2);
}

#[tokio::test]
async fn a_query_without_a_tenant_sees_nothing() {
    let (views, _database) = with_notes().await;
    fill(&views).await;
    for setting in ["", "; SET LOCAL app.tenant = ''"] {
        let mut connection = views.pool.acquire().await.unwrap();
        let begin = format!("BEGIN; SET LOCAL ROLE ledgerline_query{setting}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut *connection).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM note").fetch_one(&mut *connection).await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
        assert_eq!(count, 0);
    }
}

#[tokio::test]
async fn the_query_role_cannot_write_and_no_role_can_delete() {
    let (views, _database) = with_notes().await;
    fill(&views).await;
    let acme = "acme".parse().unwrap();
    let forbidden = [
        (Role::Query(&acme), "UPDATE note SET name = ''"),
        (Role::Query(&acme), "INSERT INTO note SELECT * FROM note"),
        (Role::Query(&acme), "DELETE FROM note"),
        (Role::Projector, "DELETE FROM note"),
        (Role::Projector, "TRUNCATE note"),
    ];
    for (role, statement) in forbidden {
        let mut session = Session::begin(&views.pool, role, views.read_limit).await.unwrap();
        sqlx::raw_sql(statement).execute(session.connection()).await.expect_err(statement);
    }
}

#[tokio::test]
async fn a_connection_goes_back_to_the_pool_without_role_or_tenant() {
    let (views, _database) = with_notes().await;
    let role = "SELECT current_user || '/' || coalesce(current_setting('app.tenant', true), '')";
    let mut connection = views.pool.acquire().await.unwrap();
    let before: String = sqlx::query_scalar(role).fetch_one(&mut *connection).await.unwrap();
    drop(connection);
    ids_seen(&views, Role::Query(&"acme".parse().unwrap())).await;
    let after: String = sqlx::query_scalar(role).fetch_one(&views.pool).await.unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_list_leaves_no_tenant_behind_on_its_connection() {
    let database = TestDatabase::create().await.unwrap();
    let views = PostgresViews::lazy(database.url(), 1).unwrap();
    views.migrate().await.unwrap();
    run(&views, NOTE_TABLE).await;
    fill(&views).await;
    for tenant in ["acme", "other", "acme"] {
        let page = views.list(notes().as_ref(), &all_of(tenant)).await.unwrap();
        let ids: Vec<_> = page.entities.iter().map(|entity| entity.key.to_string()).collect();
        assert_eq!(ids, [format!("NOTE#{tenant}#n")]);
        // The same connection, which is the only one, in a transaction that names no tenant.
        let mut connection = views.pool.acquire().await.unwrap();
        sqlx::raw_sql("BEGIN; SET LOCAL ROLE ledgerline_query").execute(&mut *connection).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM note").fetch_one(&mut *connection).await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
        assert_eq!(count, 0, "after a list of {tenant}");
    }
}
