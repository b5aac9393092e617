use std::sync::Arc;

use async_trait::async_trait;
use ledgerline_app::{LargeStates, Registry};
use ledgerline_blobs_s3::S3Blobs;
use ledgerline_kernel::ports::{BlobStore, StoreError};
use ledgerline_kernel::{Hash, TenantCode};
use tokio::sync::OnceCell;

use crate::{Config, StartupError, s3_client};

const BUCKET: &str = "STATE_BUCKET";

/// What the keys of all objects begin with.
const PREFIX: &str = "states/";

/// Large states in the S3 bucket that `STATE_BUCKET` names. Its client is made when the first large
/// state comes along: of a deployment without any, no function ever has one.
///
/// # Errors
/// [`StartupError::Missing`] if `STATE_BUCKET` is not set and a domain has large states.
pub fn large_states(config: &Config, registry: &Registry) -> Result<LargeStates, StartupError> {
    if registry.domains().any(|domain| domain.has_large_states()) {
        config.required(BUCKET)?;
    }
    let bucket = StateBucket { config: config.clone(), blobs: OnceCell::new() };
    Ok(LargeStates::new(registry.clone(), Arc::new(bucket)))
}

struct StateBucket {
    config: Config,
    blobs: OnceCell<S3Blobs>,
}

impl StateBucket {
    async fn blobs(&self) -> Result<&S3Blobs, StoreError> {
        self.blobs
            .get_or_try_init(|| async {
                // A domain may have had large states, and have them no more.
                let bucket = self.config.required(BUCKET).map_err(|error| StoreError::Unavailable {
                    store: "the state bucket",
                    reason: error.to_string(),
                })?;
                Ok(S3Blobs::new(s3_client(&self.config).await, bucket, PREFIX))
            })
            .await
    }
}

#[async_trait]
impl BlobStore for StateBucket {
    async fn put(&self, tenant: &TenantCode, hash: &Hash, content: Vec<u8>) -> Result<(), StoreError> {
        self.blobs().await?.put(tenant, hash, content).await
    }

    async fn get(&self, tenant: &TenantCode, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        self.blobs().await?.get(tenant, hash).await
    }
}

#[cfg(test)]
mod tests {
    use ledgerline_testkit::tome::Tome;

    use super::*;

    #[test]
    fn a_deployment_with_large_states_does_not_start_without_a_bucket() {
        let registry = Registry::default().with::<Tome>().unwrap();
        let missing = large_states(&Config::new(|_| None), &registry).err().map(|error| error.to_string());
        assert_eq!(missing.as_deref(), Some("the environment variable STATE_BUCKET is not set"));
        assert!(large_states(&Config::new(|name| (name == BUCKET).then(|| "b".to_owned())), &registry).is_ok());
    }

    #[tokio::test]
    async fn a_deployment_without_large_states_needs_no_bucket_and_makes_no_client() {
        let bucket = StateBucket { config: Config::new(|_| None), blobs: OnceCell::new() };
        assert!(large_states(&bucket.config, &Registry::shipped().unwrap()).is_ok());
        assert!(!bucket.blobs.initialized());
        // Nor is what was large before taken for missing.
        let asked = bucket.get(&"acme".parse().unwrap(), &Hash::of("")).await;
        assert!(matches!(asked, Err(StoreError::Unavailable { reason, .. }) if reason.contains(BUCKET)));
    }
}
