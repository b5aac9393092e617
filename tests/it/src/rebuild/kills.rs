use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledgerline_app::{RebuildOptions, Registry, rebuild};
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_views_postgres::PostgresViews;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{TABLE, World, client, scale, seed};

const ENDPOINT: &str = "LEDGERLINE_REBUILD_ENDPOINT";
const DATABASE: &str = "LEDGERLINE_REBUILD_DATABASE";

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_goes_on_and_ends_right() {
    let world = World::start().await;
    if !world.has_connections() {
        // The embedded Postgres serves this process alone.
        return world.stop().await;
    }
    let mut random = fastrand::Rng::with_seed(seed());
    world.fill(scale(5_000, 150), &mut random).await;
    let catalogue = world.catalogue().await;
    // How long one takes, from its beginning to its end.
    let mut process = Process::start(&world).await;
    let started = Instant::now();
    assert_eq!(process.line().await.as_deref(), Some("done 0"));
    let mut whole = started.elapsed();

    let (wanted, mut killed, mut ended, mut resumed) = (scale(200, 24), 0, 0, 0);
    while killed < wanted {
        let mut process = Process::start(&world).await;
        let attributes = serde_json::json!({"category": "Fair", "price": "1"});
        let item = world.create("acme", &format!("k-{killed}-{ended}"), attributes).await;
        world.deliver(&[item]).await;
        tokio::time::sleep(random_part(&mut random, whole)).await;
        process.child.start_kill().unwrap();
        match process.line().await {
            Some(line) => {
                ended += 1;
                whole = whole.mul_f64(0.9);
                resumed += usize::from(line == "done 1");
            }
            None => killed += 1,
        }
        process.child.wait().await.unwrap();
        // Nobody sees anything of it.
        world.assert_right().await;
    }
    let last = Process::start(&world).await.line().await;
    assert!(last.is_some_and(|line| line.starts_with("done")));
    world.assert_right().await;
    assert_eq!(world.catalogue().await, catalogue);
    println!(
        "storm: rebuild killed; seed {}; {killed} kills, {ended} rebuilds that ended before theirs, {resumed} of them resumed: rows, positions and sums right after each",
        seed()
    );
    world.stop().await;
}

fn random_part(random: &mut fastrand::Rng, whole: Duration) -> Duration {
    whole.mul_f64(random.f64())
}

/// The process that rebuilds, and says whether it went on with what was begun.
#[test]
#[ignore = "what the storm kills; nothing by itself"]
fn rebuild_process() {
    let (Ok(endpoint), Ok(database)) = (std::env::var(ENDPOINT), std::env::var(DATABASE)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = Arc::new(DynamoLedger::new(client(&endpoint).await, TABLE));
        let views = PostgresViews::lazy(&database, 3).unwrap();
        views.ping().await.unwrap();
        say("\nready");
        let registry = Registry::shipped().unwrap();
        let domain = registry.by_resource("products").unwrap().as_ref();
        let own = views.rebuild(domain, 3).await.unwrap();
        let options = RebuildOptions { page_rows: 20 };
        rebuild(&ledger, &registry, domain, &own, &options, &|_| {}).await.unwrap();
        say(&format!("\ndone {}", u8::from(own.is_resumed())));
    });
}

fn say(line: &str) {
    println!("{line}");
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts one, and waits until it is about to begin.
    async fn start(world: &World) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["rebuild::kills::rebuild_process", "--exact", "--ignored", "--nocapture"])
            .env(ENDPOINT, world.dynamo.endpoint())
            .env(DATABASE, world.database.url())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while lines.next_line().await.unwrap().expect("the process ended early") != "ready" {}
        Self { child, lines }
    }

    /// What it said last, once it has ended.
    async fn line(&mut self) -> Option<String> {
        let mut said = None;
        while let Some(line) = self.lines.next_line().await.unwrap() {
            if line.starts_with("done") {
                said = Some(line);
            }
        }
        said
    }
}
