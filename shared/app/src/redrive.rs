use std::sync::Arc;

use ledgerline_kernel::ports::{LedgerRead, Quarantine, QuarantineQuery, Quarantined, StoreError, Taken};
use ledgerline_kernel::{EntityKey, TenantCode, Version, VersionItem};

use crate::Projector;

/// The projection under which records are quarantined that cannot even be read, so that none of the
/// read models ever saw them.
pub const UNREADABLE: &str = "data-sync";

/// How many quarantined things are read at a time.
const PAGE: usize = 100;

/// Looks at what is quarantined, and tries it again.
///
/// To try an entity again is to project what the ledger says of it now. No stream, position of a
/// stream or other entity is touched, so nothing can be skipped or repeated by it, however often and
/// whenever it is done.
#[derive(Clone)]
pub struct Redrive {
    projector: Projector,
    ledger: Arc<dyn LedgerRead>,
    quarantine: Arc<dyn Quarantine>,
}

/// What came of trying quarantined things again. Each is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Those that went through, and are quarantined no more; those too of which the ledger has nothing,
    /// so that nothing is missing.
    pub healed: usize,
    /// Those that their read model still does not take.
    pub refused: usize,
    /// Those whose version the ledger does not have, or that do not say of which entity they are.
    pub unknown: usize,
}

impl Redrive {
    /// Tries again with `projector`, pulling from `ledger`.
    #[must_use]
    pub fn new(projector: Projector, ledger: Arc<dyn LedgerRead>, quarantine: Arc<dyn Quarantine>) -> Self {
        Self { projector, ledger, quarantine }
    }

    /// What is quarantined: a page of it, in the order of projection and record.
    ///
    /// # Errors
    /// [`StoreError`] if the quarantine cannot be read.
    pub async fn list(&self, query: &QuarantineQuery) -> Result<Vec<Quarantined>, StoreError> {
        self.quarantine.list(query).await
    }

    /// Tries everything again that is quarantined, or that of one tenant, or of one entity.
    ///
    /// # Errors
    /// [`StoreError`] if a store is not available. What was healed by then stays so.
    pub async fn redrive(
        &self,
        tenant: Option<&TenantCode>,
        entity: Option<&EntityKey>,
    ) -> Result<Redriven, StoreError> {
        let mut redriven = Redriven::default();
        let mut query = QuarantineQuery { tenant: tenant.cloned(), entity: entity.cloned(), after: None, limit: PAGE };
        loop {
            let page = self.list(&query).await?;
            for held in &page {
                *match self.again(held).await? {
                    Outcome::Healed => &mut redriven.healed,
                    Outcome::Refused => &mut redriven.refused,
                    Outcome::Unknown => &mut redriven.unknown,
                } += 1;
            }
            match page.into_iter().next_back() {
                Some(last) => query.after = Some((last.projection, last.record)),
                None => return Ok(redriven),
            }
        }
    }

    async fn again(&self, held: &Quarantined) -> Result<Outcome, StoreError> {
        let Some((key, missing)) = &held.version else { return Ok(Outcome::Unknown) };
        let item = match self.ledger.newest(key).await {
            Ok(Some(item)) if item.version >= *missing => item,
            Ok(Some(_)) => return Ok(Outcome::Unknown),
            Ok(None) => return self.release(held, key, *missing).await,
            Err(StoreError::Rejected { reason, .. }) => return Ok(refused(held, &reason)),
            Err(unavailable) => return Err(unavailable),
        };
        if let Err(bad) = self.projector.verify(&item) {
            return Ok(refused(held, &bad.to_string()));
        }
        self.project(held, item).await
    }

    async fn project(&self, held: &Quarantined, item: VersionItem) -> Result<Outcome, StoreError> {
        let (key, version) = (item.key.clone(), item.version);
        let items = [item];
        let projection = match held.projection.as_str() {
            UNREADABLE => self.projector.project(&items, &|| true).await,
            read_model => self.projector.project_into(read_model, &items).await,
        };
        match projection.complete() {
            Ok(report) if report.forks.is_empty() => self.release(held, &key, version).await,
            Ok(_) => Ok(refused(held, "the ledger has forked")),
            Err(StoreError::Rejected { reason, .. }) => Ok(refused(held, &reason)),
            Err(unavailable) => Err(unavailable),
        }
    }

    async fn release(&self, held: &Quarantined, key: &EntityKey, version: Version) -> Result<Outcome, StoreError> {
        let taken = Taken { projection: held.projection.clone(), key: key.clone(), version };
        self.quarantine.release(&[taken]).await?;
        tracing::info!(entity.id = %held.record, projection = held.projection, "redriven, and quarantined no more");
        Ok(Outcome::Healed)
    }
}

enum Outcome {
    Healed,
    Refused,
    Unknown,
}

fn refused(held: &Quarantined, reason: &str) -> Outcome {
    tracing::warn!(entity.id = %held.record, projection = held.projection, "redriven in vain: {reason}");
    Outcome::Refused
}

#[cfg(test)]
#[path = "redrive_tests.rs"]
mod tests;
