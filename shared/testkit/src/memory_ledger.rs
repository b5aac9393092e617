use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{AppendError, LedgerAppend, LedgerRead, LedgerScan, StoreError};
use ledgerline_kernel::{EntityKey, Version, VersionItem};

/// A ledger in memory. Clones share it.
///
/// A test can disturb appends to come, one disturbance for each, in the order in which they were
/// asked for: [`before_next_append`](Self::before_next_append) lets others write first,
/// [`lose_next_answer`](Self::lose_next_answer) stores but does not say so, and
/// [`fail_next_append`](Self::fail_next_append) stores nothing.
#[derive(Clone, Default)]
pub struct MemoryLedger {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    items: Mutex<BTreeMap<(EntityKey, Version), VersionItem>>,
    disturbances: Mutex<VecDeque<Disturbance>>,
    reads: AtomicUsize,
    appends: AtomicUsize,
}

enum Disturbance {
    First(Box<dyn FnOnce(&MemoryLedger) + Send>),
    LostAnswer,
    Failure(StoreError),
}

impl MemoryLedger {
    /// The largest item that DynamoDB takes, in bytes. Measured here on the item's JSON, which comes
    /// close.
    pub const LIMIT: usize = 409_600;

    /// How many versions one page of a scan holds; few, so that small tests have several.
    const SCAN_PAGE: usize = 7;

    /// Stores an item as somebody else would: unless its place is taken, without being disturbed or
    /// counted.
    ///
    /// # Panics
    /// If that version exists.
    #[track_caller]
    pub fn insert(&self, item: VersionItem) {
        let taken = self.items().insert((item.key.clone(), item.version), item);
        assert_eq!(taken, None, "that version exists");
    }

    /// Runs `first` just before the append that is next in line, when its caller has read and
    /// decided already.
    pub fn before_next_append(&self, first: impl FnOnce(&Self) + Send + 'static) {
        self.disturb(Disturbance::First(Box::new(first)));
    }

    /// Stores the append that is next in line, loses the answer and answers what a retry of the
    /// same request would get: that the version exists.
    pub fn lose_next_answer(&self) {
        self.disturb(Disturbance::LostAnswer);
    }

    /// Fails the append that is next in line and stores nothing.
    pub fn fail_next_append(&self, error: StoreError) {
        self.disturb(Disturbance::Failure(error));
    }

    /// How many reads there were.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.inner.reads.load(Ordering::Relaxed)
    }

    /// How many appends were tried, whatever became of them.
    #[must_use]
    pub fn appends(&self) -> usize {
        self.inner.appends.load(Ordering::Relaxed)
    }

    /// All items, by entity and version.
    #[must_use]
    pub fn all(&self) -> Vec<VersionItem> {
        self.items().values().cloned().collect()
    }

    fn disturb(&self, disturbance: Disturbance) {
        lock(&self.inner.disturbances).push_back(disturbance);
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<(EntityKey, Version), VersionItem>> {
        lock(&self.inner.items)
    }

    fn count_read(&self) {
        self.inner.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn store(&self, item: &VersionItem) -> Result<(), AppendError> {
        let bytes = serde_json::to_vec(item).map_or(0, |json| json.len());
        if bytes > Self::LIMIT {
            return Err(AppendError::TooLarge { bytes, limit: Self::LIMIT });
        }
        let mut items = self.items();
        let place = (item.key.clone(), item.version);
        if let Some(stored) = items.get(&place) {
            return Err(AppendError::Occupied(Box::new(stored.clone())));
        }
        items.insert(place, item.clone());
        Ok(())
    }
}

/// A test that panicked while it held the lock fails by itself; others need not follow.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl LedgerRead for MemoryLedger {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        self.count_read();
        let versions = (key.clone(), Version::FIRST)..=(key.clone(), Version::MAX);
        Ok(self.items().range(versions).next_back().map(|(_, item)| item.clone()))
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        self.count_read();
        Ok(self.items().get(&(key.clone(), version)).cloned())
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        self.count_read();
        let versions = (key.clone(), Version::FIRST)..=(key.clone(), Version::MAX);
        let items = self.items();
        let below = items.range(versions).rev().filter(|((_, version), _)| before.is_none_or(|end| *version < end));
        Ok(below.take(limit).map(|(_, item)| item.clone()).collect())
    }
}

#[async_trait]
impl LedgerAppend for MemoryLedger {
    async fn append(&self, item: &VersionItem) -> Result<(), AppendError> {
        self.inner.appends.fetch_add(1, Ordering::Relaxed);
        let disturbance = lock(&self.inner.disturbances).pop_front();
        match disturbance {
            None => self.store(item),
            Some(Disturbance::First(first)) => {
                first(self);
                self.store(item)
            }
            Some(Disturbance::LostAnswer) => {
                self.store(item)?;
                self.store(item)
            }
            Some(Disturbance::Failure(error)) => Err(error.into()),
        }
    }
}

#[async_trait]
impl LedgerScan for MemoryLedger {
    async fn scan(&self, from: Option<String>) -> Result<(Vec<VersionItem>, Option<String>), StoreError> {
        let start = match from {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| StoreError::Rejected {
                store: "the memory ledger",
                reason: "not a cursor of this scan".to_owned(),
            })?,
        };
        let items = self.items();
        let page: Vec<_> = items.values().skip(start).take(Self::SCAN_PAGE).cloned().collect();
        let end = start + page.len();
        Ok((page, (end < items.len()).then(|| end.to_string())))
    }
}
