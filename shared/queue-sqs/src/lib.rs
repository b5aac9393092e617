//! Messages for a queue on SQS: [`SqsQueue`] sends to one queue.

mod batch;
mod failure;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures::StreamExt;
use ledgerline_kernel::ports::{MessageQueue, QueueMessage, StoreError};

use batch::{batches, refused};
use failure::{entry_error, rejected, request_error};

/// Requests under way at a time.
const CONCURRENCY: usize = 4;

/// How long to wait before the messages of a request that SQS did not take are sent again. A request that
/// failed as a whole was sent again by the SDK already.
const DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// A standard queue on SQS.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// Sends to the queue with this URL.
    #[must_use]
    pub fn new(client: Client, queue_url: impl Into<String>) -> Self {
        Self { client, url: queue_url.into() }
    }

    /// One request. An answer for each message, in order, or one for all.
    async fn request(&self, messages: &[&QueueMessage]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let entries = messages.iter().enumerate().map(|(place, message)| {
            let entry = SendMessageBatchRequestEntry::builder().id(place.to_string());
            let entry = entry.message_group_id(&message.group).message_body(&message.body).build();
            entry.map_err(|error| rejected(error.to_string()))
        });
        let entries = entries.collect::<Result<_, _>>()?;
        let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| request_error(&error))?;
        let mut answers = vec![Err(failure::unavailable("it said nothing of a message".to_owned())); messages.len()];
        let mut set = |id: &str, answer: Result<(), StoreError>| {
            if let Some(place) = id.parse::<usize>().ok().and_then(|place| answers.get_mut(place)) {
                *place = answer;
            }
        };
        for entry in answer.successful() {
            set(entry.id(), Ok(()));
        }
        for entry in answer.failed() {
            set(entry.id(), Err(entry_error(entry)));
        }
        Ok(answers)
    }

    /// Sends messages that fit into a request, and those again that SQS did not take for reasons of its own.
    async fn send_batch(&self, messages: &[QueueMessage]) -> Vec<Result<(), StoreError>> {
        let refusal = |message| refused(message).map_or(Ok(()), |reason| Err(rejected(reason)));
        let mut answers: Vec<Result<(), StoreError>> = messages.iter().map(refusal).collect();
        let mut left: Vec<usize> =
            answers.iter().enumerate().filter(|(_, answer)| answer.is_ok()).map(|(place, _)| place).collect();
        let mut delays = DELAYS.into_iter();
        while !left.is_empty() {
            let sent: Vec<&QueueMessage> = left.iter().filter_map(|place| messages.get(*place)).collect();
            let (new, is_final) = match self.request(&sent).await {
                Ok(new) => (new, false),
                Err(StoreError::Rejected { .. }) if sent.len() > 1 => (self.one_by_one(&sent).await, true),
                Err(error) => (vec![Err(error); sent.len()], true),
            };
            for (place, answer) in left.iter().zip(new) {
                if let Some(old) = answers.get_mut(*place) {
                    *old = answer;
                }
            }
            let failed = |place: &usize| matches!(answers.get(*place), Some(Err(StoreError::Unavailable { .. })));
            left.retain(failed);
            let Some(delay) = delays.next().filter(|_| !is_final && !left.is_empty()) else { break };
            tokio::time::sleep(delay).await;
        }
        answers
    }

    /// Where SQS refuses a request for what is in it, each message gets one of its own, so that one stops no
    /// other.
    async fn one_by_one(&self, messages: &[&QueueMessage]) -> Vec<Result<(), StoreError>> {
        let mut answers = Vec::with_capacity(messages.len());
        for message in messages {
            let answer = self.request(&[message]).await;
            answers.push(answer.and_then(|answers| answers.into_iter().next().unwrap_or(Ok(()))));
        }
        answers
    }
}

#[async_trait]
impl MessageQueue for SqsQueue {
    fn takes(&self, message: &QueueMessage) -> bool {
        refused(message).is_none()
    }

    async fn send(&self, messages: &[QueueMessage]) -> Vec<Result<(), StoreError>> {
        // Collected first: a stream over the closure itself would make a future that is not `Send`.
        let sent: Vec<_> = batches(messages).into_iter().map(|batch| self.send_batch(batch)).collect();
        futures::stream::iter(sent).buffered(CONCURRENCY).concat().await
    }
}

#[cfg(test)]
mod tests;
