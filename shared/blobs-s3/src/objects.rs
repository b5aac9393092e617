use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::MetadataDirective;
use ledgerline_kernel::ports::{ObjectHead, SourceObjects, StoreError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{store_error, unavailable};

const STORE: &str = "the object store";

/// What is spelled as it is in the source of a copy.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Files that callers bring, as the objects of an S3 bucket.
///
/// The client needs patience: a copy answers when all of the object is copied. Retries of throttled and
/// broken requests are the SDK's.
#[derive(Debug, Clone)]
pub struct S3Objects {
    client: Client,
    /// Signs URLs for those who know nothing of checksums.
    uploads: Client,
    bucket: String,
}

impl S3Objects {
    /// The objects of this bucket.
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        let unchecked =
            client.config().to_builder().request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        Self { uploads: Client::from_conf(unchecked.build()), client, bucket: bucket.into() }
    }
}

#[async_trait]
impl SourceObjects for S3Objects {
    async fn upload_url(&self, key: &str, expires_in: Duration) -> Result<String, StoreError> {
        let rejected = |reason: String| StoreError::Rejected { store: STORE, reason };
        let expiry = PresigningConfig::expires_in(expires_in).map_err(|error| rejected(error.to_string()))?;
        let put = self.uploads.put_object().bucket(&self.bucket).key(key);
        let presigned = put.presigned(expiry).await;
        presigned
            .map(|request| request.uri().to_owned())
            .map_err(|error| unavailable(DisplayErrorContext(error).to_string()))
    }

    async fn put(&self, key: &str, content: Vec<u8>) -> Result<(), StoreError> {
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(content));
        put.send().await.map(drop).map_err(|error| store_error(&error))
    }

    async fn copy(&self, from: &str, to: &str) -> Result<bool, StoreError> {
        let source = format!("{}/{}", self.bucket, utf8_percent_encode(from, &PLAIN));
        let copy = self.client.copy_object().bucket(&self.bucket).key(to).copy_source(source);
        // Without it, S3 refuses to copy an object onto itself.
        match copy.metadata_directive(MetadataDirective::Replace).send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.code() {
                Some("NoSuchKey") => Ok(false),
                // Of its size, which no other attempt changes.
                Some("InvalidRequest") => {
                    Err(StoreError::Rejected { store: STORE, reason: DisplayErrorContext(error).to_string() })
                }
                _ => Err(store_error(&error)),
            },
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(head) => Ok(Some(ObjectHead {
                size: head.content_length().and_then(|size| size.try_into().ok()).unwrap_or(0),
                etag: head.e_tag().unwrap_or_default().trim_matches('"').to_owned(),
            })),
            Err(SdkError::ServiceError(answer)) if answer.err().is_not_found() => Ok(None),
            Err(error) => Err(store_error(&error)),
        }
    }

    async fn read(&self, key: &str, etag: &str, offset: u64, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if length == 0 {
            let head = self.head(key).await?;
            return Ok(head.filter(|head| head.etag == etag).map(|_| Vec::new()));
        }
        let range = format!("bytes={offset}-{}", offset.saturating_add(length - 1));
        // S3 has no checksum of a part of an object.
        let unchecked = Builder::new().response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let get = self.client.get_object().bucket(&self.bucket).key(key).if_match(format!("\"{etag}\"")).range(range);
        match get.customize().config_override(unchecked).send().await {
            Ok(object) => match object.body.collect().await {
                Ok(content) => Ok(Some(content.to_vec())),
                Err(error) => Err(unavailable(DisplayErrorContext(&error).to_string())),
            },
            Err(SdkError::ServiceError(answer)) if matches!(answer.err(), GetObjectError::NoSuchKey(_)) => Ok(None),
            // Another one is in its place.
            Err(error) if error.code() == Some("PreconditionFailed") => Ok(None),
            // It ends before the range begins.
            Err(error) if error.code() == Some("InvalidRange") => Ok(Some(Vec::new())),
            Err(error) => Err(store_error(&error)),
        }
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
