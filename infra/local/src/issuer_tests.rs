use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Request, StatusCode};
use ledgerline_app::{Commands, Registry};
use ledgerline_lambda::SystemEnvironment;
use ledgerline_testkit::MemoryLedger;
use ledgerline_web::{Api, AuthConfig, Authenticator, CursorKey, KeySource, KeySourceError, router};
use tower::ServiceExt as _;

use super::*;

struct Published(KeySet);

#[async_trait]
impl KeySource for Published {
    async fn fetch(&self) -> Result<JwkSet, KeySourceError> {
        // As over HTTP: through text.
        let text = serde_json::to_string(&self.0.current()).unwrap();
        Ok(serde_json::from_str(&text).unwrap())
    }
}

fn claims() -> Claims {
    Claims {
        tenant: "acme".to_owned(),
        role: "editor".to_owned(),
        user: "ann".to_owned(),
        expires_in: Duration::from_secs(60),
    }
}

/// What an empty create request with this token is answered: 400 if the token is accepted.
async fn status(keys: KeySet, token: &str) -> StatusCode {
    let authenticator = Authenticator::new(AuthConfig::new(ISSUER, AUDIENCE), Arc::new(Published(keys)));
    let router = router(Api {
        registry: Registry::shipped().unwrap(),
        commands: Some(Commands::new(Arc::new(MemoryLedger::default()), Arc::new(SystemEnvironment))),
        projector: None,
        queries: None,
        summaries: None,
        imports: None,
        admin: None,
        authenticator: Arc::new(authenticator),
        cursor_key: CursorKey::ephemeral(),
    });
    let request = Request::post("/api/v1/products")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from("{}"))
        .unwrap();
    router.oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn a_token_is_accepted_with_the_issuers_key_set_and_with_no_other() {
    let key = IssuerKey::generate().unwrap();
    let token = key.token(&claims()).unwrap();
    assert_eq!(status(KeySet::new(&key), &token).await, StatusCode::BAD_REQUEST);
    let other = KeySet::new(&IssuerKey::generate().unwrap());
    assert_eq!(status(other, &token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_host_without_state_accepts_tokens_of_a_key_made_after_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeySet::new(&IssuerKey::generate().unwrap()).with_data_dir(dir.path().to_owned());
    let token = IssuerKey::of_data_dir(dir.path()).unwrap().token(&claims()).unwrap();
    assert_eq!(status(keys, &token).await, StatusCode::BAD_REQUEST);
}

#[test]
fn a_data_directory_keeps_one_key_that_only_its_owner_can_read() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let first = IssuerKey::of_data_dir(dir.path()).unwrap();
    let again = IssuerKey::of_data_dir(dir.path()).unwrap();
    assert_eq!(first.pem, again.pem);
    let mode = std::fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
