//! Whether the ledger is what the write path would have left.
//!
//! Every version of every entity is read once, in pages of the entity's history, so that memory
//! holds the keys of all entities and the states of a few. Two versions are compared at a time:
//! where each state follows from the one before it and the first from nothing, each is what all
//! events up to it lead to.
//!
//! What is not in the ledger cannot be seen in it: newest versions that are gone with no later one to
//! miss them show in the claims, and in a read model that took them in, where one is given to ask.

mod chain;
mod claims;
mod newest;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::{LedgerAudit, LedgerRead, LedgerRow, ReadModelAudit, StoreError};
use ledgerline_kernel::{EntityKey, TenantCode, Version};

use crate::Registry;
use chain::Checked;
use claims::{Claims, Holders};

pub use report::{Defect, DefectKind, VerifyReport};

/// Entities read at once.
const IN_FLIGHT: usize = 8;

/// How many tenants are named instead of one that there is not.
const OTHERS: usize = 11;

/// The unique values that an entity has, by field; none if that cannot be told.
type UniqueValues = Option<Vec<(&'static str, String)>>;

/// The ledger as [`verify`] uses it: it writes nothing.
pub trait VerifiableLedger: LedgerAudit + LedgerRead {}
impl<T: LedgerAudit + LedgerRead> VerifiableLedger for T {}

/// Checks the whole ledger, or a tenant's part of it: versions from 1 without a gap (but for what
/// retention removed), hashes, the chain they form, every event known, every state what its events
/// lead to, and the claims exactly the unique values of the living entities.
///
/// May run beside live writes: what looks wrong is looked at again before it counts.
///
/// `witness` is a read model that is asked whether it has later versions than the ledger.
///
/// `progress` is called with the entities checked and those found.
///
/// # Errors
/// [`StoreError`] if the ledger cannot be read; a row of it that cannot be is a defect.
pub async fn verify(
    ledger: &dyn VerifiableLedger,
    registry: &Registry,
    tenant: Option<&TenantCode>,
    witness: Option<&dyn ReadModelAudit>,
    mut progress: impl FnMut(usize, usize) + Send,
) -> Result<VerifyReport, StoreError> {
    let inventory = Inventory::take(ledger, tenant, |found| progress(0, found)).await?;
    let Inventory { entities, claims, strays, others } = inventory;
    let mut report = VerifyReport { claims: claims.len(), ..VerifyReport::default() };
    if entities.is_empty() && claims.is_empty() && strays.is_empty() {
        report.other_tenants = others.into_iter().collect();
    }
    report.add(strays);
    let mut holders = Holders::default();
    let checks = entities.iter().map(|(key, newest)| check(ledger, registry, key, *newest));
    // In order, so that a report of the same ledger is the same.
    let mut checks = futures::stream::iter(checks).buffered(IN_FLIGHT);
    while let Some((key, checked)) = checks.try_next().await? {
        report.entities += 1;
        report.versions += checked.versions;
        report.add(checked.defects);
        holders.note(key, checked.unique);
        progress(report.entities, entities.len());
    }
    drop(checks);
    if let Some(witness) = witness {
        let of_claims = claims.keys().map(|claim| &claim.tenant);
        let tenants = entities.keys().map(|key| &key.partition.tenant).chain(of_claims).chain(tenant);
        let tenants = tenants.cloned().collect();
        report.add(newest::check(ledger, registry, witness, &tenants, &entities).await?);
    }
    report.add(check_claims(ledger, registry, tenant, &claims, &holders).await?);
    Ok(report)
}

/// Checks an entity, and once more if it was being changed meanwhile, or is wrong indeed.
async fn check<'a>(
    ledger: &dyn VerifiableLedger,
    registry: &Registry,
    key: &'a EntityKey,
    newest: Version,
) -> Result<(&'a EntityKey, Checked), StoreError> {
    let domain = registry.by_type(&key.partition.entity_type).map(Arc::as_ref);
    let mut checked = chain::check(ledger, domain, key, newest).await?;
    if !checked.defects.is_empty() {
        checked = chain::check(ledger, domain, key, newest).await?;
    }
    Ok((key, checked))
}

/// The claims were read before the entities were: a difference counts if it is there the next time.
async fn check_claims(
    ledger: &dyn VerifiableLedger,
    registry: &Registry,
    tenant: Option<&TenantCode>,
    claims: &Claims,
    holders: &Holders,
) -> Result<Vec<Defect>, StoreError> {
    let suspected = claims::compare(claims, holders);
    if suspected.is_empty() {
        return Ok(Vec::new());
    }
    let mut claims_now = Inventory::take(ledger, tenant, |_| {}).await?.claims;
    let about: Vec<_> = suspected.iter().map(|(claim, _)| claim).collect();
    claims_now.retain(|claim, _| about.binary_search(&claim).is_ok());
    let stored = |claim| claims.get(claim).into_iter().chain(claims_now.get(claim));
    let concerned: BTreeSet<_> =
        about.iter().flat_map(|claim| holders.of(claim).iter().chain(stored(*claim))).collect();
    let mut holders_now = Holders::default();
    for key in concerned {
        let domain = registry.by_type(&key.partition.entity_type);
        let unique = match (ledger.newest(key).await, domain) {
            (Ok(Some(newest)), Some(domain)) => domain.unique(&newest).ok(),
            (Ok(None), _) => Some(Vec::new()),
            (Ok(Some(_)), None) | (Err(StoreError::Rejected { .. }), _) => None,
            (Err(error), _) => return Err(error),
        };
        holders_now.note(key, unique);
    }
    let confirmed = claims::compare(&claims_now, &holders_now);
    Ok(suspected.into_iter().filter(|defect| confirmed.contains(defect)).map(|(_, defect)| defect).collect())
}

/// What there is to check.
#[derive(Default)]
struct Inventory {
    /// With the newest version that was seen.
    entities: BTreeMap<EntityKey, Version>,
    claims: Claims,
    /// Rows that belong nowhere.
    strays: Vec<Defect>,
    /// The first other tenants, where one was asked for.
    others: BTreeSet<TenantCode>,
}

impl Inventory {
    async fn take(
        ledger: &dyn VerifiableLedger,
        tenant: Option<&TenantCode>,
        mut progress: impl FnMut(usize) + Send,
    ) -> Result<Self, StoreError> {
        let mut inventory = Self::default();
        let mut from = None;
        loop {
            let (rows, next) = ledger.rows(from).await?;
            for row in rows {
                match tenant {
                    Some(tenant) if !concerns(&row, tenant) => inventory.note_other(row),
                    _ => inventory.add(row),
                }
            }
            progress(inventory.entities.len());
            from = next;
            if from.is_none() {
                break;
            }
        }
        inventory.strays.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(inventory)
    }

    fn note_other(&mut self, row: LedgerRow) {
        if let (LedgerRow::Version(key, _), true) = (row, self.others.len() < OTHERS) {
            self.others.insert(key.partition.tenant);
        }
    }

    fn add(&mut self, row: LedgerRow) {
        match row {
            LedgerRow::Version(key, version) => {
                let newest = self.entities.entry(key).or_insert(version);
                *newest = version.max(*newest);
            }
            LedgerRow::Claim(claim, holder) => drop(self.claims.insert(claim, holder)),
            LedgerRow::Unreadable { pk, sk, reason } => {
                let kind = DefectKind::Unreadable;
                self.strays.push(Defect { id: format!("{pk}#{sk}"), version: None, kind, detail: reason });
            }
        }
    }
}

fn concerns(row: &LedgerRow, tenant: &TenantCode) -> bool {
    match row {
        LedgerRow::Version(key, _) => key.partition.tenant == *tenant,
        LedgerRow::Claim(claim, _) => claim.tenant == *tenant,
        // The tenant is the second part of every partition key.
        LedgerRow::Unreadable { pk, .. } => pk.split('#').nth(1) == Some(tenant.as_str()),
    }
}

#[cfg(test)]
mod newest_tests;
#[cfg(test)]
mod tests;
