use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ledgerline_kernel::ports::{BusMessage, EventBus, StoreError};
use ledgerline_kernel::{EntityKey, Hash, StoredEvent, Timestamp, VersionItem};
use serde::Serialize;
use serde_json::Value;

use crate::{Environment, LargeStates};

/// Publishes the events of version items, each at least once and those of an entity in their order.
#[derive(Clone)]
pub struct Relay {
    bus: Arc<dyn EventBus>,
    environment: Arc<dyn Environment>,
    large_states: Option<LargeStates>,
}

/// What became of the items handed to [`Relay::publish`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relayed {
    /// How many events were published.
    pub published: usize,
    /// The items, by index, of which an event was not. Those before it may have been.
    pub failed: Vec<(usize, StoreError)>,
}

impl Relay {
    /// Publishes on `bus`.
    #[must_use]
    pub fn new(bus: Arc<dyn EventBus>, environment: Arc<dyn Environment>) -> Self {
        Self { bus, environment, large_states: None }
    }

    /// Finds the events of versions that are too large for the ledger in `large_states`.
    #[must_use]
    pub fn with_large_states(self, large_states: LargeStates) -> Self {
        Self { large_states: Some(large_states), ..self }
    }

    /// The version that an item of the ledger stands for, with its events, wherever they are kept. A
    /// store that is away is tried again `until` then; without that moment, not at all.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be found, or not in time.
    pub async fn whole(&self, item: VersionItem, until: Option<Timestamp>) -> Result<VersionItem, StoreError> {
        let Some(large_states) = &self.large_states else { return Ok(item) };
        let mut waits = 0;
        loop {
            let may_wait = until.is_some_and(|until| self.environment.now() < until);
            match large_states.whole(item.clone()).await {
                Err(StoreError::Unavailable { .. }) if may_wait => {
                    waits += 1;
                    self.environment.back_off(waits).await;
                }
                answer => return answer,
            }
        }
    }

    /// Publishes every event of `items`. What follows a failed event of the same entity is not
    /// published before it: it waits for the next time these items are handed in.
    ///
    /// A bus that is away is tried again `until` then, and nothing new is begun after that; without
    /// that moment everything is tried once.
    pub async fn publish(&self, items: &[VersionItem], until: Option<Timestamp>) -> Relayed {
        let mut left = Queues::of(items, &*self.bus);
        let mut relayed = Relayed::default();
        let mut waits = 0;
        let mut reason = "out of time".to_owned();
        // A round has one event of each entity: the bus promises no order within a call.
        while let Some(round) = left.round() {
            if until.is_some_and(|until| self.environment.now() >= until) {
                relayed.failed.extend(left.give_up_all(&reason));
                break;
            }
            let messages: Vec<BusMessage> = round.iter().map(|queued| queued.message.clone()).collect();
            let mut answers = self.bus.publish(&messages).await.into_iter();
            let before = relayed.published;
            let mut waiting = false;
            for Queued { message, .. } in round {
                match answers.next().unwrap_or_else(no_answer) {
                    Ok(()) => {
                        left.done(&message.entity);
                        relayed.published += 1;
                    }
                    Err(StoreError::Unavailable { reason: why, .. }) if until.is_some() => {
                        waiting = true;
                        reason = why;
                    }
                    Err(error) => relayed.failed.extend(left.give_up(&message.entity, &error)),
                }
            }
            if waiting {
                waits = if relayed.published > before { 1 } else { waits + 1 };
                self.environment.back_off(waits).await;
            }
        }
        relayed.failed.sort_by_key(|(index, _)| *index);
        relayed.failed.dedup_by_key(|(index, _)| *index);
        relayed
    }
}

fn no_answer() -> Result<(), StoreError> {
    Err(away("no answer for an event"))
}

fn away(reason: &str) -> StoreError {
    StoreError::Unavailable { store: "event bus", reason: reason.to_owned() }
}

/// The events that are left to publish, of each entity in the order of its versions.
struct Queues(BTreeMap<EntityKey, VecDeque<Queued>>);

#[derive(Clone)]
struct Queued {
    item: usize,
    message: BusMessage,
}

impl Queues {
    fn of(items: &[VersionItem], bus: &dyn EventBus) -> Self {
        let mut in_order: Vec<(usize, &VersionItem)> = items.iter().enumerate().collect();
        // The stream keeps the order of one item, and each version is an item of its own.
        in_order.sort_by_key(|(_, item)| item.version);
        let mut queues: BTreeMap<EntityKey, VecDeque<Queued>> = BTreeMap::new();
        for (index, item) in in_order {
            let messages = item.events.iter().enumerate().map(|(place, event)| message_of(item, place, event, bus));
            let queue = queues.entry(item.key.clone()).or_default();
            queue.extend(messages.map(|message| Queued { item: index, message }));
        }
        Self(queues)
    }

    /// The first event of each entity that has one left.
    fn round(&self) -> Option<Vec<Queued>> {
        let round: Vec<Queued> = self.0.values().filter_map(|queue| queue.front().cloned()).collect();
        (!round.is_empty()).then_some(round)
    }

    fn done(&mut self, entity: &EntityKey) {
        if let Some(queue) = self.0.get_mut(entity) {
            queue.pop_front();
        }
    }

    fn give_up(&mut self, entity: &EntityKey, error: &StoreError) -> Vec<(usize, StoreError)> {
        let queue = self.0.remove(entity).unwrap_or_default();
        queue.into_iter().map(|queued| (queued.item, error.clone())).collect()
    }

    fn give_up_all(&mut self, reason: &str) -> Vec<(usize, StoreError)> {
        let queues = std::mem::take(&mut self.0);
        queues.into_values().flatten().map(|queued| (queued.item, away(reason))).collect()
    }
}

/// What subscribers get: `events/published/` holds a golden example.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    dedupe_id: &'a str,
    id: String,
    r#type: &'a str,
    tenant_code: &'a str,
    sk: &'a str,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    event: &'a str,
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    data_omitted: bool,
    occurred_at: Timestamp,
    by: &'a str,
    command_id: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

/// The message of the event at `place` in `item`: whole where the bus takes that, else without what
/// may be large, which `id` and `version` lead to.
fn message_of(item: &VersionItem, place: usize, event: &StoredEvent, bus: &dyn EventBus) -> BusMessage {
    let dedupe_id = plain(&format!("{}@{}#{place}", item.key, item.version));
    let body = |whole: bool| Body {
        dedupe_id: &dedupe_id,
        id: item.key.to_string(),
        r#type: item.key.partition.entity_type.as_str(),
        tenant_code: item.key.partition.tenant.as_str(),
        sk: item.key.sk.as_str(),
        version: item.version.number(),
        code: whole.then_some(&item.code),
        name: whole.then_some(&item.name),
        event: &event.name,
        v: event.v,
        data: whole.then_some(&event.data),
        data_omitted: !whole,
        occurred_at: item.updated.at,
        by: &item.updated.by,
        command_id: &item.command_id,
        request_id: &item.request_id,
        traceparent: item.traceparent.as_deref(),
    };
    let message = |whole: bool| BusMessage {
        entity: item.key.clone(),
        event: event.name.clone(),
        dedupe_id: dedupe_id.clone(),
        // A struct of texts, numbers and JSON has a JSON form.
        body: escaped(&serde_json::to_string(&body(whole)).unwrap_or_default()),
    };
    Some(message(true)).filter(|message| bus.takes(message)).unwrap_or_else(|| message(false))
}

/// The two characters that JSON allows in a text and that queues refuse in a message: outside of
/// XML's.
const REFUSED: [char; 2] = ['\u{FFFE}', '\u{FFFF}'];

/// JSON that says the same without the characters that queues refuse.
fn escaped(json: &str) -> String {
    json.replace(REFUSED[0], "\\ufffe").replace(REFUSED[1], "\\uffff")
}

/// An id that a message's attribute can hold. One with a character that it cannot is hashed, which
/// keeps different ids apart.
fn plain(id: &str) -> String {
    if id.contains(REFUSED) { format!("sha256:{}", Hash::of(id)) } else { id.to_owned() }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
