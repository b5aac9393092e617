use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::BatchResultErrorEntry;
use axum::extract::State;
use axum::{Json, Router};
use ledgerline_stores::LocalMessaging;
use ledgerline_testkit::contract::queue::Worker;
use serde_json::{Value, json};

use super::*;

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

fn message(number: usize, bytes: usize) -> QueueMessage {
    QueueMessage { group: format!("g{number}"), body: "x".repeat(bytes) }
}

/// The queue from both of its ends.
struct Both {
    queue: SqsQueue,
    messaging: LocalMessaging,
}

#[async_trait]
impl MessageQueue for Both {
    fn takes(&self, message: &QueueMessage) -> bool {
        self.queue.takes(message)
    }

    async fn send(&self, messages: &[QueueMessage]) -> Vec<Result<(), StoreError>> {
        self.queue.send(messages).await
    }
}

#[async_trait]
impl Worker for Both {
    async fn delivered(&self) -> Vec<QueueMessage> {
        let received = self.messaging.queues().receive("work", 1000).await.unwrap();
        let delivered =
            received.into_iter().map(|message| QueueMessage { group: message.group.unwrap(), body: message.body });
        delivered.collect()
    }
}

async fn open() -> (Both, ()) {
    let messaging = LocalMessaging::start().await.unwrap();
    messaging.create_queue("work", BTreeMap::new()).await.unwrap();
    let queue = SqsQueue::new(client(messaging.endpoint()), messaging.queue_url("work"));
    (Both { queue, messaging }, ())
}

mod keeps_the_contract {
    use super::open;

    ledgerline_testkit::queue_contract!(open);
}

#[test]
fn a_request_has_ten_messages_and_a_mebibyte_at_most_and_one_that_is_too_large_is_alone() {
    let sizes = |messages: &[QueueMessage]| batches(messages).iter().map(|batch| batch.len()).collect::<Vec<_>>();
    let small: Vec<_> = (0..23).map(|number| message(number, 10)).collect();
    assert_eq!(sizes(&small), [10, 10, 3]);
    let large: Vec<_> = [400_000, 400_000, 400_000, 1_200_000, 10].into_iter().map(|bytes| message(1, bytes)).collect();
    assert_eq!(sizes(&large), [2, 1, 1, 1]);
    assert_eq!(sizes(&[]), [0; 0]);
}

#[test]
fn what_says_nothing_of_a_message_is_to_be_sent_again() {
    let entry = |code: &str| {
        let entry = BatchResultErrorEntry::builder().id("1").code(code).message("m").sender_fault(true);
        entry_error(&entry.build().unwrap())
    };
    for code in
        ["InvalidMessageContents", "AWS.SimpleQueueService.BatchRequestTooLong", "InvalidParameterValueException"]
    {
        assert!(matches!(entry(code), StoreError::Rejected { .. }), "{code}");
    }
    for code in
        ["InternalError", "Throttled", "KmsThrottled", "AWS.SimpleQueueService.NonExistentQueue", "AccessDenied"]
    {
        assert!(matches!(entry(code), StoreError::Unavailable { .. }), "{code}");
    }
}

#[tokio::test]
async fn without_a_queue_or_a_connection_every_message_is_to_be_sent_again() {
    let messaging = LocalMessaging::start().await.unwrap();
    let gone = SqsQueue::new(client(messaging.endpoint()), messaging.queue_url("none"));
    let nobody = SqsQueue::new(client("http://127.0.0.1:1"), "http://127.0.0.1:1/0/work");
    for queue in [gone, nobody] {
        let answers = queue.send(&[message(1, 1), message(2, 1)]).await;
        let away = |answer: &Result<(), StoreError>| matches!(answer, Err(StoreError::Unavailable { .. }));
        assert!(answers.len() == 2 && answers.iter().all(away), "{answers:?}");
    }
    messaging.stop().await;
}

/// The places of the messages of a request that fail, and with which code.
type Failures = Vec<(usize, &'static str)>;

/// What a scripted SQS answers with, and the bodies of each request that it got.
#[derive(Clone, Default)]
struct Script {
    /// For each request.
    failures: Arc<Mutex<VecDeque<Failures>>>,
    requests: Arc<Mutex<Vec<Vec<String>>>>,
}

async fn answer(State(script): State<Script>, body: String) -> Json<Value> {
    let request: Value = serde_json::from_str(&body).unwrap();
    let entries = request["Entries"].as_array().unwrap();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    script.requests.lock().unwrap().push(entries.iter().map(|entry| text(entry, "MessageBody")).collect());
    let failures = script.failures.lock().unwrap().pop_front().unwrap_or_default();
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (place, entry) in entries.iter().enumerate() {
        let id = text(entry, "Id");
        match failures.iter().find(|(failing, _)| *failing == place) {
            Some((_, "Silence")) => {}
            Some((_, code)) => failed.push(json!({"Id": id, "Code": code, "SenderFault": false})),
            None => successful.push(json!({"Id": id, "MessageId": "m", "MD5OfMessageBody": "x"})),
        }
    }
    Json(json!({ "Successful": successful, "Failed": failed }))
}

async fn scripted(failures: &[&[(usize, &'static str)]]) -> (SqsQueue, Script) {
    let script = Script::default();
    script.failures.lock().unwrap().extend(failures.iter().map(|failures| failures.to_vec()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (SqsQueue::new(client(&endpoint), format!("{endpoint}/0/work")), script)
}

fn named(names: &[&str]) -> Vec<QueueMessage> {
    names.iter().map(|name| QueueMessage { group: "acme".to_owned(), body: (*name).to_owned() }).collect()
}

#[tokio::test]
async fn messages_that_sqs_did_not_take_are_sent_again_and_no_others() {
    let (queue, script) = scripted(&[&[(0, "InternalError"), (2, "Silence")], &[(1, "ServiceUnavailable")]]).await;
    assert_eq!(queue.send(&named(&["a", "b", "c"])).await, [Ok(()), Ok(()), Ok(())]);
    assert_eq!(*script.requests.lock().unwrap(), [vec!["a", "b", "c"], vec!["a", "c"], vec!["c"]]);
}

#[tokio::test]
async fn a_message_that_fails_for_good_is_reported_and_its_neighbours_are_sent() {
    let always: &[(usize, &str)] = &[(0, "InternalError")];
    let first: &[(usize, &str)] = &[(0, "InternalError"), (1, "InvalidMessageContents")];
    let (queue, script) = scripted(&[first, always, always]).await;
    let answers = queue.send(&named(&["a", "b", "c"])).await;
    let expected = |answers: &[Result<(), StoreError>]| {
        matches!(answers, [Err(StoreError::Unavailable { .. }), Err(StoreError::Rejected { .. }), Ok(())])
    };
    assert!(expected(&answers), "{answers:?}");
    assert_eq!(*script.requests.lock().unwrap(), [vec!["a", "b", "c"], vec!["a"], vec!["a"]]);
}
