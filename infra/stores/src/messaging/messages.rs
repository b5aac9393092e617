//! The messages of all queues, each in a [`FairQueue`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use md5::{Digest as _, Md5};
use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;
use winterbaume_sqs::types::{Message, MessageAttribute, MessageMoveTask};

use super::fair::{FairQueue, Held, Receive};

/// Who sends everything here.
const SENDER: &str = "AIDALEDGERLINELOCAL00";

/// The messages of all queues.
#[derive(Default)]
pub(super) struct Messages {
    pub(super) queues: Mutex<HashMap<String, FairQueue>>,
    pub(super) moves: Mutex<Vec<MessageMoveTask>>,
    pub(super) arrived: Notify,
}

/// What receiving needs to know of a queue.
pub(super) struct Settings {
    hidden_for: i64,
    pub(super) delay: i64,
    dead_letters: Option<(String, u32)>,
}

impl Settings {
    pub(super) fn read(attributes: &HashMap<String, String>) -> Self {
        let seconds = |name: &str| attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or(0_i64);
        let redrive = attributes.get("RedrivePolicy").and_then(|text| serde_json::from_str::<Value>(text).ok());
        let dead_letters = redrive.and_then(|policy| {
            let most = policy.get("maxReceiveCount")?;
            let most = most.as_u64().or_else(|| most.as_str()?.parse().ok())?;
            Some((name_in(policy.get("deadLetterTargetArn")?.as_str()?), most.try_into().unwrap_or(u32::MAX)))
        });
        Self { hidden_for: seconds("VisibilityTimeout") * 1000, delay: seconds("DelaySeconds") * 1000, dead_letters }
    }
}

/// The name of a queue with this ARN.
pub(super) fn name_in(arn: &str) -> String {
    arn.rsplit(':').next().unwrap_or_default().to_owned()
}

pub(super) fn now() -> i64 {
    Utc::now().timestamp_millis()
}

pub(super) fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Messages {
    /// Does something with the messages of a queue.
    pub(super) fn with<T>(&self, queue: &str, act: impl FnOnce(&mut FairQueue) -> T) -> T {
        let mut queues = lock(&self.queues);
        let queue = queues.entry(queue.to_owned()).or_insert_with(|| FairQueue::new(fastrand::u64(..)));
        act(queue)
    }

    pub(super) fn receive(&self, queue: &str, settings: &Settings, max: usize, visibility: Option<u32>) -> Vec<Held> {
        let hidden_for = visibility.map_or(settings.hidden_for, |seconds| i64::from(seconds) * 1000);
        let max_receive_count = settings.dead_letters.as_ref().map(|(_, most)| *most);
        let how = Receive { max, hidden_for, max_receive_count };
        let (received, dead) = self.with(queue, |messages| messages.receive(how, now()));
        if let Some((target, _)) = settings.dead_letters.as_ref().filter(|_| !dead.is_empty()) {
            self.with(target, |messages| {
                for held in dead {
                    messages.push(buried(held, queue), now());
                }
            });
            self.arrived.notify_waiters();
        }
        received
    }

    /// Moves what is in a dead-letter queue to where it came from, or to another queue, at once and however
    /// fast that is. Gives how many that were.
    pub(super) fn redrive(&self, from: &str, to: Option<&str>) -> usize {
        let dead = self.with(from, |messages| messages.drain(now()));
        let count = dead.len();
        for held in dead {
            let target = to.or(held.source.as_deref()).unwrap_or(from).to_owned();
            let Held { message, group, .. } = held;
            let risen = Held { message: fresh(message.body, message.message_attributes, 0), group, source: None };
            self.with(&target, |messages| messages.push(risen, now()));
        }
        self.arrived.notify_waiters();
        count
    }
}

/// A message as it comes to a dead-letter queue: the same one. How often it was received is counted on, across
/// all queues, as SQS does.
fn buried(mut held: Held, source: &str) -> Held {
    held.source = Some(source.to_owned());
    held.message.receipt_handle = None;
    held.message.visible_at = now();
    held
}

/// A message that nobody has seen.
pub(super) fn fresh(body: String, message_attributes: HashMap<String, MessageAttribute>, delay: i64) -> Message {
    let now = now();
    Message {
        message_id: Uuid::new_v4().to_string(),
        body_md5: hex(&Md5::digest(body.as_bytes())),
        body,
        receipt_handle: None,
        all_receipt_handles: Vec::new(),
        sender_id: SENDER.to_owned(),
        sent_timestamp: now,
        approximate_first_receive_timestamp: None,
        approximate_receive_count: 0,
        visible_at: now.saturating_add(delay),
        message_attributes,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
