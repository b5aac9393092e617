use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lambda_runtime::tower::ServiceExt;
use lambda_runtime::{Context, LambdaEvent};
use ledgerline_app::Projector;
use ledgerline_app::Registry;
use ledgerline_kernel::DynDomain;
use ledgerline_kernel::ports::{Applied, QuarantineQuery, Quarantined, StateSink, StoreError};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{MemoryEntities, MemoryQuarantine, note_key, version_items};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::{Deps, service};

#[path = "large_tests.rs"]
mod large;
#[path = "quarantine_tests.rs"]
mod quarantine;

/// What a sink does with a batch that holds an item of this sort key.
#[derive(Clone, Copy)]
enum Trouble {
    Rejects(&'static str),
    RejectsVersion(&'static str, u64),
    IsAway(&'static str),
    Panics(&'static str),
}

/// A read model with a weakness. Counts the batches it was handed.
#[derive(Clone, Default)]
struct Sink {
    entities: MemoryEntities,
    quarantine: MemoryQuarantine,
    troubles: Vec<Trouble>,
    batches: Arc<Mutex<usize>>,
}

#[async_trait]
impl StateSink for Sink {
    fn name(&self) -> &'static str {
        "sink"
    }

    async fn apply(&self, domain: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError> {
        *self.batches.lock().unwrap() += 1;
        let holds = |sk: &str| items.iter().any(|item| item.key.sk.as_str() == sk);
        for trouble in &self.troubles {
            match *trouble {
                Trouble::Rejects(sk) if holds(sk) => {
                    return Err(StoreError::Rejected { store: "sink", reason: "it does not fit".to_owned() });
                }
                Trouble::RejectsVersion(sk, version)
                    if items.iter().any(|item| item.key.sk.as_str() == sk && item.version.number() == version) =>
                {
                    return Err(StoreError::Rejected { store: "sink", reason: "it does not fit".to_owned() });
                }
                Trouble::IsAway(sk) if holds(sk) => {
                    return Err(StoreError::Unavailable { store: "sink", reason: "it is away".to_owned() });
                }
                Trouble::Panics(sk) if holds(sk) => panic!("{sk} is too much"),
                _ => {}
            }
        }
        self.entities.apply(domain, items).await
    }
}

impl Sink {
    fn with(troubles: &[Trouble]) -> Self {
        Self { troubles: troubles.to_vec(), ..Self::default() }
    }

    /// What the read model holds.
    fn rows(&self) -> Rows {
        let rows = self.entities.all();
        rows.into_iter().map(|row| (row.key.sk.as_str().to_owned(), row.version.number())).collect()
    }
}

/// Invokes the function with these records of notes; gives the sequence numbers it asks for again.
async fn invoke(sink: &Sink, records: &[Value]) -> Vec<String> {
    invoke_for(Registry::default().with::<Note>().unwrap(), sink, &json!({"Records": records})).await
}

async fn invoke_for(registry: Registry, sink: &Sink, event: &Value) -> Vec<String> {
    let projector = Projector::new(registry, vec![Arc::new(sink.clone())]);
    let deps = Deps::new(projector, Arc::new(sink.quarantine.clone()));
    let event = RawValue::from_string(event.to_string()).unwrap();
    let response = service(deps).oneshot(LambdaEvent::new(event, Context::default())).await.unwrap();
    response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}

fn record(number: &str, image: &Value) -> Value {
    json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": number, "NewImage": image}})
}

/// The stream's image of a version of the note `sk`.
fn image(sk: &str, version: usize) -> Value {
    let item = version_items(&note_key(sk), version as u64).pop().unwrap();
    serde_json::to_value(serde_dynamo::to_item::<_, serde_dynamo::Item>(item).unwrap()).unwrap()
}

fn good(number: &str, sk: &str) -> Value {
    record(number, &image(sk, 1))
}

/// Sort keys and versions.
type Rows = Vec<(String, u64)>;

fn rows(expected: &[(&str, u64)]) -> Rows {
    expected.iter().map(|(sk, version)| ((*sk).to_owned(), *version)).collect()
}

#[tokio::test]
async fn the_newest_version_of_each_entity_is_projected_at_once() {
    let sink = Sink::default();
    let records = [record("1", &image("a", 2)), good("2", "b"), good("3", "a"), record("4", &image("a", 3))];
    assert_eq!(invoke(&sink, &records).await, Vec::<String>::new());
    assert_eq!(sink.rows(), rows(&[("a", 3), ("b", 1)]));
    assert_eq!(*sink.batches.lock().unwrap(), 1);
}

#[tokio::test]
async fn an_empty_batch_is_a_success() {
    assert_eq!(invoke(&Sink::default(), &[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn removals_and_items_of_other_kinds_are_nothing_to_do() {
    let sink = Sink::default();
    let mut removed = good("1", "gone");
    removed["eventName"] = json!("REMOVE");
    let claim = record("2", &json!({"pk": {"S": "UNIQUE#acme"}, "sk": {"S": "claim"}, "kind": {"S": "claim"}}));
    assert_eq!(invoke(&sink, &[removed, claim, good("3", "a")]).await, Vec::<String>::new());
    assert_eq!(sink.rows(), rows(&[("a", 1)]));
}

/// Records that cannot be projected, each with sequence number 7.
fn bad_records() -> Vec<(&'static str, Value)> {
    let changed = |place: &str, value: Value| {
        let mut image = image("bad", 1);
        *image.pointer_mut(place).unwrap() = value;
        record("7", &image)
    };
    let rehashed = |change: fn(&mut VersionItem)| {
        let mut item = version_items(&note_key("bad"), 1).pop().unwrap();
        change(&mut item);
        item.hash = item.computed_hash().unwrap();
        record("7", &serde_json::to_value(serde_dynamo::to_item::<_, serde_dynamo::Item>(item).unwrap()).unwrap())
    };
    vec![
        ("a missing image", json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": "7"}})),
        ("an empty image", record("7", &json!({}))),
        ("garbage for an image", record("7", &json!("garbage"))),
        ("no kind", changed("/kind", json!({"NULL": true}))),
        ("a name that was altered", changed("/name", json!({"S": "altered"}))),
        ("a hash of something else", changed("/hash", json!({"S": "0".repeat(64)}))),
        ("a version unlike its key", changed("/version", json!({"N": "2"}))),
        ("another tenant than its key's", changed("/tenantCode", json!({"S": "globex"}))),
        ("an unknown event", rehashed(|item| item.events[0].name = "Vanished".to_owned())),
        ("an event shape of the future", rehashed(|item| item.events[0].v = 99)),
        ("an unknown type", rehashed(|item| item.key.partition.entity_type = "UNKNOWN".parse().unwrap())),
    ]
}

#[tokio::test]
async fn a_bad_record_is_reported_and_its_neighbours_are_projected() {
    for (what, bad) in bad_records() {
        let sink = Sink::default();
        assert_eq!(invoke(&sink, &[good("6", "a"), bad, good("8", "z")]).await, ["7"], "{what}");
        assert_eq!(sink.rows(), rows(&[("a", 1), ("z", 1)]), "{what}");
    }
}

#[tokio::test]
async fn all_bad_records_are_reported_in_the_order_of_the_shard() {
    let mut records: Vec<Value> = Vec::new();
    let mut expected = Vec::new();
    for (index, (_, mut bad)) in bad_records().into_iter().enumerate() {
        bad["dynamodb"]["SequenceNumber"] = json!(format!("{}", 100 + index));
        expected.push(format!("{}", 100 + index));
        records.push(bad);
        records.push(good("0", &format!("good-{index}")));
    }
    let sink = Sink::default();
    assert_eq!(invoke(&sink, &records).await, expected);
    assert_eq!(sink.rows().len(), expected.len());
}

#[tokio::test]
async fn a_record_without_a_number_asks_for_the_whole_batch_after_its_neighbours_are_projected() {
    for bad in [json!(null), json!("garbage"), json!({"eventName": "INSERT"})] {
        let sink = Sink::default();
        assert_eq!(invoke(&sink, &[good("1", "a"), bad, good("3", "b")]).await, [""]);
        assert_eq!(sink.rows(), rows(&[("a", 1), ("b", 1)]));
    }
}

#[tokio::test]
async fn a_store_that_is_away_asks_for_all_good_records_again() {
    let sink = Sink::with(&[Trouble::IsAway("b")]);
    let records = [good("1", "c"), good("2", "b"), record("3", &json!({})), good("4", "a")];
    assert_eq!(invoke(&sink, &records).await, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn an_entity_that_a_store_refuses_stops_only_itself() {
    for trouble in [Trouble::Rejects("b"), Trouble::Panics("b")] {
        let sink = Sink::with(&[trouble]);
        let records = [record("1", &image("b", 2)), good("2", "c"), good("3", "b"), good("4", "a")];
        assert_eq!(invoke(&sink, &records).await, ["1", "3"]);
        assert_eq!(sink.rows(), rows(&[("a", 1), ("c", 1)]));
    }
}

#[tokio::test]
async fn several_bad_entities_fail_and_the_rest_is_projected() {
    let sink = Sink::with(&[Trouble::Rejects("b"), Trouble::Panics("d")]);
    let records: Vec<Value> = ["a", "b", "c", "d", "e"].iter().map(|sk| good(sk, sk)).collect();
    assert_eq!(invoke(&sink, &records).await, ["b", "d"]);
    assert_eq!(sink.rows(), rows(&[("a", 1), ("c", 1), ("e", 1)]));
}

#[tokio::test]
async fn a_store_that_goes_away_halfway_leaves_the_rest_for_later() {
    let sink = Sink::with(&[Trouble::Rejects("b"), Trouble::IsAway("c")]);
    let records: Vec<Value> = ["d", "c", "b", "a"].iter().map(|sk| good(sk, sk)).collect();
    assert_eq!(invoke(&sink, &records).await, ["d", "c", "b"]);
    assert_eq!(sink.rows(), rows(&[("a", 1)]));
}

/// Invokes the function with 900 notes at noon, each call to the read model taking 10 seconds; gives
/// how many came through and how many come again.
async fn invoke_with_seconds_left(seconds: u64) -> (usize, usize) {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let sink = Sink::default();
    let projector = Projector::new(Registry::default().with::<Note>().unwrap(), vec![Arc::new(sink.clone())]);
    let mut deps = Deps::new(projector, Arc::new(sink.quarantine.clone()));
    let calls = Arc::clone(&sink.batches);
    deps.clock = Arc::new(move || noon + Duration::from_secs(10 * *calls.lock().unwrap() as u64));
    let mut records: Vec<Value> = (0..900).map(|number| good(&number.to_string(), &format!("n{number}"))).collect();
    records.push(record("bad", &json!({})));
    let event = RawValue::from_string(json!({"Records": records}).to_string()).unwrap();
    let mut context = Context::default();
    context.deadline = u64::try_from(
        (noon + Duration::from_secs(seconds)).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis(),
    )
    .unwrap();
    let response = service(deps.clone()).oneshot(LambdaEvent::new(event, context)).await.unwrap();
    let again: BTreeSet<String> =
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
    assert!(again.contains("bad"));
    let rows: BTreeSet<(String, u64)> = sink.rows().into_iter().collect();
    for number in 0..900 {
        let is_there = rows.contains(&(format!("n{number}"), 1));
        assert_ne!(is_there, again.contains(&number.to_string()), "{number} is neither done nor comes again");
    }
    (rows.len(), again.len() - 1)
}

#[tokio::test]
async fn no_more_is_begun_two_seconds_before_the_deadline_and_what_is_left_comes_again() {
    for (seconds, slices) in [(1, 0), (2, 0), (3, 1), (12, 1), (13, 2), (32, 3), (33, 4)] {
        assert_eq!(invoke_with_seconds_left(seconds).await, (slices * SLICE, 900 - slices * SLICE), "{seconds} s");
    }
    assert_eq!(invoke_with_seconds_left(60).await, (900, 0));
}

#[tokio::test]
async fn however_long_a_store_is_away_nothing_is_quarantined() {
    let mut sink = Sink::with(&[Trouble::IsAway("a")]);
    let records = [good("1", "a"), record("2", &json!({}))];
    for _ in 0..30 {
        assert_eq!(invoke(&sink, &records).await, ["1", "2"]);
    }
    sink.troubles.clear();
    assert_eq!(invoke(&sink, &records).await, ["2"], "the first strike of the bad one");
    assert_eq!((sink.rows(), sink.quarantine.all().len()), (rows(&[("a", 1)]), 0));
}

#[tokio::test]
async fn delivering_a_batch_again_changes_nothing() {
    let sink = Sink::default();
    let records = [record("1", &image("a", 2)), good("2", "b")];
    invoke(&sink, &records).await;
    let before = sink.entities.all();
    assert_eq!(invoke(&sink, &[good("0", "a"), records[1].clone()]).await, Vec::<String>::new());
    assert_eq!(sink.entities.all(), before);
}

#[tokio::test]
async fn an_event_without_records_fails_as_a_whole() {
    let projector = Projector::new(Registry::default(), vec![]);
    let deps = Deps::new(projector, Arc::new(MemoryQuarantine::default()));
    let event = RawValue::from_string("{}".to_owned()).unwrap();
    assert!(service(deps).oneshot(LambdaEvent::new(event, Context::default())).await.is_err());
}

/// What becomes of each event file: the records to deliver again, by their index, and the rows.
fn event_cases() -> Vec<(&'static str, Vec<usize>, Rows)> {
    vec![
        ("altered-after-hashing", vec![1], rows(&[("bracelet-1", 1)])),
        ("expired", vec![], vec![]),
        ("garbage", vec![0], rows(&[("earring-1", 1)])),
        ("insert", vec![], rows(&[("bracelet-1", 2), ("earring-1", 1)])),
        ("missing-image", vec![1], rows(&[("bracelet-1", 1)])),
        ("out-of-order-and-twice", vec![], rows(&[("bracelet-1", 2)])),
        ("partial-failure", vec![1], rows(&[("bracelet-1", 1), ("earring-1", 1)])),
    ]
}

#[tokio::test]
async fn every_event_file_gets_its_answer() {
    const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/data-sync");
    for (name, failed, rows) in event_cases() {
        let event: Value =
            serde_json::from_str(&std::fs::read_to_string(format!("{EVENTS}/{name}.json")).unwrap()).unwrap();
        let records = event["Records"].as_array().unwrap();
        let number = |index: &usize| records[*index]["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned();
        let sink = Sink::default();
        let again = invoke_for(Registry::shipped().unwrap(), &sink, &event).await;
        assert_eq!(again, failed.iter().map(number).collect::<Vec<_>>(), "{name}");
        assert_eq!(sink.rows(), rows, "{name}");
    }
    let files = std::fs::read_dir(EVENTS).unwrap().map(|file| file.unwrap().path());
    let files: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(files, event_cases().into_iter().map(|(name, ..)| name.to_owned()).collect());
}

fn everything() -> QuarantineQuery {
    QuarantineQuery { tenant: None, entity: None, after: None, limit: 100 }
}
