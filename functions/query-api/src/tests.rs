use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt;
use lambda_http::{Context, LambdaEvent};
use ledgerline_lambda::http;
use serde_json::{Value, json};

use super::*;

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

/// What API Gateway gets for a request to the function.
async fn answer(method: &str, path: &str) -> (Value, Value) {
    let deps = Deps::from_config(&config_without("")).await.unwrap();
    let event = json!({
        "version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {}, "isBase64Encoded": false,
        "requestContext": {"http": {"method": method, "path": path}, "requestId": "1", "stage": "$default"},
    });
    let request: LambdaRequest = serde_json::from_value(event).unwrap();
    let response = http::service(service(deps)).oneshot(LambdaEvent::new(request, Context::default())).await.unwrap();
    let response = serde_json::to_value(&response).unwrap();
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    (response["statusCode"].clone(), body["code"].clone())
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
