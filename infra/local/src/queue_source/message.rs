use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use ledgerline_stores::QueueDepth;
use serde_json::{Value, json};

use crate::event_source::LOCAL_REGION;

/// A message that was received.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// `MessageId`
    pub id: String,
    /// By which it is deleted.
    pub receipt_handle: String,
    /// What it says.
    pub body: String,
    /// `MD5OfBody`
    pub md5: String,
    /// What SQS says of it: `ApproximateReceiveCount`, `SentTimestamp`, `MessageGroupId` and so on.
    pub attributes: BTreeMap<String, String>,
    /// The attributes that its sender gave it, as they are in the event.
    pub message_attributes: BTreeMap<String, Value>,
}

impl Message {
    /// Its record in the event that Lambda sends.
    #[must_use]
    pub fn record(&self, queue_arn: &str) -> Value {
        json!({
            "messageId": self.id,
            "receiptHandle": self.receipt_handle,
            "body": self.body,
            "attributes": self.attributes,
            "messageAttributes": self.message_attributes,
            "md5OfBody": self.md5,
            "eventSource": "aws:sqs",
            "eventSourceARN": queue_arn,
            "awsRegion": LOCAL_REGION,
        })
    }

    /// What filters look at: the record, with a body of JSON as what it says.
    pub(super) fn filterable(&self) -> Value {
        let mut record = self.record("");
        let body = serde_json::from_str(&self.body).ok().filter(Value::is_object);
        if let (Some(fields), Some(body)) = (record.as_object_mut(), body) {
            fields.insert("body".to_owned(), body);
        }
        record
    }
}

/// A queue that an event source mapping reads.
#[async_trait]
pub trait MessageSource: Send + Sync + 'static {
    /// The queue's ARN.
    fn arn(&self) -> &str;

    /// Up to `max` messages, at most 10, which nobody else sees for the queue's visibility timeout. Waits for
    /// the first so long, in whole seconds.
    ///
    /// # Errors
    /// If the queue cannot be read.
    async fn receive(&self, max: usize, wait: Duration) -> anyhow::Result<Vec<Message>>;

    /// Removes messages for good.
    ///
    /// # Errors
    /// If not all are removed.
    async fn delete(&self, messages: &[Message]) -> anyhow::Result<()>;

    /// Lets others see messages at once.
    ///
    /// # Errors
    /// If not all can be seen.
    async fn release(&self, messages: &[Message]) -> anyhow::Result<()>;

    /// How many messages it holds.
    ///
    /// # Errors
    /// If it cannot be asked.
    async fn depths(&self) -> anyhow::Result<QueueDepth>;
}
