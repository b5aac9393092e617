//! The template's queues and topics, in memory, and the queues as failure destinations.

use anyhow::Context as _;
use async_trait::async_trait;
use ledgerline_stores::{LocalMessaging, QueueMessage, Queues};

use crate::event_source::{Discarded, FailureDestination, FailureFile};
use crate::template::{Scope, Template};

/// Starts SNS and SQS with what the template has of them.
///
/// # Errors
/// If they cannot be served, or refuse what the template asks for.
pub async fn start(template: &Template) -> anyhow::Result<LocalMessaging> {
    let messaging = LocalMessaging::start().await.context("cannot start the local SNS and SQS")?;
    for queue in &template.queues {
        messaging.create_queue(&queue.name, queue.attributes.clone()).await?;
    }
    for topic in &template.topics {
        messaging.create_topic(&topic.name).await?;
    }
    for subscription in &template.subscriptions {
        messaging.subscribe(&subscription.topic, &subscription.queue, &subscription.settings).await?;
    }
    Ok(messaging)
}

/// Says what references to the template's queues and topics stand for.
pub fn add_to(scope: &mut Scope, template: &Template, messaging: &LocalMessaging) {
    for queue in &template.queues {
        scope.resources.insert(queue.logical_id.clone(), messaging.queue_url(&queue.name));
        let (arn, url) = (LocalMessaging::queue_arn(&queue.name), messaging.queue_url(&queue.name));
        for (attribute, value) in [("Arn", arn), ("QueueUrl", url), ("QueueName", queue.name.clone())] {
            scope.attributes.insert(format!("{}.{attribute}", queue.logical_id), value);
        }
    }
    for topic in &template.topics {
        let arn = LocalMessaging::topic_arn(&topic.name);
        scope.resources.insert(topic.logical_id.clone(), arn.clone());
        for (attribute, value) in [("TopicArn", arn), ("TopicName", topic.name.clone())] {
            scope.attributes.insert(format!("{}.{attribute}", topic.logical_id), value);
        }
    }
}

/// A queue that is told of records given up, as Lambda tells it, and a file that keeps them: the queue is
/// empty after a restart.
pub struct FailureQueue {
    queues: Queues,
    name: String,
    file: FailureFile,
}

impl FailureQueue {
    /// Sends to the queue with this local name, and writes to this file.
    #[must_use]
    pub fn new(queues: Queues, name: impl Into<String>, file: FailureFile) -> Self {
        Self { queues, name: name.into(), file }
    }
}

#[async_trait]
impl FailureDestination for FailureQueue {
    async fn take(&self, discarded: &Discarded) -> anyhow::Result<()> {
        let message = QueueMessage { body: discarded.message.to_string(), ..QueueMessage::default() };
        self.queues.send(&self.name, &message).await?;
        self.file.take(discarded).await
    }

    fn name(&self) -> String {
        format!("the queue {} and {}", self.name, self.file.name())
    }

    async fn depth(&self) -> anyhow::Result<u64> {
        self.file.depth().await
    }
}

#[cfg(test)]
#[path = "messaging_tests.rs"]
mod tests;
