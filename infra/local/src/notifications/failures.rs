use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use ledgerline_stores::{QueueMessage, Queues};
use serde_json::json;
use serde_json::value::to_raw_value;
use ulid::Ulid;

use super::journal::Notification;
use super::rule::AsyncInvoke;
use crate::event_source::{Discarded, FailureDestination, FailureFile, LOCAL_REGION};

/// Where notifications go that are given up: to the function's failure destination, its dead-letter queue, and
/// a file that keeps them, since queues are empty after a restart.
pub struct AsyncFailures {
    queues: Queues,
    on_failure: Option<String>,
    dead_letters: Option<String>,
    file: FailureFile,
}

impl AsyncFailures {
    /// To the queues of such invocations, and to this file.
    #[must_use]
    pub fn new(queues: Queues, invoke: &AsyncInvoke, file: FailureFile) -> Self {
        Self { queues, on_failure: invoke.on_failure.clone(), dead_letters: invoke.dead_letters.clone(), file }
    }
}

/// The record of an asynchronous invocation that failed, as Lambda sends it to a destination.
pub(super) fn discarded(
    notification: &Notification,
    condition: &str,
    error: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Discarded> {
    let function = &notification.function;
    let message = json!({
        "version": "1.0",
        "timestamp": now.to_rfc3339_opts(SecondsFormat::Millis, true),
        "requestContext": {
            "requestId": Ulid::generate().to_string(),
            "functionArn": format!("arn:aws:lambda:{LOCAL_REGION}:000000000000:function:{function}:$LATEST"),
            "condition": condition,
            "approximateInvokeCount": notification.failures,
        },
        "requestPayload": notification.event,
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "responsePayload": { "errorMessage": error, "errorType": "Error" },
    });
    let records = vec![to_raw_value(&notification.event)?];
    Ok(Discarded { message, error: error.to_owned(), records })
}

#[async_trait]
impl FailureDestination for AsyncFailures {
    async fn take(&self, discarded: &Discarded) -> anyhow::Result<()> {
        if let Some(queue) = &self.on_failure {
            let message = QueueMessage { body: discarded.message.to_string(), ..QueueMessage::default() };
            self.queues.send(queue, &message).await?;
        }
        for (queue, event) in self.dead_letters.iter().zip(&discarded.records) {
            let request = discarded.message.pointer("/requestContext/requestId").and_then(serde_json::Value::as_str);
            let attributes = [
                ("RequestID", request.unwrap_or_default()),
                ("ErrorCode", "200"),
                ("ErrorMessage", discarded.error.as_str()),
            ];
            let message = QueueMessage {
                body: event.get().to_owned(),
                attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                ..QueueMessage::default()
            };
            self.queues.send(queue, &message).await?;
        }
        self.file.take(discarded).await
    }

    fn name(&self) -> String {
        let queues: Vec<&str> =
            [&self.on_failure, &self.dead_letters].into_iter().flatten().map(String::as_str).collect();
        match queues.is_empty() {
            true => self.file.name(),
            false => format!("the queue {} and {}", queues.join(", "), self.file.name()),
        }
    }

    async fn depth(&self) -> anyhow::Result<u64> {
        self.file.depth().await
    }
}
