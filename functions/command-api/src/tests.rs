use std::collections::BTreeSet;

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt;
use lambda_http::{Context, LambdaEvent};
use ledgerline_lambda::http;
use ledgerline_testkit::{MemoryEntities, MemoryLedger};
use ledgerline_web::{AuthConfig, KeySource, KeySourceError};
use serde_json::{Value, json};

use super::*;

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/command-api");

const VARIABLES: [(&str, &str); 11] = [
    ("LEDGER_TABLE", "ledger"),
    ("DATA_TABLE", "data"),
    ("DATABASE_URL", "postgres://localhost/ledgerline"),
    ("CURSOR_KEY", "0123456789abcdef0123456789abcdef"),
    ("JWT_ISSUER", "https://issuer.example"),
    ("JWT_AUDIENCE", "ledgerline"),
    ("JWKS_URL", "https://issuer.example/jwks.json"),
    ("IMPORT_BUCKET", "imports"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
];

fn config_without(missing: &'static str) -> Config {
    Config::new(move |name| {
        let value = VARIABLES.iter().find(|(known, _)| *known == name && *known != missing);
        value.map(|(_, value)| (*value).to_owned())
    })
}

/// The status and code that the function answers with.
async fn answer(method: &str, path: &str) -> (Value, Value) {
    let deps = Deps::from_config(&config_without("")).await.unwrap();
    let event = json!({
        "version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {}, "isBase64Encoded": false,
        "requestContext": {"http": {"method": method, "path": path}, "requestId": "1", "stage": "$default"},
    });
    let (response, body) = invoke(deps, event).await;
    (response["statusCode"].clone(), body["code"].clone())
}

/// Trusts the key that signed the tokens in the event files.
struct EventKeys;

#[async_trait]
impl KeySource for EventKeys {
    async fn fetch(&self) -> Result<JwkSet, KeySourceError> {
        Ok(serde_json::from_str(include_str!("../../../events/issuer-jwks.json")).unwrap())
    }
}

fn authenticator_of_events() -> Arc<Authenticator> {
    let config = AuthConfig::new("https://issuer.ledgerline.localhost", "ledgerline");
    Arc::new(Authenticator::new(config, Arc::new(EventKeys)))
}

/// The names of this function's event files, without `.json`.
fn event_files() -> BTreeSet<String> {
    let files = std::fs::read_dir(EVENTS).unwrap().map(|file| file.unwrap().path());
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn event_file(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("{EVENTS}/{name}.json")).unwrap()).unwrap()
}

/// What API Gateway gets for an event: the answer and its body.
async fn invoke(deps: Deps, event: Value) -> (Value, Value) {
    let request: LambdaRequest = serde_json::from_value(event).unwrap();
    let response = http::service(service(deps)).oneshot(LambdaEvent::new(request, Context::default())).await.unwrap();
    let response = serde_json::to_value(&response).unwrap();
    let body = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    (response, body)
}

#[tokio::test]
async fn a_missing_variable_is_named_at_start() {
    for name in [
        "LEDGER_TABLE",
        "DATA_TABLE",
        "DATABASE_URL",
        "CURSOR_KEY",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
        "JWKS_URL",
        "IMPORT_BUCKET",
    ] {
        let error = Deps::from_config(&config_without(name)).await.err();
        assert_eq!(error, Some(StartupError::Missing(name.to_owned())));
    }
}

#[tokio::test]
async fn it_takes_commands_and_answers_405_to_reads() {
    assert_eq!(answer("GET", "/healthz").await, (json!(200), Value::Null));
    assert_eq!(answer("POST", "/api/v1/products").await, (json!(401), json!("UNAUTHORIZED")));
    assert_eq!(answer("GET", "/api/v1/products").await, (json!(405), json!("METHOD_NOT_ALLOWED")));
    assert_eq!(answer("GET", "/api/v1/products/p/history").await, (json!(405), json!("METHOD_NOT_ALLOWED")));
}

#[tokio::test]
async fn every_event_file_gets_its_answer() {
    let (ledger, entities) = (MemoryLedger::default(), MemoryEntities::default());
    // In this order, each on what the one before has left.
    let cases = [
        ("malformed-body", 400, 0),
        ("create-product", 201, 1),
        ("update-product", 200, 2),
        ("change-price", 200, 3),
        ("replace-product", 200, 4),
        ("delete-product", 200, 5),
        ("restore-product", 200, 6),
        ("create-product-with-key", 201, 7),
        ("create-product-with-key", 201, 7),
        ("bulk", 200, 9),
        ("bulk-atomic-refused", 409, 9),
    ];
    for (name, status, versions) in cases {
        let deps = Deps {
            registry: Registry::shipped().unwrap(),
            commands: Commands::new(Arc::new(ledger.clone()), Arc::new(SystemEnvironment)),
            projector: Projector::new(Registry::shipped().unwrap(), vec![Arc::new(entities.clone())]),
            // Nobody asks these two anything here.
            imports: Deps::from_config(&config_without("")).await.unwrap().imports,
            admin: Deps::from_config(&config_without("")).await.unwrap().admin,
            authenticator: authenticator_of_events(),
            cursor_key: CursorKey::ephemeral(),
        };
        let (response, body) = invoke(deps, event_file(name)).await;
        assert_eq!(response["statusCode"], json!(status), "{name}: {body}");
        assert_eq!(ledger.all().len(), versions, "{name}");
    }
    assert_eq!(event_files(), cases.map(|(name, ..)| name.to_owned()).into());
    let ring = ledger.all().into_iter().rfind(|item| item.key.to_string() == "PRODUCT#acme#ring-7").unwrap();
    assert_eq!((ring.updated.by.as_str(), ring.updated.ip.as_str()), ("event-fixture", "192.0.2.10"));
    // The batch asked to wait for the read models, and nothing else did.
    assert_eq!(entities.all().len(), 2);
}
