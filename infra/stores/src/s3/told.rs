//! A folder as S3 that tells of the objects that are created in it. What it does not tell of is passed on.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::{HeaderMap, Method, Uri};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CopySource, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, ETagCondition, GetBucketLocationInput, GetBucketLocationOutput,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    ListPartsInput, ListPartsOutput, MetadataDirective, PutObjectInput, PutObjectOutput, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

/// An object that was created a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedObject {
    /// By what, as S3 calls it: `ObjectCreated:Put`, `ObjectCreated:Copy` or
    /// `ObjectCreated:CompleteMultipartUpload`.
    pub event: &'static str,
    /// Where it is.
    pub bucket: String,
    /// Its key, as it is.
    pub key: String,
    /// How many bytes it has.
    pub size: u64,
    /// Its etag, without quotes.
    pub etag: String,
}

/// Is told of objects that are created.
#[async_trait]
pub trait ObjectListener: Send + Sync + 'static {
    /// Told before whoever created it hears that it is there.
    ///
    /// # Errors
    /// If it cannot take notice: whoever created the object is told to try again.
    async fn created(&self, object: &CreatedObject) -> anyhow::Result<()>;
}

/// Who hears of nothing.
pub(super) struct Nobody;

#[async_trait]
impl ObjectListener for Nobody {
    async fn created(&self, _: &CreatedObject) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The folder, and who is told.
pub(super) struct Told {
    pub(super) files: FileSystem,
    pub(super) listener: Arc<dyn ObjectListener>,
}

impl Told {
    async fn tell(&self, event: &'static str, bucket: String, key: String) -> S3Result<()> {
        let input = HeadObjectInput { bucket: bucket.clone(), key: key.clone(), ..HeadObjectInput::default() };
        let head = S3Request {
            input,
            method: Method::HEAD,
            uri: Uri::default(),
            headers: HeaderMap::default(),
            extensions: hyper::http::Extensions::default(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        let head = self.files.head_object(head).await?.output;
        let size = head.content_length.and_then(|size| size.try_into().ok()).unwrap_or(0);
        let etag = head.e_tag.map(|etag| etag.value().to_owned()).unwrap_or_default();
        let created = self.listener.created(&CreatedObject { event, bucket, key, size, etag }).await;
        created.map_err(|error| {
            tracing::error!("nobody could be told of a new object: {error:#}");
            s3_error!(InternalError, "We encountered an internal error. Please try again.")
        })
    }
}

#[async_trait]
impl S3 for Told {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let put = self.files.put_object(req).await?;
        if !key.ends_with('/') {
            self.tell("ObjectCreated:Put", bucket, key).await?;
        }
        Ok(put)
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let is_itself = matches!(&req.input.copy_source, CopySource::Bucket { bucket: from, key: of, .. }
            if **from == *bucket && **of == *key);
        let directive = req.input.metadata_directive.as_ref();
        if is_itself && directive.is_none_or(|directive| directive.as_str() != MetadataDirective::REPLACE) {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let copied = self.files.copy_object(req).await?;
        self.tell("ObjectCreated:Copy", bucket, key).await?;
        Ok(copied)
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        // All is done when this answers; what it calls a future only says so.
        let completed = self.files.complete_multipart_upload(req).await?;
        self.tell("ObjectCreated:CompleteMultipartUpload", bucket, key).await?;
        Ok(completed)
    }

    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.files.create_bucket(req).await
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.files.delete_bucket(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(req).await
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.files.delete_objects(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.files.get_bucket_location(req).await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let condition = req.input.if_match.clone();
        let got = self.files.get_object(req).await?;
        // The folder does not look at it.
        if let (Some(ETagCondition::ETag(wanted)), Some(etag)) = (condition, &got.output.e_tag)
            && !etag.strong_cmp(&wanted)
        {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        Ok(got)
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(req).await
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        self.files.list_buckets(req).await
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        self.files.list_objects(req).await
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.files.create_multipart_upload(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.files.upload_part(req).await
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.files.upload_part_copy(req).await
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.files.list_parts(req).await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.files.abort_multipart_upload(req).await
    }
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
