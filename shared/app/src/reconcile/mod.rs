//! Comparing read models with the ledger, and making them say what it says.
//!
//! The ledger's versions are listed once, without their content; of each page's entities every read
//! model is asked what it has. What differs is looked at again before it counts, since others write
//! meanwhile, and then taken from the ledger. Memory holds one page, however large the ledger is. In
//! the end the sum of all hashes is compared: equal sums prove that the read model has exactly what
//! the ledger has.
//!
//! The ledger is the truth. A read model that has another content for a version, or a version that
//! the ledger lacks, is reported and then corrected, but only if the ledger's own version is what was
//! written: has the hash of its content, and follows the version before it.

mod compare;
mod confirm;
mod heads;
mod repair;
mod report;
mod requests;
mod sums;
mod tenants;
mod walk;

use std::sync::Arc;

use ledgerline_kernel::ports::{LedgerIndex, LedgerRead, ReadModelAudit, StoreError};
use ledgerline_kernel::{DynDomain, PartitionKey, TenantCode, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Environment, Projector, Registry};

pub use report::{Counts, Drift, DriftKind, ReadModelDigest, ReadModelDrift, ReconcileReport, Verdict};
pub use requests::{Maintenance, ResyncTarget, Worked};
pub use walk::Walk;

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Every tenant that the ledger knows.
    All,
    /// Of every tenant that the ledger knows, the domain with this resource.
    Resource(String),
    /// One tenant; of all domains, or of the one with this resource.
    Tenant(TenantCode, Option<String>),
}

/// What to do about differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Repair {
    /// Report them.
    No,
    /// Take what differs from the ledger.
    Differences,
    /// Take everything from the ledger, also what does not seem to differ.
    Everything,
}

/// Compares read models with the ledger.
#[derive(Clone)]
pub struct Reconciler {
    registry: Registry,
    index: Arc<dyn LedgerIndex>,
    ledger: Arc<dyn LedgerRead>,
    projector: Projector,
    models: Vec<Arc<dyn ReadModelAudit>>,
    environment: Arc<dyn Environment>,
}

impl Reconciler {
    /// Compares `models` with the ledger that `index` lists and `ledger` reads; `projector` projects
    /// into all of them, by the same names.
    #[must_use]
    pub fn new(
        registry: Registry,
        index: Arc<dyn LedgerIndex>,
        ledger: Arc<dyn LedgerRead>,
        projector: Projector,
        models: Vec<Arc<dyn ReadModelAudit>>,
        environment: Arc<dyn Environment>,
    ) -> Self {
        Self { registry, index, ledger, projector, models, environment }
    }

    /// Begins to compare. Versions younger than `settle` may still be on their way to a read model
    /// that lacks them.
    #[must_use]
    pub fn begin(&self, scope: Scope, repair: Repair, settle: std::time::Duration) -> Walk {
        let now = self.environment.now();
        let settle = chrono::Duration::from_std(settle).unwrap_or_default();
        let settled: Timestamp = (now.as_datetime() - settle).into();
        Walk::new(scope, repair, now, settled)
    }

    /// Compares all of `scope`.
    ///
    /// # Errors
    /// [`StoreError`] of a store that failed. What was repaired by then stays so.
    pub async fn run(
        &self,
        scope: Scope,
        repair: Repair,
        settle: std::time::Duration,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<ReconcileReport, StoreError> {
        let mut walk = self.begin(scope, repair, settle);
        while !self.step(&mut walk).await? {
            progress(walk.entities());
        }
        Ok(walk.into_report())
    }

    fn domain_of(&self, partition: &PartitionKey) -> Option<&Arc<dyn DynDomain>> {
        self.registry.by_type(&partition.entity_type)
    }

    /// The read models of a domain.
    fn models_of(&self, domain: &dyn DynDomain) -> Vec<&dyn ReadModelAudit> {
        self.models.iter().map(Arc::as_ref).filter(|model| model.concerns(domain)).collect()
    }
}

#[cfg(test)]
mod requests_tests;
#[cfg(test)]
mod sums_tests;
#[cfg(test)]
mod tests;
