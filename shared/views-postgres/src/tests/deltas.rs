use std::sync::Arc;

use ledgerline_kernel::ports::{DeltaMove, DeltaPosition, DeltaSink, ReadModelAudit as _, SumsFound};
use ledgerline_kernel::{DeltaChange, DynDelta, Hash, Version, delta};
use ledgerline_stores::TestDatabase;
use ledgerline_testkit::NoteTotals;
use ledgerline_testkit::note::Note;
use serde_json::{Value, json};

use super::{all_of, migrated, note_of, notes, run};
use crate::PostgresViews;
use crate::audit::Positions;
use crate::session::Role;

/// The tables of [`NoteTotals`], which no migration makes. Made as those of products are.
const NOTE_TABLES: &str = r#"
    CREATE TABLE note_total (LIKE product_category_total INCLUDING ALL);
    ALTER TABLE note_total DROP COLUMN priced;
    ALTER TABLE note_total RENAME COLUMN category TO shelf;
    ALTER TABLE note_total RENAME COLUMN products TO notes;
    ALTER TABLE note_total RENAME COLUMN price_sum TO letters;
    CREATE TABLE note_length (LIKE product_category_price INCLUDING ALL);
    ALTER TABLE note_length RENAME COLUMN category TO shelf;
    ALTER TABLE note_length RENAME COLUMN products TO notes;
    ALTER TABLE note_length RENAME COLUMN price TO letters;
    GRANT SELECT ON note_total, note_length TO ledgerline_query;
    GRANT SELECT, INSERT, UPDATE, DELETE ON note_total, note_length TO ledgerline_projector;
"#;

async fn with_totals() -> (PostgresViews, TestDatabase) {
    let (views, database) = migrated().await;
    run(&views, NOTE_TABLES).await;
    (views, database)
}

ledgerline_testkit::deltas_contract!(with_totals);

fn totals() -> Arc<dyn DynDelta> {
    delta::<Note, NoteTotals>()
}

/// The first version of a note, which adds this.
fn first(sk: &str, change: DeltaChange) -> DeltaMove {
    let to = DeltaPosition { version: Version::FIRST, hash: Hash::of(sk), memory: Value::Null };
    DeltaMove { key: note_of("acme", sk), from: None, to, changes: vec![change] }
}

fn count(views: &PostgresViews, table: &'static str) -> impl Future<Output = i64> {
    let views = views.clone();
    async move {
        let mut session = views.begin(Role::Projector, views.write_limit).await.unwrap();
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(sql).fetch_one(session.connection()).await.unwrap()
    }
}

#[tokio::test]
async fn positions_and_rows_are_written_in_one_transaction() {
    let (views, _database) = with_totals().await;
    // The rows come after the positions, and these are refused.
    run(&views, "ALTER TABLE note_total ADD CHECK (notes < 1)").await;
    let change = DeltaChange { table: 0, key: vec!["a".to_owned()], add: vec![1.into(), 1.into()] };
    views.advance(totals().as_ref(), &[first("n", change)]).await.unwrap_err();
    assert_eq!(count(&views, "projection_position").await, 0);
}

#[tokio::test]
async fn rows_that_came_to_zero_are_deleted_and_not_only_hidden() {
    let (views, _database) = with_totals().await;
    let add = |sk: &str, one: &str| {
        let key = vec!["a".to_owned(), "12.50".to_owned()];
        first(sk, DeltaChange { table: 1, key, add: vec![one.parse().unwrap()] })
    };
    views.advance(totals().as_ref(), &[add("n", "1")]).await.unwrap();
    assert_eq!(count(&views, "note_length").await, 1);
    views.advance(totals().as_ref(), &[add("m", "-1")]).await.unwrap();
    assert_eq!(count(&views, "note_length").await, 0);
}

#[tokio::test]
async fn nobody_but_the_projector_sees_positions_and_a_tenant_sees_its_own_sums_only() {
    let (views, _database) = migrated().await;
    let tenant = all_of("acme").tenant;
    for (statement, code) in
        [("SELECT FROM projection_position", "42501"), ("DELETE FROM product_category_total", "25006")]
    {
        let mut session = views.begin(Role::Query(&tenant), views.read_limit).await.unwrap();
        let refused = sqlx::query(statement).execute(session.connection()).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), code, "{statement}");
    }
    for owner in ["acme", "other"] {
        let insert = format!(
            "BEGIN; SET LOCAL ROLE ledgerline_projector; INSERT INTO product_category_total VALUES ('{owner}', 'a', 1, 1, 1);
             INSERT INTO product_category_price VALUES ('{owner}', 'a', 1, 1); COMMIT"
        );
        run(&views, &insert).await;
    }
    for table in ["product_category_total", "product_category_price"] {
        let mut session = views.begin(Role::Query(&tenant), views.read_limit).await.unwrap();
        let sql = sqlx::AssertSqlSafe(format!("SELECT tenant_code FROM {table}"));
        let seen: Vec<String> = sqlx::query_scalar(sql).fetch_all(session.connection()).await.unwrap();
        assert_eq!(seen, ["acme"], "{table}");
    }
}

/// What a reconciler asks of the positions of [`NoteTotals`].
fn positions(views: &PostgresViews) -> Positions {
    Positions { views: views.clone(), entity_type: "NOTE".parse().unwrap(), delta: totals() }
}

/// The first version of a note that is on this shelf with so many letters.
fn shelved(tenant: &str, sk: &str, shelf: &str, letters: u32) -> DeltaMove {
    let memory = json!([shelf, letters]);
    let changes = totals().adds(&memory).unwrap();
    let to = DeltaPosition { version: Version::FIRST, hash: Hash::of(sk), memory };
    DeltaMove { key: note_of(tenant, sk), from: None, to, changes }
}

async fn sums(views: &PostgresViews, tenant: &str, correct: bool) -> SumsFound {
    positions(views).sums(notes().as_ref(), &tenant.parse().unwrap(), correct).await.unwrap()
}

#[tokio::test]
async fn sums_are_compared_with_what_the_positions_of_their_tenant_add() {
    let (views, _database) = with_totals().await;
    assert_eq!(sums(&views, "acme", true).await, SumsFound::Right, "nothing is what nothing adds");
    let moves = [
        shelved("acme", "a", "A", 3),
        shelved("acme", "b", "A", 3),
        shelved("acme", "c", "", 0),
        shelved("acme-2", "a", "A", 9),
    ];
    views.advance(totals().as_ref(), &moves).await.unwrap();
    for tenant in ["acme", "acme-2", "acm"] {
        assert_eq!(sums(&views, tenant, false).await, SumsFound::Right, "{tenant}");
    }
    run(
        &views,
        "DELETE FROM note_length WHERE tenant_code = 'acme' AND shelf = '';
         UPDATE note_total SET letters = letters + 1 WHERE tenant_code = 'acme' AND shelf = 'A';
         INSERT INTO note_total VALUES ('acme', 'Z', 99999999999999999999999999999999999999999, 0.5)",
    )
    .await;
    assert_eq!(sums(&views, "acme", false).await, SumsFound::Wrong(3));
    assert_eq!(sums(&views, "acme-2", true).await, SumsFound::Right);
    assert_eq!(sums(&views, "acme", true).await, SumsFound::Corrected(3));
    assert_eq!(sums(&views, "acme", false).await, SumsFound::Right);
    assert_eq!((count(&views, "note_total").await, count(&views, "note_length").await), (3, 3));
}

#[tokio::test]
async fn what_nobody_can_read_is_wrong_and_nothing_is_corrected_without_it() {
    let (views, _database) = with_totals().await;
    let moves = [shelved("acme", "a", "A", 3), shelved("acme", "b", "A", 3)];
    views.advance(totals().as_ref(), &moves).await.unwrap();
    run(&views, "UPDATE projection_position SET memory = '7' WHERE entity_id = 'NOTE#acme#b'").await;
    let before = count(&views, "note_total WHERE notes = 2").await;
    assert!(matches!(sums(&views, "acme", true).await, SumsFound::Wrong(rows) if rows > 1));
    assert_eq!((before, count(&views, "note_total WHERE notes = 2").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_put_right_beside_those_who_write() {
    let (views, _database) = with_totals().await;
    let writers = (0..4).map(|writer| {
        let views = views.clone();
        tokio::spawn(async move {
            for number in 0..40 {
                let moving = shelved("acme", &format!("{writer}-{number}"), &format!("{}", number % 3), number % 5);
                assert_eq!(views.advance(totals().as_ref(), &[moving]).await, Ok(vec![]));
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut corrected = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        run(&views, "UPDATE note_total SET letters = letters + 7").await;
        corrected += u32::from(matches!(sums(&views, "acme", true).await, SumsFound::Corrected(_)));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(corrected > 0);
    assert_eq!(sums(&views, "acme", false).await, SumsFound::Right);
    assert_eq!(count(&views, "projection_position").await, 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_overlap_in_every_order_do_not_deadlock_and_count_each_entity_once() {
    let (views, _database) = with_totals().await;
    let keys: Vec<String> = (0..40).map(|number| format!("n{number:02}")).collect();
    let mut tasks = Vec::new();
    for worker in 0..8 {
        let (views, mut keys) = (views.clone(), keys.clone());
        keys.rotate_left(worker * 5);
        if worker % 2 == 1 {
            keys.reverse();
        }
        tasks.push(tokio::spawn(async move {
            let moves: Vec<DeltaMove> = keys
                .iter()
                .map(|sk| {
                    let shelf = vec![sk.chars().last().unwrap().to_string()];
                    first(sk, DeltaChange { table: 0, key: shelf, add: vec![1.into(), 2.into()] })
                })
                .collect();
            let mut lost = 0;
            for part in moves.chunks(7) {
                lost += views.advance(totals().as_ref(), part).await.unwrap().len();
            }
            moves.len() - lost
        }));
    }
    let mut won = 0;
    for task in tasks {
        won += task.await.unwrap();
    }
    assert_eq!(won, keys.len());
    let mut session = views.begin(Role::Projector, views.write_limit).await.unwrap();
    let sums: (String, String) = sqlx::query_as("SELECT sum(notes)::text, sum(letters)::text FROM note_total")
        .fetch_one(session.connection())
        .await
        .unwrap();
    assert_eq!(sums, ("40".to_owned(), "80".to_owned()));
}
