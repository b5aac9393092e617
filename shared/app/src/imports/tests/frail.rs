//! Ports that fail, or take whoever called them with them, at a call of one's choice.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use ledgerline_kernel::ports::{
    Applied, CommitError, ImportJobs, LedgerLookup, LedgerRead, LedgerWrite, MessageQueue, QueueMessage, StateSink,
    StoreError,
};
use ledgerline_kernel::{
    Claim, Commit, DynDomain, EntityKey, IdempotencyRecord, ImportId, ImportJob, ImportKey, ImportTotals, ImportedRows,
    TenantCode, Timestamp, Version, VersionItem,
};
use ledgerline_testkit::{MemoryEntities, MemoryLedger, MemoryQueue};

use super::World;

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    /// Nothing is done, and it says so.
    Fails,
    /// It is done, and nobody learns of it.
    LosesAnswer,
    /// The caller is gone before it is done.
    DiesBefore,
    /// The caller is gone once it is done.
    DiesAfter,
}

pub(super) const FATES: [Fate; 4] = [Fate::Fails, Fate::LosesAnswer, Fate::DiesBefore, Fate::DiesAfter];

/// All ports of an import.
pub(super) struct Frail {
    ledger: MemoryLedger,
    entities: MemoryEntities,
    queue: MemoryQueue,
    calls: AtomicUsize,
    fate: Mutex<Option<(usize, Fate)>>,
    dead: AtomicBool,
}

impl Frail {
    pub(super) fn over(world: &World) -> Self {
        Self {
            ledger: world.ledger.clone(),
            entities: world.entities.clone(),
            queue: world.queue.clone(),
            calls: AtomicUsize::new(0),
            fate: Mutex::new(None),
            dead: AtomicBool::new(false),
        }
    }

    /// What happens at the `call`-th call, from 0.
    pub(super) fn meets(self, call: usize, fate: Fate) -> Self {
        *self.fate.lock().unwrap() = Some((call, fate));
        self
    }

    /// Whether what was to happen has happened.
    pub(super) fn has_met(&self) -> bool {
        self.fate.lock().unwrap().is_none()
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// What comes of `work`; none if it died.
    pub(super) async fn survive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.dead.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    async fn meet<T, E: From<StoreError>>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let fate = self.fate.lock().unwrap().take_if(|(at, _)| *at == number).map(|(_, fate)| fate);
        let away = || StoreError::Unavailable { store: "frail", reason: "as was to be".to_owned() };
        match fate {
            None => call.await,
            Some(Fate::Fails) => Err(away().into()),
            Some(Fate::LosesAnswer) => {
                let _ = call.await;
                Err(away().into())
            }
            Some(Fate::DiesBefore) => self.die().await,
            Some(Fate::DiesAfter) => {
                let _ = call.await;
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.dead.store(true, Ordering::Relaxed);
        pending().await
    }
}

#[async_trait]
impl LedgerRead for Frail {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        self.meet(self.ledger.newest(key)).await
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        self.meet(self.ledger.at(key, version)).await
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        self.meet(self.ledger.history(key, before, limit)).await
    }
}

#[async_trait]
impl LedgerWrite for Frail {
    async fn commit(&self, commit: &Commit, now: Timestamp) -> Result<(), CommitError> {
        self.meet(self.ledger.commit(commit, now)).await
    }

    async fn remembered(
        &self,
        tenant: &TenantCode,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.meet(self.ledger.remembered(tenant, key, now)).await
    }
}

#[async_trait]
impl LedgerLookup for Frail {
    async fn holders(&self, claims: &[Claim]) -> Result<BTreeMap<Claim, EntityKey>, StoreError> {
        self.meet(self.ledger.holders(claims)).await
    }

    async fn existing(&self, keys: &[EntityKey]) -> Result<BTreeSet<EntityKey>, StoreError> {
        self.meet(self.ledger.existing(keys)).await
    }
}

#[async_trait]
impl ImportJobs for Frail {
    async fn create(&self, job: &ImportJob) -> Result<bool, StoreError> {
        self.meet(self.ledger.create(job)).await
    }

    async fn get(&self, key: &ImportKey) -> Result<Option<ImportJob>, StoreError> {
        self.meet(ImportJobs::get(&self.ledger, key)).await
    }

    async fn list(
        &self,
        tenant: &TenantCode,
        before: Option<&ImportId>,
        limit: usize,
    ) -> Result<Vec<ImportJob>, StoreError> {
        self.meet(self.ledger.list(tenant, before, limit)).await
    }

    async fn replace(&self, job: &ImportJob) -> Result<bool, StoreError> {
        self.meet(self.ledger.replace(job)).await
    }

    async fn outcomes_of(&self, import: &ImportKey, chunk: u32) -> Result<Vec<ImportedRows>, StoreError> {
        self.meet(self.ledger.outcomes_of(import, chunk)).await
    }

    async fn outcomes(
        &self,
        import: &ImportKey,
        after: Option<(u32, u32)>,
    ) -> Result<(Vec<ImportedRows>, Option<(u32, u32)>), StoreError> {
        self.meet(self.ledger.outcomes(import, after)).await
    }

    async fn totals(&self, import: &ImportKey) -> Result<ImportTotals, StoreError> {
        self.meet(self.ledger.totals(import)).await
    }

    async fn mark_shown(&self, import: &ImportKey, place: (u32, u32)) -> Result<(), StoreError> {
        self.meet(self.ledger.mark_shown(import, place)).await
    }
}

#[async_trait]
impl StateSink for Frail {
    fn name(&self) -> &'static str {
        "frail"
    }

    async fn apply(&self, domain: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError> {
        self.meet(self.entities.apply(domain, items)).await
    }
}

#[async_trait]
impl MessageQueue for Frail {
    fn takes(&self, message: &QueueMessage) -> bool {
        self.queue.takes(message)
    }

    async fn send(&self, messages: &[QueueMessage]) -> Vec<Result<(), StoreError>> {
        let sent = self.meet(async { Ok::<_, StoreError>(self.queue.send(messages).await) }).await;
        sent.unwrap_or_else(|error| messages.iter().map(|_| Err(error.clone())).collect())
    }
}
