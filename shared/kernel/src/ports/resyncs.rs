use async_trait::async_trait;
use serde_json::Value;

use super::StoreError;
use crate::{SortKey, TenantCode, Timestamp};

/// What became of a [`Resync`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResyncState {
    /// It was asked for.
    Asked,
    /// It has begun.
    Running,
    /// It is done: the read models say what the ledger says.
    Done,
    /// It came to an end, and the read models do not say what the ledger says; see its report.
    Failed,
}

impl ResyncState {
    /// Whether nothing more happens to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// Somebody's wish that a tenant's entities, or one of them, be projected again.
#[derive(Debug, Clone, PartialEq)]
pub struct Resync {
    /// Its id: a ULID.
    pub id: String,
    /// Whose entities.
    pub tenant: TenantCode,
    /// Of which kind: the resource, such as `products`.
    pub resource: String,
    /// Which entity; all of them if none.
    pub sk: Option<SortKey>,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked_at: Timestamp,
    /// What became of it.
    pub state: ResyncState,
    /// Where it goes on, while it is running; the reconciler's own.
    pub progress: Value,
    /// What came of it, once it is done or has failed.
    pub report: Value,
}

/// Keeps what was asked for, until it is done and some time after.
#[async_trait]
pub trait Resyncs: Send + Sync {
    /// Writes it down, unless the same was asked for before and is not finished: the answer is that one
    /// then. Of several that ask at once, one is written down.
    async fn ask(&self, resync: &Resync) -> Result<Option<Resync>, StoreError>;

    /// Writes it down, or what became of it since.
    async fn save(&self, resync: &Resync) -> Result<(), StoreError>;

    /// The one with that id, of that tenant.
    async fn get(&self, tenant: &TenantCode, id: &str) -> Result<Option<Resync>, StoreError>;

    /// The one that was asked for first of those that nobody has finished.
    async fn next(&self) -> Result<Option<Resync>, StoreError>;
}

/// A comparison of all read models with the whole ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Its id: a ULID.
    pub id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it came to its end; none while it is under way.
    pub finished_at: Option<Timestamp>,
    /// Where it goes on; the reconciler's own.
    pub progress: Value,
    /// What it found so far.
    pub report: Value,
}

/// Keeps the last rounds.
#[async_trait]
pub trait Rounds: Send + Sync {
    /// Writes a round down, or how far it is.
    async fn save_round(&self, round: &Round) -> Result<(), StoreError>;

    /// The one that began last.
    async fn newest_round(&self) -> Result<Option<Round>, StoreError>;
}
