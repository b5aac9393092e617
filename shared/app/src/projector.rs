use std::collections::BTreeMap;
use std::sync::Arc;

use ledgerline_kernel::ports::{DeltaSink, LedgerRead, StateSink, StoreError};
use ledgerline_kernel::{Corrupt, DynDomain, EntityKey, VersionItem};

use crate::Registry;

mod deltas;
mod parts;
mod report;
mod states;

pub use report::{Projection, ProjectionReport, ReadModelReport, Refused};

/// Brings the read models up to what the ledger says.
///
/// Idempotent and independent of the order of its input: the same items, permuted, repeated, split
/// or delivered again in part, end in the same rows. Every read model is a unit of its own, and so is
/// every entity: what one of them refuses, or is away for, holds up no other.
#[derive(Clone)]
pub struct Projector {
    registry: Registry,
    sinks: Vec<Arc<dyn StateSink>>,
    deltas: Option<Deltas>,
}

/// What delta projections need besides what a state projection does.
#[derive(Clone)]
struct Deltas {
    /// Where versions come from that were not delivered.
    ledger: Arc<dyn LedgerRead>,
    sink: Arc<dyn DeltaSink>,
}

/// Whether there is time for more. Asked before each call to a store, so that none is begun that
/// would have to be broken off.
pub type InTime<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// The versions of one entity in a batch, oldest first, none twice. Never empty.
type Versions<'a> = Vec<&'a VersionItem>;

/// The entities of one domain in a batch, in key order, so that two batches cannot lock rows in
/// opposite orders.
type Group<'a> = (&'a Arc<dyn DynDomain>, BTreeMap<&'a EntityKey, Versions<'a>>);

/// A version item that no read model can take. It stops nobody else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// No domain of this deployment has that type.
    #[error("no domain has the type of {0}")]
    UnknownType(EntityKey),
    /// The domain cannot read it.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// Somebody changed it after it was written.
    #[error("{0} does not have the hash of its content")]
    Altered(String),
}

impl Projector {
    /// A projector of these domains into these read models of current states.
    #[must_use]
    pub fn new(registry: Registry, sinks: Vec<Arc<dyn StateSink>>) -> Self {
        Self { registry, sinks, deltas: None }
    }

    /// The same, and into the domains' delta projections, whose rows and positions are in `sink`.
    /// What they miss is pulled from `ledger`. Without this, they are left as they are.
    #[must_use]
    pub fn with_deltas(mut self, ledger: Arc<dyn LedgerRead>, sink: Arc<dyn DeltaSink>) -> Self {
        self.deltas = Some(Deltas { ledger, sink });
        self
    }

    /// The names of all read models, as reports and the quarantine have them.
    #[must_use]
    pub fn read_models(&self) -> Vec<&'static str> {
        let states = self.sinks.iter().map(|sink| sink.name());
        let deltas = self.registry.domains().filter(|_| self.deltas.is_some()).flat_map(|domain| domain.deltas());
        states.chain(deltas.map(|delta| delta.name())).collect()
    }

    /// Checks that an item can be projected at all, before it joins a batch.
    ///
    /// # Errors
    /// [`BadRecord`] if not.
    pub fn check(&self, item: &VersionItem) -> Result<(), BadRecord> {
        self.domain_of(item)?.check_events(item)?;
        Ok(())
    }

    /// Checks the same, and that the item is what was written.
    ///
    /// # Errors
    /// [`BadRecord`] if not.
    pub fn verify(&self, item: &VersionItem) -> Result<(), BadRecord> {
        if item.computed_hash().as_ref() != Ok(&item.hash) {
            return Err(BadRecord::Altered(format!("{}@{}", item.key, item.version)));
        }
        self.check(item)
    }

    /// Applies checked items to every read model, whatever becomes of them in the others.
    ///
    /// # Errors
    /// [`StoreError`] of the first read model that did not take all of them. Applying the same items
    /// again completes the rest and repeats nothing.
    pub async fn apply(&self, items: &[VersionItem]) -> Result<ProjectionReport, StoreError> {
        self.project(items, &|| true).await.complete()
    }

    /// Applies checked items to every read model for as long as there is time, and says what became
    /// of them in each.
    pub async fn project(&self, items: &[VersionItem], in_time: InTime<'_>) -> Projection {
        self.run(items, None, true, in_time).await
    }

    /// Applies checked items to one read model alone.
    pub async fn project_into(&self, read_model: &str, items: &[VersionItem]) -> Projection {
        self.run(items, Some(read_model), true, &|| true).await
    }

    /// The same, but what a delta projection takes in adds nothing to its rows: they may hold it
    /// already, and are made to say what all its entities add afterwards.
    pub async fn place_into(&self, read_model: &str, items: &[VersionItem]) -> Projection {
        self.run(items, Some(read_model), false, &|| true).await
    }

    async fn run(&self, items: &[VersionItem], only: Option<&str>, adds: bool, in_time: InTime<'_>) -> Projection {
        let wanted = |name: &str| only.is_none_or(|only| only == name);
        let (groups, forks) = self.grouped(items);
        let mut reports: Vec<ReadModelReport> = Vec::new();
        for (domain, entities) in &groups {
            for sink in self.sinks.iter().filter(|sink| wanted(sink.name())) {
                reports.push(states::apply(sink.as_ref(), domain.as_ref(), entities, in_time).await);
            }
            let Some(Deltas { ledger, sink }) = &self.deltas else { continue };
            for delta in domain.deltas().iter().filter(|delta| wanted(delta.name())) {
                let (delta, ledger, sink) = (delta.as_ref(), ledger.as_ref(), sink.as_ref());
                let stores = deltas::Stores { delta, ledger, sink, adds };
                if let Some(coming) = sink.under_construction(domain.resource()) {
                    // Those are what their own positions say.
                    let coming = deltas::Stores { sink: coming.as_ref(), adds: true, ..stores };
                    let _ = coming.apply(entities, in_time).await;
                }
                reports.push(stores.apply(entities, in_time).await);
            }
        }
        let projection = Projection::new(forks, reports);
        projection.log();
        projection
    }

    /// Groups items by domain and entity. And the entities of which two items differ in the same
    /// version.
    fn grouped<'a>(&'a self, items: &'a [VersionItem]) -> (Vec<Group<'a>>, Vec<EntityKey>) {
        let mut entities: BTreeMap<&EntityKey, BTreeMap<_, &VersionItem>> = BTreeMap::new();
        let mut forks = Vec::new();
        for item in items {
            let held = entities.entry(&item.key).or_default().entry(item.version).or_insert(item);
            if held.hash != item.hash {
                forks.push(item.key.clone());
            }
        }
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (key, versions) in entities {
            let Some(domain) = self.registry.by_type(&key.partition.entity_type) else { continue };
            let versions = versions.into_values().collect();
            match groups.last_mut() {
                Some((last, group)) if last.entity_type() == domain.entity_type() => {
                    group.insert(key, versions);
                }
                _ => groups.push((domain, BTreeMap::from([(key, versions)]))),
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
pub(crate) mod tests;
