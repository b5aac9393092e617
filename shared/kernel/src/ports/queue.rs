use async_trait::async_trait;

use super::StoreError;

/// A message on its way to whoever works through a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// Whose it is, such as a tenant: a queue is fair between groups. 1 to 128 letters, digits and
    /// punctuation marks of ASCII.
    pub group: String,
    /// What it says.
    pub body: String,
}

impl QueueMessage {
    /// A message with this JSON text, in which what queues do not carry (U+FFFE and U+FFFF) is spelled as an
    /// escape of JSON: the same value, whoever reads it.
    #[must_use]
    pub fn of_json(group: impl Into<String>, json: &str) -> Self {
        Self { group: group.into(), body: json.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff") }
    }
}

/// Takes messages for somebody who works through them later: each at least once, in no particular order.
#[async_trait]
pub trait MessageQueue: Send + Sync {
    /// Whether a message can be sent: small enough, and of characters that queues carry.
    fn takes(&self, message: &QueueMessage) -> bool;

    /// Sends each message by itself and answers with what became of each, in the order of `messages`. One
    /// that succeeded will be delivered; one that did not may be delivered all the same.
    async fn send(&self, messages: &[QueueMessage]) -> Vec<Result<(), StoreError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_same_value_without_what_queues_do_not_carry() {
        let value = serde_json::json!({"a\u{FFFF}": "指輪 \u{FFFE}\u{FFFD}\u{0}"});
        let message = QueueMessage::of_json("acme", &value.to_string());
        assert!(!message.body.contains(['\u{FFFE}', '\u{FFFF}']), "{}", message.body);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&message.body).unwrap(), value);
    }
}
