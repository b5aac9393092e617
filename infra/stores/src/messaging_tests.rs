use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use aws_sdk_sqs::types::MessageSystemAttributeName;
use serde_json::json;

use super::*;

fn sns(messaging: &LocalMessaging) -> aws_sdk_sns::Client {
    use aws_sdk_sns::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_sns::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(messaging.endpoint());
    aws_sdk_sns::Client::from_conf(config.build())
}

fn sqs(messaging: &LocalMessaging) -> aws_sdk_sqs::Client {
    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(messaging.endpoint());
    aws_sdk_sqs::Client::from_conf(config.build())
}

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
}

/// A topic and a queue that subscribes to it.
async fn subscribed(subscription: Subscription) -> (LocalMessaging, String) {
    let messaging = LocalMessaging::start().await.unwrap();
    let topic = messaging.create_topic("events").await.unwrap();
    messaging.create_queue("inbox", BTreeMap::new()).await.unwrap();
    messaging.subscribe("events", "inbox", &subscription).await.unwrap();
    (messaging, topic)
}

async fn inbox(messaging: &LocalMessaging) -> Vec<QueueMessage> {
    messaging.queues().receive("inbox", 100).await.unwrap()
}

#[tokio::test]
async fn a_message_arrives_in_an_envelope_or_raw_with_its_attributes() {
    for raw in [false, true] {
        let (messaging, topic) = subscribed(Subscription { raw, filter: None }).await;
        let published = sns(&messaging).publish().topic_arn(&topic).message("Grüße, 指輪 & more").subject("Hello");
        let published = published.message_attributes("event", text("Priced & ünïque")).send().await.unwrap();
        let queue = messaging.queue_url("inbox");
        let received = sqs(&messaging).receive_message().queue_url(&queue).message_attribute_names("All").send().await;
        let message = received.unwrap().messages.unwrap().remove(0);
        if raw {
            assert_eq!(message.body(), Some("Grüße, 指輪 & more"));
            let attributes = message.message_attributes().unwrap();
            assert_eq!(attributes["event"].string_value(), Some("Priced & ünïque"));
        } else {
            let envelope: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            assert_eq!(envelope["MessageId"], json!(published.message_id().unwrap()));
            assert_eq!((&envelope["Type"], &envelope["TopicArn"]), (&json!("Notification"), &json!(topic)));
            assert_eq!((&envelope["Message"], &envelope["Subject"]), (&json!("Grüße, 指輪 & more"), &json!("Hello")));
            let event = json!({"Type": "String", "Value": "Priced & ünïque"});
            assert_eq!(envelope["MessageAttributes"], json!({ "event": event }));
        }
        messaging.stop().await;
    }
}

#[tokio::test]
async fn a_filter_lets_through_what_it_matches_only() {
    let filter = json!({"event": ["PriceChanged", {"prefix": "Product"}], "tenantCode": ["acme"]});
    let (messaging, topic) = subscribed(Subscription { raw: true, filter: Some(filter) }).await;
    for (event, tenant) in
        [("PriceChanged", "acme"), ("ProductDeleted", "acme"), ("PriceChanged", "other"), ("DetailsChanged", "acme")]
    {
        let message = sns(&messaging).publish().topic_arn(&topic).message(format!("{event} of {tenant}"));
        let message = message.message_attributes("event", text(event)).message_attributes("tenantCode", text(tenant));
        message.send().await.unwrap();
    }
    sns(&messaging).publish().topic_arn(&topic).message("no attributes").send().await.unwrap();
    let bodies: Vec<_> = inbox(&messaging).await.into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["PriceChanged of acme", "ProductDeleted of acme"]);
    messaging.stop().await;
}

#[tokio::test]
async fn a_batch_is_delivered_entry_by_entry_and_says_which_failed() {
    let (messaging, topic) = subscribed(Subscription { raw: true, filter: None }).await;
    let entry = |id: &str, message: String| {
        PublishBatchRequestEntry::builder().id(id).message(message).message_attributes("a", text("b")).build().unwrap()
    };
    let batch = sns(&messaging).publish_batch().topic_arn(&topic);
    let batch = batch.publish_batch_request_entries(entry("good", "fine".to_owned()));
    let answer = batch.publish_batch_request_entries(entry("bad", "not \u{FFFF}".to_owned())).send().await.unwrap();
    assert_eq!(answer.successful()[0].id(), Some("good"));
    let failed = &answer.failed()[0];
    assert_eq!((failed.id(), failed.code(), failed.sender_fault()), ("bad", "InvalidParameter", true));
    assert_eq!(inbox(&messaging).await.len(), 1);

    for (entries, code) in [
        (vec![], "EmptyBatchRequest"),
        ((0..11).map(|number| entry(&number.to_string(), "x".to_owned())).collect(), "TooManyEntriesInBatchRequest"),
        (vec![entry("a", "x".to_owned()), entry("a", "y".to_owned())], "BatchEntryIdsNotDistinct"),
        (vec![entry("a", "x".repeat(150_000)), entry("b", "y".repeat(150_000))], "BatchRequestTooLong"),
    ] {
        let batch = sns(&messaging).publish_batch().topic_arn(&topic).set_publish_batch_request_entries(Some(entries));
        let refused = batch.send().await.unwrap_err();
        assert_eq!(aws_sdk_sns::error::ProvideErrorMetadata::code(&refused), Some(code));
    }
    assert!(inbox(&messaging).await.is_empty());
    messaging.stop().await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_not_found() {
    let messaging = LocalMessaging::start().await.unwrap();
    let refused = sns(&messaging).publish().topic_arn(LocalMessaging::topic_arn("none")).message("x").send().await;
    assert!(refused.unwrap_err().into_service_error().is_not_found_exception());
    messaging.stop().await;
}

#[tokio::test]
async fn what_is_received_too_often_goes_to_the_dead_letter_queue() {
    let messaging = LocalMessaging::start().await.unwrap();
    messaging.create_queue("dead", BTreeMap::new()).await.unwrap();
    let redrive = json!({"deadLetterTargetArn": LocalMessaging::queue_arn("dead"), "maxReceiveCount": 2}).to_string();
    let attributes = [("RedrivePolicy".to_owned(), redrive), ("VisibilityTimeout".to_owned(), "0".to_owned())];
    messaging.create_queue("work", attributes.into()).await.unwrap();
    let message = QueueMessage { body: "poison".to_owned(), ..QueueMessage::default() };
    messaging.queues().send("work", &message).await.unwrap();
    let (client, url) = (sqs(&messaging), messaging.queue_url("work"));
    for count in ["1", "2"] {
        let received = client.receive_message().queue_url(&url);
        let received = received.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let messages = received.send().await.unwrap().messages.unwrap();
        let counted = &messages[0].attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount];
        assert_eq!(counted, count);
    }
    assert!(client.receive_message().queue_url(&url).send().await.unwrap().messages.is_none());
    assert_eq!(messaging.queues().depth("dead").await.unwrap(), 1);
    assert_eq!(messaging.queues().depth("work").await.unwrap(), 0);
    messaging.stop().await;
}

#[tokio::test]
async fn a_filter_that_does_not_run_here_is_refused() {
    let messaging = LocalMessaging::start().await.unwrap();
    messaging.create_topic("events").await.unwrap();
    messaging.create_queue("inbox", BTreeMap::new()).await.unwrap();
    let filter = Some(json!({"price": [{"numeric": [">", 5]}]}));
    assert!(messaging.subscribe("events", "inbox", &Subscription { raw: true, filter }).await.is_err());
    messaging.stop().await;
}
