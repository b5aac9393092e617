use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{BusMessage, EventBus, StoreError};

use crate::contract::bus::{Arrived, Subscriber};

/// What becomes of a message, said before it is published.
type Trouble = Box<dyn FnMut(&BusMessage) -> Delivered + Send>;

/// What becomes of a message on a [`MemoryBus`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It arrives.
    Yes,
    /// It does not arrive, which is answered with this error.
    No(StoreError),
    /// It arrives, but the answer is this error.
    Unanswered(StoreError),
}

/// An event bus in memory that keeps what was published, in order. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryBus {
    published: Arc<Mutex<Vec<BusMessage>>>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// The size of a message that is too large, in bytes.
const TOO_LARGE: usize = 256 * 1024;

impl MemoryBus {
    /// From now on `trouble` says what becomes of each message.
    pub fn fail(&self, trouble: impl FnMut(&BusMessage) -> Delivered + Send + 'static) {
        *lock(&self.trouble) = Some(Box::new(trouble));
    }

    /// From now on every message arrives.
    pub fn recover(&self) {
        *lock(&self.trouble) = None;
    }

    /// All that was published, repetitions too.
    #[must_use]
    pub fn published(&self) -> Vec<BusMessage> {
        lock(&self.published).clone()
    }
}

/// A test that panicked while it held the lock fails by itself; others need not follow.
fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl EventBus for MemoryBus {
    fn takes(&self, message: &BusMessage) -> bool {
        message.body.len() <= TOO_LARGE
    }

    async fn publish(&self, messages: &[BusMessage]) -> Vec<Result<(), StoreError>> {
        let publish = |message: &BusMessage| {
            if !self.takes(message) {
                return Err(StoreError::Rejected { store: "memory bus", reason: "too large".to_owned() });
            }
            let delivered = lock(&self.trouble).as_mut().map_or(Delivered::Yes, |trouble| trouble(message));
            if !matches!(delivered, Delivered::No(_)) {
                lock(&self.published).push(message.clone());
            }
            match delivered {
                Delivered::Yes => Ok(()),
                Delivered::No(error) | Delivered::Unanswered(error) => Err(error),
            }
        };
        messages.iter().map(publish).collect()
    }
}

#[async_trait]
impl Subscriber for MemoryBus {
    async fn arrived(&self) -> Vec<Arrived> {
        self.published().iter().map(Arrived::from).collect()
    }
}
