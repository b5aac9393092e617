use std::time::Duration;

use ledgerline_kernel::ports::{EntityList, StateSink, StoreError};
use ledgerline_stores::TestDatabase;
use ledgerline_testkit::version_items;
use serde_json::json;
use sqlx::postgres::PgPoolOptions;

use super::fields::{Goods, product};
use super::{all_of, migrated, note_of, notes, run};
use crate::PostgresViews;
use crate::session::{Role, Session};

const END_OTHER_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

fn is_unavailable<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable { .. }))
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_millis(200));
    let views = PostgresViews::new(pool.connect_lazy("postgres://nobody@127.0.0.1:1/nothing").unwrap());
    assert!(is_unavailable(&views.ping().await));
    assert!(is_unavailable(&views.list(&Goods::new(), &all_of("acme")).await));
}

#[tokio::test]
async fn a_url_that_makes_no_sense_is_rejected_without_repeating_it() {
    let error = PostgresViews::lazy("postgres//user:secret@host", 1).unwrap_err();
    assert!(matches!(error, StoreError::Rejected { .. }) && !error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_database_that_was_not_migrated_yet_is_unavailable_and_works_once_it_was() {
    let database = TestDatabase::create().await.unwrap();
    let views = PostgresViews::lazy(database.url(), 1).unwrap();
    let item = product("a", 0, &json!({}));
    assert!(is_unavailable(&views.apply(&Goods::new(), &[&item]).await));
    assert!(is_unavailable(&views.list(&Goods::new(), &all_of("acme")).await));
    views.migrate().await.unwrap();
    views.apply(&Goods::new(), &[&item]).await.unwrap();
    assert_eq!(views.list(&Goods::new(), &all_of("acme")).await.unwrap().entities.len(), 1);
}

#[tokio::test]
async fn a_missing_table_is_unavailable_not_a_fault_of_the_record() {
    let (views, _database) = migrated().await;
    let [item] = version_items(&note_of("acme", "n"), 1).try_into().unwrap();
    assert!(is_unavailable(&views.apply(notes().as_ref(), &[&item]).await));
}

#[tokio::test]
async fn connections_that_died_in_the_pool_are_replaced() {
    let (views, database) = migrated().await;
    if database.max_connections() == 1 {
        return; // the embedded one has nobody else to end a session
    }
    drop(views);
    let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false);
    let views = PostgresViews::new(pool.connect_lazy(database.url()).unwrap());
    let item = product("a", 0, &json!({}));
    for _ in 0..2 {
        views.ping().await.unwrap();
        let killer = PostgresViews::lazy(database.url(), 1).unwrap();
        run(&killer, END_OTHER_SESSIONS).await;
        views.apply(&Goods::new(), &[&item]).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_half_way_leaves_a_usable_pool_and_no_half_batch() {
    let (views, database) = migrated().await;
    drop(views);
    let views = PostgresViews::lazy(database.url(), 1).unwrap();
    let items: Vec<_> = (0..50).map(|number| product(&format!("{number}"), 0, &json!({}))).collect();
    let items: Vec<_> = items.iter().collect();
    for micros in (0..4_000).step_by(250) {
        let _ = tokio::time::timeout(Duration::from_micros(micros), views.apply(&Goods::new(), &items)).await;
        let _ = tokio::time::timeout(Duration::from_micros(micros), views.list(&Goods::new(), &all_of("acme"))).await;
        let found = views.list(&Goods::new(), &all_of("acme")).await.unwrap().entities.len();
        assert!(found == 0 || found == 50, "{found}");
    }
    views.apply(&Goods::new(), &items).await.unwrap();
    assert_eq!(views.list(&Goods::new(), &all_of("acme")).await.unwrap().entities.len(), 50);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_by_the_server_itself() {
    let (views, database) = migrated().await;
    if database.max_connections() == 1 {
        return; // the embedded one has no clock to interrupt itself with
    }
    let tenant = all_of("acme").tenant;
    let limit = Duration::from_millis(300);
    let mut session = Session::begin(&views.pool, Role::Query(&tenant), limit).await.unwrap();
    let ended = sqlx::query("SELECT pg_sleep(60)").execute(session.connection()).await.unwrap_err();
    assert_eq!(ended.as_database_error().unwrap().code().unwrap(), "57014");
    drop(session);
    assert_eq!(views.list(&Goods::new(), &all_of("acme")).await.unwrap().entities, []);
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_before_the_caller_gives_up() {
    // Takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://nobody@{}/nothing?sslmode=disable", silent.local_addr().unwrap());
    let mut views = PostgresViews::new(PgPoolOptions::new().connect_lazy(&url).unwrap());
    views.read_limit = Duration::from_millis(100);
    views.write_limit = views.read_limit;
    assert!(is_unavailable(&views.list(&Goods::new(), &all_of("acme")).await));
    assert!(is_unavailable(&views.apply(&Goods::new(), &[&product("a", 0, &json!({}))]).await));
}
