use std::sync::Mutex;

use async_trait::async_trait;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;

use super::*;
use crate::event_source::InvokeError;
use crate::issuer::IssuerKey;
use crate::routes::RoutePattern;

/// Answers with the event it got; remembers which function was asked.
#[derive(Default)]
struct Echo {
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Invoke for Echo {
    async fn invoke(&self, function: &str, event: String) -> Result<String, InvokeError> {
        self.asked.lock().unwrap().push(function.to_owned());
        if event.contains("make it fail") {
            return Err(InvokeError::Failed("on purpose".to_owned()));
        }
        Ok(json!({ "statusCode": 200, "headers": {}, "cookies": [], "body": event }).to_string())
    }
}

async fn gateway() -> (Gateway, Arc<Echo>) {
    let route = |method, path, function: &str| Route {
        function: function.to_owned(),
        pattern: RoutePattern::parse(method, path).unwrap(),
    };
    let routes = vec![
        route("GET", "/healthz", "query-api"),
        route("GET", "/api/v1/{proxy+}", "query-api"),
        route("POST", "/api/v1/{proxy+}", "command-api"),
    ];
    let keys = KeySet::new(&IssuerKey::generate().unwrap());
    (Gateway::start(Door::bind(0).await.unwrap(), routes, keys), Arc::default())
}

async fn get_status(gateway: &Gateway, path: &str) -> StatusCode {
    gateway.answer(Request::get(path).body(Body::empty()).unwrap()).await.status()
}

#[tokio::test]
async fn requests_reach_the_function_of_their_route_and_nothing_else() {
    let (gateway, echo) = gateway().await;
    gateway.ready(echo.clone());
    let request = Request::post("/api/v1/products").header(CONTENT_TYPE, "application/json").body(Body::from("{}"));
    let response = gateway.answer(request.unwrap()).await;
    let event: Value = serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap();
    assert_eq!(event["routeKey"], "POST /api/v1/{proxy+}");
    assert_eq!(event["body"], "{}");
    assert_eq!(get_status(&gateway, "/api/v1/products").await, StatusCode::OK);
    assert_eq!(get_status(&gateway, "/api/v2/products").await, StatusCode::NOT_FOUND);
    assert_eq!(*echo.asked.lock().unwrap(), ["command-api", "query-api"]);
}

#[tokio::test]
async fn nothing_but_the_key_set_answers_before_everything_is_up() {
    let (gateway, echo) = gateway().await;
    assert_eq!(get_status(&gateway, "/healthz").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get_status(&gateway, "/.well-known/jwks.json").await, StatusCode::OK);
    gateway.ready(echo);
    assert_eq!(get_status(&gateway, "/healthz").await, StatusCode::OK);
}

#[tokio::test]
async fn a_body_over_ten_megabytes_is_refused_before_any_function_sees_it() {
    let (gateway, echo) = gateway().await;
    gateway.ready(echo.clone());
    let request = Request::post("/api/v1/products").body(Body::from(vec![b' '; BODY_LIMIT + 1])).unwrap();
    assert_eq!(gateway.answer(request).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(echo.asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_failing_function_is_an_internal_server_error_without_its_reason() {
    let (gateway, echo) = gateway().await;
    gateway.ready(echo);
    let request = Request::post("/api/v1/x").header(CONTENT_TYPE, "text/plain").body(Body::from("make it fail"));
    let response = gateway.answer(request.unwrap()).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(body, r#"{"message":"Internal Server Error"}"#);
}

#[tokio::test]
async fn a_stopped_gateway_frees_its_port() {
    let (gateway, _) = gateway().await;
    let port = gateway.address.port();
    gateway.stop().await;
    Door::bind(port).await.unwrap();
}
