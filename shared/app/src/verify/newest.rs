//! Newest versions that are gone from the ledger: it has nothing that would miss them, but a read model
//! that took them in does.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::{ReadModelAudit, StoreError};
use ledgerline_kernel::{DynDomain, EntityKey, TenantCode, Version};

use super::report::{Defect, DefectKind};
use super::{IN_FLIGHT, VerifiableLedger};
use crate::Registry;

/// How many entities of the read model are looked at in one go.
const PAGE: usize = 200;

/// Looks for entities that `witness` has at a later version than the ledger. `seen` are the newest versions that
/// the ledger's keys name. May run beside live writes.
pub(super) async fn check(
    ledger: &dyn VerifiableLedger,
    registry: &Registry,
    witness: &dyn ReadModelAudit,
    tenants: &BTreeSet<TenantCode>,
    seen: &BTreeMap<EntityKey, Version>,
) -> Result<Vec<Defect>, StoreError> {
    let mut defects = Vec::new();
    for domain in registry.domains().filter(|domain| witness.concerns(domain.as_ref())) {
        for tenant in tenants {
            let mut after = None;
            loop {
                let keys = witness.entities(domain.as_ref(), tenant, after.as_ref(), PAGE).await?;
                let Some(last) = keys.last() else { break };
                after = Some(last.sk.clone());
                let held = witness.held(domain.as_ref(), &keys).await?;
                let ahead =
                    |(key, (version, _)): &(EntityKey, (Version, _))| seen.get(key).is_none_or(|own| own < version);
                let suspects: Vec<_> = held.into_iter().filter(ahead).map(|(key, _)| key).collect();
                let looks = suspects.iter().map(|key| missing(ledger, domain.as_ref(), witness, key));
                let found: Vec<_> =
                    futures::stream::iter(looks.collect::<Vec<_>>()).buffered(IN_FLIGHT).try_collect().await?;
                defects.extend(found.into_iter().flatten());
            }
        }
    }
    Ok(defects)
}

/// Looks again: the read model first, so that what is written meanwhile is behind in neither.
async fn missing(
    ledger: &dyn VerifiableLedger,
    domain: &dyn DynDomain,
    witness: &dyn ReadModelAudit,
    key: &EntityKey,
) -> Result<Option<Defect>, StoreError> {
    let held = witness.held(domain, std::slice::from_ref(key)).await?;
    let Some((version, _)) = held.get(key) else { return Ok(None) };
    let newest = match ledger.newest(key).await {
        Ok(newest) => newest.map(|item| item.version),
        // It is there, and found where it is.
        Err(StoreError::Rejected { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if newest >= Some(*version) {
        return Ok(None);
    }
    let has = newest.map_or_else(|| "nothing".to_owned(), |newest| format!("version {newest}"));
    let detail = format!("{} has version {version}, the ledger {has}", witness.name());
    Ok(Some(Defect::of(key, Some(*version), DefectKind::NewestMissing, detail)))
}
