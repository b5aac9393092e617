use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::{ReadModelAudit, StoreError};
use ledgerline_kernel::{DynDomain, EntityKey, Hash, Version, VersionItem};

use super::heads::Head;
use super::report::DriftKind;
use super::{Reconciler, report};

/// Entities read from the ledger at once.
const IN_FLIGHT: usize = 16;

/// An entity that differs indeed.
pub(super) struct Finding {
    pub(super) key: EntityKey,
    pub(super) kind: DriftKind,
    /// The ledger's newest version, or why it cannot be read.
    pub(super) newest: Result<Box<VersionItem>, String>,
    pub(super) held: Option<(Version, Hash)>,
}

/// What a second look showed.
#[derive(Default)]
pub(super) struct Confirmed {
    pub(super) findings: Vec<Finding>,
    /// What the read model has of the others.
    pub(super) in_flight: Vec<Option<(Version, Hash)>>,
}

impl Reconciler {
    /// Looks again at what looked wrong: the ledger's newest version first, then the read model, so
    /// that what is written meanwhile is behind in neither.
    pub(super) async fn confirm(
        &self,
        domain: &dyn DynDomain,
        model: &dyn ReadModelAudit,
        suspects: &[&Head],
    ) -> Result<Confirmed, StoreError> {
        let mut confirmed = Confirmed::default();
        if suspects.is_empty() {
            return Ok(confirmed);
        }
        let keys: Vec<_> = suspects.iter().map(|head| head.key.clone()).collect();
        let newest = self.newest(&keys).await?;
        let mut held = model.held(domain, &keys).await?;
        for (head, newest) in suspects.iter().zip(newest) {
            let held = held.remove(&head.key);
            let kind = match &newest {
                Ok(newest) => self.judge(head, newest, held.as_ref()).await?,
                // The list has it, so something is there; what the read model has is not what it says.
                Err(_) => Some(DriftKind::Fork),
            };
            match kind {
                Some(kind) => confirmed.findings.push(Finding { key: head.key.clone(), kind, newest, held }),
                None => confirmed.in_flight.push(held),
            }
        }
        Ok(confirmed)
    }

    async fn judge(
        &self,
        head: &Head,
        newest: &VersionItem,
        held: Option<&(Version, Hash)>,
    ) -> Result<Option<DriftKind>, StoreError> {
        let Some((version, hash)) = held else {
            return Ok(head.settled.is_some().then_some(DriftKind::Missing));
        };
        if *version == newest.version {
            return Ok((*hash != newest.hash).then_some(DriftKind::Fork));
        }
        if head.settled.as_ref().is_some_and(|(settled, _)| version < settled) {
            return Ok(Some(DriftKind::Behind));
        }
        // Newer than the newest: written after that was read, or never.
        Ok(match self.ledger.at(&head.key, *version).await? {
            Some(own) if own.hash == *hash => None,
            Some(_) => Some(DriftKind::Fork),
            None if *version < newest.version => Some(DriftKind::Behind),
            None => Some(DriftKind::Ahead),
        })
    }

    /// The ledger's newest versions of these entities, in the same order; or why one cannot be read.
    pub(super) async fn newest(&self, keys: &[EntityKey]) -> Result<Vec<Result<Box<VersionItem>, String>>, StoreError> {
        let reads: Vec<_> = keys.iter().map(|key| self.ledger.newest(key)).collect();
        let reads = futures::stream::iter(reads).buffered(IN_FLIGHT).map(|read| match read {
            Ok(Some(item)) => Ok(Ok(Box::new(item))),
            Ok(None) => Ok(Err("the ledger has no such entity".to_owned())),
            Err(StoreError::Rejected { reason, .. }) => Ok(Err(reason)),
            Err(error) => Err(error),
        });
        reads.try_collect().await
    }

    /// Those of these entities that the ledger has no version of.
    pub(super) async fn unknown_to_the_ledger(&self, keys: &[EntityKey]) -> Result<Vec<EntityKey>, StoreError> {
        // The first version of an entity is never removed.
        let reads: Vec<_> = keys.iter().map(|key| self.ledger.at(key, Version::FIRST)).collect();
        let reads: Vec<_> = futures::stream::iter(reads).buffered(IN_FLIGHT).collect().await;
        let mut unknown = Vec::new();
        for (key, read) in keys.iter().zip(reads) {
            match read {
                Ok(None) => unknown.push(key.clone()),
                // One that cannot be read is there.
                Ok(Some(_)) | Err(StoreError::Rejected { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(unknown)
    }
}

impl Finding {
    pub(super) fn drift(&self, repaired: bool, reason: Option<String>) -> report::Drift {
        report::Drift {
            id: self.key.clone(),
            kind: self.kind,
            ledger: self.newest.as_ref().ok().map(|item| (item.version, item.hash.clone())),
            held: self.held.clone(),
            repaired,
            reason,
        }
    }
}
