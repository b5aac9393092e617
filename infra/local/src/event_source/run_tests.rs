use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use dynoxide::AttributeValue;
use dynoxide::actions::delete_item::DeleteItemRequest;
use dynoxide::actions::put_item::PutItemRequest;
use ledgerline_stores::{DynamoAt, EventPattern, LocalDynamo};
use serde_json::{Value, json};

use super::*;
use crate::event_source::{DynamoDbStream, FailureFile, InvokeError, LOCAL_REGION, PositionFile};

const TABLE: &str = "ledger";

/// A function that remembers its events. It fails on a batch with a poisoned record, after it has
/// dealt with the others.
#[derive(Default)]
struct Function {
    poison: Option<&'static str>,
    reports: bool,
    first: Mutex<VecDeque<InvokeError>>,
    hangs: bool,
    events: Mutex<Vec<Value>>,
    seen: Mutex<Vec<String>>,
}

#[async_trait]
impl Invoke for Function {
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError> {
        assert_eq!(function, "sync");
        let event: Value = serde_json::from_str(&event).unwrap();
        self.events.lock().unwrap().push(event.clone());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let error = self.first.lock().unwrap().pop_front();
        if let Some(error) = error {
            return Err(error);
        }
        let records = event["Records"].as_array().unwrap();
        let sk = |record: &Value| record["dynamodb"]["Keys"]["sk"]["S"].as_str().unwrap().to_owned();
        let is_poison = |record: &&Value| self.poison == Some(sk(record).as_str());
        let poisoned = records.iter().find(is_poison);
        let taken = if poisoned.is_some() && !self.reports { &[] } else { records.as_slice() };
        self.seen.lock().unwrap().extend(taken.iter().filter(|record| !is_poison(record)).map(sk));
        match poisoned {
            Some(record) if self.reports => {
                let identifier = &record["dynamodb"]["SequenceNumber"];
                Ok(json!({"batchItemFailures": [{"itemIdentifier": identifier}]}).to_string())
            }
            Some(_) => Err(InvokeError::Failed("poisoned".to_owned())),
            None => Ok(r#"{"batchItemFailures":[]}"#.to_owned()),
        }
    }
}

impl Function {
    fn seen(&self) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.sort();
        seen.dedup();
        seen
    }
}

/// A table with a stream, and a directory for what a mapping keeps.
struct World {
    dynamo: LocalDynamo,
    directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
        dynamo.create_table(TABLE, true).unwrap();
        Self { dynamo, directory: tempfile::tempdir().unwrap() }
    }

    fn put(&self, sks: impl IntoIterator<Item = u32>) {
        for sk in sks {
            let request = PutItemRequest { table_name: TABLE.to_owned(), item: key(sk), ..PutItemRequest::default() };
            self.dynamo.database().put_item(request).unwrap();
        }
    }

    fn stream(&self) -> DynamoDbStream {
        DynamoDbStream::open(self.dynamo.database(), TABLE).unwrap()
    }

    async fn start(&self, mapping: Mapping, function: &Arc<Function>) -> EventSource {
        let stream = self.stream();
        let parts = Parts {
            positions: Arc::new(PositionFile::new(self.directory.path(), &mapping.id, stream.arn())),
            stream: Arc::new(stream),
            functions: Arc::<Function>::clone(function),
            failures: Arc::new(FailureFile::new(self.failures())),
            clock: Clock::real(),
        };
        EventSource::start(mapping, parts).await.unwrap()
    }

    fn failures(&self) -> std::path::PathBuf {
        self.directory.path().join("failures.jsonl")
    }
}

fn key(sk: u32) -> HashMap<String, AttributeValue> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([("pk".to_owned(), text("NOTE#acme")), ("sk".to_owned(), text(&name(sk)))])
}

fn name(sk: u32) -> String {
    format!("n-{sk:03}")
}

fn names(sks: impl IntoIterator<Item = u32>) -> Vec<String> {
    sks.into_iter().map(name).collect()
}

fn mapping() -> Mapping {
    Mapping { batch_size: 10, maximum_retry_attempts: Some(1), ..Mapping::new("Sync.Ledger", "sync") }
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_function_gets_the_event_that_lambda_sends() {
    let (world, function) = (World::new().await, Arc::new(Function::default()));
    world.put([1]);
    let source = world.start(mapping(), &function).await;
    source.caught_up().await.unwrap();
    let event = function.events.lock().unwrap()[0].clone();
    let record = &event["Records"][0];
    let stream_record = &record["dynamodb"];
    let keys = json!({"pk": {"S": "NOTE#acme"}, "sk": {"S": "n-001"}});
    let expected = json!({"Records": [{
        "eventID": record["eventID"], "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": LOCAL_REGION, "eventSourceARN": world.stream().arn(),
        "dynamodb": {
            "ApproximateCreationDateTime": stream_record["ApproximateCreationDateTime"],
            "Keys": keys, "NewImage": keys,
            "SequenceNumber": stream_record["SequenceNumber"], "SizeBytes": stream_record["SizeBytes"],
            "StreamViewType": "NEW_IMAGE",
        },
    }]});
    assert_eq!(event, expected);
    assert!(record["eventID"].is_string() && stream_record["SequenceNumber"].is_string());
    assert!(stream_record["ApproximateCreationDateTime"].is_i64() && stream_record["SizeBytes"].is_i64());
    source.stop().await;
}

#[tokio::test]
async fn everything_is_delivered_in_order_and_in_batches_of_the_size_set() {
    let (world, function) = (World::new().await, Arc::new(Function::default()));
    world.put(1..=25);
    let source = world.start(mapping(), &function).await;
    source.caught_up().await.unwrap();
    world.put(26..=30);
    source.caught_up().await.unwrap();
    assert_eq!(*function.seen.lock().unwrap(), names(1..=30));
    let sizes = function.events.lock().unwrap().iter().map(|event| event["Records"].as_array().unwrap().len()).max();
    assert_eq!(sizes, Some(10));
    source.stop().await;
}

#[tokio::test]
async fn a_poison_record_goes_to_the_failure_destination_and_its_neighbours_to_the_function() {
    for (reports, bisect) in [(true, true), (false, true), (true, false)] {
        let function = Arc::new(Function { poison: Some("n-004"), reports, ..Function::default() });
        let world = World::new().await;
        world.put(1..=9);
        let settings = Mapping { bisect, reports_item_failures: reports, ..mapping() };
        let source = world.start(settings, &function).await;
        source.caught_up().await.unwrap();
        source.stop().await;
        assert_eq!(function.seen(), names((1..=9).filter(|sk| *sk != 4)), "reports {reports}, bisect {bisect}");

        let lines = lines(&world.failures());
        let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
        let batch = &line["message"]["DDBStreamBatchInfo"];
        assert_eq!(line["records"][0]["dynamodb"]["Keys"]["sk"]["S"], "n-004");
        assert_eq!(batch["startSequenceNumber"], line["records"][0]["dynamodb"]["SequenceNumber"]);
        assert_eq!(batch["batchSize"], if bisect { 1 } else { 6 });
        assert_eq!(line["message"]["requestContext"]["condition"], "RetryAttemptsExhausted");
        assert_eq!(line["message"]["requestContext"]["approximateInvokeCount"], 2);
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_run_stopped() {
    let (world, first, second) = (World::new().await, Arc::new(Function::default()), Arc::new(Function::default()));
    world.put(1..=5);
    let source = world.start(mapping(), &first).await;
    source.caught_up().await.unwrap();
    source.stop().await;
    world.put(6..=8);
    let source = world.start(mapping(), &second).await;
    source.caught_up().await.unwrap();
    source.stop().await;
    assert_eq!((first.seen(), second.seen()), (names(1..=5), names(6..=8)));
}

#[tokio::test]
async fn what_was_under_way_when_the_process_was_killed_is_delivered_by_the_next_one() {
    let world = World::new().await;
    let (before, killed, after) = (
        Arc::new(Function::default()),
        Arc::new(Function { hangs: true, ..Function::default() }),
        Arc::new(Function::default()),
    );
    world.put(1..=3);
    let source = world.start(mapping(), &before).await;
    source.caught_up().await.unwrap();
    source.stop().await;

    world.put(4..=6);
    let source = world.start(mapping(), &killed).await;
    while killed.events.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    source.task.abort();
    assert!(source.caught_up().await.is_err(), "it says that it was not delivered");
    source.kill().await;

    let source = world.start(mapping(), &after).await;
    source.caught_up().await.unwrap();
    assert_eq!(after.seen(), names(4..=6));
    source.stop().await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_function_that_hangs_and_delivers_its_batch_again_later() {
    let (world, hanging) = (World::new().await, Arc::new(Function { hangs: true, ..Function::default() }));
    world.put(1..=3);
    let source = world.start(mapping(), &hanging).await;
    while hanging.events.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(10), source.stop()).await.unwrap();

    let function = Arc::new(Function::default());
    let source = world.start(mapping(), &function).await;
    source.caught_up().await.unwrap();
    assert_eq!(function.seen(), names(1..=3));
    source.stop().await;
}

#[tokio::test]
async fn a_position_that_was_lost_delivers_everything_again() {
    let (world, function) = (World::new().await, Arc::new(Function::default()));
    world.put(1..=3);
    for _ in 0..2 {
        let source = world.start(mapping(), &function).await;
        source.caught_up().await.unwrap();
        source.stop().await;
        std::fs::remove_file(world.directory.path().join("Sync.Ledger.position")).unwrap();
    }
    assert_eq!(*function.seen.lock().unwrap(), [names(1..=3), names(1..=3)].concat());
}

#[tokio::test]
async fn a_function_that_is_not_up_yet_loses_nothing() {
    let nobody = || InvokeError::Unavailable("nobody there".to_owned());
    let function = Arc::new(Function { first: Mutex::new([nobody(), nobody()].into()), ..Function::default() });
    let world = World::new().await;
    world.put([1]);
    let source = world.start(Mapping { maximum_retry_attempts: Some(0), ..mapping() }, &function).await;
    source.caught_up().await.unwrap();
    assert_eq!(function.seen(), names([1]));
    assert_eq!(lines(&world.failures()), [Value::Null; 0]);
    source.stop().await;
}

#[tokio::test]
async fn what_the_filter_leaves_out_is_done_with_and_not_delivered() {
    let (world, function) = (World::new().await, Arc::new(Function::default()));
    world.put([1, 2]);
    let request = DeleteItemRequest { table_name: TABLE.to_owned(), key: key(1), ..DeleteItemRequest::default() };
    world.dynamo.database().delete_item(request).unwrap();
    let inserts = EventPattern::parse(&json!({"eventName": ["INSERT"]})).unwrap();
    let inserts = Mapping { filters: vec![inserts], ..mapping() };
    let source = world.start(inserts, &function).await;
    source.caught_up().await.unwrap();
    assert_eq!(*function.seen.lock().unwrap(), names([1, 2]));
    source.stop().await;
}

#[tokio::test]
async fn from_the_newest_on_nothing_older_is_delivered() {
    let (world, function) = (World::new().await, Arc::new(Function::default()));
    world.put([1, 2]);
    let source = world.start(Mapping { start: StartingPosition::Newest, ..mapping() }, &function).await;
    world.put([3]);
    source.caught_up().await.unwrap();
    assert_eq!(function.seen(), names([3]));
    source.stop().await;
}

#[tokio::test]
async fn a_window_gathers_what_is_written_meanwhile_and_a_full_batch_ends_it() {
    let (world, function) = (World::new().await, Arc::new(Function::default()));
    let source = world.start(Mapping { window: Duration::from_secs(3600), ..mapping() }, &function).await;
    world.put(1..=4);
    world.put(5..=10);
    source.caught_up().await.unwrap();
    assert_eq!(function.events.lock().unwrap().len(), 1);
    assert_eq!(function.seen(), names(1..=10));
    source.stop().await;
}

#[tokio::test]
async fn a_table_without_a_stream_is_an_error() {
    let world = World::new().await;
    world.dynamo.create_table("plain", false).unwrap();
    assert!(DynamoDbStream::open(world.dynamo.database(), "plain").is_err());
}
