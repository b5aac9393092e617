use axum::Router;
use axum::routing::get;

use super::*;

/// Serves `body` on this machine for as long as the test runs; gives the URL.
async fn serving(status: u16, body: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let status = ::http::StatusCode::from_u16(status).unwrap();
    let router = Router::new().route("/jwks.json", get(async move || (status, body)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn fetched(status: u16, body: &str) -> Result<JwkSet, KeySourceError> {
    let url = serving(status, body.to_owned()).await;
    JwksUrl::new(&url).unwrap().fetch().await
}

#[tokio::test]
async fn a_key_set_is_fetched() {
    let set = r#"{"keys": [{"kty": "RSA", "kid": "1", "n": "AQAB", "e": "AQAB"}, {"kty": "new", "kid": "2"}]}"#;
    assert_eq!(fetched(200, set).await.unwrap().keys.len(), 2);
}

#[tokio::test]
async fn what_is_no_key_set_is_refused() {
    for (status, body) in [(200, "nonsense"), (200, "{}"), (500, r#"{"keys": []}"#), (404, "")] {
        assert!(fetched(status, body).await.is_err(), "{status} {body}");
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused() {
    let padded = format!(r#"{{"keys": [], "padding": "{}"}}"#, "x".repeat(LIMIT_BYTES));
    assert!(fetched(200, &padded).await.is_err());
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert!(JwksUrl::new(&url).unwrap().fetch().await.is_err());
}

#[test]
fn keys_come_over_https_or_from_this_machine() {
    for url in
        ["https://issuer.example/jwks.json", "http://localhost:3000/jwks", "http://127.0.0.1/", "http://[::1]:1/"]
    {
        assert!(JwksUrl::new(url).is_ok(), "{url}");
    }
    for url in [
        "http://issuer.example/jwks.json",
        "http://localhost.evil.example/",
        "ftp://issuer.example",
        "/jwks",
        "",
        "not a url",
    ] {
        assert!(JwksUrl::new(url).is_err(), "{url}");
    }
}
