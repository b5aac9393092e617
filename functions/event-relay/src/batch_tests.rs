use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use lambda_runtime::tower::ServiceExt;
use lambda_runtime::{Context, LambdaEvent};
use ledgerline_app::{Environment, Registry};
use ledgerline_kernel::Commit;
use ledgerline_kernel::ports::{BusMessage, LedgerWrite as _};
use ledgerline_testkit::tome::Tome;
use ledgerline_testkit::{
    Delivered, MemoryBlobs, MemoryBus, MemoryLedger, large_version_items, noon, note_key, version_items,
};
use serde_dynamo::Item;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::{Deps, service};

/// Time stands still, and nobody waits.
struct Still;

#[async_trait]
impl Environment for Still {
    fn now(&self) -> Timestamp {
        noon()
    }

    fn new_id(&self) -> String {
        String::new()
    }

    async fn back_off(&self, _: u32) {
        unreachable!("without a deadline nothing is waited for");
    }
}

/// Invokes the function; gives the sequence numbers it asks for again.
async fn invoke(bus: &MemoryBus, event: &Value) -> Vec<String> {
    invoke_with(LargeStates::none(), bus, event).await
}

async fn invoke_with(large_states: LargeStates, bus: &MemoryBus, event: &Value) -> Vec<String> {
    let relay = Relay::new(Arc::new(bus.clone()), Arc::new(Still)).with_large_states(large_states);
    let payload = RawValue::from_string(event.to_string()).unwrap();
    let answer = service(Deps { relay }).oneshot(LambdaEvent::new(payload, Context::default())).await.unwrap();
    answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/../../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn record(number: usize, item: &VersionItem) -> Value {
    let image: Item = serde_dynamo::to_item(item).unwrap();
    json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": number.to_string(), "NewImage": image}})
}

fn ids(bus: &MemoryBus) -> Vec<String> {
    bus.published().into_iter().map(|message| message.dedupe_id).collect()
}

#[tokio::test]
async fn the_events_of_versions_are_published_as_the_golden_message_says() {
    let bus = MemoryBus::default();
    assert_eq!(invoke(&bus, &fixture("event-relay/insert")).await, [""; 0]);
    let published = bus.published();
    assert_eq!(published.len(), 3);
    let changed: Vec<&BusMessage> = published.iter().filter(|message| message.event == "PriceChanged").collect();
    let golden = fixture("published/PriceChanged");
    assert_eq!(serde_json::from_str::<Value>(&changed[0].body).unwrap(), golden["body"]);
    let attributes: serde_json::Map<_, _> =
        changed[0].attributes().map(|(name, value)| (name.to_owned(), json!(value))).into_iter().collect();
    assert_eq!(Value::Object(attributes), golden["attributes"]);
}

#[tokio::test]
async fn items_of_other_kinds_and_expired_records_are_passed_over() {
    let bus = MemoryBus::default();
    assert_eq!(invoke(&bus, &fixture("event-relay/other-kinds")).await, [""; 0]);
    assert_eq!(ids(&bus), [""; 0]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_asked_for_again_and_its_neighbours_are_published() {
    let bus = MemoryBus::default();
    let failed = invoke(&bus, &fixture("event-relay/partial-failure")).await;
    assert_eq!(failed, ["4421584500000000017450001024"]);
    assert_eq!(ids(&bus), ["PRODUCT#acme#bracelet-1@1#0", "PRODUCT#acme#earring-1@1#0"]);
}

#[tokio::test]
async fn an_item_that_was_altered_is_passed_over_and_its_neighbours_are_published() {
    let bus = MemoryBus::default();
    let mut items = version_items(&note_key("a"), 2);
    items[0].name.push('!');
    let records: Vec<_> = items.iter().enumerate().map(|(number, item)| record(number + 1, item)).collect();
    assert_eq!(invoke(&bus, &json!({ "Records": records })).await, [""; 0]);
    assert_eq!(ids(&bus), ["NOTE#acme#a@2#0"]);
}

#[tokio::test]
async fn an_image_that_claims_to_be_a_version_and_is_none_is_passed_over() {
    let bus = MemoryBus::default();
    let mut event = json!({ "Records": [record(1, &version_items(&note_key("a"), 1)[0])] });
    event["Records"][0]["dynamodb"]["NewImage"]
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name.len() == 2 || name == "kind");
    assert_eq!(invoke(&bus, &event).await, [""; 0]);
    assert_eq!(ids(&bus), [""; 0]);
}

#[tokio::test]
async fn every_record_that_was_not_published_is_asked_for_again_and_no_other() {
    let bus = MemoryBus::default();
    let [a1, a2, a3] = version_items(&note_key("a"), 3).try_into().unwrap();
    let [b1] = version_items(&note_key("b"), 1).try_into().unwrap();
    let records = [&a1, &a2, &b1, &a3].into_iter().enumerate().map(|(number, item)| record(number + 8, item));
    let event = json!({ "Records": records.collect::<Vec<_>>() });
    bus.fail(|message| match message.dedupe_id.contains("a@2") {
        true => Delivered::No(StoreError::Unavailable { store: "bus", reason: "gone".to_owned() }),
        false => Delivered::Yes,
    });
    assert_eq!(invoke(&bus, &event).await, ["9", "11"]);
    bus.recover();
    assert_eq!(invoke(&bus, &event).await, [""; 0]);
    assert_eq!(ids(&bus).into_iter().collect::<BTreeSet<_>>().len(), 4);
}

#[tokio::test]
async fn what_is_no_event_of_a_stream_fails_as_a_whole() {
    let relay = Relay::new(Arc::new(MemoryBus::default()), Arc::new(Still));
    let payload = RawValue::from_string("{}".to_owned()).unwrap();
    assert!(service(Deps { relay }).oneshot(LambdaEvent::new(payload, Context::default())).await.is_err());
}

/// As the stream has them: three versions of the tome `a` and one of `b`, of 3 MB each, so that two
/// are held at once.
async fn tomes(states: &LargeStates) -> Value {
    let stored = MemoryLedger::default();
    for (sk, versions) in [("a", 3), ("b", 1)] {
        for item in large_version_items(&format!("TOME#acme#{sk}").parse().unwrap(), versions, 1_500_000) {
            states.over(stored.clone()).commit(&Commit::of(item), noon()).await.unwrap();
        }
    }
    let records = stored.all().into_iter().enumerate().map(|(number, item)| record(number, &item));
    let event = json!({ "Records": records.collect::<Vec<_>>() });
    assert!(event.to_string().len() < 10_000, "the stream has references only");
    event
}

fn large_states() -> (MemoryBlobs, LargeStates) {
    let blobs = MemoryBlobs::default();
    let registry = Registry::default().with::<Tome>().unwrap();
    (blobs.clone(), LargeStates::new(registry, Arc::new(blobs)))
}

#[tokio::test]
async fn events_of_large_versions_are_published_in_the_order_of_their_versions() {
    let ((_, states), bus) = (large_states(), MemoryBus::default());
    let mut event = tomes(&states).await;
    event["Records"].as_array_mut().unwrap().reverse();
    assert_eq!(invoke_with(states, &bus, &event).await, [""; 0]);
    let sent: Vec<_> = ids(&bus).into_iter().filter(|id| id.contains("#a@")).collect();
    assert_eq!(sent, ["TOME#acme#a@1#0", "TOME#acme#a@2#0", "TOME#acme#a@3#0"]);
    let bodies = bus.published().into_iter().map(|message| serde_json::from_str::<Value>(&message.body).unwrap());
    let said: Vec<_> = bodies.map(|body| (body["event"] == "Written", body["dataOmitted"].clone())).collect();
    assert_eq!((said.len(), said.iter().filter(|(written, _)| *written).count()), (4, 2));
    assert!(said.iter().all(|(_, omitted)| *omitted == json!(true)), "no message can hold so much");
}

#[tokio::test]
async fn what_follows_an_unpublished_event_waits_also_where_it_is_in_another_part_of_the_batch() {
    let ((_, states), bus) = (large_states(), MemoryBus::default());
    let event = tomes(&states).await;
    bus.fail(|message| match message.dedupe_id.contains("a@1#") {
        true => Delivered::No(StoreError::Unavailable { store: "bus", reason: "gone".to_owned() }),
        false => Delivered::Yes,
    });
    assert_eq!(invoke_with(states, &bus, &event).await, ["0", "1", "2"]);
    assert!(ids(&bus).iter().all(|id| id.contains("#b@")), "{:?}", ids(&bus));
}

#[tokio::test]
async fn while_their_store_is_away_large_versions_hold_up_their_own_entity_and_no_other() {
    let ((blobs, states), bus) = (large_states(), MemoryBus::default());
    let mut event = tomes(&states).await;
    let small = version_items(&"TOME#acme#a".parse().unwrap(), 4).pop().unwrap();
    let other = version_items(&note_key("c"), 1).remove(0);
    event["Records"].as_array_mut().unwrap().extend([record(8, &small), record(9, &other)]);
    blobs.set_away(true);
    assert_eq!(invoke_with(states.clone(), &bus, &event).await, ["0", "1", "2", "3", "8"]);
    assert_eq!(ids(&bus).len(), 1);
    blobs.set_away(false);
    assert_eq!(invoke_with(states, &bus, &event).await, [""; 0]);
    assert_eq!(ids(&bus).iter().filter(|id| id.contains("#a@")).count(), 4);
}

#[tokio::test]
async fn altered_content_publishes_nothing() {
    let ((blobs, states), bus) = (large_states(), MemoryBus::default());
    let event = tomes(&states).await;
    blobs.alter(|content| content[50] ^= 1);
    assert_eq!(invoke_with(states, &bus, &event).await, ["0", "1", "2", "3"]);
    assert_eq!(ids(&bus), [""; 0]);
}

#[test]
fn a_part_of_a_batch_refers_to_eight_megabytes_at_most_or_has_one_version() {
    let told = |(index, megabytes): (usize, usize)| {
        let mut item = version_items(&note_key("a"), 1).remove(0);
        if megabytes > 0 {
            item.events.clear();
            item.state = json!(format!("kept:sha256:{}:{}", "0".repeat(64), megabytes << 20));
        }
        Told { index, item }
    };
    let sizes = [4, 0, 4, 0, 1, 9, 0, 5, 5];
    let mut rest = sizes.into_iter().enumerate().map(told).collect::<Vec<_>>().into_iter().peekable();
    let mut parts = Vec::new();
    while rest.peek().is_some() {
        parts.push(next_part(&mut rest).iter().map(|told| sizes[told.index]).collect::<Vec<_>>());
    }
    assert_eq!(parts, [vec![4, 0, 4, 0], vec![1], vec![9], vec![0, 5], vec![5]]);
}
