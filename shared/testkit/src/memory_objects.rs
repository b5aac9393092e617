use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ledgerline_kernel::Hash;
use ledgerline_kernel::ports::{ObjectHead, SourceObjects, StoreError};

const STORE: &str = "the memory objects";

/// Objects in memory. Clones share them.
///
/// A test can take them [away](Self::set_away), [put](SourceObjects::put) what a caller would upload, and see
/// [what was created](Self::created).
#[derive(Clone, Default)]
pub struct MemoryObjects {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Vec<u8>>,
    created: Vec<String>,
    away: bool,
    reads: usize,
}

impl MemoryObjects {
    /// Whether every call from now on finds them unavailable.
    pub fn set_away(&self, away: bool) {
        self.inner().away = away;
    }

    /// The keys of all objects that were put or copied since it was last asked, in order: each of them is
    /// what S3 would tell of.
    #[must_use]
    pub fn created(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().created)
    }

    /// How often something was read.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.inner().reads
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A test that panicked while it held the lock fails by itself; others need not follow.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn there(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.inner();
        match inner.away {
            true => Err(StoreError::Unavailable { store: STORE, reason: "a test took it away".to_owned() }),
            false => Ok(inner),
        }
    }
}

fn etag_of(content: &[u8]) -> String {
    Hash::of(&String::from_utf8_lossy(content)).to_string()
}

#[async_trait]
impl SourceObjects for MemoryObjects {
    async fn upload_url(&self, key: &str, expires_in: Duration) -> Result<String, StoreError> {
        drop(self.there()?);
        Ok(format!("https://objects.test/{key}?X-Amz-Expires={}", expires_in.as_secs()))
    }

    async fn put(&self, key: &str, content: Vec<u8>) -> Result<(), StoreError> {
        let mut inner = self.there()?;
        inner.objects.insert(key.to_owned(), content);
        inner.created.push(key.to_owned());
        Ok(())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<bool, StoreError> {
        let content = self.there()?.objects.get(from).cloned();
        match content {
            Some(content) => self.put(to, content).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        let inner = self.there()?;
        let head = |content: &Vec<u8>| ObjectHead {
            size: content.len().try_into().unwrap_or(u64::MAX),
            etag: etag_of(content),
        };
        Ok(inner.objects.get(key).map(head))
    }

    async fn read(&self, key: &str, etag: &str, offset: u64, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let mut inner = self.there()?;
        inner.reads += 1;
        let content = inner.objects.get(key).filter(|content| etag_of(content) == etag);
        let Some(content) = content else { return Ok(None) };
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        let range = place(offset)..place(offset.saturating_add(length));
        Ok(Some(content.get(range).unwrap_or_default().to_vec()))
    }
}
