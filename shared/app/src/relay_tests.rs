use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::Duration;
use ledgerline_testkit::{Delivered, MemoryBus, large_version_items, noon, note_key, version_items};
use serde_json::json;

use super::*;

/// Time that passes a second with each wait.
#[derive(Clone)]
struct Waiting(Arc<Mutex<Timestamp>>);

impl Waiting {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(noon())))
    }

    fn waited(&self) -> i64 {
        (self.now().as_datetime() - noon().as_datetime()).num_seconds()
    }
}

#[async_trait]
impl Environment for Waiting {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn new_id(&self) -> String {
        String::new()
    }

    async fn back_off(&self, _: u32) {
        let mut now = self.0.lock().unwrap();
        *now = (now.as_datetime() + Duration::seconds(1)).into();
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable { store: "bus", reason: "it is gone".to_owned() }
}

fn refused() -> StoreError {
    StoreError::Rejected { store: "bus", reason: "not this one".to_owned() }
}

fn in_seconds(seconds: i64) -> Option<Timestamp> {
    Some((noon().as_datetime() + Duration::seconds(seconds)).into())
}

fn relay(bus: &MemoryBus, waiting: &Waiting) -> Relay {
    Relay::new(Arc::new(bus.clone()), Arc::new(waiting.clone()))
}

fn ids(bus: &MemoryBus) -> Vec<String> {
    bus.published().iter().map(|message| message.dedupe_id.replace("NOTE#acme#", "")).collect()
}

fn with_two_events(mut item: VersionItem) -> VersionItem {
    item.events.push(StoredEvent { name: "Rated".to_owned(), v: 2, data: json!({"stars": "5"}) });
    item
}

#[tokio::test]
async fn each_event_of_a_version_is_a_message_of_its_own() {
    let bus = MemoryBus::default();
    let mut item = with_two_events(version_items(&note_key("n/1"), 1).remove(0));
    item.traceparent = Some("00-trace".to_owned());
    let relayed = relay(&bus, &Waiting::new()).publish(&[item], None).await;
    assert_eq!(relayed, Relayed { published: 2, failed: vec![] });
    let [first, second] = bus.published().try_into().unwrap();
    assert_eq!((first.event.as_str(), second.event.as_str()), ("Written", "Rated"));
    assert_eq!((first.dedupe_id.as_str(), second.dedupe_id.as_str()), ("NOTE#acme#n/1@1#0", "NOTE#acme#n/1@1#1"));
    let body: Value = serde_json::from_str(&second.body).unwrap();
    let expected = json!({
        "dedupeId": "NOTE#acme#n/1@1#1", "id": "NOTE#acme#n/1", "type": "NOTE", "tenantCode": "acme", "sk": "n/1",
        "version": 1, "code": "C-n/1", "name": "Note n/1", "event": "Rated", "v": 2, "data": {"stars": "5"},
        "occurredAt": noon(), "by": body["by"], "commandId": "NOTE#acme#n/1-command-1", "requestId": "request-1",
        "traceparent": "00-trace",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn events_of_an_entity_are_published_in_the_order_of_its_versions_however_the_records_came() {
    let bus = MemoryBus::default();
    let [a1, a2, a3] = version_items(&note_key("a"), 3).try_into().unwrap();
    let [b1, b2] = version_items(&note_key("b"), 2).try_into().unwrap();
    let items = [a3, b2, with_two_events(a1), a2, b1];
    let relayed = relay(&bus, &Waiting::new()).publish(&items, None).await;
    assert_eq!((relayed.published, relayed.failed), (6, vec![]));
    let of = |entity: &str| ids(&bus).into_iter().filter(|id| id.starts_with(entity)).collect::<Vec<_>>();
    assert_eq!(of("a"), ["a@1#0", "a@1#1", "a@2#0", "a@3#0"]);
    assert_eq!(of("b"), ["b@1#0", "b@2#0"]);
}

#[tokio::test]
async fn what_follows_a_failed_event_of_its_entity_waits_and_other_entities_do_not() {
    for error in [gone(), refused()] {
        let bus = MemoryBus::default();
        bus.fail(move |message| match message.dedupe_id.contains("a@2") {
            true => Delivered::No(error.clone()),
            false => Delivered::Yes,
        });
        let [a1, a2, a3] = version_items(&note_key("a"), 3).try_into().unwrap();
        let [b1, b2] = version_items(&note_key("b"), 2).try_into().unwrap();
        let relayed = relay(&bus, &Waiting::new()).publish(&[a1, b1, a2, b2, a3], None).await;
        assert_eq!(relayed.failed.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(ids(&bus), ["a@1#0", "b@1#0", "b@2#0"]);
    }
}

#[tokio::test]
async fn a_bus_that_is_away_is_waited_for_and_comes_back_in_time() {
    let (bus, waiting) = (MemoryBus::default(), Waiting::new());
    let since = waiting.clone();
    bus.fail(move |_| if since.waited() < 20 { Delivered::No(gone()) } else { Delivered::Yes });
    let items = version_items(&note_key("a"), 3);
    let relayed = relay(&bus, &waiting).publish(&items, in_seconds(60)).await;
    assert_eq!((relayed.published, relayed.failed.len(), waiting.waited()), (3, 0, 20));
}

#[tokio::test]
async fn a_bus_that_stays_away_fails_everything_when_time_is_up() {
    let (bus, waiting) = (MemoryBus::default(), Waiting::new());
    bus.fail(|_| Delivered::No(gone()));
    let items = [version_items(&note_key("a"), 3), version_items(&note_key("b"), 1)].concat();
    let relayed = relay(&bus, &waiting).publish(&items, in_seconds(60)).await;
    assert_eq!((relayed.published, waiting.waited()), (0, 60));
    let expected: Vec<_> = (0..4)
        .map(|index| (index, StoreError::Unavailable { store: "event bus", reason: "it is gone".to_owned() }))
        .collect();
    assert_eq!(relayed.failed, expected);
}

#[tokio::test]
async fn nothing_is_begun_when_time_is_up() {
    let bus = MemoryBus::default();
    let relayed = relay(&bus, &Waiting::new()).publish(&version_items(&note_key("a"), 2), Some(noon())).await;
    assert_eq!((relayed.published, relayed.failed.len(), ids(&bus)), (0, 2, vec![]));
}

#[tokio::test]
async fn a_message_that_is_too_large_says_where_its_data_is() {
    let bus = MemoryBus::default();
    let items = large_version_items(&note_key("a"), 1, 300 * 1024);
    let relayed = relay(&bus, &Waiting::new()).publish(&items, None).await;
    assert_eq!(relayed, Relayed { published: 1, failed: vec![] });
    let body: BTreeMap<String, Value> = serde_json::from_str(&bus.published()[0].body).unwrap();
    assert_eq!((&body["dataOmitted"], &body["id"], &body["version"]), (&json!(true), &json!("NOTE#acme#a"), &json!(1)));
    assert!(!body.contains_key("data") && !body.contains_key("name"));
}

#[tokio::test]
async fn characters_that_a_queue_refuses_are_escaped_in_the_body_and_not_in_the_id() {
    let bus = MemoryBus::default();
    let mut item = version_items(&note_key("a\u{FFFF}"), 1).remove(0);
    item.name = "x\u{FFFE}y\u{FFFF}".to_owned();
    relay(&bus, &Waiting::new()).publish(&[item], None).await;
    let message = bus.published().remove(0);
    assert!(!message.body.contains(REFUSED) && !message.dedupe_id.contains(REFUSED));
    let body: Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!((&body["name"], &body["sk"]), (&json!("x\u{FFFE}y\u{FFFF}"), &json!("a\u{FFFF}")));
    assert!(message.dedupe_id.starts_with("sha256:"));
}
