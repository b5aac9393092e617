use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{MessageQueue, QueueMessage, StoreError};

use crate::Delivered;
use crate::contract::queue::Worker;

/// What becomes of a message, said before it is sent.
type Trouble = Box<dyn FnMut(&QueueMessage) -> Delivered + Send>;

/// A queue in memory that keeps what was sent, in order, until it is [taken](Self::take). Clones share it.
#[derive(Clone, Default)]
pub struct MemoryQueue {
    sent: Arc<Mutex<Vec<QueueMessage>>>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// The most bytes of a message.
const LIMIT: usize = 1024 * 1024;

impl MemoryQueue {
    /// From now on `trouble` says what becomes of each message.
    pub fn fail(&self, trouble: impl FnMut(&QueueMessage) -> Delivered + Send + 'static) {
        *lock(&self.trouble) = Some(Box::new(trouble));
    }

    /// From now on every message arrives.
    pub fn recover(&self) {
        *lock(&self.trouble) = None;
    }

    /// All that was sent and not taken, repetitions too.
    #[must_use]
    pub fn sent(&self) -> Vec<QueueMessage> {
        lock(&self.sent).clone()
    }

    /// The same, and they are in the queue no more.
    #[must_use]
    pub fn take(&self) -> Vec<QueueMessage> {
        std::mem::take(&mut *lock(&self.sent))
    }
}

/// A test that panicked while it held the lock fails by itself; others need not follow.
fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl MessageQueue for MemoryQueue {
    fn takes(&self, message: &QueueMessage) -> bool {
        (1..=LIMIT).contains(&message.body.len()) && !message.body.contains(['\u{FFFE}', '\u{FFFF}'])
    }

    async fn send(&self, messages: &[QueueMessage]) -> Vec<Result<(), StoreError>> {
        let send = |message: &QueueMessage| {
            if !self.takes(message) {
                return Err(StoreError::Rejected { store: "memory queue", reason: "no queue takes it".to_owned() });
            }
            let delivered = lock(&self.trouble).as_mut().map_or(Delivered::Yes, |trouble| trouble(message));
            if !matches!(delivered, Delivered::No(_)) {
                lock(&self.sent).push(message.clone());
            }
            match delivered {
                Delivered::Yes => Ok(()),
                Delivered::No(error) | Delivered::Unanswered(error) => Err(error),
            }
        };
        messages.iter().map(send).collect()
    }
}

#[async_trait]
impl Worker for MemoryQueue {
    async fn delivered(&self) -> Vec<QueueMessage> {
        self.take()
    }
}
