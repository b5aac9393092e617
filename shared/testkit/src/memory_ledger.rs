use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use ledgerline_kernel::ports::{CommitError, LedgerAudit, LedgerRead, LedgerRow, LedgerScan, LedgerWrite, StoreError};
use ledgerline_kernel::{
    Claim, ClaimChange, Commit, EntityKey, IdempotencyRecord, ImportJob, ImportKey, ImportedRows, MAX_OPERATIONS,
    TenantCode, Timestamp, Version, VersionItem,
};
use serde::Serialize;

pub(crate) const STORE: &str = "the memory ledger";

/// A ledger in memory. Clones share it.
///
/// A test can disturb commits to come, one disturbance for each, in the order in which they were
/// asked for: [`before_next_commit`](Self::before_next_commit) lets others write first,
/// [`lose_next_answer`](Self::lose_next_answer) writes but does not say so, and
/// [`fail_next_commit`](Self::fail_next_commit) writes nothing.
#[derive(Clone, Default)]
pub struct MemoryLedger {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    table: Mutex<Table>,
    disturbances: Mutex<VecDeque<Disturbance>>,
    reads: AtomicUsize,
    commits: AtomicUsize,
}

/// What is stored, behind one lock: a commit sees and changes all of it at once.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) versions: BTreeMap<(EntityKey, Version), VersionItem>,
    pub(crate) claims: BTreeMap<Claim, EntityKey>,
    records: BTreeMap<String, IdempotencyRecord>,
    pub(crate) jobs: BTreeMap<ImportKey, ImportJob>,
    pub(crate) outcomes: BTreeMap<(ImportKey, u32, u32), ImportedRows>,
}

enum Disturbance {
    First(Box<dyn FnOnce(&MemoryLedger) + Send>),
    LostAnswer,
    Failure(CommitError),
}

impl MemoryLedger {
    /// The largest item that DynamoDB takes, in bytes. Measured here on the item's JSON, which comes
    /// close.
    pub const LIMIT: usize = 400 * 1024;

    /// The most that one commit writes, in bytes.
    pub const COMMIT_LIMIT: usize = 4 * 1024 * 1024;

    /// How many versions one page of a scan holds; few, so that small tests have several.
    const SCAN_PAGE: usize = 7;

    /// Stores an item as somebody else would: unless its place is taken, without being disturbed or
    /// counted.
    ///
    /// # Panics
    /// If that version exists.
    #[track_caller]
    pub fn insert(&self, item: VersionItem) {
        let taken = self.table().versions.insert((item.key.clone(), item.version), item);
        assert_eq!(taken, None, "that version exists");
    }

    /// Runs `first` just before the commit that is next in line, when its caller has read and
    /// decided already.
    pub fn before_next_commit(&self, first: impl FnOnce(&Self) + Send + 'static) {
        self.disturb(Disturbance::First(Box::new(first)));
    }

    /// Writes the commit that is next in line, loses the answer and answers what a retry of the same
    /// request would get.
    pub fn lose_next_answer(&self) {
        self.disturb(Disturbance::LostAnswer);
    }

    /// Fails the commit that is next in line and writes nothing.
    pub fn fail_next_commit(&self, error: CommitError) {
        self.disturb(Disturbance::Failure(error));
    }

    /// How many reads there were.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.inner.reads.load(Ordering::Relaxed)
    }

    /// How many commits were tried, whatever became of them.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.inner.commits.load(Ordering::Relaxed)
    }

    /// All versions, by entity and version.
    #[must_use]
    pub fn all(&self) -> Vec<VersionItem> {
        self.table().versions.values().cloned().collect()
    }

    /// All unique values that are taken, and by whom.
    #[must_use]
    pub fn claims(&self) -> Vec<(Claim, EntityKey)> {
        self.table().claims.iter().map(|(claim, holder)| (claim.clone(), holder.clone())).collect()
    }

    /// All idempotency records, expired ones too.
    #[must_use]
    pub fn records(&self) -> Vec<IdempotencyRecord> {
        self.table().records.values().cloned().collect()
    }

    fn disturb(&self, disturbance: Disturbance) {
        lock(&self.inner.disturbances).push_back(disturbance);
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.inner.table)
    }

    pub(crate) fn count_read(&self) {
        self.inner.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&self, commit: &Commit, now: Timestamp) -> Result<(), CommitError> {
        is_sendable(commit)?;
        let mut table = self.table();
        if table.has(commit) {
            return Ok(());
        }
        table.check(commit, now)?;
        table.write(commit);
        Ok(())
    }
}

/// A test that panicked while it held the lock fails by itself; others need not follow.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rejected(reason: String) -> CommitError {
    StoreError::Rejected { store: STORE, reason }.into()
}

/// What can be said of a commit without looking at what is stored.
fn is_sendable(commit: &Commit) -> Result<(), CommitError> {
    let operations = commit.operations();
    if operations > MAX_OPERATIONS {
        return Err(CommitError::TooMany { operations, limit: MAX_OPERATIONS });
    }
    let mut places = BTreeSet::new();
    let versions = commit.versions.iter().map(|item| (&item.key, item.version));
    let expiries = commit.expiries.iter().map(|expiry| (&expiry.key, expiry.version));
    let places_of_versions = versions.chain(expiries).map(|(key, version)| format!("version {version} of {key}"));
    let places_of_claims = commit.claims.iter().map(|change| format!("the claim on {}", change.claim()));
    for place in places_of_versions.chain(places_of_claims) {
        if let Some(twice) = places.replace(place) {
            return Err(rejected(format!("{twice} is written twice in one commit")));
        }
    }
    let versions = commit.versions.iter().map(size);
    let claims = commit.claims.iter().map(|change| change.claim().pk().len());
    let mut total = 0;
    let rows = commit.imported.iter().map(|rows| size(&rows.failures) + size(&rows.columns) + size(&rows.written));
    for bytes in versions.chain(claims).chain(commit.idempotency.iter().map(size)).chain(rows) {
        fits(bytes, MemoryLedger::LIMIT)?;
        total += bytes;
    }
    fits(total, MemoryLedger::COMMIT_LIMIT)
}

fn size(stored: &impl Serialize) -> usize {
    serde_json::to_vec(stored).map_or(0, |json| json.len())
}

fn fits(bytes: usize, limit: usize) -> Result<(), CommitError> {
    if bytes > limit { Err(CommitError::TooLarge { bytes, limit }) } else { Ok(()) }
}

impl Table {
    /// Whether all of it was written before, by the same command.
    fn has(&self, commit: &Commit) -> bool {
        let stored = |item: &VersionItem| self.versions.get(&(item.key.clone(), item.version));
        if let Some(rows) = &commit.imported {
            return self.outcomes.get(&place_of(rows)).is_some_and(|held| held.command_id == rows.command_id);
        }
        if commit.versions.is_empty() {
            let alone = commit.claims.is_empty() && commit.expiries.is_empty();
            let record = commit.idempotency.as_ref();
            return alone && record.is_some_and(|record| self.records.get(&record.pk()) == Some(record));
        }
        commit.versions.iter().all(|item| stored(item).is_some_and(|stored| stored.command_id == item.command_id))
    }

    fn check(&self, commit: &Commit, now: Timestamp) -> Result<(), CommitError> {
        if let Some(held) = commit.imported.as_ref().and_then(|rows| self.outcomes.get(&place_of(rows))) {
            return Err(CommitError::Imported(Box::new(held.clone())));
        }
        if let Some(record) = &commit.idempotency
            && let Some(stored) = self.records.get(&record.pk()).filter(|stored| stored.expires_at > now)
        {
            return Err(CommitError::Remembered(Box::new(stored.clone())));
        }
        for item in &commit.versions {
            if let Some(stored) = self.versions.get(&(item.key.clone(), item.version)) {
                return Err(CommitError::Occupied(Box::new(stored.clone())));
            }
        }
        for change in &commit.claims {
            let claim = change.claim();
            let (one, other) = match change {
                ClaimChange::Take(_, holder) | ClaimChange::Release(_, holder) => (holder, holder),
                ClaimChange::Transfer { from, to, .. } => (from, to),
            };
            if let Some(holder) = self.claims.get(claim).filter(|holder| *holder != one && *holder != other) {
                return Err(CommitError::Claimed { claim: claim.clone().into(), holder: holder.clone() });
            }
        }
        for expiry in &commit.expiries {
            if !self.versions.contains_key(&(expiry.key.clone(), expiry.version)) {
                return Err(rejected(format!("version {} of {} does not exist", expiry.version, expiry.key)));
            }
        }
        Ok(())
    }

    fn write(&mut self, commit: &Commit) {
        for item in &commit.versions {
            self.versions.insert((item.key.clone(), item.version), item.clone());
        }
        for change in &commit.claims {
            match change {
                ClaimChange::Take(claim, to) | ClaimChange::Transfer { claim, to, .. } => {
                    self.claims.insert(claim.clone(), to.clone());
                }
                ClaimChange::Release(claim, _) => {
                    self.claims.remove(claim);
                }
            }
        }
        if let Some(record) = &commit.idempotency {
            self.records.insert(record.pk(), record.clone());
        }
        if let Some(rows) = &commit.imported {
            self.outcomes.insert(place_of(rows), rows.clone());
        }
        for expiry in &commit.expiries {
            if let Some(item) = self.versions.get_mut(&(expiry.key.clone(), expiry.version)) {
                let moment = expiry.at.as_datetime();
                item.ttl = Some(moment.timestamp() + i64::from(moment.timestamp_subsec_nanos() > 0));
            }
        }
    }
}

fn place_of(rows: &ImportedRows) -> (ImportKey, u32, u32) {
    (rows.import.clone(), rows.chunk, rows.first)
}

/// Lets others run first, as a call over a network does: what is begun together is interleaved.
pub(crate) async fn give_way() {
    let mut gave_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl LedgerRead for MemoryLedger {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        give_way().await;
        self.count_read();
        let versions = (key.clone(), Version::FIRST)..=(key.clone(), Version::MAX);
        Ok(self.table().versions.range(versions).next_back().map(|(_, item)| item.clone()))
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        self.count_read();
        Ok(self.table().versions.get(&(key.clone(), version)).cloned())
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        self.count_read();
        let versions = (key.clone(), Version::FIRST)..=(key.clone(), Version::MAX);
        let table = self.table();
        let newest_first = table.versions.range(versions).rev();
        let below = newest_first.filter(|((_, version), _)| before.is_none_or(|end| *version < end));
        Ok(below.take(limit).map(|(_, item)| item.clone()).collect())
    }
}

#[async_trait]
impl LedgerWrite for MemoryLedger {
    async fn commit(&self, commit: &Commit, now: Timestamp) -> Result<(), CommitError> {
        give_way().await;
        self.inner.commits.fetch_add(1, Ordering::Relaxed);
        let disturbance = lock(&self.inner.disturbances).pop_front();
        match disturbance {
            None => self.write(commit, now),
            Some(Disturbance::First(first)) => {
                first(self);
                self.write(commit, now)
            }
            Some(Disturbance::LostAnswer) => {
                self.write(commit, now)?;
                self.write(commit, now)
            }
            Some(Disturbance::Failure(error)) => Err(error),
        }
    }

    async fn remembered(
        &self,
        tenant: &TenantCode,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.count_read();
        let table = self.table();
        let record = table.records.get(&IdempotencyRecord::pk_of(tenant, key));
        Ok(record.filter(|record| record.expires_at > now).cloned())
    }
}

#[async_trait]
impl LedgerScan for MemoryLedger {
    async fn scan(&self, from: Option<String>) -> Result<(Vec<VersionItem>, Option<String>), StoreError> {
        page(self.table().versions.values().cloned(), from)
    }
}

#[async_trait]
impl LedgerAudit for MemoryLedger {
    async fn rows(&self, from: Option<String>) -> Result<(Vec<LedgerRow>, Option<String>), StoreError> {
        let table = self.table();
        let versions = table.versions.keys().map(|(key, version)| LedgerRow::Version(key.clone(), *version));
        let claims = table.claims.iter().map(|(claim, holder)| LedgerRow::Claim(claim.clone(), holder.clone()));
        page(versions.chain(claims), from)
    }
}

fn page<T>(all: impl Iterator<Item = T>, from: Option<String>) -> Result<(Vec<T>, Option<String>), StoreError> {
    let start: usize = match from {
        None => 0,
        Some(cursor) => cursor
            .parse()
            .map_err(|_| StoreError::Rejected { store: STORE, reason: "not a cursor of this scan".to_owned() })?,
    };
    let mut rest = all.skip(start).peekable();
    let page: Vec<_> = rest.by_ref().take(MemoryLedger::SCAN_PAGE).collect();
    let end = start + page.len();
    Ok((page, rest.peek().map(|_| end.to_string())))
}
