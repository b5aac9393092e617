//! What the use cases need of the outside, each port named for one need and no wider: a read
//! function is never handed a write port, and an IAM policy mirrors the ports a function takes.
//!
//! Adapters implement these; `ledgerline-testkit` holds in-memory ones and the contract suites that
//! both kinds pass.

use async_trait::async_trait;

use crate::{DynDomain, Entity, EntityKey, TenantCode, Version, VersionItem};

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

/// Why a version item was not appended.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AppendError {
    /// That version exists: somebody else's, or our own from an attempt whose answer was lost.
    #[error("version {} of {} exists", .0.version, .0.key)]
    Occupied(Box<VersionItem>),
    /// The item cannot be stored because of its size.
    #[error("the item has {bytes} bytes, {limit} is the limit")]
    TooLarge {
        /// Its size.
        bytes: usize,
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

/// Appends to the ledger.
#[async_trait]
pub trait LedgerAppend: Send + Sync {
    /// Stores `item` if no item of that entity and version exists: all of it or nothing.
    async fn append(&self, item: &VersionItem) -> Result<(), AppendError>;
}

/// Walks the whole ledger, for rebuilding read models.
#[async_trait]
pub trait LedgerScan: Send + Sync {
    /// A page of version items in no particular order, and where the next page begins (`None` at
    /// the end). Begin with `None`.
    async fn scan(&self, from: Option<String>) -> Result<(Vec<VersionItem>, Option<String>), StoreError>;
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
}

/// Lists current states.
#[async_trait]
pub trait EntityList: Send + Sync {
    /// The first `query.limit` entities of `query.tenant` that match, in the order asked for,
    /// beginning after `query.after`.
    async fn list(&self, domain: &dyn DynDomain, query: &ListQuery) -> Result<ListPage, StoreError>;
}

/// What a list asks for. Field names have been checked against the domain's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Whose entities. The store sees no others.
    pub tenant: TenantCode,
    /// What must hold, all of it.
    pub filters: Vec<Filter>,
    /// The order; ties are broken by id, ascending. Empty: by id.
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
