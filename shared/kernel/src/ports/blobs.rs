use async_trait::async_trait;

use super::StoreError;
use crate::{Hash, TenantCode};

/// Keeps content under its own hash, per tenant. What is there is never changed.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Keeps `content`, whose hash is `hash`. Keeping it again changes nothing.
    async fn put(&self, tenant: &TenantCode, hash: &Hash, content: Vec<u8>) -> Result<(), StoreError>;

    /// The content with that hash; none if it was never kept.
    async fn get(&self, tenant: &TenantCode, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError>;
}
