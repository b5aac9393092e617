//! S3: content kept under its own hash, [`S3Blobs`], and files that callers bring, [`S3Objects`].

mod objects;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, ResponseChecksumValidation};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use ledgerline_kernel::ports::{BlobStore, StoreError};
use ledgerline_kernel::{Hash, TenantCode};

pub use objects::S3Objects;

const STORE: &str = "the blob store";

/// How often a put is sent that meets another one of the same content. The SDK does not repeat it.
const ATTEMPTS: u32 = 4;

/// Blobs in an S3 bucket, as the objects `{prefix}{tenant}/{hash}`.
///
/// An object is written only where none is, so nobody's content is ever replaced, and a bucket that
/// keeps versions keeps one of each. Retries of throttled and broken requests are the SDK's.
#[derive(Debug, Clone)]
pub struct S3Blobs {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3Blobs {
    /// The blobs in this bucket whose keys begin with `prefix`.
    pub fn new(client: Client, bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into(), prefix: prefix.into() }
    }

    fn key(&self, tenant: &TenantCode, hash: &Hash) -> String {
        format!("{}{tenant}/{hash}", self.prefix)
    }
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn put(&self, tenant: &TenantCode, hash: &Hash, content: Vec<u8>) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            let body = ByteStream::from(content.clone());
            let put = self.client.put_object().bucket(&self.bucket).key(self.key(tenant, hash));
            match put.if_none_match("*").content_type("application/json").body(body).send().await {
                Ok(_) => return Ok(()),
                Err(error) => match error.code() {
                    // It is there, and what is there under its hash is the same.
                    Some("PreconditionFailed") => return Ok(()),
                    // Somebody is putting the same at this moment, or was interrupted.
                    Some("ConditionalRequestConflict") if attempt < ATTEMPTS => attempt += 1,
                    _ => return Err(store_error(&error)),
                },
            }
        }
    }

    async fn get(&self, tenant: &TenantCode, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        // Who reads compares with the hash, and can tell altered content from a broken connection. S3's
        // own checksum would make both the same.
        let unchecked = Builder::new().response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(tenant, hash));
        match get.customize().config_override(unchecked).send().await {
            Ok(object) => match object.body.collect().await {
                Ok(content) => Ok(Some(content.to_vec())),
                Err(error) => Err(unavailable(DisplayErrorContext(&error).to_string())),
            },
            Err(SdkError::ServiceError(answer)) if matches!(answer.err(), GetObjectError::NoSuchKey(_)) => Ok(None),
            Err(error) => Err(store_error(&error)),
        }
    }
}

/// Almost everything is worth another try, a denied access too: it says that a policy is wrong, and
/// nothing of the content.
fn store_error<E>(error: &SdkError<E>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let reason = match (error.code(), error.message()) {
        (Some(code), message) => format!("{code}: {}", message.unwrap_or_default()),
        (None, _) => DisplayErrorContext(error).to_string(),
    };
    match error {
        SdkError::ConstructionFailure(_) => StoreError::Rejected { store: STORE, reason },
        _ => unavailable(reason),
    }
}

fn unavailable(reason: String) -> StoreError {
    StoreError::Unavailable { store: STORE, reason }
}

#[cfg(test)]
mod tests;
