use std::sync::Mutex;
use std::time::Duration;

use ledgerline_app::{Projector, RebuildStopped};
use ledgerline_kernel::VersionItem;
use ledgerline_kernel::ports::{EntityList as _, ListQuery, RebuildError, ViewRebuild as _};
use ledgerline_views_postgres::{PostgresRebuild, PostgresViews};
use serde_json::json;
use sqlx::Connection as _;

use super::{Intercepted, World, projector, seed};

async fn filled(count: usize) -> World {
    let world = World::start().await;
    world.fill(count, &mut fastrand::Rng::with_seed(seed())).await;
    world
}

#[tokio::test]
async fn a_rebuilt_database_is_one_that_a_migration_made_and_holds_the_same() {
    let world = filled(120).await;
    let (catalogue, rows, oid) = (world.catalogue().await, world.rows().await, world.oid().await);
    for _ in 0..2 {
        let rebuilt = world.rebuild().await.unwrap();
        assert_eq!((rebuilt.entities, rebuilt.corrected), (120, 0));
        assert_eq!(rebuilt.refused, Vec::<String>::new());
        assert_eq!(world.catalogue().await, catalogue);
        assert!(world.rows().await == rows);
        world.assert_right().await;
    }
    assert_ne!(world.oid().await, oid);
    // What comes afterwards finds the new tables.
    let item = world.price("acme", "p0", 7).await;
    world.deliver(&[item]).await;
    world.assert_right().await;
    world.stop().await;
}

#[tokio::test]
async fn whatever_is_wrong_in_the_old_tables_is_right_in_the_new_ones() {
    let world = filled(100).await;
    let behind = world.create("acme", "behind", json!({"category": "Ideal", "price": "5"})).await;
    world.deliver(&[behind]).await;
    // Written, and never delivered.
    world.price("acme", "behind", 1).await;
    world.create("acme", "lost", json!({"category": "Ideal", "price": "5"})).await;
    world
        .run(
            "DELETE FROM product WHERE sk = 'p4';
             UPDATE product SET version = version + 5 WHERE sk = 'p6';
             UPDATE product SET payload_hash = repeat('0', 64) WHERE sk = 'p8';
             INSERT INTO product (id, tenant_code, pk, sk, cpk, csk, code, name, version, is_deleted, payload_hash,
                                  created_at, created_by, created_ip, updated_at, updated_by, updated_ip)
             SELECT 'no key', tenant_code, pk, 'ghost', cpk, 'ghost@0000000001', code, name, 1, false, payload_hash,
                    created_at, created_by, created_ip, updated_at, updated_by, updated_ip FROM product WHERE sk = 'p10';
             UPDATE product_category_total SET products = products + 3, price_sum = -1;
             DELETE FROM projection_position WHERE entity_id = 'PRODUCT#acme#p12'",
        )
        .await;
    let rebuilt = world.rebuild().await.unwrap();
    assert_eq!((rebuilt.entities, rebuilt.corrected), (102, 6));
    world.assert_right().await;
    world.stop().await;
}

#[tokio::test]
async fn a_rebuild_that_is_given_up_leaves_the_tables_as_they_were() {
    let world = filled(60).await;
    let (catalogue, rows, oid) = (world.catalogue().await, world.rows().await, world.oid().await);
    assert!(!world.views.abandon_rebuild(world.domain()).await.unwrap());
    let begun = world.views.rebuild(world.domain(), 2).await.unwrap();
    let items: Vec<_> = world.newest().await.into_values().collect();
    fill_partly(&begun, &world, &items).await;
    let late = world.price("acme", "p0", 3).await;
    let version = late.version.number().try_into().unwrap();
    world.deliver(&[late]).await;
    assert_eq!(world.under_construction("p0").await, (version, version), "whatever is written is written there too");
    let before = world.rows().await;
    assert!(world.views.abandon_rebuild(world.domain()).await.unwrap());
    assert_eq!(world.catalogue().await, catalogue);
    assert!(world.rows().await == before && before != rows);
    assert_eq!(world.oid().await, oid);
    let late = world.price("acme", "p0", 4).await;
    world.deliver(&[late]).await;
    world.assert_right().await;
    // Whoever is still at it is told.
    let ended = world.rebuild_into(&begun).await;
    assert!(ended.is_err(), "{ended:?}");
    world.assert_right().await;
    drop(begun);
    assert_eq!(world.rebuild().await.unwrap().entities, 60);
    world.stop().await;
}

async fn fill_partly(begun: &PostgresRebuild, world: &World, items: &[VersionItem]) {
    begun.states().apply(world.domain(), &items.iter().take(30).collect::<Vec<_>>()).await.unwrap();
}

#[tokio::test]
async fn a_row_tampered_with_in_the_new_tables_stops_the_switch() {
    let changes = [
        "UPDATE {}.product SET payload_hash = repeat('0', 64) WHERE sk = 'p1'",
        "UPDATE {}.product SET version = version + 1 WHERE sk = 'p1'",
        "UPDATE {}.projection_position SET hash = repeat('0', 64) WHERE entity_id = 'PRODUCT#other#p1'",
        "INSERT INTO {}.product (id, tenant_code, pk, sk, cpk, csk, code, name, version, is_deleted, payload_hash,
                                 created_at, created_by, created_ip, updated_at, updated_by, updated_ip)
         SELECT 'PRODUCT#other#ghost', tenant_code, pk, 'ghost', cpk, 'ghost@0000000001', code, name, 1, false,
                payload_hash, created_at, created_by, created_ip, updated_at, updated_by, updated_ip
         FROM {}.product WHERE sk = 'p1'",
    ];
    for change in changes {
        let world = filled(40).await;
        let (rows, oid) = (world.rows().await, world.oid().await);
        let tamper = || {
            let world = &world;
            Box::pin(async move {
                let schema = world.schema().await.unwrap();
                world.run(&change.replace("{}", &schema)).await;
            }) as _
        };
        let inner = world.views.rebuild(world.domain(), 2).await.unwrap();
        let stopped = world.rebuild_into(&Intercepted { inner, when_filled: Box::new(tamper) }).await;
        assert!(matches!(&stopped, Err(RebuildStopped::Wrong(what)) if what.len() == 1), "{change}: {stopped:?}");
        assert!(world.rows().await == rows, "{change}");
        assert_eq!(world.oid().await, oid);
        world.assert_right().await;
        assert!(world.views.abandon_rebuild(world.domain()).await.unwrap());
        world.stop().await;
    }
}

#[tokio::test]
async fn what_is_missing_in_the_new_tables_is_noticed() {
    let world = filled(40).await;
    let clear = || {
        let world = &world;
        Box::pin(async move {
            let schema = world.schema().await.unwrap();
            world
                .run(&format!("DELETE FROM {schema}.product WHERE sk = 'p1'; DELETE FROM product WHERE sk = 'p1'"))
                .await;
        }) as _
    };
    let inner = world.views.rebuild(world.domain(), 2).await.unwrap();
    let stopped = world.rebuild_into(&Intercepted { inner, when_filled: Box::new(clear) }).await;
    assert!(matches!(stopped, Err(RebuildStopped::Incomplete { rows: 39, expected: 40 })), "{stopped:?}");
    world.stop().await;
}

#[tokio::test]
async fn what_others_have_built_upon_the_old_tables_stops_the_switch() {
    let world = filled(20).await;
    let oid = world.oid().await;
    world.run("CREATE VIEW somebodys AS SELECT code FROM product").await;
    let stopped = world.rebuild().await.unwrap_err();
    assert!(stopped.to_string().contains("depend"), "{stopped}");
    assert_eq!(world.oid().await, oid);
    world.run("DROP VIEW somebodys").await;
    // It goes on from there.
    assert_eq!(world.rebuild().await.unwrap().entities, 20);
    world.stop().await;
}

#[tokio::test]
async fn one_rebuild_of_a_resource_at_a_time() {
    let world = filled(10).await;
    if !world.has_connections() {
        return world.stop().await;
    }
    let first = world.views.rebuild(world.domain(), 2).await.unwrap();
    let second = world.views.rebuild(world.domain(), 2).await.map(drop);
    assert!(matches!(second, Err(RebuildError::Running(resource)) if resource == "products"));
    drop(first);
    let third = world.views.rebuild(world.domain(), 7).await.unwrap();
    assert!(third.is_resumed());
    assert_eq!(third.segments().len(), 2);
    drop(third);
    world.stop().await;
}

#[tokio::test]
async fn tables_of_another_release_are_not_replaced() {
    let world = filled(10).await;
    world
        .run(
            "INSERT INTO _sqlx_migrations
             SELECT 99990101000001, 'newer', installed_on, success, checksum, execution_time FROM _sqlx_migrations LIMIT 1",
        )
        .await;
    let refused = world.rebuild().await;
    assert!(matches!(refused, Err(RebuildStopped::Store(RebuildError::OtherMigrations(_)))), "{refused:?}");
    world.run("DELETE FROM _sqlx_migrations WHERE version = 99990101000001").await;
    assert_eq!(world.rebuild().await.unwrap().entities, 10);
    world.stop().await;
}

#[tokio::test]
async fn connections_that_have_prepared_their_statements_go_on_after_a_switch() {
    let world = filled(40).await;
    let own = if world.has_connections() {
        PostgresViews::lazy(world.database.url(), 1).unwrap()
    } else {
        world.views.clone()
    };
    let projector = projector(&world.registry, &world.ledger, &own);
    let query = || ListQuery {
        tenant: "acme".parse().unwrap(),
        filters: Vec::new(),
        words: Vec::new(),
        sort: Vec::new(),
        after: None,
        limit: 100,
        include_deleted: true,
        with_total: true,
    };
    for round in 0..4 {
        // Often enough for the server to keep a plan, too.
        for price in 0..8 {
            let item = world.price("acme", "p0", round * 10 + price).await;
            projector.apply(&[item]).await.unwrap();
            let page = own.list(world.domain(), &query()).await.unwrap();
            assert_eq!(page.total, Some(20));
            let p0 = page.entities.iter().find(|entity| entity.key.to_string() == "PRODUCT#acme#p0").unwrap();
            assert_eq!(p0.attributes["price"], json!((round * 10 + price).to_string()));
        }
        world.rebuild().await.unwrap();
    }
    world.assert_right().await;
    own.pool().close().await;
    world.stop().await;
}

/// One has the table when the switch comes, the other comes while the switch waits for the first.
#[tokio::test(flavor = "multi_thread")]
async fn two_batches_in_flight_at_the_switch_lose_nothing() {
    let world = filled(40).await;
    if !world.has_connections() {
        return world.stop().await;
    }
    let first = world.price("other", "p1", 1001).await;
    let second = world.price("other", "p3", 1003).await;
    // Holds up whoever writes this row.
    let mut holder = sqlx::PgConnection::connect(world.database.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM product WHERE sk = 'p1' FOR UPDATE").execute(&mut holder).await.unwrap();
    let oid = world.oid().await;
    let inner = world.views.rebuild(world.domain(), 2).await.unwrap();
    let first = Batch::new(&world, first);
    let second = Batch::new(&world, second);
    let first_waits = tokio::sync::Notify::new();
    let views = Intercepted {
        inner,
        when_filled: Box::new(|| {
            Box::pin(async {
                first.start();
                until_waiting(&world, 1).await;
                first_waits.notify_one();
            })
        }),
    };
    let conducting = async {
        first_waits.notified().await;
        // Then the switch waits for the first, and the second for the switch.
        until_waiting(&world, 2).await;
        second.start();
        until_waiting(&world, 3).await;
        sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    };
    let (rebuilt, ()) = tokio::join!(world.rebuild_into(&views), conducting);
    drop(views);
    first.taken().await;
    second.taken().await;
    assert_eq!(rebuilt.unwrap().entities, 40);
    assert_ne!(world.oid().await, oid);
    world.assert_right().await;
    world.stop().await;
}

/// A batch on its way, over connections of its own.
struct Batch {
    projector: Projector,
    items: Vec<VersionItem>,
    running: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Batch {
    fn new(world: &World, item: VersionItem) -> Self {
        let views = PostgresViews::lazy(world.database.url(), 2).unwrap();
        let projector = projector(&world.registry, &world.ledger, &views);
        Self { projector, items: vec![item], running: Mutex::default() }
    }

    fn start(&self) {
        let (projector, items) = (self.projector.clone(), self.items.clone());
        let running = tokio::spawn(async move { drop(projector.apply(&items).await.unwrap()) });
        *self.running.lock().unwrap() = Some(running);
    }

    async fn taken(&self) {
        let running = self.running.lock().unwrap().take().unwrap();
        running.await.unwrap();
    }
}

/// Until so many wait for a lock of somebody else's.
async fn until_waiting(world: &World, count: i64) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(world.views.pool()).await.unwrap() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
