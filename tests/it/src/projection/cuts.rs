//! Connections that are cut, and a Postgres that is killed, in the middle of the work.

use std::time::{Duration, Instant};

use ledgerline_kernel::VersionItem;
use ledgerline_stores::{Cut, CutPostgres, LocalPostgres, PostgresChoice, PostgresKind, TestDatabase};
use ledgerline_views_postgres::PostgresViews;

use super::{Stage, announce, histories, scale, seed};

/// What a transaction of the projector says, in this order, and what it means to be cut there.
const POINTS: [(&str, Cut, &str); 6] = [
    ("BEGIN", Cut::Before, "before BEGIN"),
    ("INTO projection_position", Cut::After, "in the middle, with positions moved"),
    ("product_category", Cut::Before, "in the middle, before the sums"),
    ("COMMIT", Cut::Before, "before COMMIT"),
    ("COMMIT", Cut::During, "during COMMIT"),
    ("COMMIT", Cut::After, "after COMMIT"),
];

/// A stage whose Postgres is behind the proxy; none on an embedded one, which serves nobody else while
/// a client is gone without a word.
async fn cut_off() -> Option<(Stage, CutPostgres, TestDatabase)> {
    let database = TestDatabase::create().await.unwrap();
    if database.max_connections() == 1 {
        println!("projection: no connections are cut on an embedded Postgres");
        return None;
    }
    PostgresViews::lazy(database.url(), 1).unwrap().migrate().await.unwrap();
    let proxy = CutPostgres::start(database.url()).await.unwrap();
    let stage = Stage::on(&proxy.url(database.url()), 1);
    Some((stage, proxy, database))
}

/// Delivers all versions in a random order and in random batches; before each batch, `disturb`s.
async fn deliver_all(stage: &Stage, items: &[VersionItem], batches: usize, mut disturb: impl FnMut(usize)) -> usize {
    let mut random = fastrand::Rng::with_seed(seed());
    let mut order: Vec<&VersionItem> = items.iter().collect();
    random.shuffle(&mut order);
    let mut deliveries = 0;
    for (number, batch) in order.chunks(items.len().div_ceil(batches)).enumerate() {
        disturb(number);
        deliveries += stage.deliver(batch).await;
    }
    deliveries
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_at_any_point_of_a_transaction_double_nothing_and_lose_nothing() {
    let Some((stage, proxy, _database)) = cut_off().await else { return };
    let (cuts, begun) = (scale(1_000), Instant::now());
    let items: Vec<VersionItem> = histories("acme", cuts / 4, 8, seed()).into_iter().flatten().collect();
    stage.write(&items);
    let deliveries = deliver_all(&stage, &items, cuts, |number| {
        // A statement's text is sent once for each connection, so some are not met.
        proxy.calm();
        let (statement, cut, _) = POINTS[number % POINTS.len()];
        proxy.cut_at(statement, cut);
    });
    let deliveries = deliveries.await;
    proxy.calm();
    assert!(proxy.cuts() >= cuts / 2, "only {} were cut", proxy.cuts());
    stage.assert_is_the_fold_of("acme", &items).await;
    let points: Vec<&str> = POINTS.iter().map(|(_, _, what)| *what).collect();
    announce(
        "connections cut",
        &format!(
            "{} cuts ({}), {} versions in {deliveries} deliveries, 0 doubled, 0 lost; {:.1} s",
            proxy.cuts(),
            points.join("; "),
            items.len(),
            begun.elapsed().as_secs_f64()
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_in_the_middle_of_commit_double_nothing_and_lose_nothing() {
    let Some((stage, proxy, _database)) = cut_off().await else { return };
    let (cuts, begun) = (scale(1_000), Instant::now());
    let items: Vec<VersionItem> = histories("acme", cuts / 4, 8, seed() + 1).into_iter().flatten().collect();
    stage.write(&items);
    // Two a batch: a projection that tries again meets the second one.
    deliver_all(&stage, &items, cuts / 2, |_| {
        proxy.cut_at("COMMIT", Cut::During);
        proxy.cut_at("COMMIT", Cut::After);
    })
    .await;
    proxy.calm();
    assert!(proxy.cuts() >= cuts * 9 / 10, "only {} were cut", proxy.cuts());
    stage.assert_is_the_fold_of("acme", &items).await;
    announce(
        "cut in COMMIT",
        &format!(
            "{} cuts, {} versions, 0 doubled, 0 lost; {:.1} s",
            proxy.cuts(),
            items.len(),
            begun.elapsed().as_secs_f64()
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_killed_again_and_again_under_load_keeps_what_it_acknowledged() {
    // In a folder that is kept: one of its own that is not does without what survives a crash.
    let folder = tempfile::tempdir().unwrap();
    let choice = PostgresChoice { url: None, allow_machine: true };
    let postgres = LocalPostgres::start(Some(&folder.path().join("postgres")), choice).await.unwrap();
    if postgres.kind() != PostgresKind::Machine {
        println!("projection: there is no process of Postgres to kill");
        return;
    }
    let stage = Stage::on(postgres.url(), 2);
    stage.views.migrate().await.unwrap();
    let (kills, begun) = (scale(50), Instant::now());
    let items: Vec<VersionItem> = histories("acme", kills * 40, 5, seed() + 2).into_iter().flatten().collect();
    stage.write(&items);

    let url = postgres.url().to_owned();
    let killer = tokio::spawn(async move {
        let mut random = fastrand::Rng::with_seed(seed());
        for _ in 0..kills {
            kill(&url).await;
            tokio::time::sleep(Duration::from_millis(random.u64(20..300))).await;
        }
    });
    // The same records again and again until the last kill: there is load at each of them.
    let mut rounds = 0;
    while !killer.is_finished() || rounds == 0 {
        for batch in items.chunks(200) {
            stage.deliver_through_outages(&batch.iter().collect::<Vec<_>>()).await;
        }
        rounds += 1;
    }
    killer.await.unwrap();
    for batch in items.chunks(200) {
        stage.deliver_through_outages(&batch.iter().collect::<Vec<_>>()).await;
    }
    stage.assert_is_the_fold_of("acme", &items).await;
    announce(
        "Postgres killed",
        &format!("{kills} kills, {} versions, 0 doubled, 0 lost; {:.1} s", items.len(), begun.elapsed().as_secs_f64()),
    );
    drop(stage);
    postgres.stop().await.unwrap();
}

impl Stage {
    /// As long as it takes a server to come back.
    async fn deliver_through_outages(&self, items: &[&VersionItem]) {
        let begun = Instant::now();
        while !self.invoke(super::event(items)).await.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60), "Postgres did not come back");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Ends the server the hard way, as soon as there is one.
async fn kill(url: &str) {
    use sqlx::Connection as _;
    loop {
        if let Ok(mut connection) = sqlx::PgConnection::connect(url).await {
            let pid = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";
            if let Ok(pid) = sqlx::query_scalar::<_, String>(pid).fetch_one(&mut connection).await {
                assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
