use async_trait::async_trait;

use super::StoreError;
use crate::EntityKey;

/// A domain event on its way to subscribers outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusMessage {
    /// Whose event it is.
    pub entity: EntityKey,
    /// The event's name, such as `PriceChanged`.
    pub event: String,
    /// The same whenever this event is published, and different from that of every other: by it
    /// subscribers tell repetitions.
    pub dedupe_id: String,
    /// What happened, JSON text.
    pub body: String,
}

impl BusMessage {
    /// What subscribers can filter on, by name, beside `dedupeId`.
    #[must_use]
    pub fn attributes(&self) -> [(&'static str, &str); 4] {
        [
            ("tenantCode", self.entity.partition.tenant.as_str()),
            ("type", self.entity.partition.entity_type.as_str()),
            ("event", &self.event),
            ("dedupeId", &self.dedupe_id),
        ]
    }
}

/// Tells subscribers outside what happened.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Whether a message is small enough to be published.
    fn takes(&self, message: &BusMessage) -> bool;

    /// Publishes each message by itself, in no particular order, and answers with what became of
    /// each, in the order of `messages`. One that succeeded is published for good; one that did not
    /// may have been published all the same.
    async fn publish(&self, messages: &[BusMessage]) -> Vec<Result<(), StoreError>>;
}
