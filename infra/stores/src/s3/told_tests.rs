use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::Request;
use hyper::body::{Bytes, Frame};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;

use super::*;
use crate::LocalS3;

const BUCKET: &str = "parcels";

/// Keeps what it is told, and looks whether the object is there by then.
#[derive(Default)]
struct Diary {
    told: Mutex<Vec<CreatedObject>>,
    refuses: bool,
}

#[async_trait]
impl ObjectListener for Diary {
    async fn created(&self, object: &CreatedObject) -> anyhow::Result<()> {
        anyhow::ensure!(!self.refuses, "the disk is full");
        self.told.lock().unwrap().push(object.clone());
        Ok(())
    }
}

impl Diary {
    fn events(&self) -> Vec<(&'static str, String, u64)> {
        self.told.lock().unwrap().iter().map(|object| (object.event, object.key.clone(), object.size)).collect()
    }
}

async fn started(folder: &Path, diary: &Arc<Diary>) -> (LocalS3, Client) {
    let s3 = LocalS3::start_with(folder, Arc::<Diary>::clone(diary)).await.unwrap();
    s3.create_bucket(BUCKET).unwrap();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .endpoint_url(s3.endpoint())
        .force_path_style(true);
    let client = Client::from_conf(config.build());
    (s3, client)
}

async fn put(client: &Client, key: &str, body: &'static [u8]) {
    client.put_object().bucket(BUCKET).key(key).body(Bytes::from_static(body).into()).send().await.unwrap();
}

async fn upload_url(client: &Client, key: &str) -> String {
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    client.put_object().bucket(BUCKET).key(key).presigned(expiry).await.unwrap().uri().to_owned()
}

#[tokio::test]
async fn whatever_creates_an_object_is_told_with_its_key_and_size_and_nothing_else_is() {
    let (folder, diary) = (tempfile::tempdir().unwrap(), Arc::new(Diary::default()));
    let (s3, client) = started(folder.path(), &diary).await;
    put(&client, "a/é 1+2.csv", b"rows").await;
    let copy = |to: &str| client.copy_object().bucket(BUCKET).key(to).copy_source("parcels/a/%C3%A9%201%2B2.csv");
    copy("copy.csv").send().await.unwrap();
    copy("a/é 1+2.csv").metadata_directive(MetadataDirective::Replace).send().await.unwrap();
    let url = upload_url(&client, "signed.csv").await;
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let request = Request::put(url).body(Full::new(Bytes::from_static(b"sk,name\n"))).unwrap();
    assert_eq!(http.request(request).await.unwrap().status(), 200);

    let upload = client.create_multipart_upload().bucket(BUCKET).key("parts.csv").send().await.unwrap();
    let (id, mut parts) = (upload.upload_id().unwrap(), CompletedMultipartUpload::builder());
    for (number, size) in [(1, 5 * 1024 * 1024), (2, 7)] {
        let part = client.upload_part().bucket(BUCKET).key("parts.csv").upload_id(id).part_number(number);
        let part = part.body(vec![b'x'; size].into()).send().await.unwrap();
        let part = CompletedPart::builder().part_number(number).e_tag(part.e_tag().unwrap());
        parts = parts.parts(part.build());
    }
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("parts.csv").upload_id(id);
    let completed = complete.multipart_upload(parts.build()).send().await.unwrap();

    client.get_object().bucket(BUCKET).key("parts.csv").send().await.unwrap();
    client.delete_object().bucket(BUCKET).key("parts.csv").send().await.unwrap();
    let told = |event, key: &str, size| (event, key.to_owned(), size);
    let expected = [
        told("ObjectCreated:Put", "a/é 1+2.csv", 4),
        told("ObjectCreated:Copy", "copy.csv", 4),
        told("ObjectCreated:Copy", "a/é 1+2.csv", 4),
        told("ObjectCreated:Put", "signed.csv", 8),
        told("ObjectCreated:CompleteMultipartUpload", "parts.csv", 5 * 1024 * 1024 + 7),
    ];
    assert_eq!(diary.events(), expected);
    let last = diary.told.lock().unwrap().pop().unwrap();
    assert_eq!((last.bucket.as_str(), Some(format!("\"{}\"", last.etag).as_str())), (BUCKET, completed.e_tag()));
    s3.stop().await;
}

#[tokio::test]
async fn an_upload_of_which_nobody_takes_notice_is_not_answered_as_a_success() {
    let (folder, diary) = (tempfile::tempdir().unwrap(), Arc::new(Diary { refuses: true, ..Diary::default() }));
    let (s3, client) = started(folder.path(), &diary).await;
    let refused = client.put_object().bucket(BUCKET).key("a").body(Bytes::from_static(b"x").into()).send().await;
    assert_eq!(refused.unwrap_err().code(), Some("InternalError"));
    s3.stop().await;
}

#[tokio::test]
async fn what_was_refused_or_broke_off_is_told_to_nobody() {
    let (folder, diary) = (tempfile::tempdir().unwrap(), Arc::new(Diary::default()));
    let (s3, client) = started(folder.path(), &diary).await;
    let missing = client.copy_object().bucket(BUCKET).key("b").copy_source("parcels/none").send().await;
    assert_eq!(missing.unwrap_err().code(), Some("NoSuchKey"));
    put(&client, "a", b"x").await;
    let itself = client.copy_object().bucket(BUCKET).key("a").copy_source("parcels/a").send().await;
    assert_eq!(itself.unwrap_err().code(), Some("InvalidRequest"));

    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let half =
        futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"half"))), Err(std::io::Error::other("cable"))]);
    let request = Request::put(upload_url(&client, "half.csv").await).header("content-length", 1000);
    let request = request.body(StreamBody::new(half).boxed()).unwrap();
    http.request(request).await.unwrap_err();
    s3.stop().await;
    assert!(!folder.path().join(BUCKET).join("half.csv").exists());
    assert_eq!(diary.events(), [("ObjectCreated:Put", "a".to_owned(), 1)]);
}

#[tokio::test]
async fn a_large_file_goes_in_and_out_in_pieces_with_a_length_or_in_chunks_and_any_range_can_be_read() {
    let (folder, diary) = (tempfile::tempdir().unwrap(), Arc::new(Diary::default()));
    let (s3, client) = started(folder.path(), &diary).await;
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let piece: Bytes = (0..=u8::MAX).cycle().take(256 * 1024).collect::<Vec<_>>().into();
    for (key, with_length) in [("length", true), ("chunks", false)] {
        let pieces = futures::stream::repeat_with({
            let piece = piece.clone();
            move || Ok::<_, std::io::Error>(Frame::data(piece.clone()))
        });
        let pieces = futures::StreamExt::take(pieces, 256);
        let mut request = Request::put(upload_url(&client, key).await);
        if with_length {
            request = request.header("content-length", 64 * 1024 * 1024);
        }
        let answer = http.request(request.body(StreamBody::new(pieces).boxed()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200, "{key}");
        let range = client.get_object().bucket(BUCKET).key(key).range("bytes=33554432-33554687").send().await.unwrap();
        assert_eq!(range.content_range(), Some("bytes 33554432-33554687/67108864"));
        assert_eq!(range.body.collect().await.unwrap().into_bytes(), piece.slice(..256));
    }
    let beyond = client.get_object().bucket(BUCKET).key("length").range("bytes=67108864-").send().await.unwrap_err();
    assert_eq!(beyond.code(), Some("InvalidRange"));
    assert_eq!(diary.events().iter().map(|(_, _, size)| *size).collect::<Vec<_>>(), [64 << 20, 64 << 20]);
    s3.stop().await;
}
