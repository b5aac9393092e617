//! Having the read models show what was imported, and noting that they do.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::{ImportJobs, LedgerRead, StoreError};
use ledgerline_kernel::{DynDomain, EntityKey, ImportKey, ImportedRows, VersionItem};

use super::unavailable;
use crate::Projector;

/// Reads, and marks, under way at once.
const IN_FLIGHT: usize = 16;

/// Outcomes that the read models have to show, and what they tell of.
#[derive(Default)]
pub(super) struct Unshown {
    places: Vec<(u32, u32)>,
    pub(super) items: Vec<VersionItem>,
}

impl Unshown {
    pub(super) fn add(&mut self, outcome: &ImportedRows, items: Vec<VersionItem>) {
        if !outcome.shown {
            self.places.push((outcome.chunk, outcome.first));
            self.items.extend(items);
        }
    }
}

/// Brings read models up to what was imported.
#[derive(Clone)]
pub(super) struct Show {
    pub(super) ledger: Arc<dyn LedgerRead>,
    pub(super) jobs: Arc<dyn ImportJobs>,
    pub(super) projector: Projector,
}

impl Show {
    /// Has the read models show what earlier deliveries wrote, from the ledger as it is now: one outcome after
    /// the other, so that each that succeeds is done with.
    pub(super) async fn catch_up(&self, domain: &dyn DynDomain, outcomes: &[ImportedRows]) -> Result<(), StoreError> {
        for outcome in outcomes.iter().filter(|outcome| !outcome.shown) {
            let key = |sk| EntityKey::new(domain.entity_type().clone(), outcome.import.tenant.clone(), sk);
            let loads: Vec<_> = outcome.written.iter().map(|written| self.load(key(written.sk.clone()))).collect();
            let items: Vec<_> = futures::stream::iter(loads).buffered(IN_FLIGHT).try_collect().await?;
            let mut unshown = Unshown::default();
            unshown.add(outcome, items.into_iter().flatten().collect());
            self.show(&outcome.import, unshown).await?;
        }
        Ok(())
    }

    /// One that cannot be read cannot be shown either, and must not hold up the others for ever.
    async fn load(&self, key: EntityKey) -> Result<Option<VersionItem>, StoreError> {
        match self.ledger.newest(&key).await {
            Err(error @ StoreError::Rejected { .. }) => {
                tracing::error!(entity.id = %key, "what was imported cannot be read: {error}");
                Ok(None)
            }
            read => read,
        }
    }

    /// Projects, and marks the outcomes. What a read model refuses for good counts as shown: that is the
    /// quarantine's business, which the stream sees to.
    pub(super) async fn show(&self, import: &ImportKey, unshown: Unshown) -> Result<(), StoreError> {
        let Unshown { places, items } = unshown;
        if !items.is_empty() {
            let projection = self.projector.project(&items, &|| true).await;
            for report in projection.read_models {
                for refused in &report.refused {
                    let (read_model, reason) = (report.read_model, &refused.reason);
                    tracing::error!(entity.id = %refused.key, read_model, "what was imported is refused: {reason}");
                }
                match report.unavailable {
                    Some(error) => return Err(error),
                    None if !report.left.is_empty() => return Err(unavailable("there was no time to project")),
                    None => {}
                }
            }
        }
        let marks: Vec<_> = places.into_iter().map(|place| self.jobs.mark_shown(import, place)).collect();
        futures::stream::iter(marks).buffered(IN_FLIGHT).try_collect().await
    }
}
