//! A projector that is killed with `kill -9`, and begun again.

use std::process::Stdio;
use std::time::{Duration, Instant};

use ledgerline_kernel::VersionItem;
use ledgerline_stores::TestDatabase;
use ledgerline_views_postgres::PostgresViews;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{Stage, announce, histories, scale, seed};

const DATABASE: &str = "LEDGERLINE_PROJECTION_DATABASE";
const FROM: &str = "LEDGERLINE_PROJECTION_FROM";

/// How many records a batch has: few, so that there are many transactions to be killed in.
const BATCH: usize = 4;

/// The same in this process and in the one that is killed.
fn items(kills: usize) -> Vec<VersionItem> {
    let mut items: Vec<VersionItem> = histories("acme", kills * 2, 6, seed() + 3).into_iter().flatten().collect();
    fastrand::Rng::with_seed(seed()).shuffle(&mut items);
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_is_killed_at_any_point_doubles_nothing_and_loses_nothing() {
    let database = TestDatabase::create().await.unwrap();
    if database.max_connections() == 1 {
        println!("projection: nobody is killed on an embedded Postgres, which serves one connection");
        return;
    }
    let views = PostgresViews::lazy(database.url(), 2).unwrap();
    views.migrate().await.unwrap();
    let (kills, begun) = (scale(500), Instant::now());
    let items = items(scale(500));
    let mut random = fastrand::Rng::with_seed(seed());
    // Where a stream's position would be: at the first batch that was not acknowledged.
    let mut position = 0;
    for _ in 0..kills {
        let mut process = Process::start(database.url(), position).await;
        let acknowledged = random.usize(..3);
        for _ in 0..acknowledged {
            position = process.next_acknowledged().await.unwrap_or(position);
        }
        tokio::time::sleep(Duration::from_micros(random.u64(..12_000))).await;
        process.child.start_kill().unwrap();
        while let Some(next) = process.next_acknowledged().await {
            position = next;
        }
        process.child.wait().await.unwrap();
    }
    let mut last = Process::start(database.url(), position).await;
    while last.next_acknowledged().await.is_some() {}
    assert!(last.child.wait().await.unwrap().success());

    // The data table died with each process; here it is made again, from where the ledger is.
    let stage = Stage::over(views);
    stage.write(&items);
    for batch in items.chunks(200) {
        stage.deliver(&batch.iter().collect::<Vec<_>>()).await;
    }
    stage.assert_is_the_fold_of("acme", &items).await;
    announce(
        "kill -9",
        &format!(
            "{kills} kills, {} versions, rows equal, sums exact; {:.1} s",
            items.len(),
            begun.elapsed().as_secs_f64()
        ),
    );
}

/// What is killed: projects its records from a position on, and says after each batch where it is.
#[test]
#[ignore = "what the storm kills; nothing by itself"]
fn projector_process() {
    let (Ok(url), Ok(from)) = (std::env::var(DATABASE), std::env::var(FROM)) else { return };
    let (items, from) = (items(scale(500)), from.parse::<usize>().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stage = Stage::on(&url, 1);
        stage.write(&items);
        println!("\nready");
        for (number, batch) in items.chunks(BATCH).enumerate().skip(from) {
            stage.deliver(&batch.iter().collect::<Vec<_>>()).await;
            println!("at {}", number + 1);
        }
    });
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn start(url: &str, from: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["projection::kills::projector_process", "--exact", "--ignored", "--nocapture"])
            .env(DATABASE, url)
            .env(FROM, from.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while lines.next_line().await.unwrap().expect("the projector ended early") != "ready" {}
        Self { child, lines }
    }

    /// The next position that it says it is at; none once it is dead or done.
    async fn next_acknowledged(&mut self) -> Option<usize> {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            // The last line of a killed process may be cut off: then it is one batch behind, at most.
            if let Some(position) = line.strip_prefix("at ").and_then(|number| number.parse().ok()) {
                return Some(position);
            }
        }
        None
    }
}
