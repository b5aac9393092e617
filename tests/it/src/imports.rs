//! Imports over a real ledger table and a real data table, in good weather and in bad; and through their
//! functions, queue and bucket, in worse.
//!
//! `LEDGERLINE_STORM=full` runs the storms at full size, a tenth otherwise; `LEDGERLINE_SEED` chooses what is in
//! the files and who is killed.

mod fair;
mod hostile;
mod kills;
mod redrive;
mod site;

use std::future::{Future, poll_fn};
use std::io::Cursor;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use futures::future::join;
use ledgerline_app::{
    Caller, ChunkWorked, Commands, FileChunks, ImportRequest, ImportStatus, ImportWorker, Imports, Projector, Registry,
    Split, Splitter, verify,
};
use ledgerline_import_file::{Chunk, ChunkLimits, Limits, read};
use ledgerline_kernel::ports::{LedgerScan as _, StoreError};
use ledgerline_kernel::{ImportCounts, ImportFormat, ImportJob, ImportKey, ImportState};
use ledgerline_lambda::SystemEnvironment;
use ledgerline_ledger_dynamodb::{DynamoDataTable, DynamoLedger};
use ledgerline_stores::{DynamoAt, Fault, FaultyDynamo, LocalDynamo};
use ledgerline_testkit::{MemoryObjects, MemoryQueue};

use crate::projection::{scale, seed};

const LEDGER: &str = "ledger";
const DATA: &str = "data";

struct Store {
    dynamo: LocalDynamo,
    queue: MemoryQueue,
}

impl Store {
    async fn start() -> Self {
        let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
        dynamo.create_table(LEDGER, false).unwrap();
        dynamo.create_table(DATA, false).unwrap();
        Self { dynamo, queue: MemoryQueue::default() }
    }

    fn ledger(&self) -> DynamoLedger {
        DynamoLedger::new(client(self.dynamo.endpoint()), LEDGER)
    }

    fn imports(&self) -> Imports {
        let objects = Arc::new(MemoryObjects::default());
        Imports::new(registry(), Arc::new(self.ledger()), objects, Arc::new(SystemEnvironment))
    }

    /// An import of products whose messages have been sent.
    async fn split(&self, csv: &str) -> (ImportJob, Vec<Chunk>) {
        let request = r#"{"resource": "products", "format": "csv", "source": {"upload": true}}"#;
        let caller = Caller { tenant: "acme".parse().unwrap(), user: "ann".to_owned(), ip: String::new() };
        let job = self.imports().ask(&caller, ImportRequest::read(request).unwrap()).await.unwrap().job;
        let rows = read(Cursor::new(csv.as_bytes().to_vec()), ImportFormat::Csv, &Limits::default());
        let mut file = FileChunks::new(&job.key, rows, ChunkLimits { max_rows: 150, ..ChunkLimits::default() });
        let splitter =
            Splitter::new(Arc::new(self.ledger()), Arc::new(self.queue.clone()), Arc::new(SystemEnvironment));
        let begun = splitter.begin(&job.key, "an etag").await.unwrap().unwrap();
        assert_eq!(splitter.split(&begun, &mut file, &|| true).await, Ok(Split::Done(ImportState::Running)));
        let read = |body: &str| serde_json::from_str(body).unwrap();
        (job, self.queue.take().iter().map(|message| read(&message.body)).collect())
    }

    async fn import(&self, csv: &str) -> ImportStatus {
        let (job, chunks) = self.split(csv).await;
        let worker = worker(self.dynamo.endpoint());
        for chunk in &chunks {
            assert_eq!(worker.work(chunk, &|| true).await, Ok(ChunkWorked::Done));
        }
        self.status(&job.key).await
    }

    async fn status(&self, key: &ImportKey) -> ImportStatus {
        self.imports().get(key).await.unwrap()
    }

    async fn version_count(&self) -> usize {
        let (mut count, mut from) = (0, None);
        loop {
            let (items, next) = self.ledger().scan(from).await.unwrap();
            count += items.len();
            from = next;
            if from.is_none() {
                return count;
            }
        }
    }

    /// Nothing is wrong with the ledger, and the data table has so many entities.
    async fn assert_sound(&self, entities: usize) {
        let report = verify(&self.ledger(), &registry(), None, None, |_, _| {}).await.unwrap();
        assert_eq!((report.defects, report.entities, report.claims), (vec![], entities, entities));
        let scan = client(self.dynamo.endpoint()).scan().table_name(DATA).into_paginator().items().send();
        assert_eq!(scan.collect::<Result<Vec<_>, _>>().await.unwrap().len(), entities);
    }
}

fn registry() -> Registry {
    Registry::shipped().unwrap()
}

fn client(endpoint: &str) -> Client {
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .retry_config(retries)
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

fn worker(endpoint: &str) -> ImportWorker {
    let ledger = Arc::new(DynamoLedger::new(client(endpoint), LEDGER));
    let rows = Arc::new(DynamoDataTable::new(client(endpoint), DATA));
    let environment = Arc::new(SystemEnvironment);
    let commands = Commands::new(ledger.clone(), environment.clone());
    let projector = Projector::new(registry(), vec![rows]);
    ImportWorker::new(commands, (ledger.clone(), ledger.clone()), ledger, (registry(), projector), environment)
}

fn csv(rows: u32, price: impl Fn(u32) -> u32) -> String {
    let row = |number: u32| format!("R-{number},指輪 {number},{}\n", price(number));
    (0..rows).map(row).fold("code,name,price\n".to_owned(), |csv, row| csv + &row)
}

fn counts(created: u64, updated: u64, unchanged: u64, failed: u64) -> ImportCounts {
    ImportCounts { created, updated, unchanged, failed }
}

/// What every storm prints; shown by `--nocapture`.
fn announce(what: &str, figures: &str) {
    let size = if scale(10) == 10 { "full" } else { "a tenth (LEDGERLINE_STORM=full runs all)" };
    println!("imports: {what}; seed {}, size {size}; {figures}", seed());
}

#[tokio::test]
async fn a_file_is_imported_then_unchanged_then_updated_where_it_differs() {
    let store = Store::start().await;
    let first = store.import(&csv(400, |number| number)).await;
    assert_eq!((first.job.state, first.counts), (ImportState::Completed, counts(400, 0, 0, 0)));
    let again = store.import(&csv(400, |number| number)).await;
    assert_eq!((again.job.state, again.counts), (ImportState::Completed, counts(0, 0, 400, 0)));
    assert_eq!(store.version_count().await, 400);
    let changed = store.import(&csv(401, |number| if number % 8 == 0 { 9999 } else { number })).await;
    assert_eq!((changed.job.state, changed.counts), (ImportState::Completed, counts(1, 50, 350, 0)));
    assert_eq!(store.version_count().await, 451);
    store.assert_sound(401).await;
}

/// What comes of `work`, unless it is given up at the `polls`-th time that it is looked at: as if the
/// process had ended there.
async fn for_polls<T>(work: impl Future<Output = T>, mut polls: u32) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match (work.as_mut().poll(context), polls) {
        (Poll::Ready(done), _) => Poll::Ready(Some(done)),
        (Poll::Pending, 0) => Poll::Ready(None),
        (Poll::Pending, _) => {
            polls -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Lost answers, conflicts, throttling, workers that end at any moment, messages twice and at once.
#[tokio::test]
async fn in_bad_weather_each_row_is_applied_once_and_counted_once() {
    let store = Store::start().await;
    store.import(&csv(100, |number| number)).await;
    let file = csv(600, |number| if number < 50 { 7777 } else { number }).replace("R-300,指輪 300,", "R-300,,");
    let (job, chunks) = store.split(&file).await;
    let proxy = FaultyDynamo::start(store.dynamo.endpoint()).await.unwrap();
    for (seed, operation) in (0..).zip(["TransactWriteItems", "UpdateItem"]) {
        proxy.fail_at_random(seed, operation, Fault::DropResponse, 0.1);
        proxy.fail_at_random(seed + 9, operation, Fault::Conflict, 0.1);
        proxy.fail_at_random(seed + 19, operation, Fault::Throttle, 0.1);
    }
    proxy.fail_at_random(29, "PutItem", Fault::DropResponse, 0.01);
    for (seed, operation) in (30..).zip(["BatchGetItem", "Query", "GetItem"]) {
        proxy.fail_at_random(seed, operation, Fault::ServerError, 0.03);
    }
    let mut random = fastrand::Rng::with_seed(20_261_120);
    let (mut ended, mut given_back) = (0, 0);
    for chunk in &chunks {
        loop {
            let endpoint = proxy.endpoint();
            let (one, other) = (worker(endpoint), worker(endpoint));
            let polls = random.u32(..600);
            let outcome: Option<Result<ChunkWorked, StoreError>> = match random.u8(..5) {
                // Twice, at once; of one of them nobody learns what came of it.
                0 => {
                    let twice = join(one.work(chunk, &|| true), for_polls(other.work(chunk, &|| true), polls));
                    Some(twice.await.0)
                }
                _ => for_polls(one.work(chunk, &|| true), polls).await,
            };
            match outcome {
                Some(Ok(ChunkWorked::Done | ChunkWorked::Dropped)) => break,
                Some(Ok(ChunkWorked::OutOfTime) | Err(_)) => given_back += 1,
                None => ended += 1,
            }
        }
    }
    assert!(ended > 0, "{ended} ended, {given_back} were given back");
    let status = store.status(&job.key).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Completed, counts(499, 50, 50, 1)));
    assert_eq!(store.version_count().await, 100 + 499 + 50);
    store.assert_sound(599).await;
}
