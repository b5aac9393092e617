use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ledgerline_kernel::ports::{BlobStore, StoreError};
use ledgerline_kernel::{Hash, TenantCode};

const STORE: &str = "the memory blobs";

/// A blob store in memory. Clones share it.
///
/// A test can take it [away](Self::set_away), and [alter](Self::alter) or [lose](Self::lose) what it
/// keeps.
#[derive(Clone, Default)]
pub struct MemoryBlobs {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    blobs: BTreeMap<(TenantCode, Hash), Vec<u8>>,
    away: bool,
    puts: usize,
    gets: usize,
}

impl MemoryBlobs {
    /// Whether every call from now on finds it unavailable.
    pub fn set_away(&self, away: bool) {
        self.inner().away = away;
    }

    /// The content of all blobs, by tenant and hash.
    #[must_use]
    pub fn all(&self) -> BTreeMap<(TenantCode, Hash), Vec<u8>> {
        self.inner().blobs.clone()
    }

    /// Changes what is kept, as nobody should.
    pub fn alter(&self, change: impl Fn(&mut Vec<u8>)) {
        self.inner().blobs.values_mut().for_each(change);
    }

    /// Loses all that is kept, as nobody should.
    pub fn lose(&self) {
        self.inner().blobs.clear();
    }

    /// How often something was put, and got.
    #[must_use]
    pub fn calls(&self) -> (usize, usize) {
        let inner = self.inner();
        (inner.puts, inner.gets)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A test that panicked while it held the lock fails by itself; others need not follow.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_there(&self) -> Result<(), StoreError> {
        match self.away {
            true => Err(StoreError::Unavailable { store: STORE, reason: "a test took it away".to_owned() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn put(&self, tenant: &TenantCode, hash: &Hash, content: Vec<u8>) -> Result<(), StoreError> {
        let mut inner = self.inner();
        inner.puts += 1;
        inner.is_there()?;
        inner.blobs.entry((tenant.clone(), hash.clone())).or_insert(content);
        Ok(())
    }

    async fn get(&self, tenant: &TenantCode, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let mut inner = self.inner();
        inner.gets += 1;
        inner.is_there()?;
        Ok(inner.blobs.get(&(tenant.clone(), hash.clone())).cloned())
    }
}
