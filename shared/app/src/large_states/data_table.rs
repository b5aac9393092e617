//! A read model on DynamoDB with large states in it: its rows have the limit of a ledger item too.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::StreamExt as _;
use ledgerline_kernel::ports::{Applied, Digest, EntityRead, KeyPage, KeyQuery, ReadModelAudit, StateSink, StoreError};
use ledgerline_kernel::{DynDomain, Entity, EntityKey, Hash, SortKey, TenantCode, Version, VersionItem};
use serde_json::{Value, json};

use super::reference::Reference;
use super::size::{INLINE_LIMIT, ITEM_LIMIT, LARGE_STATE_LIMIT, weight};
use super::{IN_FLIGHT, LargeStates, WithLargeStates, content_of, rejected};

/// The item as it is applied where its row would be too large: with a reference in the place of its
/// attributes. None if the row can hold them.
///
/// The content is there: a row is less than the ledger's item of the same version, so that item did
/// not hold it either. This says nothing of a limit that may be another one by now, nor of whether
/// the domain had opted in by then.
fn stand_in(item: &VersionItem) -> Result<Option<VersionItem>, StoreError> {
    // Weighed with care only where it comes close.
    if weight(&item.state) <= INLINE_LIMIT - 50 * 1024 {
        return Ok(None);
    }
    let row = serde_json::to_value(Entity::from(item)).map_err(|error| rejected(error.to_string()))?;
    if weight(&row) <= ITEM_LIMIT {
        return Ok(None);
    }
    let reference = Reference::to(&content_of(item)?).to_value();
    Ok(Some(VersionItem { events: Vec::new(), state: json!({ "attributes": reference }), ..item.clone() }))
}

impl LargeStates {
    async fn whole_entity(&self, mut entity: Entity) -> Result<Entity, StoreError> {
        if let Some(reference) = Reference::of_value(&entity.attributes)? {
            let mut content = self.fetch(&entity.key.partition.tenant, &reference).await?;
            entity.attributes = content.state.get_mut("attributes").map(Value::take).unwrap_or_default();
        }
        Ok(entity)
    }
}

#[async_trait]
impl<P: StateSink> StateSink for WithLargeStates<P> {
    fn name(&self) -> &'static str {
        self.port.name()
    }

    async fn apply(&self, domain: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError> {
        let stand_ins: Vec<_> = items.iter().map(|item| stand_in(item)).collect::<Result<_, _>>()?;
        if stand_ins.iter().all(Option::is_none) {
            return self.port.apply(domain, items).await;
        }
        let applied: Vec<_> =
            items.iter().zip(&stand_ins).map(|(item, other)| other.as_ref().unwrap_or(item)).collect();
        self.port.apply(domain, &applied).await
    }
}

#[async_trait]
impl<P: EntityRead> EntityRead for WithLargeStates<P> {
    async fn get(&self, key: &EntityKey) -> Result<Option<Entity>, StoreError> {
        match self.port.get(key).await? {
            Some(entity) => self.states.whole_entity(entity).await.map(Some),
            None => Ok(None),
        }
    }

    /// Pages whose content would be too much for one answer are shorter than asked for. An entity whose
    /// content is not there counts as one that cannot be read.
    async fn range(&self, query: &KeyQuery) -> Result<KeyPage, StoreError> {
        let mut page = self.port.range(query).await?;
        let mut bytes = 0;
        let fit = page.entities.iter().take_while(|entity| {
            bytes += Reference::of_value(&entity.attributes).ok().flatten().map_or(0, |reference| reference.bytes);
            bytes <= LARGE_STATE_LIMIT
        });
        let fit = fit.count().max(1);
        if fit < page.entities.len() {
            page = self.port.range(&KeyQuery { limit: fit, ..query.clone() }).await?;
        }
        let keys: Vec<_> = page.entities.iter().map(|entity| entity.key.clone()).collect();
        let whole: Vec<_> = page.entities.drain(..).map(|entity| self.states.whole_entity(entity)).collect();
        let whole: Vec<_> = futures::stream::iter(whole).buffered(IN_FLIGHT).collect().await;
        for (key, whole) in keys.into_iter().zip(whole) {
            match whole {
                Ok(entity) => page.entities.push(entity),
                Err(StoreError::Rejected { reason, .. }) => {
                    tracing::error!(entity.id = %key, reason, "a list leaves out an entity whose content cannot be read");
                    page.unreadable += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }
}

#[async_trait]
impl<P: ReadModelAudit> ReadModelAudit for WithLargeStates<P> {
    fn name(&self) -> &'static str {
        self.port.name()
    }

    fn concerns(&self, domain: &dyn DynDomain) -> bool {
        self.port.concerns(domain)
    }

    async fn held(
        &self,
        domain: &dyn DynDomain,
        keys: &[EntityKey],
    ) -> Result<BTreeMap<EntityKey, (Version, Hash)>, StoreError> {
        self.port.held(domain, keys).await
    }

    async fn digest(&self, domain: &dyn DynDomain, tenant: &TenantCode) -> Result<Digest, StoreError> {
        self.port.digest(domain, tenant).await
    }

    async fn entities(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        after: Option<&SortKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, StoreError> {
        self.port.entities(domain, tenant, after, limit).await
    }

    async fn replace(&self, domain: &dyn DynDomain, item: &VersionItem, held: Version) -> Result<bool, StoreError> {
        match stand_in(item)? {
            Some(stand_in) => self.port.replace(domain, &stand_in, held).await,
            None => self.port.replace(domain, item, held).await,
        }
    }
}
