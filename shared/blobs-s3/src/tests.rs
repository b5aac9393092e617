use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use ledgerline_stores::LocalS3;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const BUCKET: &str = "ledgerline-states";

fn blobs(endpoint: &str) -> S3Blobs {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint)
        .force_path_style(true);
    S3Blobs::new(Client::from_conf(config.build()), BUCKET, "states/")
}

async fn open() -> (S3Blobs, (LocalS3, TempDir)) {
    let folder = tempfile::tempdir().unwrap();
    let s3 = LocalS3::start(folder.path()).await.unwrap();
    s3.create_bucket(BUCKET).unwrap();
    (blobs(s3.endpoint()), (s3, folder))
}

mod contract {
    use super::open;
    ledgerline_testkit::blobs_contract!(open);
}

fn acme() -> TenantCode {
    "acme".parse().unwrap()
}

fn is_away<T>(outcome: &Result<T, StoreError>, code: &str) -> bool {
    matches!(outcome, Err(StoreError::Unavailable { reason, .. }) if reason.contains(code))
}

#[tokio::test]
async fn an_object_is_named_by_tenant_and_hash_and_never_replaced() {
    let (blobs, (s3, _folder)) = open().await;
    let hash = Hash::of("content");
    let file = s3.file(BUCKET, &format!("states/acme/{hash}"));
    blobs.put(&acme(), &hash, b"content".to_vec()).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"content");
    // What does not have that hash: a caller's mistake that costs nothing.
    blobs.put(&acme(), &hash, b"something else".to_vec()).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"content");
}

#[tokio::test]
async fn altered_content_is_given_as_it_is_for_whoever_knows_its_hash() {
    let (blobs, (s3, _folder)) = open().await;
    let hash = Hash::of("content");
    blobs.put(&acme(), &hash, b"content".to_vec()).await.unwrap();
    std::fs::write(s3.file(BUCKET, &format!("states/acme/{hash}")), "altered").unwrap();
    assert_eq!(blobs.get(&acme(), &hash).await, Ok(Some(b"altered".to_vec())));
}

#[tokio::test]
async fn a_store_that_is_stopped_is_unavailable() {
    let (blobs, (s3, _folder)) = open().await;
    s3.stop().await;
    let hash = Hash::of("content");
    assert!(is_away(&blobs.put(&acme(), &hash, b"content".to_vec()).await, ""));
    assert!(is_away(&blobs.get(&acme(), &hash).await, ""));
}

/// An S3 that gives these answers, one after the other and the last one for ever, and counts.
async fn answering(answers: &'static [(u16, &'static str)]) -> (S3Blobs, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let blobs = blobs(&format!("http://{}", listener.local_addr().unwrap()));
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let number = count.fetch_add(1, Ordering::Relaxed);
            // Less than a kilobyte, so it comes at once; the answer ends the connection.
            let _ = connection.read(&mut [0; 4096]).await;
            let (status, code) = answers[number.min(answers.len() - 1)];
            let body = format!("<Error><Code>{code}</Code><Message>by the test</Message></Error>");
            let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = connection.write_all((head + &body).as_bytes()).await;
        }
    });
    (blobs, requests)
}

#[tokio::test]
async fn what_s3_cannot_do_now_is_unavailable_and_nothing_is_taken_for_missing() {
    for code in ["SlowDown", "InternalError", "AccessDenied", "NoSuchBucket", "RequestTimeout"] {
        let status = if code == "AccessDenied" {
            403
        } else if code == "NoSuchBucket" {
            404
        } else {
            503
        };
        let answers: &'static [_] = Box::leak(Box::new([(status, code)]));
        let (blobs, _) = answering(answers).await;
        let hash = Hash::of("content");
        assert!(is_away(&blobs.put(&acme(), &hash, b"content".to_vec()).await, code), "{code}");
        assert!(is_away(&blobs.get(&acme(), &hash).await, code), "{code}");
    }
}

#[tokio::test]
async fn a_put_beside_another_of_the_same_content_is_sent_again_and_succeeds() {
    let (blobs, requests) = answering(&[(409, "ConditionalRequestConflict"), (412, "PreconditionFailed")]).await;
    assert_eq!(blobs.put(&acme(), &Hash::of("a"), b"a".to_vec()).await, Ok(()));
    assert_eq!(requests.load(Ordering::Relaxed), 2);

    let (blobs, requests) = answering(&[(409, "ConditionalRequestConflict")]).await;
    assert!(is_away(&blobs.put(&acme(), &Hash::of("a"), b"a".to_vec()).await, "ConditionalRequestConflict"));
    assert_eq!(requests.load(Ordering::Relaxed), 4);
}
