//! The sides: what a file's rows go through.

use std::io::Cursor;
use std::sync::Arc;

use anyhow::{Context, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ledgerline_app::{
    Caller, ChunkWorked, Commands, FileChunks, ImportRequest, ImportWorker, Imports, Projector, Registry, Split,
    Splitter,
};
use ledgerline_import_file::{ChunkLimits, Limits, read};
use ledgerline_import_worker::Deps;
use ledgerline_kernel::ports::ImportJobs;
use ledgerline_kernel::{ImportFormat, ImportJob, ImportState};
use ledgerline_lambda::{Config, SystemEnvironment};
use ledgerline_ledger_dynamodb::DynamoLedger;
use ledgerline_testkit::{MemoryObjects, MemoryQueue};
use ledgerline_views_postgres::PostgresViews;
use sqlx::PgPool;

use super::{DATA, THEIR_DATA};
use crate::by_hand::{ByHand, Create};
use crate::emulator::Emulator;
use crate::load::measure;
use crate::ours::TABLE;
use crate::raw::Item;
use crate::rebuild::raw_upsert;

/// Messages that the worker function works on at once.
pub(super) const MESSAGES: usize = 2;

#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    /// The splitter and the worker, without read models.
    Ledger,
    /// The splitter and the worker as they are deployed.
    Whole,
    /// Each row as an item, put on condition that it is new.
    Puts,
    /// The same, its state into a data table, and so many rows at once into a table of Postgres.
    PutsAndUpserts,
}

impl Side {
    pub(super) const ALL: [Self; 4] = [Self::Ledger, Self::Whole, Self::Puts, Self::PutsAndUpserts];

    /// Brings in a file of so many rows.
    pub(super) async fn bring_in(
        self,
        emulator: &Emulator,
        views: &PostgresViews,
        file: Vec<u8>,
        rows: usize,
        in_flight: usize,
    ) -> anyhow::Result<()> {
        let client = emulator.client().await;
        let worker = match self {
            Self::Puts => return puts(&ByHand::new(&client, "PRODUCT"), &file, in_flight).await,
            Self::PutsAndUpserts => {
                return puts_and_upserts(&ByHand::new(&client, "PRODUCT"), views.pool(), &file, in_flight).await;
            }
            Self::Ledger => {
                let ledger = Arc::new(DynamoLedger::new(client.clone(), TABLE));
                let environment = Arc::new(SystemEnvironment);
                let commands = Commands::new(Arc::clone(&ledger) as _, Arc::clone(&environment) as _);
                let registry = Registry::shipped()?;
                let projector = Projector::new(registry.clone(), Vec::new());
                let stores = (Arc::clone(&ledger) as _, Arc::clone(&ledger) as _);
                ImportWorker::new(commands, stores, ledger, (registry, projector), environment)
            }
            Self::Whole => Deps::with_views(&config(emulator), views.clone()).await?.worker,
        };
        import(&worker, Arc::new(DynamoLedger::new(client, TABLE)), file, rows).await
    }
}

fn config(emulator: &Emulator) -> Config {
    let endpoint = emulator.endpoint().to_owned();
    Config::new(move |name| {
        let value = match name {
            "AWS_ENDPOINT_URL_DYNAMODB" => &endpoint,
            "AWS_REGION" => "us-east-1",
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "local",
            "LEDGER_TABLE" => TABLE,
            "DATA_TABLE" => DATA,
            _ => return None,
        };
        Some(value.to_owned())
    })
}

/// What is asked for, in one tenant's name.
pub(super) async fn ask(imports: &Imports) -> anyhow::Result<ImportJob> {
    let request = r#"{"resource": "products", "format": "csv", "source": {"upload": true}}"#;
    let caller = Caller { tenant: "acme".parse()?, user: "ann".to_owned(), ip: "192.0.2.1".to_owned() };
    Ok(imports.ask(&caller, ImportRequest::read(request)?).await?.job)
}

async fn import(worker: &ImportWorker, jobs: Arc<DynamoLedger>, file: Vec<u8>, rows: usize) -> anyhow::Result<()> {
    let (queue, environment) = (MemoryQueue::default(), Arc::new(SystemEnvironment));
    let objects = Arc::new(MemoryObjects::default());
    let imports = Imports::new(Registry::shipped()?, Arc::clone(&jobs), objects, Arc::clone(&environment) as _);
    let job = ask(&imports).await?;
    let splitter = Splitter::new(Arc::clone(&jobs) as _, Arc::new(queue.clone()), environment);
    let begun = splitter.begin(&job.key, "an etag").await?.context("the import is gone")?;
    let found = read(Cursor::new(file), ImportFormat::Csv, &Limits::default());
    let mut chunks = FileChunks::new(&job.key, found, ChunkLimits::default());
    ensure!(splitter.split(&begun, &mut chunks, &|| true).await? == Split::Done(ImportState::Running));
    let messages = queue.take();
    let works = messages.iter().map(|message| async {
        let worked = worker.work(&serde_json::from_str(&message.body)?, &|| true).await?;
        ensure!(worked == ChunkWorked::Done, "{worked:?}");
        anyhow::Ok(())
    });
    let works: Vec<_> = works.collect();
    stream::iter(works).map(Ok).try_for_each_concurrent(MESSAGES, |work| work).await?;
    let status = imports.get(&job.key).await?;
    ensure!(status.job.state == ImportState::Completed, "{:?}", status.job.state);
    let created = jobs.totals(&job.key).await?.counts.created;
    ensure!(usize::try_from(created)? == rows, "{created} of {rows} rows were created");
    Ok(())
}

/// A row of the file, as one would read it by hand.
#[derive(serde::Deserialize)]
struct Row {
    sk: String,
    code: String,
    name: String,
    category: String,
    price: String,
    description: String,
}

fn rows_of(file: &[u8]) -> csv::Result<Vec<csv::StringRecord>> {
    csv::Reader::from_reader(file).into_records().collect()
}

fn request(record: &csv::StringRecord) -> csv::Result<Create> {
    let Row { sk, code, name, category, price, description } = record.deserialize(None)?;
    let attributes = serde_json::json!({"category": category, "price": price, "description": description});
    Ok(Create { sk, code, name, attributes })
}

async fn puts(by_hand: &ByHand, file: &[u8], in_flight: usize) -> anyhow::Result<()> {
    let rows = rows_of(file)?;
    measure(&rows, in_flight, |record| async move { by_hand.put(request(record)?).await }).await?;
    Ok(())
}

async fn puts_and_upserts(by_hand: &ByHand, pool: &PgPool, file: &[u8], in_flight: usize) -> anyhow::Result<()> {
    let rows = rows_of(file)?;
    let batches = rows.chunks(ChunkLimits::default().max_rows).map(|rows| async move {
        let puts = rows.iter().map(|record| async { by_hand.put_with_data(request(record)?, THEIR_DATA).await });
        let puts = stream::iter(puts.collect::<Vec<_>>()).buffer_unordered(in_flight / MESSAGES);
        let put: Vec<_> = puts.try_collect().await?;
        let id = |item: &Item| item.get("id").and_then(|id| id.as_s().ok()).cloned().context("an item without an id");
        let newest = put.into_iter().map(|item| Ok((id(&item)?, (1, item)))).collect::<anyhow::Result<_>>()?;
        raw_upsert(pool, newest).await
    });
    stream::iter(batches.collect::<Vec<_>>()).map(Ok).try_for_each_concurrent(MESSAGES, |batch| batch).await
}
