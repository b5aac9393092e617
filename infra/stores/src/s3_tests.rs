use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;

use super::*;

const BUCKET: &str = "parcels";

fn client(s3: &LocalS3, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(KEY, secret, None, None, "test"))
        .endpoint_url(s3.endpoint())
        .force_path_style(true);
    Client::from_conf(config.build())
}

async fn started(folder: &Path) -> (LocalS3, Client) {
    let s3 = LocalS3::start(folder).await.unwrap();
    s3.create_bucket(BUCKET).unwrap();
    let client = client(&s3, KEY);
    (s3, client)
}

#[tokio::test]
async fn an_object_is_read_as_it_was_put_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (s3, client) = started(folder.path()).await;
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).take(3_000_000).collect();
    client.put_object().bucket(BUCKET).key("a/é 1").body(content.clone().into()).send().await.unwrap();
    s3.stop().await;

    let (s3, client) = started(folder.path()).await;
    let mut body = client.get_object().bucket(BUCKET).key("a/é 1").send().await.unwrap().body;
    let mut read = Vec::new();
    while let Some(chunk) = body.try_next().await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    assert!(read == content, "{} bytes", read.len());
    assert_eq!(std::fs::read(s3.file(BUCKET, "a/é 1")).unwrap().len(), content.len());
}

#[tokio::test]
async fn an_object_is_not_put_twice_where_none_may_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_s3, client) = started(folder.path()).await;
    let put = |text: &'static str| {
        let body = ByteStream::from_static(text.as_bytes());
        client.put_object().bucket(BUCKET).key("a").if_none_match("*").body(body).send()
    };
    put("one").await.unwrap();
    assert_eq!(put("two").await.unwrap_err().code(), Some("PreconditionFailed"));
    let object = client.get_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(object.body.collect().await.unwrap().to_vec(), b"one");
}

#[tokio::test]
async fn what_is_not_there_has_its_own_error() {
    let folder = tempfile::tempdir().unwrap();
    let (_s3, client) = started(folder.path()).await;
    let missing = client.get_object().bucket(BUCKET).key("a").send().await.unwrap_err();
    assert_eq!(missing.code(), Some("NoSuchKey"));
}

#[tokio::test]
async fn only_the_right_secret_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let (s3, _) = started(folder.path()).await;
    let refused = client(&s3, "wrong").get_object().bucket(BUCKET).key("a").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("SignatureDoesNotMatch"));
}

#[tokio::test]
async fn a_presigned_url_uploads_without_credentials_and_an_altered_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (_s3, client) = started(folder.path()).await;
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let url = client.put_object().bucket(BUCKET).key("rows.csv").presigned(expiry).await.unwrap().uri().to_owned();
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let put = |url: &str| {
        let body = Full::new(Bytes::from_static(b"sk,name\n"));
        http.request(Request::builder().method(Method::PUT).uri(url).body(body).unwrap())
    };
    let refused = put(&url.replace("rows.csv", "else.csv")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let answer = put(&url).await.unwrap();
    let (status, body) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
    assert_eq!(status, StatusCode::OK, "{body:?}");
    let object = client.get_object().bucket(BUCKET).key("rows.csv").send().await.unwrap();
    assert_eq!(object.body.collect().await.unwrap().to_vec(), b"sk,name\n");
}
