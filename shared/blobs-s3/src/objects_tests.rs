use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use ledgerline_stores::LocalS3;
use tempfile::TempDir;

use super::*;

const BUCKET: &str = "ledgerline-imports";
const KEY: &str = "imports/acme/01J/source";

fn objects(endpoint: &str) -> S3Objects {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint)
        .force_path_style(true);
    S3Objects::new(Client::from_conf(config.build()), BUCKET)
}

async fn open() -> (S3Objects, (LocalS3, TempDir)) {
    let folder = tempfile::tempdir().unwrap();
    let s3 = LocalS3::start(folder.path()).await.unwrap();
    s3.create_bucket(BUCKET).unwrap();
    (objects(s3.endpoint()), (s3, folder))
}

mod contract {
    use super::open;
    ledgerline_testkit::objects_contract!(open);
}

/// As `curl --upload-file` does it.
async fn put(url: &str, content: &'static [u8]) -> (StatusCode, String) {
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let request = Request::put(url).body(Full::new(Bytes::from_static(content))).unwrap();
    let answer = http.request(request).await.unwrap();
    let status = answer.status();
    (status, String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned())
}

#[tokio::test]
async fn who_has_the_url_uploads_without_credentials_and_the_object_reads_back() {
    let (objects, _guard) = open().await;
    let url = objects.upload_url(KEY, Duration::from_secs(60)).await.unwrap();
    assert!(url.contains("X-Amz-Expires=60") && !url.contains("checksum"), "{url}");
    let (status, body) = put(&url, b"sk,name\r\nR-1,Ring\r\n").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let head = objects.head(KEY).await.unwrap().unwrap();
    assert_eq!(objects.read(KEY, &head.etag, 3, 4).await.unwrap().unwrap(), b"name");
    assert_eq!(head.size, 19);
}

#[tokio::test]
async fn an_altered_url_is_refused_and_nothing_is_put() {
    let (objects, _guard) = open().await;
    let url = objects.upload_url(KEY, Duration::from_secs(60)).await.unwrap();
    for altered in [
        url.replace("acme", "other"),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        format!("{}{}", &url[..url.len() - 1], if url.ends_with('0') { "1" } else { "0" }),
    ] {
        assert_ne!(altered, url);
        assert_eq!(put(&altered, b"x").await.0, StatusCode::FORBIDDEN, "{altered}");
    }
    assert_eq!((objects.head(KEY).await, objects.head("imports/other/01J/source").await), (Ok(None), Ok(None)));
}

#[tokio::test]
async fn an_expired_url_is_refused() {
    let (objects, _guard) = open().await;
    // Signed an hour ago, which is how an expired URL is made without waiting for it.
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    let expiry = PresigningConfig::builder().start_time(hour_ago).expires_in(Duration::from_secs(3590));
    let signed = objects.uploads.put_object().bucket(BUCKET).key(KEY).presigned(expiry.build().unwrap()).await.unwrap();
    let (status, body) = put(signed.uri(), b"x").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("Request has expired"), "{body}");
    assert_eq!(objects.head(KEY).await, Ok(None));
}

#[tokio::test]
async fn a_url_for_longer_than_a_week_is_no_url() {
    let (objects, _guard) = open().await;
    let asked = objects.upload_url(KEY, Duration::from_secs(8 * 24 * 60 * 60)).await;
    assert!(matches!(asked, Err(StoreError::Rejected { .. })), "{asked:?}");
}

#[tokio::test]
async fn a_store_that_is_stopped_is_unavailable_and_nothing_is_taken_for_missing() {
    let (objects, (s3, _folder)) = open().await;
    s3.stop().await;
    let is_away = |error: StoreError| matches!(error, StoreError::Unavailable { .. });
    assert!(is_away(objects.put(KEY, Vec::new()).await.unwrap_err()));
    assert!(is_away(objects.head(KEY).await.unwrap_err()));
    assert!(is_away(objects.read(KEY, "an etag", 0, 1).await.unwrap_err()));
    assert!(is_away(objects.copy(KEY, "copy").await.unwrap_err()));
}

#[tokio::test]
async fn a_bucket_that_is_missing_is_not_an_object_that_is() {
    let (objects, (s3, _folder)) = open().await;
    let elsewhere = S3Objects { bucket: "ledgerline-none".to_owned(), ..objects };
    for outcome in [elsewhere.put(KEY, Vec::new()).await.map(|()| true), elsewhere.copy(KEY, "copy").await] {
        assert!(!matches!(outcome, Err(StoreError::Rejected { .. })), "{outcome:?}");
    }
    s3.stop().await;
}
