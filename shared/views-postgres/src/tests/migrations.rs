use ledgerline_kernel::ports::{EntityList, StateSink};
use ledgerline_stores::TestDatabase;
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::fields::{Goods, product};
use super::{all_of, migrated, run};
use crate::PostgresViews;

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let (views, _database) = migrated().await;
    let item = product("a", 0, &json!({}));
    views.apply(&Goods::new(), &[&item]).await.unwrap();
    views.migrate().await.unwrap();
    assert_eq!(views.list(&Goods::new(), &all_of("acme")).await.unwrap().entities.len(), 1);
}

#[tokio::test]
async fn an_older_release_leaves_the_migrations_of_a_newer_one_alone() {
    let (views, _database) = migrated().await;
    run(
        &views,
        "INSERT INTO _sqlx_migrations
         SELECT 99990101000001, 'newer', installed_on, success, checksum, execution_time FROM _sqlx_migrations LIMIT 1",
    )
    .await;
    views.migrate().await.unwrap();
}

#[tokio::test]
async fn databases_of_one_cluster_can_migrate_at_the_same_moment() {
    let migrations = (0..4).map(|_| tokio::spawn(async { drop(migrated().await) }));
    for migration in migrations.collect::<Vec<_>>() {
        migration.await.unwrap();
    }
}

/// As on a managed Postgres, where nobody is superuser.
#[tokio::test]
async fn an_owner_that_may_create_roles_needs_no_superuser() {
    let database = TestDatabase::create().await.unwrap();
    let admin = PostgresViews::lazy(database.url(), 1).unwrap();
    // The name of the database makes the role's unique in the cluster. Since PostgreSQL 16 a role
    // that somebody else created can be granted only by who was given it with ADMIN OPTION.
    let name: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(&admin.pool).await.unwrap();
    let owner = format!("{name}_owner");
    run(
        &admin,
        &format!(
            "CREATE ROLE {owner} LOGIN CREATEROLE;
             GRANT CREATE ON SCHEMA public TO {owner} WITH GRANT OPTION;
             DO $$ BEGIN
                 IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledgerline_views') THEN
                     GRANT ledgerline_query, ledgerline_projector TO {owner} WITH ADMIN OPTION;
                     IF current_setting('server_version_num')::int >= 160000 THEN
                         EXECUTE 'GRANT ledgerline_views TO {owner} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE';
                     END IF;
                 END IF;
             END $$;"
        ),
    )
    .await;
    admin.pool.close().await;

    let url: PgConnectOptions = database.url().parse().unwrap();
    let views = PostgresViews::lazy(url.username(&owner).to_url_lossy().as_str(), 1).unwrap();
    views.migrate().await.unwrap();
    let item = product("a", 0, &json!({}));
    views.apply(&Goods::new(), &[&item]).await.unwrap();
    assert_eq!(views.list(&Goods::new(), &all_of("acme")).await.unwrap().entities.len(), 1);
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM product").fetch_one(&views.pool).await.unwrap();
    assert_eq!(seen, 0, "the owner sees no more than others");
    views.pool.close().await;

    let admin = PostgresViews::lazy(database.url(), 1).unwrap();
    run(&admin, &format!("DROP OWNED BY {owner} CASCADE; DROP ROLE {owner}")).await;
}
