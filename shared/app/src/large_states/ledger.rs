//! A ledger with large states in it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use ledgerline_kernel::ports::{
    CommitError, IndexPage, LedgerAudit, LedgerIndex, LedgerLookup, LedgerRead, LedgerRow, LedgerScan, LedgerSegments,
    LedgerWrite, Segment, SegmentPage, StoreError,
};
use ledgerline_kernel::{
    Claim, Commit, EntityKey, EntityType, IdempotencyRecord, PartitionKey, TenantCode, Timestamp, Version, VersionItem,
};

use super::{LargeStates, WithLargeStates, rejected};

/// How many bytes of large states one page of a scan brings back, about. A page of DynamoDB holds a
/// thousand references, and so gigabytes.
const SCAN_BYTES: usize = 16 * 1024 * 1024;

/// The most rows of a segment's page that may all be large.
const SEGMENT_ROWS: u32 = 8;

#[async_trait]
impl<P: LedgerRead> LedgerRead for WithLargeStates<P> {
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError> {
        match self.port.newest(key).await? {
            Some(item) => self.states.whole(item).await.map(Some),
            None => Ok(None),
        }
    }

    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError> {
        match self.port.at(key, version).await? {
            Some(item) => self.states.whole(item).await.map(Some),
            None => Ok(None),
        }
    }

    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError> {
        self.states.all_whole(self.port.history(key, before, limit).await?).await
    }
}

#[async_trait]
impl<P: LedgerWrite> LedgerWrite for WithLargeStates<P> {
    async fn commit(&self, commit: &Commit, now: Timestamp) -> Result<(), CommitError> {
        let committed = if commit.versions.iter().any(|item| self.states.outgrows(item)) {
            // All content is kept before any of the commit can be seen. Where the commit fails then, the
            // content stays: the same command again, or a rival with the same content, refers to it.
            let stored = commit.versions.iter().map(|item| async {
                if self.states.outgrows(item) { self.states.keep(item).await } else { Ok(item.clone()) }
            });
            let versions = try_join_all(stored).await?;
            let commit = Commit {
                versions,
                claims: commit.claims.clone(),
                idempotency: commit.idempotency.clone(),
                expiries: commit.expiries.clone(),
                imported: commit.imported.clone(),
            };
            self.port.commit(&commit, now).await
        } else {
            self.port.commit(commit, now).await
        };
        match committed {
            Err(CommitError::Occupied(stored)) => Err(CommitError::Occupied(self.states.whole(*stored).await?.into())),
            committed => committed,
        }
    }

    async fn remembered(
        &self,
        tenant: &TenantCode,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.port.remembered(tenant, key, now).await
    }
}

/// Where a page begins: at the port's own page, and in it after this version.
type Place = (Option<String>, Option<String>);

#[async_trait]
impl<P: LedgerScan> LedgerScan for WithLargeStates<P> {
    /// A page of the port's is several here where its versions are large. As a damaged item does, a
    /// version without its content stays out, with an error in the log that names it.
    async fn scan(&self, from: Option<String>) -> Result<(Vec<VersionItem>, Option<String>), StoreError> {
        let place = from.map_or(Ok(Place::default()), |from| serde_json::from_str(&from));
        let (start, after) = place.map_err(|_| rejected("not a cursor of this scan".to_owned()))?;
        let (mut items, mut next) = self.port.scan(start.clone()).await?;
        // If the version is gone, all of its page comes once more; whoever scans can stand that.
        let seen = after.and_then(|after| items.iter().position(|item| name(item) == after));
        items.drain(..seen.map_or(0, |seen| seen + 1));
        let taken = page_of(&items, SCAN_BYTES);
        let last = items.get(..taken).and_then(|taken| taken.last()).map(name);
        let next = match items.len() > taken {
            true => Some((start, last)),
            false => next.take().map(|next| (Some(next), None)),
        };
        items.truncate(taken);
        let read = self.states.each_whole(items).await?;
        let items = read.into_iter().filter_map(|read| {
            read.inspect_err(|error| tracing::error!("a version of the ledger cannot be read: {error}")).ok()
        });
        let next = next.map(|place: Place| serde_json::json!(place).to_string());
        Ok((items.collect(), next))
    }
}

#[async_trait]
impl<P: LedgerSegments> LedgerSegments for WithLargeStates<P> {
    async fn segment(
        &self,
        entity_type: &EntityType,
        segment: Segment,
        from: Option<String>,
        limit: u32,
    ) -> Result<SegmentPage, StoreError> {
        let large = self.states.registry.by_type(entity_type).is_some_and(|domain| domain.has_large_states());
        let limit = if large { limit.min(SEGMENT_ROWS) } else { limit };
        let page = self.port.segment(entity_type, segment, from, limit).await?;
        let (mut items, mut unreadable) = (Vec::with_capacity(page.items.len()), page.unreadable);
        for read in self.states.each_whole(page.items).await? {
            match read {
                Ok(item) => items.push(item),
                Err(error) => unreadable.push(error),
            }
        }
        Ok(SegmentPage { items, unreadable, ..page })
    }

    async fn row_estimate(&self) -> Option<u64> {
        self.port.row_estimate().await
    }
}

impl LargeStates {
    /// Each version, or what is wrong with it.
    ///
    /// # Errors
    /// If the blob store is not available.
    async fn each_whole(&self, items: Vec<VersionItem>) -> Result<Vec<Result<VersionItem, String>>, StoreError> {
        let read: Vec<_> = items
            .into_iter()
            .map(|item| async move {
                let place = name(&item);
                match self.whole(item).await {
                    Ok(item) => Ok(Ok(item)),
                    Err(StoreError::Rejected { reason, .. }) => Ok(Err(format!("{place}: {reason}"))),
                    Err(error) => Err(error),
                }
            })
            .collect();
        futures::stream::iter(read).buffered(super::IN_FLIGHT).try_collect().await
    }
}

/// How many of these to bring back at once: until their large states are more than so many bytes.
fn page_of(items: &[VersionItem], most: usize) -> usize {
    let mut bytes = 0;
    let fits = |item: &&VersionItem| {
        let fits = bytes <= most;
        bytes += LargeStates::bytes_beside(item);
        fits
    };
    items.iter().take_while(fits).count()
}

fn name(item: &VersionItem) -> String {
    format!("{}@{}", item.key, item.version)
}

#[async_trait]
impl<P: LedgerAudit> LedgerAudit for WithLargeStates<P> {
    async fn rows(&self, from: Option<String>) -> Result<(Vec<LedgerRow>, Option<String>), StoreError> {
        self.port.rows(from).await
    }
}

#[async_trait]
impl<P: LedgerLookup> LedgerLookup for WithLargeStates<P> {
    async fn holders(&self, claims: &[Claim]) -> Result<BTreeMap<Claim, EntityKey>, StoreError> {
        self.port.holders(claims).await
    }

    async fn existing(&self, keys: &[EntityKey]) -> Result<BTreeSet<EntityKey>, StoreError> {
        self.port.existing(keys).await
    }
}

#[async_trait]
impl<P: LedgerIndex> LedgerIndex for WithLargeStates<P> {
    async fn versions(&self, partition: Option<&PartitionKey>, from: Option<String>) -> Result<IndexPage, StoreError> {
        self.port.versions(partition, from).await
    }
}
