use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Message, QueueMapping};
use crate::event_source::InvokeError;

/// The most bytes of an event.
pub const PAYLOAD: usize = 6 * 1024 * 1024;

/// The most messages of one receive.
const RECEIVE: usize = 10;

/// Messages on their way into batches. Pure: it is told what was received, and what time it is.
#[derive(Debug)]
pub struct Gathering {
    batch_size: usize,
    window: Duration,
    visibility: Duration,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    received: DateTime<Utc>,
    bytes: usize,
}

impl Gathering {
    /// For batches as the mapping wants them.
    #[must_use]
    pub fn new(mapping: &QueueMapping) -> Self {
        let QueueMapping { batch_size, window, visibility, .. } = *mapping;
        Self { batch_size, window, visibility, waiting: VecDeque::new() }
    }

    /// How many messages to ask for: none if there are enough for a batch.
    #[must_use]
    pub fn room(&self) -> usize {
        self.batch_size.saturating_sub(self.waiting.len()).min(RECEIVE)
    }

    /// Takes in what was received.
    pub fn add(&mut self, messages: Vec<Message>, queue_arn: &str, received: DateTime<Utc>) {
        let waiting = messages.into_iter().map(|message| {
            let bytes = message.record(queue_arn).to_string().len() + ",".len();
            Waiting { message, received, bytes }
        });
        self.waiting.extend(waiting);
    }

    /// How long until the next batch is due; none if there is nothing to wait for.
    #[must_use]
    pub fn due_in(&self, now: DateTime<Utc>) -> Option<Duration> {
        let first = self.waiting.front()?;
        if self.fitting() < self.waiting.len() || self.waiting.len() >= self.batch_size {
            return Some(Duration::ZERO);
        }
        let waited = (now - first.received).to_std().unwrap_or_default();
        Some(self.window.saturating_sub(waited))
    }

    /// The next batch, with the moment at which its first message was received, if it is due: full, of the
    /// largest size that an event can have, or gathered for the whole window. Messages that others see again by
    /// now are left to them.
    pub fn due(&mut self, now: DateTime<Utc>) -> Option<(Vec<Message>, DateTime<Utc>)> {
        let visibility = self.visibility;
        let is_ours = |waiting: &Waiting| (now - waiting.received).to_std().is_ok_and(|waited| waited < visibility);
        // A queue that hides nothing leaves all of them to others at once.
        self.waiting.retain(|waiting| visibility.is_zero() || is_ours(waiting));
        self.due_in(now).filter(Duration::is_zero)?;
        let first = self.waiting.front()?.received;
        let count = self.fitting().min(self.batch_size);
        Some((self.waiting.drain(..count).map(|waiting| waiting.message).collect(), first))
    }

    /// All that has not become a batch.
    #[must_use]
    pub fn into_rest(self) -> Vec<Message> {
        self.waiting.into_iter().map(|waiting| waiting.message).collect()
    }

    /// How many from the first on fit into an event; at least one.
    fn fitting(&self) -> usize {
        let mut bytes = r#"{"Records":[]}"#.len();
        let fits = |waiting: &&Waiting| {
            bytes += waiting.bytes;
            bytes <= PAYLOAD
        };
        self.waiting.iter().take_while(fits).count().max(1).min(self.waiting.len())
    }
}

/// What follows from an answer.
#[derive(Debug, PartialEq)]
pub struct Settled<'a> {
    /// The messages to delete. The others stay in the queue.
    pub delete: Vec<&'a Message>,
    /// Why some stay.
    pub problem: Option<String>,
}

/// Decides what of a batch is deleted. See "Implementing partial batch responses" in the Lambda developer
/// guide.
#[must_use]
pub fn settle<'a>(
    messages: &'a [Message],
    reports_item_failures: bool,
    answer: &Result<String, InvokeError>,
) -> Settled<'a> {
    let all_stay = |problem: String| Settled { delete: Vec::new(), problem: Some(problem) };
    let text = match answer {
        Err(error) => return all_stay(error.to_string()),
        Ok(text) => text,
    };
    let failed = match reports_item_failures {
        true => reported(text),
        false => Some(BTreeSet::new()),
    };
    let Some(failed) = failed else { return all_stay(format!("not a partial batch response: {text}")) };
    let known = |id: &&String| messages.iter().any(|message| message.id == **id);
    if let Some(unknown) = failed.iter().find(|id| !known(id)) {
        return all_stay(format!("it reported the message {unknown:?}, which was not in the batch"));
    }
    let delete: Vec<_> = messages.iter().filter(|message| !failed.contains(&message.id)).collect();
    let count = messages.len() - delete.len();
    let problem = (count > 0).then(|| format!("it reported {count} of {} messages as failed", messages.len()));
    Settled { delete, problem }
}

/// The ids of messages that failed; none for an answer that makes no sense.
fn reported(text: &str) -> Option<BTreeSet<String>> {
    let text = if text.trim().is_empty() { "null" } else { text };
    let failures = match serde_json::from_str(text).ok()? {
        Value::Null => return Some(BTreeSet::new()),
        Value::Object(mut fields) => fields.remove("batchItemFailures").unwrap_or_default(),
        _ => return None,
    };
    let failures = match failures {
        Value::Null => return Some(BTreeSet::new()),
        Value::Array(failures) => failures,
        _ => return None,
    };
    let id = |failure: &Value| failure.get("itemIdentifier")?.as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    failures.iter().map(id).collect()
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
