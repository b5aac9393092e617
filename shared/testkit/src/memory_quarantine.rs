use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{Poison, Quarantine, QuarantineQuery, Quarantined, STRIKES, StoreError, Strike, Taken};

use crate::noon;

/// A quarantine in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryQuarantine {
    struck: Arc<Mutex<Struck>>,
}

/// Strikes and the newest failure, by projection and record.
type Struck = BTreeMap<(String, String), (u32, Poison)>;

impl MemoryQuarantine {
    /// What is quarantined, by projection and record.
    #[must_use]
    pub fn all(&self) -> Vec<Poison> {
        self.struck().values().filter(|(strikes, _)| *strikes >= STRIKES).map(|(_, poison)| poison.clone()).collect()
    }

    fn struck(&self) -> MutexGuard<'_, Struck> {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Quarantine for MemoryQuarantine {
    async fn strike(&self, projection: &str, poison: &Poison) -> Result<Strike, StoreError> {
        let mut struck = self.struck();
        let record = (projection.to_owned(), poison.record.clone());
        let (strikes, held) = struck.entry(record).or_insert_with(|| (0, poison.clone()));
        *strikes = STRIKES.min(*strikes + 1);
        let newest = held.version.take().max(poison.version.clone());
        *held = Poison { version: newest, ..poison.clone() };
        Ok(if *strikes >= STRIKES { Strike::Quarantined } else { Strike::Again })
    }

    async fn release(&self, taken: &[Taken]) -> Result<usize, StoreError> {
        let mut released = 0;
        self.struck().retain(|(projection, _), (strikes, poison)| {
            let covers = |taken: &Taken| {
                let version = poison.version.as_ref();
                taken.projection == *projection
                    && version.is_some_and(|(key, version)| taken.key == *key && taken.version >= *version)
            };
            let is_released = taken.iter().any(covers);
            released += usize::from(is_released && *strikes >= STRIKES);
            !is_released
        });
        Ok(released)
    }

    async fn list(&self, query: &QuarantineQuery) -> Result<Vec<Quarantined>, StoreError> {
        let struck = self.struck();
        let wanted = struck.iter().filter(|((projection, record), (strikes, poison))| {
            let key = poison.version.as_ref().map(|(key, _)| key);
            *strikes >= STRIKES
                && query.after.as_ref().is_none_or(|after| (projection, record) > (&after.0, &after.1))
                && query.tenant.as_ref().is_none_or(|tenant| key.is_some_and(|key| key.partition.tenant == *tenant))
                && query.entity.as_ref().is_none_or(|entity| key == Some(entity))
        });
        let listed = wanted.map(|((projection, record), (strikes, poison))| Quarantined {
            projection: projection.clone(),
            record: record.clone(),
            version: poison.version.clone(),
            error: poison.error.clone(),
            attempts: *strikes,
            since: noon(),
        });
        Ok(listed.take(query.limit).collect())
    }
}
