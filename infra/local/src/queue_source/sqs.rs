use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName,
};
use ledgerline_lambda::{Config, sqs_client};
use ledgerline_stores::{LocalMessaging, QueueDepth};
use serde_json::{Value, json};

use super::{Message, MessageSource};
use crate::event_source::LOCAL_REGION;

/// Entries of a request.
const ENTRIES: usize = 10;

/// How long a look waits for a message.
const LOOK: Duration = Duration::from_secs(1);

/// How often SQS is asked how far a move is.
const MOVING: Duration = Duration::from_millis(500);

/// A queue by the API of SQS.
#[derive(Debug, Clone)]
pub struct SqsApi {
    client: Client,
    url: String,
    arn: String,
}

impl SqsApi {
    /// The queue with this URL and this ARN.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>, arn: impl Into<String>) -> Self {
        Self { client, url: url.into(), arn: arn.into() }
    }

    /// Some of its messages, at most 10, which everybody else still sees. SQS counts it as a receive of each.
    ///
    /// # Errors
    /// If the queue cannot be read.
    pub async fn look(&self, max: usize) -> anyhow::Result<Vec<Message>> {
        // Waiting makes SQS ask all of its servers, and not some.
        let received = self.receiving(max, LOOK)?.visibility_timeout(0).send().await?;
        Ok(received.messages.unwrap_or_default().into_iter().map(read).collect())
    }

    /// How many messages it holds, in sight or not.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub async fn count(&self) -> anyhow::Result<u64> {
        Ok(self.depths().await?.total())
    }

    /// Moves what is in it, a dead-letter queue, to where each message came from. Gives how many those were.
    ///
    /// # Errors
    /// If SQS refuses, or gives up before the end.
    pub async fn redrive(&self) -> anyhow::Result<u64> {
        self.client.start_message_move_task().source_arn(&self.arn).send().await?;
        loop {
            let tasks = self.client.list_message_move_tasks().source_arn(&self.arn).send().await?;
            let newest = tasks.results().first().context("SQS knows of no such task")?;
            let moved = newest.approximate_number_of_messages_moved();
            match newest.status().unwrap_or_default() {
                "COMPLETED" => return Ok(moved.try_into()?),
                "RUNNING" => tokio::time::sleep(MOVING).await,
                status => {
                    let reason = newest.failure_reason().unwrap_or("no reason is given");
                    bail!("the move is {status} after {moved} messages: {reason}");
                }
            }
        }
    }

    fn receiving(&self, max: usize, wait: Duration) -> anyhow::Result<ReceiveMessageFluentBuilder> {
        let receive = self.client.receive_message().queue_url(&self.url).max_number_of_messages(max.try_into()?);
        let receive = receive.wait_time_seconds(wait.as_secs().try_into()?);
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        Ok(receive.message_attribute_names("All"))
    }
}

/// A client of a local SQS.
pub async fn local_client(messaging: &LocalMessaging) -> Client {
    let endpoint = messaging.endpoint().to_owned();
    let config = Config::new(move |name| match name {
        "AWS_ENDPOINT_URL_SQS" => Some(endpoint.clone()),
        "AWS_REGION" => Some(LOCAL_REGION.to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        _ => None,
    });
    sqs_client(&config).await
}

fn read(message: aws_sdk_sqs::types::Message) -> Message {
    let attributes = message.attributes.unwrap_or_default();
    let message_attributes = message.message_attributes.unwrap_or_default();
    Message {
        id: message.message_id.unwrap_or_default(),
        receipt_handle: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        md5: message.md5_of_body.unwrap_or_default(),
        attributes: attributes.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect(),
        message_attributes: message_attributes.iter().map(|(name, value)| (name.clone(), typed(value))).collect(),
    }
}

/// An attribute as it is in an event.
fn typed(value: &MessageAttributeValue) -> Value {
    json!({
        "stringValue": value.string_value(),
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value.data_type(),
    })
}

#[async_trait]
impl MessageSource for SqsApi {
    fn arn(&self) -> &str {
        &self.arn
    }

    async fn receive(&self, max: usize, wait: Duration) -> anyhow::Result<Vec<Message>> {
        let received = self.receiving(max, wait)?.send().await?;
        Ok(received.messages.unwrap_or_default().into_iter().map(read).collect())
    }

    async fn delete(&self, messages: &[Message]) -> anyhow::Result<()> {
        for messages in messages.chunks(ENTRIES) {
            let entries = messages.iter().enumerate().map(|(place, message)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string());
                entry.receipt_handle(&message.receipt_handle).build()
            });
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let delete = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
            let deleted = delete.send().await?;
            ensure!(deleted.failed().is_empty(), "{:?}", deleted.failed());
        }
        Ok(())
    }

    async fn release(&self, messages: &[Message]) -> anyhow::Result<()> {
        for messages in messages.chunks(ENTRIES) {
            let entries = messages.iter().enumerate().map(|(place, message)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(place.to_string());
                entry.receipt_handle(&message.receipt_handle).visibility_timeout(0).build()
            });
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let change = self.client.change_message_visibility_batch().queue_url(&self.url);
            let changed = change.set_entries(Some(entries)).send().await?;
            ensure!(changed.failed().is_empty(), "{:?}", changed.failed());
        }
        Ok(())
    }

    async fn depths(&self) -> anyhow::Result<QueueDepth> {
        let ask = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(QueueAttributeName::All);
        let attributes: BTreeMap<_, _> = ask.send().await?.attributes.unwrap_or_default().into_iter().collect();
        let count = |name: QueueAttributeName| -> anyhow::Result<u64> {
            let value = attributes.get(&name).with_context(|| format!("{} has no {name}", self.arn))?;
            Ok(value.parse()?)
        };
        Ok(QueueDepth {
            visible: count(QueueAttributeName::ApproximateNumberOfMessages)?,
            in_flight: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)?,
            delayed: count(QueueAttributeName::ApproximateNumberOfMessagesDelayed)?,
        })
    }
}

#[cfg(test)]
#[path = "sqs_tests.rs"]
mod tests;
