//! The reconciler over real stores: what an outage loses, what somebody damages, and what others write meanwhile.
//!
//! `LEDGERLINE_STORM=full` runs them at full size, `LEDGERLINE_SEED` chooses what is lost and written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use ledgerline_app::{DriftKind, ReconcileReport, Registry, Repair, Scope, Verdict};
use ledgerline_kernel::ports::{LedgerRead as _, LedgerWrite as _};
use ledgerline_kernel::{Action, Commit, Entity, EntityKey, Timestamp, VersionItem};
use ledgerline_lambda::{Upkeep, dynamodb_client};
use ledgerline_stores::{DynamoAt, LocalDynamo, TestDatabase};
use ledgerline_testkit::next_version;
use ledgerline_views_postgres::PostgresViews;
use serde_json::json;

use crate::local_config::config;

/// The stores of one test, and what keeps their read models right.
struct Stores {
    dynamo: LocalDynamo,
    database: TestDatabase,
    client: aws_sdk_dynamodb::Client,
    upkeep: Upkeep,
    views: PostgresViews,
}

const TABLES: [(&str, &str); 2] = [("LEDGER_TABLE", "ledger"), ("DATA_TABLE", "data")];

impl Stores {
    async fn start() -> Self {
        let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
        for (_, table) in TABLES {
            dynamo.create_table(table, table == "ledger").unwrap();
        }
        let config = config(dynamo.endpoint(), &TABLES);
        let database = TestDatabase::create().await.unwrap();
        let views = PostgresViews::lazy(database.url(), database.max_connections()).unwrap();
        views.migrate().await.unwrap();
        let upkeep = Upkeep::new(&config, views.clone()).await.unwrap();
        Self { dynamo, database, client: dynamodb_client(&config).await, upkeep, views }
    }

    async fn write(&self, items: &[VersionItem]) {
        for item in items {
            self.upkeep.ledger.commit(&Commit::of(item.clone()), item.updated.at).await.unwrap();
        }
    }

    async fn project(&self, items: &[VersionItem]) {
        self.upkeep.projector.apply(items).await.unwrap();
    }

    async fn reconcile(&self, repair: Repair, settle: Duration) -> ReconcileReport {
        self.upkeep.reconciler.run(Scope::All, repair, settle, |_| {}).await.unwrap()
    }

    /// What Postgres has, to its owner.
    async fn rows(&self) -> BTreeMap<String, (i64, String)> {
        let rows = sqlx::query_as::<_, (String, i64, String)>("SELECT id, version, payload_hash FROM product");
        let rows = rows.fetch_all(self.views.pool()).await.unwrap();
        rows.into_iter().map(|(id, version, hash)| (id, (version, hash))).collect()
    }

    async fn sql(&self, statement: &'static str) {
        let changed = sqlx::query(statement).execute(self.views.pool()).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{statement}");
    }

    async fn put(&self, entity: &Entity) {
        let item = serde_dynamo::to_item(entity).unwrap();
        self.client.put_item().table_name("data").set_item(Some(item)).send().await.unwrap();
    }

    async fn stop(self) {
        self.views.pool().close().await;
        drop(self.database);
        self.dynamo.stop().await;
    }
}

/// The chained versions of one product: created, then a new price each time, all at one moment.
fn history(key: &EntityKey, count: u64, at: Timestamp) -> Vec<VersionItem> {
    (1..=count).fold(Vec::new(), |mut items, number| {
        items.push(next(key, items.last(), number, at));
        items
    })
}

fn next(key: &EntityKey, last: Option<&VersionItem>, number: u64, at: Timestamp) -> VersionItem {
    let registry = Registry::shipped().unwrap();
    let domain = registry.by_resource("products").unwrap();
    let (action, body) = match last {
        None => {
            (Action::Create, json!({"code": key.sk, "name": "n", "attributes": {"price": "1.10", "category": "c"}}))
        }
        Some(_) => (Action::Named("change-price"), json!({"price": format!("{number}.5")})),
    };
    next_version(domain.as_ref(), key, last, (action, &body.to_string()), at).unwrap()
}

fn product(tenant: &str, sk: &str) -> EntityKey {
    format!("PRODUCT#{tenant}#{sk}").parse().unwrap()
}

/// So long before now.
fn ago(time: Duration) -> Timestamp {
    chrono::DateTime::<chrono::Utc>::from(SystemTime::now() - time).into()
}

const HOUR: Duration = Duration::from_secs(3600);

fn is_full() -> bool {
    std::env::var("LEDGERLINE_STORM").as_deref() == Ok("full")
}

fn seed() -> u64 {
    std::env::var("LEDGERLINE_SEED").map_or(20_261_120, |seed| seed.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_26_hours_with_lost_records_is_repaired_to_the_last_one() {
    let (stores, mut random) = (Stores::start().await, fastrand::Rng::with_seed(seed()));
    let (entities, hours) = (if is_full() { 5_000 } else { 300 }, 26);
    let (mut lost, mut late, mut expected) = (0, Vec::new(), BTreeMap::new());
    for number in 0..entities {
        let key = product(&format!("t{}", number % 7), &format!("p{number}"));
        // Half of them are there before data-sync goes away; all change while it is.
        let before = u64::from(number % 2 == 0) * 2;
        let mut items = history(&key, before, ago(HOUR * 30));
        stores.project(&items).await;
        for number in before + 1..=before + random.u64(1..4) {
            let hour = random.u32(0..hours);
            let item = next(&key, items.last(), number, ago(HOUR * (hours - hour)));
            // The stream keeps a day: the first two hours are gone when data-sync is back. Of the rest, 5% is lost.
            if hour < 2 || random.u32(0..100) < 5 {
                lost += 1;
            } else {
                late.push(item.clone());
            }
            items.push(item);
        }
        stores.write(&items).await;
        let newest = items.last().unwrap();
        expected.insert(key.to_string(), (i64::try_from(newest.version.number()).unwrap(), newest.hash.to_string()));
    }
    random.shuffle(&mut late);
    for batch in late.chunks(200) {
        stores.project(batch).await;
    }
    assert_ne!(stores.rows().await, expected, "nothing was lost that shows");

    let repaired = stores.reconcile(Repair::Differences, Duration::from_secs(60)).await;
    let counts = repaired.counts;
    println!(
        "reconcile: seed {}, {entities} entities, {lost} records lost; {counts:?} in {} ms",
        seed(),
        repaired.millis
    );
    assert!(counts.drift() > 0 && counts.repaired == counts.drift() && repaired.is_good(), "{counts:?}");
    assert_eq!(stores.rows().await, expected);
    let after = stores.reconcile(Repair::No, Duration::ZERO).await;
    // Seven tenants, each in the data table, in Postgres and in the totals.
    assert_eq!((after.counts.drift(), after.counts.proven, after.partitions), (0, 21, 7));
    let sums: Vec<(String, i64)> = sqlx::query_as(
        "SELECT tenant_code, sum(products)::bigint FROM product_category_total GROUP BY tenant_code ORDER BY 1",
    )
    .fetch_all(stores.views.pool())
    .await
    .unwrap();
    let of = |tenant: i64| (0..entities).filter(|number| number % 7 == tenant).count();
    let counted = (0..7).map(|tenant| (format!("t{tenant}"), i64::try_from(of(tenant)).unwrap()));
    assert_eq!(sums, counted.collect::<Vec<_>>(), "each product counts once in the totals");
    stores.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_any_read_model_is_found_and_named() {
    let stores = Stores::start().await;
    let histories: Vec<_> =
        (0..12).map(|number| history(&product("acme", &format!("p{number:02}")), 3, ago(HOUR))).collect();
    for items in &histories {
        stores.write(items).await;
        stores.project(items).await;
    }
    let entity = |number: usize, version: usize| Entity::from(&histories[number][version - 1]);
    // The data table: lost, old, forked, of nobody.
    let delete = stores.client.delete_item().table_name("data");
    let delete = delete.key("pk", AttributeValue::S("PRODUCT#acme".to_owned()));
    delete.key("sk", AttributeValue::S("p00".to_owned())).send().await.unwrap();
    stores.put(&entity(1, 2)).await;
    stores.put(&Entity { hash: entity(3, 1).hash, ..entity(2, 3) }).await;
    stores.put(&Entity { key: product("acme", "nobody"), ..entity(0, 1) }).await;
    // Postgres: the same.
    stores.sql("DELETE FROM product WHERE sk = 'p03'").await;
    stores.sql("UPDATE product SET version = 1 WHERE sk = 'p04'").await;
    stores.sql("UPDATE product SET payload_hash = repeat('a', 64) WHERE sk = 'p05'").await;
    stores.sql("UPDATE product SET version = 9 WHERE sk = 'p06'").await;
    stores
        .sql(
            "INSERT INTO product (id, tenant_code, pk, sk, cpk, csk, code, name, version, is_deleted, payload_hash,
                 created_at, created_by, created_ip, updated_at, updated_by, updated_ip)
             SELECT 'PRODUCT#acme#stranger', tenant_code, pk, 'stranger', cpk, 'stranger@0000000003', code, name,
                 version, is_deleted, payload_hash, created_at, created_by, created_ip, updated_at, updated_by, updated_ip
             FROM product WHERE sk = 'p07'",
        )
        .await;
    // The totals: ahead, and with another past.
    stores.sql("UPDATE projection_position SET version = 7 WHERE entity_id = 'PRODUCT#acme#p08'").await;
    stores.sql("UPDATE projection_position SET hash = repeat('b', 64) WHERE entity_id = 'PRODUCT#acme#p09'").await;

    let dry = stores.reconcile(Repair::No, Duration::ZERO).await;
    assert_eq!((dry.counts.drift(), dry.counts.repaired), (11, 0));
    let report = stores.reconcile(Repair::Differences, Duration::ZERO).await;
    let found: Vec<_> = report
        .read_models
        .iter()
        .flat_map(|model| {
            model
                .drift
                .iter()
                .map(|drift| (model.read_model.as_str(), drift.id.sk.as_str(), drift.kind, drift.repaired))
        })
        .collect();
    let totals = report.read_models.last().map(|model| model.read_model.clone()).unwrap();
    let mut expected = [
        ("data-table", "nobody", DriftKind::Extra, false),
        ("data-table", "p00", DriftKind::Missing, true),
        ("data-table", "p01", DriftKind::Behind, true),
        ("data-table", "p02", DriftKind::Fork, true),
        ("postgres", "p03", DriftKind::Missing, true),
        ("postgres", "p04", DriftKind::Behind, true),
        ("postgres", "p05", DriftKind::Fork, true),
        ("postgres", "p06", DriftKind::Ahead, true),
        ("postgres", "stranger", DriftKind::Extra, false),
        ("totals", "p08", DriftKind::Ahead, false),
        ("totals", "p09", DriftKind::Fork, false),
    ]
    .map(|(model, sk, kind, repaired)| (model.to_owned(), sk.to_owned(), format!("{kind:?}"), repaired));
    let mut found: Vec<_> = found
        .into_iter()
        .map(|(model, sk, kind, repaired)| {
            let model = if ["data-table", "postgres"].contains(&model) { model } else { "totals" };
            (model.to_owned(), sk.to_owned(), format!("{kind:?}"), repaired)
        })
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{totals}");
    assert!(!report.is_good());
    // Two of nobody, and what sums cannot give back.
    assert_eq!(stores.reconcile(Repair::No, Duration::ZERO).await.counts.drift(), 4);
    let expected = histories.iter().map(|items| (items[2].key.to_string(), (3, items[2].hash.to_string())));
    let mut rows = stores.rows().await;
    rows.remove("PRODUCT#acme#stranger").unwrap();
    assert_eq!(rows, expected.collect());
    stores.stop().await;
}

/// The sums, and how many positions there are.
async fn totals(stores: &Stores) -> (Vec<String>, i64) {
    let sums = sqlx::query_scalar(
        "SELECT concat_ws('|', tenant_code, category, trim_scale(products), trim_scale(price_sum))
         FROM product_category_total ORDER BY 1",
    );
    let positions = sqlx::query_scalar("SELECT count(*) FROM projection_position");
    let sums = sums.fetch_all(stores.views.pool()).await.unwrap();
    (sums, positions.fetch_one(stores.views.pool()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_right_whatever_becomes_of_their_positions_and_of_themselves() {
    let stores = Stores::start().await;
    let mut histories = Vec::new();
    for tenant in ["acme", "other"] {
        for number in 0..8 {
            let items = history(&product(tenant, &format!("p{number}")), 3, ago(HOUR));
            stores.write(&items).await;
            stores.project(&items).await;
            histories.push(items);
        }
    }
    let right = totals(&stores).await;
    assert_eq!(right, (vec!["acme|c|8|28".to_owned(), "other|c|8|28".to_owned()], 16));
    let damages = [
        ("one lost", "DELETE FROM projection_position WHERE entity_id = 'PRODUCT#acme#p3'"),
        ("all lost", "DELETE FROM projection_position WHERE tenant_code = 'acme'"),
        ("sums lost", "DELETE FROM product_category_total WHERE tenant_code = 'acme'"),
        ("sums changed", "UPDATE product_category_total SET products = products + 3, price_sum = -1"),
        ("sums made up", "INSERT INTO product_category_total VALUES ('acme', 'nothing', 1, 2, 3)"),
        (
            "gone back",
            "UPDATE projection_position AS held SET version = 1, hash = given.hash, memory = given.memory
             FROM (SELECT $${hash}$$ AS hash, '{\"category\":\"c\",\"price\":\"1.10\"}'::jsonb AS memory) AS given
             WHERE entity_id = 'PRODUCT#acme#p3'",
        ),
    ];
    for (what, damage) in damages {
        let damage = damage.replace("{hash}", histories[3][0].hash.as_str());
        sqlx::raw_sql(sqlx::AssertSqlSafe(damage)).execute(stores.views.pool()).await.unwrap();
        let dry = stores.reconcile(Repair::No, Duration::ZERO).await;
        assert!(dry.counts.wrong_sums > 0 && !dry.is_good(), "{what}: {dry:?}");
        let repaired = stores.reconcile(Repair::Differences, Duration::ZERO).await;
        assert!(repaired.is_good() && repaired.counts.left() == 0, "{what}: {repaired:?}");
        assert_eq!(totals(&stores).await, right, "{what}");
        let after = stores.reconcile(Repair::No, Duration::ZERO).await;
        assert_eq!((after.counts.drift(), after.counts.proven), (0, 6), "{what}: {after:?}");
    }
    // Delivered again after its position was lost: nobody can tell it from a new one, and it counts twice.
    sqlx::raw_sql("DELETE FROM projection_position WHERE entity_id = 'PRODUCT#other#p1'")
        .execute(stores.views.pool())
        .await
        .unwrap();
    stores.project(&histories[9]).await;
    assert_eq!(totals(&stores).await.0, ["acme|c|8|28", "other|c|9|31.5"]);
    assert!(stores.reconcile(Repair::Differences, Duration::ZERO).await.is_good());
    assert_eq!(totals(&stores).await, right);
    stores.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_the_ledger_that_cannot_be_compared_is_counted() {
    let stores = Stores::start().await;
    let items = history(&product("acme", "p"), 2, ago(HOUR));
    stores.write(&items).await;
    stores.project(&items).await;
    let update = stores.client.update_item().table_name("ledger").key("pk", AttributeValue::S("PRODUCT#acme".into()));
    let update = update.key("sk", AttributeValue::S("p@0000000001".into())).update_expression("REMOVE updatedAt");
    update.send().await.unwrap();
    let report = stores.reconcile(Repair::Differences, Duration::ZERO).await;
    assert_eq!((report.unreadable, report.is_good()), (1, false), "{report:?}");
    assert!(report.unreadable_rows[0].starts_with("PRODUCT#acme#p@0000000001: "), "{report:?}");
    stores.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_64_writers_nothing_is_taken_for_a_difference() {
    let stores = Arc::new(Stores::start().await);
    let updates = if is_full() { 100 } else { 12 };
    for number in 0..64 {
        let items = history(&product("acme", &format!("w{number:02}")), 2, ago(HOUR));
        stores.write(&items).await;
        stores.project(&items).await;
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let writers = (0..64_u64).map(|number| {
        let (stores, mut random) = (Arc::clone(&stores), fastrand::Rng::with_seed(seed() + number));
        tokio::spawn(async move {
            let key = product("acme", &format!("w{number:02}"));
            let mut last = stores.upkeep.ledger.newest(&key).await.unwrap().unwrap();
            for round in 0..updates {
                let item = next(&key, Some(&last), last.version.number() + 1, ago(Duration::ZERO));
                stores.write(std::slice::from_ref(&item)).await;
                stores.project(std::slice::from_ref(&item)).await;
                if random.u32(0..4) == 0 {
                    let new = history(&product("acme", &format!("new-{number}-{round}")), 1, ago(Duration::ZERO));
                    stores.write(&new).await;
                    stores.project(&new).await;
                }
                last = item;
            }
        })
    });
    let writing: Vec<_> = writers.collect();
    let watching = tokio::spawn({
        let (stores, is_done) = (Arc::clone(&stores), Arc::clone(&is_done));
        async move {
            let (mut rounds, mut moving, mut in_flight) = (0, 0, 0);
            while !is_done.load(Ordering::SeqCst) {
                // Long enough for 64 writers who share a few connections to get their version projected.
                let report = stores.reconcile(Repair::Differences, Duration::from_secs(20)).await;
                assert_eq!(report.counts.drift(), 0, "{report:?}");
                assert!(report.is_good(), "{report:?}");
                rounds += 1;
                moving += report.counts.moving;
                in_flight += report.counts.in_flight;
            }
            (rounds, moving, in_flight)
        }
    });
    for writer in writing {
        writer.await.unwrap();
    }
    is_done.store(true, Ordering::SeqCst);
    let (rounds, moving, in_flight) = watching.await.unwrap();
    println!(
        "reconcile: seed {}, 64 writers, {rounds} rounds beside them, {moving} moving, {in_flight} in flight",
        seed()
    );
    assert!(rounds > 0);
    let report = stores.reconcile(Repair::No, Duration::ZERO).await;
    assert_eq!((report.counts.drift(), report.counts.proven), (0, 3), "{report:?}");
    assert!(report.read_models.iter().all(|model| model.verdict == Verdict::Proven));
    Arc::into_inner(stores).unwrap().stop().await;
}
