use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use ledgerline_kernel::ports::{ImportJobs, LedgerLookup, StoreError};
use ledgerline_kernel::{
    Claim, EntityKey, ImportId, ImportJob, ImportKey, ImportTotals, ImportedRows, TenantCode, Version,
};

use crate::MemoryLedger;
use crate::memory_ledger::give_way;

/// How many outcomes one page holds; few, so that small tests have several.
const PAGE: usize = 7;

impl MemoryLedger {
    /// All outcomes of all imports, by import, chunk and first row.
    #[must_use]
    pub fn outcomes_of_all(&self) -> Vec<ImportedRows> {
        self.table().outcomes.values().cloned().collect()
    }
}

#[async_trait]
impl ImportJobs for MemoryLedger {
    async fn create(&self, job: &ImportJob) -> Result<bool, StoreError> {
        give_way().await;
        Ok(*self.table().jobs.entry(job.key.clone()).or_insert_with(|| job.clone()) == *job)
    }

    async fn get(&self, key: &ImportKey) -> Result<Option<ImportJob>, StoreError> {
        give_way().await;
        Ok(self.table().jobs.get(key).cloned())
    }

    async fn list(
        &self,
        tenant: &TenantCode,
        before: Option<&ImportId>,
        limit: usize,
    ) -> Result<Vec<ImportJob>, StoreError> {
        let table = self.table();
        let wanted = |key: &ImportKey| key.tenant == *tenant && before.is_none_or(|before| key.id < *before);
        Ok(table.jobs.values().rev().filter(|job| wanted(&job.key)).take(limit).cloned().collect())
    }

    async fn replace(&self, job: &ImportJob) -> Result<bool, StoreError> {
        give_way().await;
        let mut table = self.table();
        let Some(held) = table.jobs.get_mut(&job.key) else { return Ok(false) };
        if held.revision + 1 == job.revision {
            *held = job.clone();
        }
        Ok(*held == *job)
    }

    async fn outcomes_of(&self, import: &ImportKey, chunk: u32) -> Result<Vec<ImportedRows>, StoreError> {
        give_way().await;
        let places = (import.clone(), chunk, 0)..=(import.clone(), chunk, u32::MAX);
        Ok(self.table().outcomes.range(places).map(|(_, rows)| rows.clone()).collect())
    }

    async fn outcomes(
        &self,
        import: &ImportKey,
        after: Option<(u32, u32)>,
    ) -> Result<(Vec<ImportedRows>, Option<(u32, u32)>), StoreError> {
        let table = self.table();
        let behind =
            |rows: &&ImportedRows| rows.import == *import && after.is_none_or(|after| (rows.chunk, rows.first) > after);
        let mut rest = table.outcomes.values().filter(behind).peekable();
        let page: Vec<_> = rest.by_ref().take(PAGE).cloned().collect();
        let more = rest.peek().is_some();
        let next = page.last().filter(|_| more).map(|last| (last.chunk, last.first));
        Ok((page, next))
    }

    async fn totals(&self, import: &ImportKey) -> Result<ImportTotals, StoreError> {
        give_way().await;
        let mut totals = ImportTotals::default();
        for rows in self.table().outcomes.values().filter(|rows| rows.import == *import) {
            totals.add(&rows.counts, rows.shown);
        }
        Ok(totals)
    }

    async fn mark_shown(&self, import: &ImportKey, (chunk, first): (u32, u32)) -> Result<(), StoreError> {
        give_way().await;
        if let Some(rows) = self.table().outcomes.get_mut(&(import.clone(), chunk, first)) {
            rows.shown = true;
            rows.written.clear();
        }
        Ok(())
    }
}

#[async_trait]
impl LedgerLookup for MemoryLedger {
    async fn holders(&self, claims: &[Claim]) -> Result<BTreeMap<Claim, EntityKey>, StoreError> {
        give_way().await;
        self.count_read();
        let table = self.table();
        Ok(claims.iter().filter_map(|claim| Some((claim.clone(), table.claims.get(claim)?.clone()))).collect())
    }

    async fn existing(&self, keys: &[EntityKey]) -> Result<BTreeSet<EntityKey>, StoreError> {
        give_way().await;
        self.count_read();
        let table = self.table();
        Ok(keys.iter().filter(|key| table.versions.contains_key(&((*key).clone(), Version::FIRST))).cloned().collect())
    }
}
