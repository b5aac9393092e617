use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::StoreError;
use crate::{Claim, EntityKey, ImportId, ImportJob, ImportKey, ImportTotals, ImportedRows, TenantCode};

/// Keeps imports and what became of their rows. Every read sees all that was written before it.
///
/// An outcome is not written here but with what it tells of: see [`Commit::imported`](crate::Commit).
#[async_trait]
pub trait ImportJobs: Send + Sync {
    /// Keeps a new import. `false` if there is one with its key; our own, from an attempt whose answer
    /// was lost, is none.
    async fn create(&self, job: &ImportJob) -> Result<bool, StoreError>;

    /// The import.
    async fn get(&self, key: &ImportKey) -> Result<Option<ImportJob>, StoreError>;

    /// Up to `limit` imports of a tenant, newest first, beginning below `before` (or at the newest).
    async fn list(
        &self,
        tenant: &TenantCode,
        before: Option<&ImportId>,
        limit: usize,
    ) -> Result<Vec<ImportJob>, StoreError>;

    /// Puts `job` in the place of the revision before its own. `false` if something else is there.
    async fn replace(&self, job: &ImportJob) -> Result<bool, StoreError>;

    /// The outcomes of a chunk's rows, in the order of the rows.
    async fn outcomes_of(&self, import: &ImportKey, chunk: u32) -> Result<Vec<ImportedRows>, StoreError>;

    /// A page of an import's outcomes, in the order of chunks and rows, beginning behind the one at
    /// `after` (chunk and first row; or at the first). The place of its last, or none on the last page.
    /// A page may be empty and yet not be the last.
    async fn outcomes(
        &self,
        import: &ImportKey,
        after: Option<(u32, u32)>,
    ) -> Result<(Vec<ImportedRows>, Option<(u32, u32)>), StoreError>;

    /// The sum of all outcomes.
    async fn totals(&self, import: &ImportKey) -> Result<ImportTotals, StoreError>;

    /// Notes that the read models show what the outcome at this place (chunk and first row) tells of,
    /// and forgets what that was. Doing it again changes nothing; nor does it where there is no outcome.
    async fn mark_shown(&self, import: &ImportKey, place: (u32, u32)) -> Result<(), StoreError>;
}

/// Looks many things up in the ledger at once, each strongly consistent.
#[async_trait]
pub trait LedgerLookup: Send + Sync {
    /// Who has these unique values. Those that nobody has are not in the answer.
    async fn holders(&self, claims: &[Claim]) -> Result<BTreeMap<Claim, EntityKey>, StoreError>;

    /// Which of these entities exist, deleted or not.
    async fn existing(&self, keys: &[EntityKey]) -> Result<BTreeSet<EntityKey>, StoreError>;
}
