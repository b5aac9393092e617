//! Imports from the request to the read model, on ports in memory.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use async_trait::async_trait;
use chrono::TimeDelta;
use ledgerline_import_file::{Chunk, ChunkLimits, Limits, read};
use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{
    EntityKey, Hash, ImportCounts, ImportFormat, ImportJob, ImportKey, ImportMode, ImportState, Timestamp, VersionItem,
};
use ledgerline_testkit::{MemoryEntities, MemoryLedger, MemoryObjects, MemoryQueue};
use serde_json::Value;

use super::*;
use crate::{Caller, Commands, Environment, Projector, Registry};
use frail::Frail;

mod asking;
mod crashes;
mod frail;
mod mending;
mod once;
mod rows;
mod scheduler;
mod splitting;
mod working;

/// Ids that are counted from 1, and a clock that stands until somebody moves it.
#[derive(Default)]
struct Clockwork {
    ids: AtomicU32,
    seconds: AtomicI64,
}

#[async_trait]
impl Environment for Clockwork {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
        (start.as_datetime() + TimeDelta::seconds(self.seconds.load(Ordering::Relaxed))).into()
    }

    fn new_id(&self) -> String {
        format!("01KAGZ6Q3V8X4T5N7M9P{:06}", self.ids.fetch_add(1, Ordering::Relaxed) + 1)
    }

    async fn back_off(&self, _: u32) {}
}

/// Stores, and what works on them.
#[derive(Clone, Default)]
struct World {
    ledger: MemoryLedger,
    entities: MemoryEntities,
    objects: MemoryObjects,
    queue: MemoryQueue,
    environment: Arc<Clockwork>,
}

impl World {
    fn ports(&self) -> Arc<Frail> {
        Arc::new(Frail::over(self))
    }

    fn imports(&self) -> Imports {
        let ledger = Arc::new(self.ledger.clone());
        Imports::new(registry(), ledger, Arc::new(self.objects.clone()), self.environment.clone())
    }

    fn worker(&self) -> ImportWorker {
        self.worker_on(&self.ports())
    }

    fn worker_on(&self, ports: &Arc<Frail>) -> ImportWorker {
        let commands = Commands::new(ports.clone(), self.environment.clone());
        let projector = Projector::new(registry(), vec![ports.clone()]);
        let environment = self.environment.clone();
        ImportWorker::new(commands, (ports.clone(), ports.clone()), ports.clone(), (registry(), projector), environment)
    }

    fn splitter_on(&self, ports: &Arc<Frail>) -> Splitter {
        Splitter::new(ports.clone(), ports.clone(), self.environment.clone())
    }

    fn commands(&self) -> Commands {
        Commands::new(Arc::new(self.ledger.clone()), self.environment.clone())
    }

    /// Asks for an import of a CSV file.
    async fn ask(&self, mode: ImportMode) -> ImportJob {
        let request = ImportRequest {
            resource: "products".to_owned(),
            format: ImportFormat::Csv,
            mode,
            mapping: Value::Null,
            source: ImportSource::Upload,
        };
        self.imports().ask(&ann(), request).await.unwrap().job
    }

    /// Splits a file into chunks of so many rows.
    async fn split(&self, job: &ImportJob, csv: &str, rows: usize) -> Split {
        self.split_on(&self.ports(), job, csv, rows).await.unwrap()
    }

    async fn split_on(&self, ports: &Arc<Frail>, job: &ImportJob, csv: &str, rows: usize) -> Result<Split, StoreError> {
        let splitter = self.splitter_on(ports);
        let Some(job) = splitter.begin(&job.key, &Hash::of(csv).to_string()).await? else {
            return Ok(Split::Done(ImportState::Cancelled));
        };
        splitter.split(&job, &mut file(&job.key, csv, rows), &|| true).await
    }

    /// The messages that were sent since it was last asked.
    fn messages(&self) -> Vec<Chunk> {
        self.queue.take().iter().map(|message| serde_json::from_str(&message.body).unwrap()).collect()
    }

    async fn work(&self, chunk: &Chunk) -> ChunkWorked {
        self.worker().work(chunk, &|| true).await.unwrap()
    }

    /// An import from its file to its end.
    async fn import(&self, mode: ImportMode, csv: &str) -> ImportStatus {
        let job = self.ask(mode).await;
        self.split(&job, csv, 500).await;
        for chunk in self.messages() {
            assert_eq!(self.work(&chunk).await, ChunkWorked::Done);
        }
        self.status(&job.key).await
    }

    async fn status(&self, key: &ImportKey) -> ImportStatus {
        self.imports().get(key).await.unwrap()
    }

    /// The codes of the failed rows, with the numbers of the rows.
    async fn failed(&self, key: &ImportKey) -> Vec<(u64, String)> {
        let (mut failed, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = self.imports().errors(key, after).await.unwrap();
            failed.extend(page.into_iter().flat_map(|errors| errors.rows).map(|row| (row.row, row.code)));
            after = next;
            if after.is_none() {
                return failed;
            }
        }
    }

    /// The newest version of the product with this code.
    fn by_code(&self, code: &str) -> VersionItem {
        let claims = self.ledger.claims();
        let (_, holder) = claims.iter().find(|(claim, _)| claim.value == code).unwrap();
        self.newest(holder)
    }

    fn newest(&self, key: &EntityKey) -> VersionItem {
        self.ledger.all().into_iter().rfind(|item| item.key == *key).unwrap()
    }

    /// All prices, by code, as the ledger's newest versions and as the read model have them.
    fn prices(&self) -> Vec<(String, Value)> {
        let newest = |key: &EntityKey| self.newest(key);
        let shown: Vec<_> = self.entities.all();
        for entity in &shown {
            assert_eq!(entity.version, newest(&entity.key).version, "{} is shown as it is", entity.key);
        }
        let mut prices: Vec<_> = shown.iter().map(|row| (row.code.clone(), row.attributes["price"].clone())).collect();
        prices.sort_by(|one, other| one.0.cmp(&other.0));
        let mut codes: Vec<_> = self.ledger.claims().into_iter().map(|(claim, _)| claim.value).collect();
        codes.sort();
        assert!(codes.iter().eq(prices.iter().map(|(code, _)| code)), "everything is shown");
        prices
    }
}

fn registry() -> Registry {
    Registry::shipped().unwrap()
}

fn ann() -> Caller {
    Caller { tenant: "acme".parse().unwrap(), user: "ann".to_owned(), ip: "192.0.2.7".to_owned() }
}

fn counts(created: u64, updated: u64, unchanged: u64, failed: u64) -> ImportCounts {
    ImportCounts { created, updated, unchanged, failed }
}

/// A file of products `R-{number}`, each at this price.
fn csv(numbers: impl IntoIterator<Item = u32>, price: impl Fn(u32) -> u32) -> String {
    let row = |number: u32| format!("R-{number},Ring {number},{}\n", price(number));
    numbers.into_iter().map(row).fold("code,name,price\n".to_owned(), |csv, row| csv + &row)
}

/// The chunks of a file of so many rows each.
fn file(key: &ImportKey, csv: &str, rows: usize) -> impl ChunkSource + use<> {
    let found = read(Cursor::new(csv.as_bytes().to_vec()), ImportFormat::Csv, &Limits::default());
    FileChunks::new(key, found, ChunkLimits { max_rows: rows, ..ChunkLimits::default() })
}
