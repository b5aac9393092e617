use std::time::Duration;

use ledgerline_kernel::ports::{KeyPage, KeyQuery, KeyRange, ListPage};
use ledgerline_kernel::{DynDomain, EntityKey, PartitionKey, SortKey, TenantCode, Version};

use super::{ListRequest, Queries, QueryError};

/// Later waits between two looks are no longer than this one.
const LONGEST_BACK_OFF: u32 = 4;

/// What a list must show before it answers: read your writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MinVersions {
    /// Of these entities, these versions or later ones.
    pub versions: Vec<(SortKey, Version)>,
    /// For how long to wait for it.
    pub patience: Duration,
}

impl MinVersions {
    /// The least version that is asked for of one entity, if any.
    #[must_use]
    pub fn of(&self, sk: &SortKey) -> Option<Version> {
        self.versions.iter().filter(|(named, _)| named == sk).map(|(_, version)| *version).max()
    }
}

/// A list in the order of keys, from the data table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyListRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// Where the page before this one ended.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Whether deleted entities are listed too.
    pub include_deleted: bool,
}

/// Where a list comes from.
#[derive(Clone, Copy)]
enum Source {
    Lists,
    DataTable,
}

impl Queries {
    /// A page of the tenant's entities, at `least` as new as asked for.
    ///
    /// # Errors
    /// [`QueryError::Parameters`] names every field, filter or sort that the domain does not have;
    /// [`QueryError::NotYetVisible`] and [`QueryError::Store`].
    pub async fn list(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        request: ListRequest,
        least: &MinVersions,
    ) -> Result<ListPage, QueryError> {
        let query = request.into_query(domain, tenant).map_err(QueryError::Parameters)?;
        self.wait_for(Source::Lists, domain, &query.tenant, least).await?;
        Ok(self.lists.list(domain, &query).await?)
    }

    /// A page of the tenant's entities in the order of keys, at `least` as new as asked for. Works
    /// whatever has become of the store of the other lists.
    ///
    /// # Errors
    /// [`QueryError::NotYetVisible`] and [`QueryError::Store`].
    pub async fn list_by_key(
        &self,
        domain: &dyn DynDomain,
        tenant: TenantCode,
        request: KeyListRequest,
        least: &MinVersions,
    ) -> Result<KeyPage, QueryError> {
        self.wait_for(Source::DataTable, domain, &tenant, least).await?;
        let KeyListRequest { keys, after, limit, include_deleted } = request;
        let partition = PartitionKey { entity_type: domain.entity_type().clone(), tenant };
        Ok(self.entities.range(&KeyQuery { partition, keys, after, limit, include_deleted }).await?)
    }

    /// Looks again and again, until the source shows what it must or patience is at an end.
    async fn wait_for(
        &self,
        source: Source,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        least: &MinVersions,
    ) -> Result<(), QueryError> {
        if least.versions.is_empty() {
            return Ok(());
        }
        let begun = self.environment.now().as_datetime();
        let mut attempt = 1;
        while !self.shows(source, domain, tenant, &least.versions).await? {
            let waited = self.environment.now().as_datetime() - begun;
            if waited.to_std().unwrap_or_default() >= least.patience {
                return Err(QueryError::NotYetVisible);
            }
            self.environment.back_off(attempt).await;
            attempt = LONGEST_BACK_OFF.min(attempt + 1);
        }
        Ok(())
    }

    async fn shows(
        &self,
        source: Source,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        least: &[(SortKey, Version)],
    ) -> Result<bool, QueryError> {
        let shown = match source {
            Source::Lists => {
                let sks: Vec<SortKey> = least.iter().map(|(sk, _)| sk.clone()).collect();
                self.lists.versions(domain, tenant, &sks).await?
            }
            Source::DataTable => {
                let mut shown = Vec::new();
                for (sk, _) in least {
                    let key = EntityKey::new(domain.entity_type().clone(), tenant.clone(), sk.clone());
                    shown.extend(self.entities.get(&key).await?.map(|entity| (sk.clone(), entity.version)));
                }
                shown
            }
        };
        let is_shown =
            |sk: &SortKey, least: Version| shown.iter().any(|(held, version)| held == sk && *version >= least);
        Ok(least.iter().all(|(sk, version)| is_shown(sk, *version)))
    }
}
