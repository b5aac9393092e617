use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::SystemTime;

use lambda_runtime::Context;
use lambda_runtime::tower::ServiceExt as _;
use ledgerline_app::{Caller, ChunkSource as _, ImportRequest, Imports, Registry};
use ledgerline_import_file::Chunk;
use ledgerline_kernel::ports::ImportJobs as _;
use ledgerline_kernel::{ImportState, ImportedRows};
use ledgerline_testkit::{MemoryLedger, MemoryObjects, MemoryQueue};
use serde_json::json;

use super::*;
use crate::object::ObjectReader;

struct World {
    ledger: MemoryLedger,
    objects: MemoryObjects,
    queue: MemoryQueue,
    imports: Imports,
}

impl World {
    fn new() -> Self {
        let (ledger, objects) = (MemoryLedger::default(), MemoryObjects::default());
        let registry = Registry::shipped().unwrap();
        let stores = (Arc::new(ledger.clone()), Arc::new(objects.clone()));
        let imports = Imports::new(registry, stores.0, stores.1, Arc::new(SystemEnvironment));
        Self { ledger, objects, queue: MemoryQueue::default(), imports }
    }

    async fn ask(&self) -> ImportKey {
        let caller = Caller { tenant: "acme".parse().unwrap(), user: "ann".to_owned(), ip: String::new() };
        let body = json!({"resource": "products", "format": "csv", "source": {"upload": true}});
        let request = ImportRequest::read(&body.to_string()).unwrap();
        self.imports.ask(&caller, request).await.unwrap().job.key
    }

    async fn upload(&self, import: &ImportKey, rows: usize) {
        let mut file = "sk,code,name\n".to_owned();
        (0..rows).for_each(|row| file.push_str(&format!("s-{row},C-{row},指輪 {row}\n")));
        self.objects.put(&source_key(import), file.into_bytes()).await.unwrap();
    }

    fn deps(&self) -> Deps {
        let (jobs, queue) = (Arc::new(self.ledger.clone()), Arc::new(self.queue.clone()));
        let splitter = Splitter::new(jobs, queue, Arc::new(SystemEnvironment));
        let chunk = ledgerline_import_file::ChunkLimits { max_rows: 10, ..Default::default() };
        let limits = ReadLimits { chunk, ..ReadLimits::default() };
        Deps { splitter, objects: Arc::new(self.objects.clone()), limits }
    }

    /// As the event in `events/` has it, of this object, with so many seconds left.
    async fn invoke(&self, key: &str, seconds: u64) -> Result<Done, Error> {
        let event = include_str!("../../../events/import-splitter/uploaded.json");
        let event = event.replace("imports/acme/01KAGZ6Q3V8X4T5N7M9P0R2S1W/source", key);
        let mut context = Context::default();
        let deadline = SystemTime::now() + Duration::from_secs(seconds);
        context.deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
        service(self.deps()).oneshot(LambdaEvent::new(RawValue::from_string(event).unwrap(), context)).await
    }

    fn rows(&self) -> Vec<u64> {
        let chunks = self.queue.sent().into_iter().map(|message| serde_json::from_str::<Chunk>(&message.body).unwrap());
        chunks.flat_map(|chunk| chunk.rows).map(|row| row.row).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_file_is_sent_row_by_row_under_its_tenant() {
    let world = World::new();
    let import = world.ask().await;
    world.upload(&import, 25).await;
    let done = world.invoke(&source_key(&import), 900).await.unwrap();
    assert_eq!((done.split, done.ignored), (1, 0));
    assert_eq!(world.rows(), (2..27).collect::<Vec<_>>());
    assert!(world.queue.sent().iter().all(|message| message.group == "acme"));
    assert!(world.queue.sent()[0].body.contains("指輪 0"));
    let job = world.ledger.get(&import).await.unwrap().unwrap();
    assert_eq!((job.state, job.split.rows, job.split.whole), (ImportState::Running, 25, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_imports_source_is_ignored_and_so_is_a_file_that_is_gone() {
    let world = World::new();
    let import = world.ask().await;
    for key in ["imports/acme/nothing/source", "imports/acme/01KAGZ6Q3V8X4T5N7M9P0R2S1W/source", "other"] {
        assert_eq!(world.invoke(key, 900).await.unwrap().ignored, 1, "{key}");
    }
    assert_eq!(world.invoke(&source_key(&import), 900).await.unwrap().ignored, 1);
    let test = include_str!("../../../events/import-splitter/test-event.json");
    let event = LambdaEvent::new(RawValue::from_string(test.to_owned()).unwrap(), Context::default());
    assert_eq!(service(world.deps()).oneshot(event).await.unwrap().split, 0);
    assert!(world.queue.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_time_left_it_fails_and_goes_on_when_it_is_tried_again() {
    let world = World::new();
    let import = world.ask().await;
    world.upload(&import, 25).await;
    let error = world.invoke(&source_key(&import), 5).await.unwrap_err();
    assert!(error.to_string().contains("more rows than there was time for"), "{error}");
    world.invoke(&source_key(&import), 900).await.unwrap();
    assert_eq!(world.rows(), (2..27).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_uploaded_over_another_one_that_is_not_read_to_its_end_is_not_mixed_with_it() {
    let world = World::new();
    let import = world.ask().await;
    world.upload(&import, 25).await;
    world.invoke(&source_key(&import), 5).await.unwrap_err();
    world.upload(&import, 24).await;
    assert_eq!(world.invoke(&source_key(&import), 900).await.unwrap().ignored, 1);
    assert_eq!(world.rows(), [0_u64; 0]);
    let job = world.ledger.get(&import).await.unwrap().unwrap();
    assert_eq!((job.state, job.failure.unwrap().code.as_str()), (ImportState::Failed, "SOURCE_CHANGED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_before_or_while_it_is_read_fails_its_import_at_once() {
    for in_the_middle in [false, true] {
        let world = World::new();
        let import = world.ask().await;
        world.upload(&import, 60_000).await;
        let key = source_key(&import);
        let head = world.objects.head(&key).await.unwrap().unwrap();
        assert!(head.size > 1024 * 1024, "more than is read at once");
        let deps = world.deps();
        let job = deps.splitter.begin(&import, &head.etag).await.unwrap().unwrap();
        // It reads ahead on a thread of its own: without a chunk taken, the file has to be another one before that begins.
        if !in_the_middle {
            world.upload(&import, 1).await;
        }
        let mut chunks = ObjectChunks::open(Arc::clone(&deps.objects), key, head, &job, deps.limits);
        if in_the_middle {
            assert_eq!(chunks.next().await.unwrap().unwrap().chunk, 0);
            world.upload(&import, 1).await;
        }
        let split = deps.splitter.split(&job, &mut chunks, &|| true).await.unwrap();
        let job = world.ledger.get(&import).await.unwrap().unwrap();
        // With rows on their way it ends once these have an outcome.
        let sent = if in_the_middle { ImportState::Running } else { ImportState::Failed };
        assert_eq!((split, job.state), (Split::Done(sent), sent), "{in_the_middle}");
        assert_eq!(job.failure.unwrap().code, "SOURCE_CHANGED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_created_again_sends_what_has_no_outcome() {
    let world = World::new();
    let import = world.ask().await;
    world.upload(&import, 25).await;
    world.invoke(&source_key(&import), 900).await.unwrap();
    let sent = world.queue.take();
    let chunk: Chunk = serde_json::from_str(&sent[1].body).unwrap();
    outcome(&world, &import, &chunk).await;
    world.imports.resume(&import).await.unwrap();
    world.invoke(&source_key(&import), 900).await.unwrap();
    assert_eq!(world.rows(), (2..12).chain(22..27).collect::<Vec<_>>());
}

async fn outcome(world: &World, import: &ImportKey, chunk: &Chunk) {
    let job = world.ledger.get(import).await.unwrap().unwrap();
    let rows = u32::try_from(chunk.rows.len()).unwrap();
    let imported = ImportedRows {
        import: import.clone(),
        chunk: u32::try_from(chunk.chunk).unwrap(),
        first: 0,
        rows,
        counts: ledgerline_kernel::ImportCounts { unchanged: rows.into(), ..Default::default() },
        file: None,
        columns: Vec::new(),
        failures: Vec::new(),
        written: Vec::new(),
        shown: true,
        command_id: "c".to_owned(),
        at: job.updated_at,
        expires_at: job.expires_at,
    };
    let commit = ledgerline_kernel::Commit { imported: Some(imported), ..Default::default() };
    ledgerline_kernel::ports::LedgerWrite::commit(&world.ledger, &commit, job.updated_at).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_table_fails_its_import() {
    let world = World::new();
    let import = world.ask().await;
    world.objects.put(&source_key(&import), Vec::new()).await.unwrap();
    world.invoke(&source_key(&import), 900).await.unwrap();
    let job = world.ledger.get(&import).await.unwrap().unwrap();
    assert_eq!((job.state, job.failure.unwrap().code.as_str()), (ImportState::Failed, "EMPTY_FILE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_read_and_sought_in_by_windows() {
    let objects = MemoryObjects::default();
    let content: Vec<u8> = (0..10_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    objects.put("k", content.clone()).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let (kept, head) = (Arc::new(objects.clone()), objects.head("k").await.unwrap().unwrap());
    let read = tokio::task::spawn_blocking(move || {
        let mut reader = ObjectReader::new(kept, runtime, "k".to_owned(), head);
        let (mut all, mut tail) = (Vec::new(), [0; 100]);
        reader.read_to_end(&mut all).unwrap();
        reader.seek(SeekFrom::End(-100)).unwrap();
        reader.read_exact(&mut tail).unwrap();
        assert_eq!(reader.read(&mut tail[..0]).unwrap() + reader.read(&mut [0]).unwrap(), 0);
        assert!(reader.seek(SeekFrom::Current(-20_000_000)).is_err());
        (all, tail)
    });
    let (all, tail) = read.await.unwrap();
    assert!(all == content && tail[..] == content[content.len() - 100..]);
    assert_eq!(objects.reads(), 10, "ten windows, the last of which is still there");
}
