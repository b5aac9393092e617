//! Batches of an SQS queue, message by message: what one message is like says nothing about its neighbours.
//! Those to deliver again are named in a [`BatchResponse`](crate::stream::BatchResponse).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::stream::{BadRecord, records, text};

/// The messages of one invocation.
#[derive(Debug)]
pub struct MessageBatch {
    /// In no particular order.
    pub messages: Vec<QueueRecord>,
}

/// One message, as far as it could be read.
#[derive(Debug)]
pub struct QueueRecord {
    /// Its id, if that could be read.
    pub message_id: Option<String>,
    /// What it says.
    pub body: Result<String, BadRecord>,
    /// How often it was received, this time included; 0 if that is not known.
    pub receive_count: u32,
    /// Its `MessageGroupId`.
    pub group: Option<String>,
}

/// The whole event is not one of a queue.
#[derive(Debug, thiserror::Error)]
#[error("not an event of a queue: {0}")]
pub struct BadEvent(#[from] serde_json::Error);

impl MessageBatch {
    /// Reads an event, each of its messages by itself.
    ///
    /// # Errors
    /// [`BadEvent`] if it has no list of records at all.
    pub fn parse(event: &RawValue) -> Result<Self, BadEvent> {
        Ok(Self { messages: records(event)?.into_iter().map(QueueRecord::parse).collect() })
    }
}

impl QueueRecord {
    fn parse(raw: &RawValue) -> Self {
        #[derive(Deserialize)]
        struct Record<'a> {
            #[serde(rename = "messageId", borrow)]
            message_id: Option<&'a RawValue>,
            #[serde(borrow)]
            body: Option<&'a RawValue>,
            #[serde(borrow)]
            attributes: Option<&'a RawValue>,
        }
        let record: Record<'_> = match serde_json::from_str(raw.get()) {
            Ok(record) => record,
            Err(error) => {
                let body = Err(BadRecord(format!("not a record: {error}")));
                return Self { message_id: None, body, receive_count: 0, group: None };
            }
        };
        let attributes = record.attributes.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let mut attributes: BTreeMap<String, &RawValue> = attributes.unwrap_or_default();
        let mut attribute = |name: &str| attributes.remove(name).and_then(text);
        Self {
            message_id: record.message_id.and_then(text).filter(|id| !id.is_empty()),
            body: record.body.and_then(text).ok_or_else(|| BadRecord("it has no body".to_owned())),
            receive_count: attribute("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(0),
            group: attribute("MessageGroupId"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::stream::BatchResponse;

    fn record(id: &str) -> Value {
        json!({
            "messageId": id, "receiptHandle": "AQEB", "body": format!("body of {id} \u{1F48D}"),
            "attributes": {
                "ApproximateReceiveCount": "2", "SentTimestamp": "1545082649183", "SenderId": "AIDA",
                "ApproximateFirstReceiveTimestamp": "1545082649185", "MessageGroupId": "acme",
            },
            "messageAttributes": {}, "md5OfBody": "e4e6", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue", "awsRegion": "us-east-2",
        })
    }

    fn parse(event: &Value) -> MessageBatch {
        MessageBatch::parse(&RawValue::from_string(event.to_string()).unwrap()).unwrap()
    }

    #[test]
    fn messages_come_with_their_bodies_groups_and_counts() {
        let batch = parse(&json!({"Records": [record("a"), record("b")]}));
        let [a, b] = batch.messages.try_into().unwrap();
        assert_eq!((a.message_id.as_deref(), b.message_id.as_deref()), (Some("a"), Some("b")));
        assert_eq!((a.body.as_deref(), a.group.as_deref()), (Ok("body of a \u{1F48D}"), Some("acme")));
        assert_eq!(a.receive_count, 2);
    }

    #[test]
    fn a_bad_message_keeps_its_id_where_it_has_one_and_spoils_no_neighbour() {
        let with = |name: &str, value: Value| {
            let mut record = record("x");
            record[name] = value;
            record
        };
        for (bad, id) in [
            (with("body", Value::Null), Some("x")),
            (with("body", json!({"not": "a text"})), Some("x")),
            (with("messageId", json!(7)), None),
            (with("messageId", json!("")), None),
            (json!({}), None),
            (json!(null), None),
            (json!("garbage"), None),
        ] {
            let batch = parse(&json!({"Records": [record("a"), bad, record("b")]}));
            let [before, at, after] = batch.messages.try_into().unwrap();
            assert_eq!(at.message_id.as_deref(), id, "{bad}");
            assert!(at.body.is_err() || id.is_none(), "{bad}");
            assert!(before.body.is_ok() && after.body.is_ok(), "{bad}");
            let asked = BatchResponse::failed([Some("a"), at.message_id.as_deref()]);
            assert_eq!(asked.batch_item_failures.len(), if id.is_some() { 2 } else { 1 }, "{bad}");
        }
        for attributes in [Value::Null, json!([]), json!({"ApproximateReceiveCount": 2}), json!({"x": 1})] {
            let [record] = parse(&json!({"Records": [with("attributes", attributes)]})).messages.try_into().unwrap();
            assert!(record.body.is_ok() && record.receive_count == 0 && record.group.is_none());
        }
    }

    #[test]
    fn an_event_without_records_is_refused() {
        for text in ["{}", "[]", "null", r#"{"Records": {}}"#] {
            assert!(MessageBatch::parse(&RawValue::from_string(text.to_owned()).unwrap()).is_err(), "{text}");
        }
    }
}
