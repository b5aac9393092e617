//! Files into messages.

use std::sync::atomic::AtomicUsize;

use ledgerline_import_file::{FileError, FileProblem};
use ledgerline_kernel::ports::{ImportJobs, StoreError};
use ledgerline_kernel::{ImportFailure, SplitProgress};
use ledgerline_testkit::Delivered;
use serde_json::json;

use super::scheduler::alone;
use super::*;

impl World {
    async fn job(&self, key: &ImportKey) -> ImportJob {
        ImportJobs::get(&self.ledger, key).await.unwrap().unwrap()
    }
}

/// Time for so many chunks.
fn for_chunks(number: usize) -> impl Fn() -> bool + Send + Sync {
    let left = AtomicUsize::new(number);
    move || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

#[tokio::test]
async fn a_file_becomes_messages_of_its_tenant_and_the_import_runs() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    assert_eq!(job.state, ImportState::AwaitingUpload);
    world.environment.seconds.store(10, Ordering::Relaxed);
    assert_eq!(world.split(&job, &csv(0..25, |number| number), 10).await, Split::Done(ImportState::Running));
    let sent = world.queue.sent();
    assert!(sent.iter().all(|message| message.group == "acme"));
    let chunks: Vec<_> = world.messages().iter().map(|chunk| (chunk.chunk, chunk.rows.len())).collect();
    assert_eq!(chunks, [(0, 10), (1, 10), (2, 5)]);
    let split = world.job(&job.key).await;
    assert_eq!(split.split, SplitProgress { chunks: 3, rows: 25, whole: true });
    assert_eq!(split.started_at, Some(world.environment.now()));
}

#[tokio::test]
async fn a_file_without_rows_is_completed_at_once() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    assert_eq!(world.split(&job, "code,name\n", 10).await, Split::Done(ImportState::Completed));
    let status = world.status(&job.key).await;
    assert_eq!((status.counts, status.progress), (counts(0, 0, 0, 0), Some(1.0)));
}

#[tokio::test]
async fn a_splitter_without_time_goes_on_from_what_it_had_sent() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    let file_text = csv(0..90, |number| number);
    let splitter = world.splitter_on(&world.ports());
    let mut invocations = 0;
    loop {
        invocations += 1;
        let begun = splitter.begin(&job.key, "an etag").await.unwrap().unwrap();
        // To where it was, and five chunks further: four of them are sent, one is made again.
        let in_time = for_chunks(5 + usize::try_from(begun.split.chunks).unwrap());
        let split = splitter.split(&begun, &mut file(&job.key, &file_text, 10), &in_time).await.unwrap();
        if split == Split::Done(ImportState::Running) {
            break;
        }
        assert_eq!((split, world.job(&job.key).await.state), (Split::More, ImportState::Splitting));
    }
    assert_eq!(invocations, 3);
    let numbers: Vec<_> = world.messages().iter().map(|chunk| chunk.chunk).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8], "none twice");
}

#[tokio::test]
async fn a_running_import_that_is_split_again_sends_what_has_no_outcome() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    let file_text = csv(0..50, |number| number);
    world.split(&job, &file_text, 10).await;
    for chunk in world.messages().into_iter().filter(|chunk| chunk.chunk % 2 == 0) {
        world.work(&chunk).await;
    }
    assert_eq!(world.split(&job, &file_text, 10).await, Split::Done(ImportState::Running));
    let chunks = world.messages();
    assert_eq!(chunks.iter().map(|chunk| chunk.chunk).collect::<Vec<_>>(), [1, 3]);
    for chunk in chunks {
        world.work(&chunk).await;
    }
    assert_eq!(world.status(&job.key).await.counts, counts(50, 0, 0, 0));
    assert_eq!(world.split(&job, &file_text, 10).await, Split::Done(ImportState::Cancelled), "nothing to be done");
    assert_eq!(world.messages(), []);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_on_fails_the_import_with_the_reason() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    assert_eq!(world.split(&job, "code,code\nR-1,R-1\n", 10).await, Split::Done(ImportState::Failed));
    let failed = world.job(&job.key).await;
    assert_eq!(failed.failure.map(|failure| failure.code).as_deref(), Some("DUPLICATE_COLUMN_NAME"));
    assert_eq!(world.split(&job, &csv(0..5, |number| number), 10).await, Split::Done(ImportState::Cancelled));
    assert_eq!((world.messages(), world.job(&job.key).await.state), (vec![], ImportState::Failed));
}

#[tokio::test]
async fn a_file_that_lacks_what_the_mapping_needs_fails_the_import() {
    let world = World::default();
    let request = ImportRequest {
        mapping: json!({"fields": {"code": "Code", "name": "Title"}}),
        ..ImportRequest::read(r#"{"resource": "products", "format": "csv", "source": {"upload": true}}"#).unwrap()
    };
    let job = world.imports().ask(&ann(), request).await.unwrap().job;
    assert_eq!(world.split(&job, "Code,Name\nR-1,Ring\n", 10).await, Split::Done(ImportState::Failed));
    let Some(ImportFailure { code, message }) = world.job(&job.key).await.failure else { panic!("it has a reason") };
    assert_eq!(code, "UNKNOWN_COLUMN");
    assert!(message.contains("name"), "{message}");
}

#[tokio::test]
async fn a_cancelled_import_is_split_no_further() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    let cancelling = world.clone();
    let key = job.key.clone();
    world.queue.fail(move |message| {
        if message.body.contains("\"chunk\":3,") {
            alone(cancelling.imports().cancel(&key)).unwrap();
        }
        Delivered::Yes
    });
    assert_eq!(world.split(&job, &csv(0..200, |number| number), 10).await, Split::Done(ImportState::Cancelled));
    assert_eq!(world.messages().len(), 4, "those that went out together");
}

#[tokio::test]
async fn a_queue_that_is_away_stops_the_splitter_where_it_is() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    world.queue.fail(|message| {
        let away = StoreError::Unavailable { store: "queue", reason: "away".to_owned() };
        if message.body.contains("\"chunk\":6,") { Delivered::No(away) } else { Delivered::Yes }
    });
    let file_text = csv(0..90, |number| number);
    assert!(world.split_on(&world.ports(), &job, &file_text, 10).await.is_err());
    assert_eq!(world.job(&job.key).await.split.chunks, 4);
    world.queue.recover();
    assert_eq!(world.split(&job, &file_text, 10).await, Split::Done(ImportState::Running));
    for chunk in world.messages() {
        world.work(&chunk).await;
    }
    assert_eq!(world.status(&job.key).await.counts, counts(90, 0, 0, 0));
}

/// The chunks of a file that cannot be read on behind its rows.
fn broken_file(key: &ImportKey, csv: &str) -> impl ChunkSource + use<> {
    let rows = read(Cursor::new(csv.as_bytes().to_vec()), ImportFormat::Csv, &Limits::default());
    let message = "The archive ends in its middle.".to_owned();
    let end = FileError::Refused(FileProblem { code: "MALFORMED_ARCHIVE", file: None, message });
    FileChunks::new(key, rows.chain([Err(end)]), ChunkLimits { max_rows: 10, ..ChunkLimits::default() })
}

#[tokio::test]
async fn what_comes_before_a_break_is_imported_and_then_the_import_fails() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    let file_text = csv(0..25, |number| number);
    let splitter = world.splitter_on(&world.ports());
    let split = async || {
        let begun = splitter.begin(&job.key, "an etag").await.unwrap().unwrap();
        splitter.split(&begun, &mut broken_file(&job.key, &file_text), &|| true).await
    };
    assert_eq!(split().await, Ok(Split::Done(ImportState::Running)));
    let chunks = world.messages();
    assert_eq!(world.work(&chunks[0]).await, ChunkWorked::Done);
    // It breaks where it broke before.
    assert_eq!(split().await, Ok(Split::Done(ImportState::Running)));
    assert_eq!(world.messages().len(), 2, "what has no outcome is sent again");
    for chunk in &chunks[1..] {
        assert_eq!(world.work(chunk).await, ChunkWorked::Done);
    }
    let status = world.status(&job.key).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Failed, counts(25, 0, 0, 0)));
    assert_eq!(status.job.failure.map(|failure| failure.code).as_deref(), Some("MALFORMED_ARCHIVE"));
    assert_eq!(world.prices().len(), 25);
}

#[tokio::test]
async fn a_file_that_breaks_before_its_first_row_fails_the_import_at_once() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    let splitter = world.splitter_on(&world.ports());
    let begun = splitter.begin(&job.key, "an etag").await.unwrap().unwrap();
    let split = splitter.split(&begun, &mut broken_file(&job.key, "code,name\n"), &|| true).await;
    assert_eq!((split, world.messages()), (Ok(Split::Done(ImportState::Failed)), vec![]));
}

#[tokio::test]
async fn an_import_whose_file_is_replaced_fails_and_takes_nothing_of_the_other_one() {
    let (first, second) = (csv(0..23, |number| number), csv(100..110, |number| number));
    for is_all_sent in [true, false] {
        let world = World::default();
        let job = world.ask(ImportMode::Upsert).await;
        let splitter = world.splitter_on(&world.ports());
        let begun = splitter.begin(&job.key, "the first").await.unwrap().unwrap();
        let mut chunks = file(&job.key, &first, 2);
        let time = for_chunks(6);
        splitter.split(&begun, &mut chunks, &|| is_all_sent || time()).await.unwrap();
        let sent = world.messages();
        let (done, waiting) = sent.split_at(3);
        for chunk in done {
            world.work(chunk).await;
        }
        assert_eq!(splitter.begin(&job.key, "the second").await, Ok(None));
        assert_eq!(world.split(&job, &second, 2).await, Split::Done(ImportState::Cancelled), "nothing is to be done");
        assert_eq!(world.messages(), []);
        for chunk in waiting {
            world.work(chunk).await;
        }
        let status = world.status(&job.key).await;
        assert_eq!(status.job.state, ImportState::Failed);
        assert_eq!(status.job.failure.map(|failure| failure.code).as_deref(), Some("SOURCE_CHANGED"));
        assert!(world.prices().len() >= 6 && world.prices().iter().all(|(code, _)| first.contains(code)));
    }
}

#[tokio::test]
async fn the_same_file_uploaded_again_changes_nothing() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    let rows = csv(0..23, |number| number);
    world.split(&job, &rows, 10).await;
    let chunks = world.messages();
    world.split(&job, &rows, 10).await;
    for chunk in chunks.iter().chain(&world.messages()) {
        world.work(chunk).await;
    }
    let status = world.status(&job.key).await;
    assert_eq!((status.job.state, status.counts), (ImportState::Completed, counts(23, 0, 0, 0)));
}
