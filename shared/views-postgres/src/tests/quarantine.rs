use std::time::Duration;

use ledgerline_kernel::ports::{Poison, Quarantine, StoreError};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;

use super::{all_of, migrated, note_of};
use crate::PostgresViews;
use crate::session::{Role, Session};

ledgerline_testkit::quarantine_contract!(migrated);

fn poison(record: &str) -> Poison {
    Poison {
        record: record.to_owned(),
        version: Some((note_of("acme", "n"), "7".parse().unwrap())),
        error: "it does not fit".to_owned(),
        image: json!({"kind": {"S": "version"}}),
    }
}

#[tokio::test]
async fn a_quarantined_record_is_kept_with_all_that_is_known_of_it() {
    let (views, _database) = migrated().await;
    for _ in 0..3 {
        views.strike("one", &poison("1")).await.unwrap();
    }
    let mut session = Session::begin(&views.pool, Role::Projector, views.write_limit).await.unwrap();
    let row: (String, String, i64, String, serde_json::Value, i32, bool) = sqlx::query_as(
        "SELECT entity_id, tenant_code, version, error, image, attempts, quarantined_at >= first_seen_at FROM quarantine",
    )
    .fetch_one(session.connection())
    .await
    .unwrap();
    let Poison { error, image, .. } = poison("1");
    assert_eq!(row, ("NOTE#acme#n".to_owned(), "acme".to_owned(), 7, error, image, 3, true));
}

#[tokio::test]
async fn nobody_but_the_projector_sees_the_quarantine() {
    let (views, _database) = migrated().await;
    views.strike("one", &poison("1")).await.unwrap();
    let tenant = all_of("acme").tenant;
    let mut session = Session::begin(&views.pool, Role::Query(&tenant), views.read_limit).await.unwrap();
    let refused = sqlx::query("SELECT FROM quarantine").execute(session.connection()).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501");
}

#[tokio::test]
async fn a_postgres_that_is_away_strikes_nobody() {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_millis(200));
    let views = PostgresViews::new(pool.connect_lazy("postgres://nobody@127.0.0.1:1/nothing").unwrap());
    assert!(matches!(views.strike("one", &poison("1")).await, Err(StoreError::Unavailable { .. })));
}
