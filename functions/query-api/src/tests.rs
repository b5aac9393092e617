use std::collections::BTreeSet;

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt;
use lambda_http::{Context, LambdaEvent};
use ledgerline_app::{Caller, CommandRequest, Commands, Projector, RequestOrigin};
use ledgerline_kernel::Action;
use ledgerline_lambda::http;
use ledgerline_testkit::{MemoryDeltas, MemoryEntities, MemoryLedger};
use ledgerline_web::{AuthConfig, KeySource, KeySourceError};
use serde_json::{Value, json};

use super::*;

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/query-api");

const VARIABLES: [(&str, &str); 10] = [
    ("LEDGER_TABLE", "ledger"),
    ("DATA_TABLE", "data"),
    ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
    ("CURSOR_KEY", "0123456789abcdef0123456789abcdef"),
    ("JWT_ISSUER", "https://issuer.example"),
    ("JWT_AUDIENCE", "ledgerline"),
    ("JWKS_URL", "https://issuer.example/jwks.json"),
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
    for name in ["LEDGER_TABLE", "DATA_TABLE", "DATABASE_URL", "CURSOR_KEY", "JWT_ISSUER", "JWT_AUDIENCE", "JWKS_URL"] {
        let error = Deps::from_config(&config_without(name)).await.err();
        assert_eq!(error, Some(StartupError::Missing(name.to_owned())));
    }
}

#[tokio::test]
async fn a_variable_that_makes_no_sense_is_named_and_its_value_is_not() {
    for (name, value) in [("CURSOR_KEY", "short secret"), ("DATABASE_URL", "a secret"), ("JWKS_URL", "a secret")] {
        let rest = config_without(name);
        let config =
            Config::new(move |asked| if asked == name { Some(value.to_owned()) } else { rest.optional(asked) });
        let text = Deps::from_config(&config).await.err().unwrap().to_string();
        assert!(text.contains(name) && !text.contains(value), "{text}");
    }
}

#[tokio::test]
async fn it_reads_and_answers_405_to_commands() {
    assert_eq!(answer("GET", "/healthz").await, (json!(200), Value::Null));
    assert_eq!(answer("GET", "/api/v1/products").await, (json!(401), json!("UNAUTHORIZED")));
    assert_eq!(answer("POST", "/api/v1/products").await, (json!(405), json!("METHOD_NOT_ALLOWED")));
    assert_eq!(answer("POST", "/api/v1/products/p/restore").await, (json!(405), json!("METHOD_NOT_ALLOWED")));
}

/// The function over stores that hold the product that the event files ask for.
async fn deps_with_ring() -> Deps {
    let (ledger, entities) = (MemoryLedger::default(), MemoryEntities::default());
    let registry = Registry::shipped().unwrap();
    let create = CommandRequest {
        domain: registry.by_resource("products").unwrap().as_ref(),
        action: Action::Create,
        sk: None,
        if_match: None,
        idempotency_key: None,
        body: r#"{"sk": "ring-7", "code": "R-7", "name": "Ring", "attributes": {"price": "1250.00"}}"#,
        caller: Caller { tenant: "acme".parse().unwrap(), user: "user-1".to_owned(), ip: String::new() },
        origin: RequestOrigin::default(),
    };
    Commands::new(Arc::new(ledger.clone()), Arc::new(SystemEnvironment)).execute(create).await.unwrap();
    let projector = Projector::new(registry.clone(), vec![Arc::new(entities.clone())]);
    projector.apply(&ledger.all()).await.unwrap();
    let environment = Arc::new(SystemEnvironment);
    let queries = Queries::new(Arc::new(ledger), Arc::new(entities.clone()), Arc::new(entities), environment);
    let summaries = Arc::new(MemoryDeltas::default());
    Deps { registry, queries, summaries, authenticator: authenticator_of_events(), cursor_key: CursorKey::ephemeral() }
}

#[tokio::test]
async fn every_event_file_gets_its_answer() {
    let cases = [
        ("healthz", "/data/status", json!("ok")),
        ("get-product", "/data/sk", json!("ring-7")),
        ("list-products", "/data/0/attributes/price", json!("1250.00")),
        ("product-history", "/data/0/events/0/type", json!("ProductCreated")),
    ];
    for (name, place, expected) in &cases {
        let (response, body) = invoke(deps_with_ring().await, event_file(name)).await;
        assert_eq!(response["statusCode"], json!(200), "{name}: {body}");
        assert_eq!(body.pointer(place), Some(expected), "{name}: {body}");
    }
    assert_eq!(event_files(), cases.map(|(name, ..)| name.to_owned()).into());
}
