use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// How many bytes it has.
    pub size: u64,
    /// Another one whenever its content is another one.
    pub etag: String,
}

/// Files that callers bring, as objects under keys.
#[async_trait]
pub trait SourceObjects: Send + Sync {
    /// A URL to which anybody who has it can `PUT` the object's content, without credentials, for so long.
    /// Whole seconds, a week at most.
    async fn upload_url(&self, key: &str, expires_in: Duration) -> Result<String, StoreError>;

    /// Makes an object of what is in memory already. One that is there is replaced.
    async fn put(&self, key: &str, content: Vec<u8>) -> Result<(), StoreError>;

    /// Makes an object of another one's content, also of its own: it is then created anew. `false`: there is
    /// nothing to copy. Of 5 GB at most.
    async fn copy(&self, from: &str, to: &str) -> Result<bool, StoreError>;

    /// What is known of an object; none if there is none.
    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StoreError>;

    /// `length` bytes of an object from `offset` on, fewer where it ends, nothing behind its end. None if
    /// there is no such object, or it is not the one with this etag any more.
    async fn read(&self, key: &str, etag: &str, offset: u64, length: u64) -> Result<Option<Vec<u8>>, StoreError>;
}
