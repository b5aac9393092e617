use std::collections::BTreeMap;

use aws_sdk_sns::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sns::types::BatchResultErrorEntry;
use ledgerline_stores::{LocalMessaging, Subscription};
use ledgerline_testkit::contract::bus::{Arrived, Subscriber};
use ledgerline_testkit::note_key;

use super::*;

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sns::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

fn message(number: usize, bytes: usize) -> BusMessage {
    let entity = note_key(&format!("n{number}"));
    BusMessage { dedupe_id: format!("{entity}@1#0"), entity, event: "Written".to_owned(), body: "x".repeat(bytes) }
}

/// The bus, and a queue that subscribes to its topic.
struct Subscribed {
    bus: SnsBus,
    messaging: LocalMessaging,
}

#[async_trait]
impl EventBus for Subscribed {
    fn takes(&self, message: &BusMessage) -> bool {
        self.bus.takes(message)
    }

    async fn publish(&self, messages: &[BusMessage]) -> Vec<Result<(), StoreError>> {
        self.bus.publish(messages).await
    }
}

#[async_trait]
impl Subscriber for Subscribed {
    async fn arrived(&self) -> Vec<Arrived> {
        let received = self.messaging.queues().receive("inbox", 1000).await.unwrap();
        let arrived = received
            .into_iter()
            .map(|message| Arrived { body: message.body, attributes: message.attributes.into_iter().collect() });
        arrived.collect()
    }
}

async fn open() -> (Subscribed, ()) {
    let messaging = LocalMessaging::start().await.unwrap();
    let topic = messaging.create_topic("events").await.unwrap();
    messaging.create_queue("inbox", BTreeMap::new()).await.unwrap();
    messaging.subscribe("events", "inbox", &Subscription { raw: true, filter: None }).await.unwrap();
    (Subscribed { bus: SnsBus::new(client(messaging.endpoint()), topic), messaging }, ())
}

mod keeps_the_contract {
    use super::open;

    ledgerline_testkit::bus_contract!(open);
}

#[test]
fn a_request_has_ten_messages_and_256_kb_at_most_and_one_that_is_too_large_is_alone() {
    let sizes = |messages: &[BusMessage]| batches(messages).iter().map(|batch| batch.len()).collect::<Vec<_>>();
    let small: Vec<_> = (0..23).map(|number| message(number, 10)).collect();
    assert_eq!(sizes(&small), [10, 10, 3]);
    let large: Vec<_> = [100_000, 100_000, 100_000, 300_000, 10].into_iter().map(|bytes| message(1, bytes)).collect();
    assert_eq!(sizes(&large), [2, 1, 1, 1]);
    assert_eq!(sizes(&[]), [0; 0]);
}

#[test]
fn what_says_nothing_of_a_message_is_to_be_sent_again() {
    let entry = |code: &str| {
        let entry = BatchResultErrorEntry::builder().id("1").code(code).message("m").sender_fault(true);
        entry_error(&entry.build().unwrap())
    };
    for code in ["InvalidParameter", "InvalidParameterException", "BatchRequestTooLong", "ValidationException"] {
        assert!(matches!(entry(code), StoreError::Rejected { .. }), "{code}");
    }
    for code in ["InternalError", "Throttled", "KMSThrottlingException", "NotFound", "AuthorizationError", "Anything"] {
        assert!(matches!(entry(code), StoreError::Unavailable { .. }), "{code}");
    }
}

#[tokio::test]
async fn without_a_topic_or_a_connection_every_message_is_to_be_sent_again() {
    let messaging = LocalMessaging::start().await.unwrap();
    let gone = SnsBus::new(client(messaging.endpoint()), LocalMessaging::topic_arn("none"));
    let nobody = SnsBus::new(client("http://127.0.0.1:1"), "arn");
    for bus in [gone, nobody] {
        let answers = bus.publish(&[message(1, 1), message(2, 1)]).await;
        let away = |answer: &Result<(), StoreError>| matches!(answer, Err(StoreError::Unavailable { .. }));
        assert!(answers.len() == 2 && answers.iter().all(away), "{answers:?}");
    }
    messaging.stop().await;
}
