//! Domain events on SNS: [`SnsBus`] publishes to one topic.

mod batch;
mod failure;

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use futures::StreamExt;
use ledgerline_kernel::ports::{BusMessage, EventBus, StoreError};

use batch::{LIMIT, batches, size};
use failure::{entry_error, request_error};

/// Requests under way at a time.
const CONCURRENCY: usize = 4;

/// A topic on SNS.
#[derive(Debug, Clone)]
pub struct SnsBus {
    client: Client,
    topic: String,
}

impl SnsBus {
    /// Publishes to the topic with this ARN, a standard one.
    #[must_use]
    pub fn new(client: Client, topic_arn: impl Into<String>) -> Self {
        Self { client, topic: topic_arn.into() }
    }

    /// One request. An answer for each message, in order.
    async fn send(&self, messages: &[BusMessage]) -> Vec<Result<(), StoreError>> {
        let entries = messages.iter().enumerate().map(|(place, message)| entry(place, message));
        let entries: Vec<_> = match entries.collect() {
            Ok(entries) => entries,
            Err(error) => return vec![Err(error); messages.len()],
        };
        let request =
            self.client.publish_batch().topic_arn(&self.topic).set_publish_batch_request_entries(Some(entries));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return vec![Err(request_error(&error)); messages.len()],
        };
        let mut answers = vec![Err(unanswered()); messages.len()];
        let mut set = |id: Option<&str>, answer: Result<(), StoreError>| {
            if let Some(place) = id.and_then(|id| answers.get_mut(id.parse::<usize>().ok()?)) {
                *place = answer;
            }
        };
        for entry in answer.successful() {
            set(entry.id(), Ok(()));
        }
        for entry in answer.failed() {
            set(Some(entry.id()), Err(entry_error(entry)));
        }
        answers
    }

    /// As [`send`](Self::send); where SNS refuses a request for what is in it, each message gets one of
    /// its own, so that one stops no other.
    async fn send_batch(&self, messages: &[BusMessage]) -> Vec<Result<(), StoreError>> {
        if let [message] = messages
            && !self.takes(message)
        {
            return vec![Err(failure::rejected(format!("{} bytes, {LIMIT} is the limit", size(message))))];
        }
        let answers = self.send(messages).await;
        let all_refused = answers.iter().all(|answer| matches!(answer, Err(StoreError::Rejected { .. })));
        if messages.len() < 2 || !all_refused {
            return answers;
        }
        let mut answers = Vec::with_capacity(messages.len());
        for message in messages.chunks(1) {
            answers.extend(self.send(message).await);
        }
        answers
    }
}

fn entry(place: usize, message: &BusMessage) -> Result<PublishBatchRequestEntry, StoreError> {
    let incomplete = |error: aws_sdk_sns::error::BuildError| failure::rejected(error.to_string());
    let mut attributes = HashMap::new();
    for (name, value) in message.attributes() {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
        attributes.insert(name.to_owned(), value.map_err(incomplete)?);
    }
    let entry = PublishBatchRequestEntry::builder().id(place.to_string()).message(&message.body);
    entry.set_message_attributes(Some(attributes)).build().map_err(incomplete)
}

fn unanswered() -> StoreError {
    failure::unavailable("it said nothing of a message".to_owned())
}

#[async_trait]
impl EventBus for SnsBus {
    fn takes(&self, message: &BusMessage) -> bool {
        size(message) <= LIMIT
    }

    async fn publish(&self, messages: &[BusMessage]) -> Vec<Result<(), StoreError>> {
        // Collected first: a stream over the closure itself would make a future that is not `Send`.
        let sent: Vec<_> = batches(messages).into_iter().map(|batch| self.send_batch(batch)).collect();
        futures::stream::iter(sent).buffered(CONCURRENCY).concat().await
    }
}

#[cfg(test)]
mod tests;
