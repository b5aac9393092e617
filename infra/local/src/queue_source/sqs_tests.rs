use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ledgerline_stores::QueueMessage;

use super::*;
use crate::event_source::{Clock, Invoke, InvokeError};
use crate::queue_source::{QueueMapping, QueueParts, QueueSource};

/// A function that keeps its events and fails on what is poison.
#[derive(Default)]
struct Diary(Mutex<Vec<Value>>);

#[async_trait]
impl Invoke for Diary {
    async fn invoke(&self, _: &str, event: String) -> Result<String, InvokeError> {
        let event: Value = serde_json::from_str(&event).unwrap();
        let records = event["Records"].as_array().unwrap().clone();
        let poison = records.iter().filter(|record| record["body"] == "poison");
        let failed: Vec<_> = poison.map(|record| json!({ "itemIdentifier": record["messageId"] })).collect();
        self.0.lock().unwrap().push(event);
        Ok(json!({ "batchItemFailures": failed }).to_string())
    }
}

#[tokio::test]
async fn over_the_api_of_sqs_a_function_gets_the_event_that_lambda_sends_and_poison_ends_among_the_dead() {
    let messaging = LocalMessaging::start().await.unwrap();
    messaging.create_queue("dead", BTreeMap::new()).await.unwrap();
    let redrive = json!({"deadLetterTargetArn": LocalMessaging::queue_arn("dead"), "maxReceiveCount": 3}).to_string();
    let settings = [("RedrivePolicy".to_owned(), redrive), ("VisibilityTimeout".to_owned(), "0".to_owned())];
    messaging.create_queue("work", settings.into()).await.unwrap();
    let send = |body: &str, group: Option<&str>| QueueMessage {
        body: body.to_owned(),
        attributes: [("kind".to_owned(), "rows".to_owned())].into(),
        group: group.map(str::to_owned),
        ..QueueMessage::default()
    };
    messaging.queues().send("work", &send("fine", Some("acme"))).await.unwrap();
    messaging.queues().send("work", &send("poison", None)).await.unwrap();

    let client = local_client(&messaging).await;
    let api =
        |name: &str| Arc::new(SqsApi::new(client.clone(), messaging.queue_url(name), LocalMessaging::queue_arn(name)));
    let diary = Arc::new(Diary::default());
    let parts = QueueParts {
        source: api("work"),
        functions: Arc::<Diary>::clone(&diary),
        dead_letters: Some(api("dead")),
        clock: Clock::real(),
    };
    let source = QueueSource::start(
        QueueMapping {
            visibility: Duration::ZERO,
            reports_item_failures: true,
            ..QueueMapping::new("Work.Rows", "work")
        },
        parts,
    );
    let status = loop {
        let status = source.reader().read().await.unwrap();
        if status.dead_letters == 1 && status.is_empty() {
            break status;
        }
        tokio::task::yield_now().await;
    };
    source.stop().await;
    assert_eq!((status.messages, status.in_flight), (0, 0));
    assert_eq!(status.dead_letter_queue_arn, Some(LocalMessaging::queue_arn("dead")));
    let events = diary.0.lock().unwrap().clone();
    let records: Vec<&Value> = events.iter().flat_map(|event| event["Records"].as_array().unwrap()).collect();
    let of = |body: &str| records.iter().filter(|record| record["body"] == body).copied().collect::<Vec<_>>();
    let fine = of("fine").last().copied().unwrap().clone();
    let attributes = &fine["attributes"];
    let expected = json!({
        "messageId": fine["messageId"],
        "receiptHandle": fine["receiptHandle"],
        "body": "fine",
        "attributes": {
            "ApproximateReceiveCount": attributes["ApproximateReceiveCount"],
            "SentTimestamp": attributes["SentTimestamp"],
            "SenderId": attributes["SenderId"],
            "ApproximateFirstReceiveTimestamp": attributes["ApproximateFirstReceiveTimestamp"],
            "MessageGroupId": "acme",
        },
        "messageAttributes": {
            "kind": {"stringValue": "rows", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
        },
        "md5OfBody": "fff25994ee3941b225ba898fd17d186f",
        "eventSource": "aws:sqs",
        "eventSourceARN": LocalMessaging::queue_arn("work"),
        "awsRegion": "us-east-1",
    });
    assert_eq!(fine, expected);
    assert!(attributes.as_object().unwrap().values().all(Value::is_string));
    let counts: BTreeSet<_> =
        of("poison").iter().map(|record| record["attributes"]["ApproximateReceiveCount"].to_string()).collect();
    assert_eq!(counts.len(), 3, "{counts:?}");
    messaging.stop().await;
}
