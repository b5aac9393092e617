use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{Poison, Quarantine, STRIKES, StoreError, Strike};

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
        let struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        struck.values().filter(|(strikes, _)| *strikes >= STRIKES).map(|(_, poison)| poison.clone()).collect()
    }
}

#[async_trait]
impl Quarantine for MemoryQuarantine {
    async fn strike(&self, projection: &str, poison: &Poison) -> Result<Strike, StoreError> {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        let record = (projection.to_owned(), poison.record.clone());
        let (strikes, newest) = struck.entry(record).or_insert_with(|| (0, poison.clone()));
        *strikes += 1;
        *newest = poison.clone();
        Ok(if *strikes >= STRIKES { Strike::Quarantined } else { Strike::Again })
    }
}
