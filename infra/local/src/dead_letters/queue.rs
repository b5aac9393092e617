use std::collections::BTreeMap;

use ledgerline_stores::LocalMessaging;
use serde::{Deserialize, Serialize};

use crate::queue_source::{SqsApi, local_client};
use crate::template::{Queue, Template};

/// A queue of dead letters that functions have left behind.
#[derive(Debug, Clone)]
pub struct DeadLetterQueue {
    /// Its name in the template.
    pub logical_id: String,
    /// What it is called here.
    pub name: String,
    /// Where its messages come from.
    pub sources: Vec<Source>,
    pub(super) api: SqsApi,
}

/// A queue with a function, which sends what that fails on too often to a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its name in the template.
    pub queue: String,
    /// The event source mapping that reads it.
    pub mapping: String,
}

/// The dead-letter queues (by `RedrivePolicy`) of all queues that an event source mapping reads.
pub async fn dead_letter_queues(template: &Template, messaging: &LocalMessaging) -> Vec<DeadLetterQueue> {
    let client = local_client(messaging).await;
    let mut found: BTreeMap<&str, DeadLetterQueue> = BTreeMap::new();
    let named = |name: &str| template.queues.iter().find(|queue| queue.name == name);
    for mapping in &template.queue_mappings {
        let Some(queue) = named(&mapping.queue) else { continue };
        let Some(Queue { logical_id, name, .. }) = queue.dead_letters.as_deref().and_then(named) else { continue };
        let dead = found.entry(name).or_insert_with(|| DeadLetterQueue {
            logical_id: logical_id.clone(),
            name: name.clone(),
            sources: Vec::new(),
            api: SqsApi::new(client.clone(), messaging.queue_url(name), LocalMessaging::queue_arn(name)),
        });
        dead.sources.push(Source { queue: queue.logical_id.clone(), mapping: mapping.settings.id.clone() });
    }
    found.into_values().collect()
}
