//! Which tenants there are: a mistyped one has nothing wrong with it, and is not well all the same.

use std::collections::BTreeSet;

use ledgerline_kernel::ports::StoreError;
use ledgerline_kernel::{PartitionKey, TenantCode};

use super::Reconciler;

impl Reconciler {
    /// Whether the ledger has anything of this tenant, of any domain.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn knows(&self, tenant: &TenantCode) -> Result<bool, StoreError> {
        for domain in self.registry.domains() {
            let partition = PartitionKey { entity_type: domain.entity_type().clone(), tenant: tenant.clone() };
            let page = self.index.versions(Some(&partition), None).await?;
            if !page.versions.is_empty() || !page.unreadable.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The tenants that the ledger has something of, in order; no more than `limit`. Reads all keys of
    /// the ledger where there are fewer.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn tenants(&self, limit: usize) -> Result<BTreeSet<TenantCode>, StoreError> {
        let (mut tenants, mut from) = (BTreeSet::new(), None);
        loop {
            let page = self.index.versions(None, from).await?;
            for version in page.versions {
                if tenants.len() >= limit {
                    return Ok(tenants);
                }
                tenants.insert(version.key.partition.tenant);
            }
            from = page.next;
            if from.is_none() {
                return Ok(tenants);
            }
        }
    }
}
