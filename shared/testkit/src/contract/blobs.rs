//! The contract of content kept under its own hash: [`BlobStore`].
#![expect(clippy::unwrap_used, reason = "a store that fails fails the test")]

use ledgerline_kernel::ports::BlobStore;
use ledgerline_kernel::{Hash, TenantCode};

fn tenant(code: &str) -> TenantCode {
    code.parse().unwrap()
}

/// What was never kept is not there, and is no error.
pub async fn content_that_was_never_kept_is_missing(blobs: &impl BlobStore) {
    assert_eq!(blobs.get(&tenant("acme"), &Hash::of("nothing")).await, Ok(None));
}

/// From nothing to megabytes, content is read as it was kept.
pub async fn kept_content_is_read_back_to_the_byte(blobs: &impl BlobStore) {
    let acme = tenant("acme");
    for text in [String::new(), "{\"é\":\"\u{0}\"}\r\n".to_owned(), "0123456789abcdef".repeat(250_000)] {
        let hash = Hash::of(&text);
        blobs.put(&acme, &hash, text.clone().into_bytes()).await.unwrap();
        let read = blobs.get(&acme, &hash).await.unwrap();
        assert!(read == Some(text.clone().into_bytes()), "{} bytes", text.len());
    }
}

/// Keeping the same again is a success and changes nothing.
pub async fn content_can_be_kept_again(blobs: &impl BlobStore) {
    let (acme, hash) = (tenant("acme"), Hash::of("content"));
    for _ in 0..3 {
        blobs.put(&acme, &hash, b"content".to_vec()).await.unwrap();
        assert_eq!(blobs.get(&acme, &hash).await, Ok(Some(b"content".to_vec())));
    }
}

/// Of several that keep the same at once, none fails.
pub async fn content_can_be_kept_by_several_at_once(blobs: &impl BlobStore) {
    let (acme, text) = (tenant("acme"), "x".repeat(100_000));
    let hash = Hash::of(&text);
    let puts = (0..8).map(|_| blobs.put(&acme, &hash, text.clone().into_bytes()));
    for outcome in futures::future::join_all(puts).await {
        assert_eq!(outcome, Ok(()));
    }
    assert_eq!(blobs.get(&acme, &hash).await.unwrap().map(|read| read.len()), Some(text.len()));
}

/// A tenant never sees another one's content, not even by its hash.
pub async fn another_tenants_content_is_missing(blobs: &impl BlobStore) {
    let hash = Hash::of("content");
    blobs.put(&tenant("acme"), &hash, b"content".to_vec()).await.unwrap();
    for other in ["acm", "acme-2", "other"] {
        assert_eq!(blobs.get(&tenant(other), &hash).await, Ok(None), "{other}");
    }
}
