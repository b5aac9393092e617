//! What does not fit into a ledger item, kept beside the ledger.
//!
//! DynamoDB takes 400 KB of an item. Of a domain that opts in ([`DynDomain::has_large_states`]), the
//! events and the state of a larger version are put into a [`BlobStore`] under their own hash, before
//! the version is committed, and the item holds a reference in their place. Whoever reads through
//! [`LargeStates::over`] gets the version whole, checked against that hash, and cannot tell it from
//! any other. `infra/adr/0010-large-states.md` has the reasons.

mod data_table;
mod ledger;
mod reference;
mod size;

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::{BlobStore, LedgerRead, StoreError};
use ledgerline_kernel::{DynDomain, EntityKey, Hash, StoredEvent, TenantCode, Version, VersionItem, canonical_json};
use serde::Deserialize;
use serde_json::Value;

use crate::Registry;
use reference::Reference;

pub use size::LARGE_STATE_LIMIT;
use size::{INLINE_LIMIT, weight};
pub(crate) use size::{json_length, travelling_size};

const STORE: &str = "the large states";

/// Large states under way at once, in each direction.
const IN_FLIGHT: usize = 4;

/// How many bytes of large states a function of a stream holds at a time: more only where one version
/// is larger. In memory they are several times that, and a batch may be a gigabyte of them.
pub const LARGE_STATES_AT_ONCE: usize = 8 * 1024 * 1024;

/// Keeps what outgrows a ledger item in a blob store, and brings it back.
#[derive(Clone)]
pub struct LargeStates {
    registry: Registry,
    blobs: Arc<dyn BlobStore>,
}

/// A port of which nobody can tell that some of its items are larger than what it stores; made by
/// [`LargeStates::over`].
#[derive(Clone)]
pub struct WithLargeStates<P> {
    port: P,
    states: LargeStates,
}

struct NoBlobs;

impl NoBlobs {
    fn away<T>() -> Result<T, StoreError> {
        Err(StoreError::Unavailable { store: STORE, reason: "there is no store for them here".to_owned() })
    }
}

#[async_trait]
impl BlobStore for NoBlobs {
    async fn put(&self, _: &TenantCode, _: &Hash, _: Vec<u8>) -> Result<(), StoreError> {
        Self::away()
    }

    async fn get(&self, _: &TenantCode, _: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        Self::away()
    }
}

/// What is kept of a version: the rest of it stays in the ledger.
#[derive(Debug, Deserialize)]
struct Content {
    events: Vec<StoredEvent>,
    state: Value,
}

impl LargeStates {
    /// Keeps those of the domains that opt in.
    pub fn new(registry: Registry, blobs: Arc<dyn BlobStore>) -> Self {
        Self { registry, blobs }
    }

    /// Keeps none, and finds the store away that would have those of a version that refers to one.
    #[must_use]
    pub fn none() -> Self {
        Self { registry: Registry::default(), blobs: Arc::new(NoBlobs) }
    }

    /// `port`, with large states in it.
    pub fn over<P>(&self, port: P) -> WithLargeStates<P> {
        WithLargeStates { port, states: self.clone() }
    }

    /// How many bytes of a stored item's content are kept beside it; 0 if it is whole.
    #[must_use]
    pub fn bytes_beside(item: &VersionItem) -> usize {
        Reference::of_item(item).ok().flatten().map_or(0, |reference| reference.bytes)
    }

    /// The version that a stored item stands for: the item itself, or what it refers to.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] if the content is missing or is not what it was.
    pub async fn whole(&self, item: VersionItem) -> Result<VersionItem, StoreError> {
        let Some(reference) = Reference::of_item(&item)? else { return Ok(item) };
        let Content { events, state } = self.fetch(&item.key.partition.tenant, &reference).await?;
        Ok(VersionItem { events, state, ..item })
    }

    async fn all_whole(&self, items: Vec<VersionItem>) -> Result<Vec<VersionItem>, StoreError> {
        // Collected first: a stream over the closure itself would make a future that is not `Send`.
        let whole: Vec<_> = items.into_iter().map(|item| self.whole(item)).collect();
        futures::stream::iter(whole).buffered(IN_FLIGHT).try_collect().await
    }

    /// Whether a version has to be kept beside the ledger.
    fn outgrows(&self, item: &VersionItem) -> bool {
        let domain = self.registry.by_type(&item.key.partition.entity_type);
        domain.is_some_and(|domain| domain.has_large_states()) && weight_of(item) > INLINE_LIMIT
    }

    /// Keeps the content of `item`, and makes the item that is stored in its place.
    async fn keep(&self, item: &VersionItem) -> Result<VersionItem, StoreError> {
        let content = content_of(item)?;
        let reference = Reference::to(&content);
        self.blobs.put(&item.key.partition.tenant, &reference.hash, content.into_bytes()).await?;
        Ok(VersionItem { events: Vec::new(), state: reference.to_value(), ..item.clone() })
    }

    async fn fetch(&self, tenant: &TenantCode, reference: &Reference) -> Result<Content, StoreError> {
        let content = self.blobs.get(tenant, &reference.hash).await?;
        let content = content.ok_or_else(|| rejected(format!("{tenant} has no content {reference}")))?;
        let text = String::from_utf8(content).ok().filter(|text| Reference::to(text) == *reference);
        let text = text.ok_or_else(|| rejected(format!("the content {reference} of {tenant} was altered")))?;
        serde_json::from_str(&text).map_err(|error| rejected(format!("the content {reference} of {tenant}: {error}")))
    }
}

/// Up to `limit` versions below `before`, newest first: fewer where they are so large that they would
/// neither fit into memory nor into an answer together, but one at least if there is one.
pub(crate) async fn history_page(
    ledger: &dyn LedgerRead,
    domain: &dyn DynDomain,
    key: &EntityKey,
    before: Option<Version>,
    limit: usize,
) -> Result<Vec<VersionItem>, StoreError> {
    if !domain.has_large_states() {
        return ledger.history(key, before, limit).await;
    }
    let (mut items, mut size): (Vec<VersionItem>, _) = (Vec::new(), 0);
    while items.len() < limit {
        let below = items.last().map(|item| item.version).or(before);
        let Some(item) = ledger.history(key, below, 1).await?.pop() else { break };
        size += travelling_size(&item);
        if size > LARGE_STATE_LIMIT && !items.is_empty() {
            break;
        }
        items.push(item);
    }
    Ok(items)
}

fn weight_of(item: &VersionItem) -> usize {
    let events = item.events.iter().map(|event| weight(&event.data) + event.name.len());
    events.sum::<usize>() + weight(&item.state)
}

/// The text that is kept: events and state in canonical JSON, so that the same content is one blob.
fn content_of(item: &VersionItem) -> Result<String, StoreError> {
    let canonical = |value: &Value| canonical_json(value).map_err(|error| rejected(error.to_string()));
    let events = serde_json::to_value(&item.events).map_err(|error| rejected(error.to_string()))?;
    Ok(format!(r#"{{"events":{},"state":{}}}"#, canonical(&events)?, canonical(&item.state)?))
}

fn rejected(reason: String) -> StoreError {
    StoreError::Rejected { store: STORE, reason }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
