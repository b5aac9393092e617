use std::collections::BTreeMap;
use std::sync::Arc;

use ledgerline_kernel::ports::{StateSink, StoreError};
use ledgerline_kernel::{Corrupt, DynDomain, EntityKey, VersionItem};

use crate::Registry;

/// Brings the read models up to what the ledger says.
///
/// Idempotent and independent of the order of its input: the same items, permuted, repeated, split
/// or delivered again in part, end in the same rows.
#[derive(Clone)]
pub struct Projector {
    registry: Registry,
    sinks: Vec<Arc<dyn StateSink>>,
}

/// A domain and its items.
type Group<'a> = (&'a Arc<dyn DynDomain>, Vec<&'a VersionItem>);

/// A version item that no read model can take. It stops nobody else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// No domain of this deployment has that type.
    #[error("no domain has the type of {0}")]
    UnknownType(EntityKey),
    /// The domain cannot read it.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectionReport {
    /// Rows written, over all read models.
    pub written: usize,
    /// Rows that were there already, or newer.
    pub unchanged: usize,
    /// Entities whose row has the same version with another hash: somebody forked the ledger.
    pub forks: Vec<EntityKey>,
}

impl Projector {
    /// A projector of these domains into these read models.
    #[must_use]
    pub fn new(registry: Registry, sinks: Vec<Arc<dyn StateSink>>) -> Self {
        Self { registry, sinks }
    }

    /// Checks that an item can be projected at all, before it joins a batch.
    ///
    /// # Errors
    /// [`BadRecord`] if not.
    pub fn check(&self, item: &VersionItem) -> Result<(), BadRecord> {
        self.domain_of(item)?.check_events(item)?;
        Ok(())
    }

    /// Applies checked items to every read model: per entity the newest of them, in key order.
    ///
    /// # Errors
    /// [`StoreError`] of the first read model that fails. Some rows may have been written by then;
    /// applying the same items again completes the rest and repeats nothing.
    pub async fn apply(&self, items: &[VersionItem]) -> Result<ProjectionReport, StoreError> {
        let mut report = ProjectionReport::default();
        let (groups, forks) = self.newest_by_domain(items);
        for fork in &forks {
            tracing::error!(entity.id = %fork, "the ledger has forked: same version, other hash, in one batch");
        }
        report.forks.extend(forks);
        for (domain, newest) in groups {
            for sink in &self.sinks {
                let applied = sink.apply(domain.as_ref(), &newest).await?;
                for fork in &applied.forks {
                    tracing::error!(entity.id = %fork, read_model = sink.name(), "the ledger has forked: same version, other hash");
                }
                report.written += applied.written;
                report.unchanged += applied.unchanged;
                report.forks.extend(applied.forks);
            }
        }
        Ok(report)
    }

    /// Groups items by domain; per entity only the highest version, sorted by key so that two
    /// batches cannot lock rows in opposite orders. And the entities of which two items differ in
    /// the same version.
    fn newest_by_domain<'a>(&'a self, items: &'a [VersionItem]) -> (Vec<Group<'a>>, Vec<EntityKey>) {
        let mut newest: BTreeMap<&EntityKey, &VersionItem> = BTreeMap::new();
        let mut forks = Vec::new();
        for item in items {
            let held = newest.entry(&item.key).or_insert(item);
            if held.version == item.version && held.hash != item.hash {
                forks.push(item.key.clone());
            }
            if held.version < item.version {
                *held = item;
            }
        }
        let mut groups: Vec<Group<'_>> = Vec::new();
        for item in newest.into_values() {
            let Ok(domain) = self.domain_of(item) else { continue };
            match groups.last_mut() {
                Some((last, group)) if last.entity_type() == domain.entity_type() => group.push(item),
                _ => groups.push((domain, vec![item])),
            }
        }
        (groups, forks)
    }

    fn domain_of(&self, item: &VersionItem) -> Result<&Arc<dyn DynDomain>, BadRecord> {
        self.registry.by_type(&item.key.partition.entity_type).ok_or_else(|| BadRecord::UnknownType(item.key.clone()))
    }
}

#[cfg(test)]
#[path = "projector_tests.rs"]
mod tests;
