//! Queues through the SDK.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::types::{
    Message, MessageAttributeValue, MessageSystemAttributeName as System, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use serde_json::json;

use super::*;

async fn queue(attributes: &[(&str, &str)]) -> (LocalMessaging, Client, String) {
    let messaging = LocalMessaging::start().await.unwrap();
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    messaging.create_queue("work", attributes).await.unwrap();
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(messaging.endpoint());
    let url = messaging.queue_url("work");
    (messaging, Client::from_conf(config.build()), url)
}

fn entry(id: usize, body: impl Into<String>, group: &str) -> SendMessageBatchRequestEntry {
    let entry = SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body);
    entry.message_group_id(group).build().unwrap()
}

async fn send(client: &Client, url: &str, entries: Vec<SendMessageBatchRequestEntry>) -> usize {
    let batch = client.send_message_batch().queue_url(url).set_entries(Some(entries));
    batch.send().await.unwrap().successful().len()
}

async fn receive(client: &Client, url: &str) -> Vec<Message> {
    let receive = client.receive_message().queue_url(url).max_number_of_messages(10);
    let receive = receive.message_system_attribute_names(System::All).message_attribute_names("All");
    receive.send().await.unwrap().messages.unwrap_or_default()
}

fn group(message: &Message) -> &str {
    &message.attributes().unwrap()[&System::MessageGroupId]
}

#[tokio::test]
async fn ten_messages_of_a_tenant_come_soon_though_another_has_20_000_and_those_keep_their_order() {
    let (messaging, client, url) = queue(&[]).await;
    let queues = messaging.queues();
    for number in 0..20_000 {
        let (body, group) = (number.to_string(), Some("loud".to_owned()));
        queues.send("work", &QueueMessage { body, group, ..QueueMessage::default() }).await.unwrap();
    }
    let mut received = receive(&client, &url).await;
    assert_eq!(send(&client, &url, (0..10).map(|id| entry(id, "small", "quiet")).collect()).await, 10);
    for _ in 0..3 {
        received.extend(receive(&client, &url).await);
    }
    assert_eq!(received.iter().filter(|message| group(message) == "quiet").count(), 10);

    let mut order = Vec::new();
    for message in received.iter().filter(|message| group(message) == "loud") {
        order.push(message.body().unwrap().parse::<usize>().unwrap());
    }
    while order.len() < 20_000 {
        for message in queues.receive("work", 100).await.unwrap() {
            order.push(message.body.parse().unwrap());
            queues.delete("work", &message.receipt_handle).await.unwrap();
        }
    }
    assert_eq!(order, (0..20_000).collect::<Vec<_>>());
    messaging.stop().await;
}

#[tokio::test]
async fn a_message_is_received_with_all_that_sqs_tells_of_it_where_it_was_asked_for() {
    let (messaging, client, url) = queue(&[("VisibilityTimeout", "0")]).await;
    let text = |value: &str| MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap();
    let sent = client.send_message().queue_url(&url).message_body("é").message_group_id("acme");
    let sent = sent.message_attributes("kind", text("rows")).send().await.unwrap();
    let message = receive(&client, &url).await.remove(0);
    assert_eq!(message.message_id(), sent.message_id());
    assert_eq!((message.body(), message.md5_of_body()), (Some("é"), Some("66ddcd97cfdeabb2f6fb8a999b4bc76f")));
    assert_eq!(message.message_attributes().unwrap()["kind"].string_value(), Some("rows"));
    let attributes = message.attributes().unwrap();
    assert_eq!((&*attributes[&System::ApproximateReceiveCount], group(&message)), ("1", "acme"));
    for name in [System::SenderId, System::SentTimestamp, System::ApproximateFirstReceiveTimestamp] {
        assert!(attributes.contains_key(&name), "{name}");
    }
    let plain = client.receive_message().queue_url(&url).send().await.unwrap().messages.unwrap().remove(0);
    assert!(plain.attributes().is_none_or(HashMap::is_empty) && plain.message_attributes().is_none());
    messaging.stop().await;
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_message() {
    let (messaging, client, url) = queue(&[("ReceiveMessageWaitTimeSeconds", "20")]).await;
    let begun = std::time::Instant::now();
    let waiting = client.receive_message().queue_url(&url).send();
    let (received, ()) = tokio::join!(waiting, async {
        let message = QueueMessage { body: "now".to_owned(), ..QueueMessage::default() };
        messaging.queues().send("work", &message).await.unwrap();
    });
    assert_eq!(received.unwrap().messages().len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(10));
    messaging.stop().await;
}

#[tokio::test]
async fn a_batch_has_the_limits_of_sqs_and_its_entries_fail_by_themselves() {
    let (messaging, client, url) = queue(&[]).await;
    let mebibyte = 1024 * 1024;
    assert_eq!(send(&client, &url, vec![entry(1, "\"".repeat(mebibyte), "a")]).await, 1);
    assert_eq!(receive(&client, &url).await[0].body().unwrap().len(), mebibyte);
    for (entries, code) in [
        (vec![], "AWS.SimpleQueueService.EmptyBatchRequest"),
        ((0..11).map(|id| entry(id, "x", "a")).collect(), "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
        (vec![entry(1, "x", "a"), entry(1, "y", "a")], "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
        (vec![entry(1, "x".repeat(mebibyte), "a"), entry(2, "y", "a")], "AWS.SimpleQueueService.BatchRequestTooLong"),
    ] {
        let batch = client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await;
        assert_eq!(batch.unwrap_err().code(), Some(code));
    }
    let entries =
        vec![entry(1, "fine", "a"), entry(2, "\u{FFFF}", "a"), entry(3, "x", "no group"), entry(4, "fine", "b")];
    let answer = client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.unwrap();
    let failed: Vec<_> = answer.failed().iter().map(|entry| (entry.id(), entry.code(), entry.sender_fault())).collect();
    assert_eq!(failed, [("2", "InvalidMessageContents", true), ("3", "InvalidParameterValue", true)]);
    assert_eq!(messaging.queues().depths("work").await.unwrap().visible, 2);
    let nobody =
        client.send_message().queue_url(messaging.queue_url("none")).message_body("x").send().await.unwrap_err();
    assert!(nobody.into_service_error().is_queue_does_not_exist());
    messaging.stop().await;
}

#[tokio::test]
async fn counts_tell_what_is_to_be_had_now_later_and_of_what_is_worked_on() {
    let (messaging, client, url) = queue(&[("VisibilityTimeout", "600")]).await;
    assert_eq!(send(&client, &url, (0..3).map(|id| entry(id, "x", "a")).collect()).await, 3);
    client.send_message().queue_url(&url).message_body("later").delay_seconds(900).send().await.unwrap();
    let one = client.receive_message().queue_url(&url).send().await.unwrap().messages.unwrap().remove(0);
    let depths = || async { messaging.queues().depths("work").await.unwrap() };
    assert_eq!(depths().await, QueueDepth { visible: 2, in_flight: 1, delayed: 1 });
    let seen = client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All).send().await;
    let seen = seen.unwrap().attributes.unwrap();
    assert_eq!(seen[&QueueAttributeName::ApproximateNumberOfMessagesNotVisible], "1");
    assert_eq!(seen[&QueueAttributeName::MaximumMessageSize], "1048576");
    let release = client.change_message_visibility().queue_url(&url).visibility_timeout(0);
    release.receipt_handle(one.receipt_handle().unwrap()).send().await.unwrap();
    assert_eq!(depths().await, QueueDepth { visible: 3, in_flight: 0, delayed: 1 });
    let counted = receive(&client, &url).await;
    let again = counted.iter().find(|message| message.message_id() == one.message_id()).unwrap();
    assert_eq!(again.attributes().unwrap()[&System::ApproximateReceiveCount], "2");
    messaging.stop().await;
}

#[tokio::test]
async fn a_redrive_brings_dead_letters_back_to_where_they_came_from_in_their_groups() {
    let redrive = json!({"deadLetterTargetArn": LocalMessaging::queue_arn("dead"), "maxReceiveCount": 1}).to_string();
    let (messaging, client, url) = queue(&[("VisibilityTimeout", "0"), ("RedrivePolicy", &redrive)]).await;
    messaging.create_queue("dead", BTreeMap::new()).await.unwrap();
    assert_eq!(send(&client, &url, (0..5).map(|id| entry(id, format!("m{id}"), "acme")).collect()).await, 5);
    assert_eq!(receive(&client, &url).await.len(), 5);
    assert_eq!(receive(&client, &url).await.len(), 0);
    assert_eq!(messaging.queues().depth("dead").await.unwrap(), 5);
    let look = client.receive_message().queue_url(messaging.queue_url("dead")).visibility_timeout(0);
    let dead = look.message_system_attribute_names(System::All).send().await.unwrap().messages.unwrap();
    let attributes = dead[0].attributes().unwrap();
    assert_eq!(attributes[&System::ApproximateReceiveCount], "2", "it is counted across queues");
    assert_eq!(attributes[&System::DeadLetterQueueSourceArn], LocalMessaging::queue_arn("work"));
    let start = client.start_message_move_task().source_arn(LocalMessaging::queue_arn("dead"));
    start.send().await.unwrap();
    let tasks = client.list_message_move_tasks().source_arn(LocalMessaging::queue_arn("dead")).send().await.unwrap();
    assert_eq!(tasks.results()[0].approximate_number_of_messages_moved(), 5);
    let back = receive(&client, &url).await;
    let mut bodies: Vec<_> = back.iter().map(|message| message.body().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["m0", "m1", "m2", "m3", "m4"]);
    assert!(back.iter().all(|message| group(message) == "acme"));
    assert_eq!(back[0].attributes().unwrap()[&System::ApproximateReceiveCount], "1");
    messaging.stop().await;
}

#[tokio::test]
async fn only_what_some_queue_sends_its_dead_letters_to_is_redriven_and_no_faster_than_sqs_does() {
    let redrive = json!({"deadLetterTargetArn": LocalMessaging::queue_arn("dead"), "maxReceiveCount": 1}).to_string();
    let (messaging, client, _) = queue(&[("RedrivePolicy", &redrive)]).await;
    messaging.create_queue("dead", BTreeMap::new()).await.unwrap();
    let refused = async |queue: &str, rate: i32| {
        let start = client.start_message_move_task().source_arn(LocalMessaging::queue_arn(queue));
        let refused = start.max_number_of_messages_per_second(rate).send().await.err()?;
        refused.code().map(str::to_owned)
    };
    assert_eq!(refused("work", 1).await.as_deref(), Some("InvalidParameterValue"));
    assert_eq!(refused("nobody", 1).await.as_deref(), Some("ResourceNotFoundException"));
    assert_eq!(refused("dead", 0).await.as_deref(), Some("InvalidParameterValue"));
    assert_eq!(refused("dead", 501).await.as_deref(), Some("InvalidParameterValue"));
    assert_eq!(refused("dead", 500).await, None);
    messaging.stop().await;
}
