mod list;
mod list_request;
mod past;

use std::sync::Arc;

use ledgerline_kernel::ports::{EntityList, EntityRead, LedgerRead, StoreError};
use ledgerline_kernel::{DynDomain, Entity, EntityKey, SortKey, TenantCode, Version, VersionItem};

use crate::Environment;
use crate::large_states::history_page;

pub use list::{KeyListRequest, MinVersions};
pub use list_request::{ListRequest, ParameterProblem};

/// The read path: by key from the data table, lists from Postgres, history from the ledger.
#[derive(Clone)]
pub struct Queries {
    ledger: Arc<dyn LedgerRead>,
    entities: Arc<dyn EntityRead>,
    lists: Arc<dyn EntityList>,
    environment: Arc<dyn Environment>,
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No such entity, or no such version of it.
    #[error("there is no {0}")]
    NotFound(EntityKey),
    /// Parameters that make no sense.
    #[error("{} parameters are not understood", .0.len())]
    Parameters(Vec<ParameterProblem>),
    /// The list does not show the versions asked for, and did not in the time given.
    #[error("not visible yet")]
    NotYetVisible,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Queries {
    /// A read path over these stores.
    pub fn new(
        ledger: Arc<dyn LedgerRead>,
        entities: Arc<dyn EntityRead>,
        lists: Arc<dyn EntityList>,
        environment: Arc<dyn Environment>,
    ) -> Self {
        Self { ledger, entities, lists, environment }
    }

    /// The entity as the read model has it; with `strong`, as the ledger has it now. `min_version`
    /// never answers from before that version: behind it, the ledger is asked.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] and [`QueryError::Store`].
    pub async fn get(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        sk: SortKey,
        strong: bool,
        min_version: Option<Version>,
    ) -> Result<Entity, QueryError> {
        let key = EntityKey::new(domain.entity_type().clone(), tenant, sk);
        if !strong
            && let Some(entity) = self.entities.get(&key).await?
            && min_version.is_none_or(|min| entity.version >= min)
        {
            return Ok(entity);
        }
        // Not projected yet is not the same as not there: the ledger knows.
        match self.ledger.newest(&key).await? {
            Some(item) => Ok(Entity::from(&item)),
            None => Err(QueryError::NotFound(key)),
        }
    }

    /// The entity as it was at one version.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] and [`QueryError::Store`].
    pub async fn at_version(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        sk: SortKey,
        version: Version,
    ) -> Result<Entity, QueryError> {
        let key = EntityKey::new(domain.entity_type().clone(), tenant, sk);
        match self.ledger.at(&key, version).await? {
            Some(item) => Ok(Entity::from(&item)),
            None => Err(QueryError::NotFound(key)),
        }
    }

    /// Up to `limit` versions with their events, newest first, below `before`; fewer where they are
    /// large. The second value is where the next page begins.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] for an entity without any version, and [`QueryError::Store`].
    pub async fn history(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        sk: SortKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<(Vec<VersionItem>, Option<Version>), QueryError> {
        let key = EntityKey::new(domain.entity_type().clone(), tenant, sk);
        let items = history_page(self.ledger.as_ref(), domain, &key, before, limit).await?;
        if items.is_empty() && before.is_none() {
            return Err(QueryError::NotFound(key));
        }
        // The first version is never removed: where it was not reached, there is more.
        let next = items.last().map(|item| item.version).filter(|last| *last > Version::FIRST);
        Ok((items, next))
    }
}

#[cfg(test)]
#[path = "queries_tests.rs"]
mod tests;
