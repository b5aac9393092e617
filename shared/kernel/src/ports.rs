//! What the use cases need of the outside, each port named for one need and no wider: a read
//! function is never handed a write port, and an IAM policy mirrors the ports a function takes.
//!
//! Adapters implement these; `ledgerline-testkit` holds in-memory ones and the contract suites that
//! both kinds pass.

mod audit;
mod blobs;
mod bus;
mod deltas;
mod imports;
mod objects;
mod quarantine;
mod queue;
mod rebuild;
mod resyncs;
mod summaries;

use async_trait::async_trait;

use crate::{
    Claim, Commit, DynDomain, Entity, EntityKey, IdempotencyRecord, ImportedRows, PartitionKey, SortKey, TenantCode,
    Timestamp, Version, VersionItem,
};

pub use audit::{Digest, IndexPage, LedgerIndex, ReadModelAudit, SumsFound, VersionRef};
pub use blobs::BlobStore;
pub use bus::{BusMessage, EventBus};
pub use deltas::{DeltaMove, DeltaPosition, DeltaSink};
pub use imports::{ImportJobs, LedgerLookup};
pub use objects::{ObjectHead, SourceObjects};
pub use quarantine::{Poison, Quarantine, QuarantineQuery, Quarantined, STRIKES, Strike, Taken};
pub use queue::{MessageQueue, QueueMessage};
pub use rebuild::{
    Difference, LedgerSegments, RebuildError, Segment, SegmentPage, SegmentProgress, Switched, ViewRebuild,
};
pub use resyncs::{Resync, ResyncState, Resyncs, Round, Rounds};
pub use summaries::{SummaryRead, SummaryRow};

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not now: throttled, unreachable, out of time. The same call may succeed later.
    #[error("{store} is not available: {reason}")]
    Unavailable {
        /// Which store.
        store: &'static str,
        /// What it said; for logs, never for callers.
        reason: String,
    },
    /// Not ever: the store refused the data, or holds some that makes no sense.
    #[error("{store} refused: {reason}")]
    Rejected {
        /// Which store.
        store: &'static str,
        /// What it said; for logs, never for callers.
        reason: String,
    },
}

/// Why a [`Commit`] was not written. Nothing of it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommitError {
    /// The outcome of these rows of an import is there: somebody else has dealt with them.
    #[error("rows from {} on of chunk {} of {} have an outcome", .0.first, .0.chunk, .0.import)]
    Imported(Box<ImportedRows>),
    /// A version exists: somebody else's, or our own from an attempt whose answer was lost.
    #[error("version {} of {} exists", .0.version, .0.key)]
    Occupied(Box<VersionItem>),
    /// Another entity has a unique value.
    #[error("{claim} is taken by {holder}")]
    Claimed {
        /// The value.
        claim: Box<Claim>,
        /// Who has it.
        holder: EntityKey,
    },
    /// The idempotency key is in use, by this request's twin or by another request.
    #[error("the idempotency key {:?} is in use", .0.key)]
    Remembered(Box<IdempotencyRecord>),
    /// Others are writing the same items at this moment, and went on doing so while it was tried
    /// again.
    #[error("others are writing the same items")]
    Contended,
    /// An item, or all of them together, cannot be stored because of the size.
    #[error("{bytes} bytes, {limit} is the limit")]
    TooLarge {
        /// The size.
        bytes: usize,
        /// What the store takes.
        limit: usize,
    },
    /// More operations than a transaction takes.
    #[error("{operations} operations, {limit} is the limit")]
    TooMany {
        /// How many.
        operations: usize,
        /// What the store takes.
        limit: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the ledger, always strongly consistent.
#[async_trait]
pub trait LedgerRead: Send + Sync {
    /// The newest version of an entity, in one read, however long its history.
    async fn newest(&self, key: &EntityKey) -> Result<Option<VersionItem>, StoreError>;

    /// One version of an entity.
    async fn at(&self, key: &EntityKey, version: Version) -> Result<Option<VersionItem>, StoreError>;

    /// Up to `limit` versions, newest first, beginning below `before` (or at the newest). Shorter
    /// than `limit` only at the end of the history.
    async fn history(
        &self,
        key: &EntityKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionItem>, StoreError>;
}

/// Writes to the ledger.
#[async_trait]
pub trait LedgerWrite: Send + Sync {
    /// Writes all of `commit` or nothing: each version on condition that it does not exist, each
    /// claim that nobody else holds it, the idempotency record that no unexpired one has its key, the
    /// outcome of an import's rows that its place is free. Where several conditions fail, the outcome is
    /// reported first, then the idempotency record, then versions, then claims.
    ///
    /// A version or an outcome of our own `command_id` that is there already, with the whole commit,
    /// counts as written: the answer to an earlier attempt was lost.
    async fn commit(&self, commit: &Commit, now: Timestamp) -> Result<(), CommitError>;

    /// What is remembered under an idempotency key, unless it has expired by `now`.
    async fn remembered(
        &self,
        tenant: &TenantCode,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError>;
}

/// Walks the whole ledger, for rebuilding read models.
#[async_trait]
pub trait LedgerScan: Send + Sync {
    /// A page of version items in no particular order, and where the next page begins (`None` at
    /// the end). Begin with `None`.
    async fn scan(&self, from: Option<String>) -> Result<(Vec<VersionItem>, Option<String>), StoreError>;
}

/// One row of the ledger, known by its key alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LedgerRow {
    /// A version of an entity. Whether it can be read is another question.
    Version(EntityKey, Version),
    /// A unique value, and the entity that has it.
    Claim(Claim, EntityKey),
    /// A row that is none of the kinds there are, or does not say which entity it belongs to.
    Unreadable {
        /// Its partition key.
        pk: String,
        /// Its sort key.
        sk: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Lists what the ledger holds, for checking it.
#[async_trait]
pub trait LedgerAudit: Send + Sync {
    /// A page of rows in no particular order, and where the next page begins (`None` at the end).
    /// Begin with `None`. Idempotency records and what is kept of imports are left out: they come and
    /// go.
    async fn rows(&self, from: Option<String>) -> Result<(Vec<LedgerRow>, Option<String>), StoreError>;
}

/// What became of the rows handed to a [`StateSink`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows written.
    pub written: usize,
    /// Rows left alone because the store was already there, or further: duplicates and latecomers.
    pub unchanged: usize,
    /// Entities whose stored row has the same version with another hash. Never overwritten.
    pub forks: Vec<EntityKey>,
}

/// A read model of current states, one row per entity.
#[async_trait]
pub trait StateSink: Send + Sync {
    /// What to call it in logs and reports.
    fn name(&self) -> &'static str;

    /// Brings the rows of these entities to these versions, or leaves what is newer. All entities
    /// are of `domain` and none occurs twice. Idempotent and independent of order.
    async fn apply(&self, domain: &dyn DynDomain, items: &[&VersionItem]) -> Result<Applied, StoreError>;
}

/// Reads current states by key.
#[async_trait]
pub trait EntityRead: Send + Sync {
    /// The entity as the read model has it.
    async fn get(&self, key: &EntityKey) -> Result<Option<Entity>, StoreError>;

    /// The entities of a range of keys, in the order of their stored sort keys. A page may hold
    /// fewer than asked for and yet not be the last: see [`KeyPage::next`].
    async fn range(&self, query: &KeyQuery) -> Result<KeyPage, StoreError>;
}

/// What a list in the order of keys asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyQuery {
    /// Of which type and tenant.
    pub partition: PartitionKey,
    /// Which of them.
    pub keys: KeyRange,
    /// Where the page before this one ended: a stored sort key.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Whether deleted entities are listed too.
    pub include_deleted: bool,
}

/// Some of a partition's keys, by their stored form ([`SortKey::encoded`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRange {
    /// Those that begin with this one.
    Prefix(SortKey),
    /// Those from the first, if there is one, to before the second.
    Between(Option<SortKey>, Option<SortKey>),
}

/// One page of a list in the order of keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeyPage {
    /// The entities.
    pub entities: Vec<Entity>,
    /// How many entities of this page are left out because their rows cannot be read.
    pub unreadable: u64,
    /// Where the next page begins; none on the last page.
    pub next: Option<String>,
}

/// Lists current states.
#[async_trait]
pub trait EntityList: Send + Sync {
    /// The first `query.limit` entities of `query.tenant` that match, in the order asked for,
    /// beginning after `query.after`.
    async fn list(&self, domain: &dyn DynDomain, query: &ListQuery) -> Result<ListPage, StoreError>;

    /// The versions at which lists show these entities, deleted or not. Those are left out that no
    /// list shows yet.
    async fn versions(
        &self,
        domain: &dyn DynDomain,
        tenant: &TenantCode,
        sks: &[SortKey],
    ) -> Result<Vec<(SortKey, Version)>, StoreError>;
}

/// What a list asks for. Field names have been checked against the domain's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Whose entities. The store sees no others.
    pub tenant: TenantCode,
    /// What must hold, all of it.
    pub filters: Vec<Filter>,
    /// Each must begin a word of one of the table's searched fields, in the form that
    /// [`words`](crate::search::words) gives it.
    pub words: Vec<String>,
    /// The order; ties are broken by id, in the direction of the last field. Empty: by id.
    pub sort: Vec<Sort>,
    /// Where the page before this one ended.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: usize,
    /// Whether deleted entities are listed too.
    pub include_deleted: bool,
    /// Whether to count all that match.
    pub with_total: bool,
}

/// A condition on one field: an envelope field (`code`, `name`) or an attribute with a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The field.
    pub field: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what; a decimal in plain notation for a numeric field.
    pub value: String,
}

/// How a filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// `field.gt`
    Greater,
    /// `field.gte`
    GreaterOrEqual,
    /// `field.lt`
    Less,
    /// `field.lte`
    LessOrEqual,
}

/// One field to sort by. Entities without the field come last either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// The field: `code`, `name`, `createdAt`, `updatedAt`, or an attribute with a text or numeric
    /// column.
    pub field: String,
    /// Largest first.
    pub descending: bool,
}

/// A place in a sorted list: the sort fields of the last entity before it, and its id.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// One value for each sort field, as text; none where the entity has none.
    pub values: Vec<Option<String>>,
    /// The entity's id.
    pub id: String,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListPage {
    /// The entities.
    pub entities: Vec<Entity>,
    /// Where the next page begins; none on the last page.
    pub next: Option<Position>,
    /// How many match in all, where that was asked for.
    pub total: Option<u64>,
}
