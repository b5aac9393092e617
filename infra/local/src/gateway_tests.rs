use std::sync::Mutex;

use async_trait::async_trait;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;

use super::*;
use crate::event_source::InvokeError;
use crate::functions::InProcess;
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
        cors: None,
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

/// The target that the router sees, behind the gateway and the function's own reading of the event.
async fn target_seen(method: &str, sent: &str) -> String {
    let mirror = Router::new().fallback(async |request: Request| [("x-target", request.uri().to_string())]);
    let mut functions = InProcess::default();
    functions.add("f", Duration::from_secs(5), ledgerline_lambda::http::service(mirror));
    let route = |pattern: RoutePattern| Route { function: "f".to_owned(), pattern, cors: None };
    let routes =
        vec![route(RoutePattern::parse("GET", "/api/v1/{proxy+}").unwrap()), route(RoutePattern::of_the_rest())];
    let keys = KeySet::new(&IssuerKey::generate().unwrap());
    let gateway = Gateway::start(Door::bind(0).await.unwrap(), routes, keys);
    gateway.ready(Arc::new(functions));
    let request = Request::builder().method(method).uri(sent).header("host", "localhost:3000");
    let answer = gateway.answer(request.body(Body::empty()).unwrap()).await;
    answer.headers()["x-target"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_with_special_characters_arrives_the_same_by_the_default_route() {
    for path in [
        "/api/v1/products/50%25",
        "/api/v1/products/%2541",
        "/api/v1/products/a%23b%40c%20d",
        "/api/v1/products/%C3%A9%F0%9F%92%8E",
        "/api/v1/products/%25%32%35",
    ] {
        let by_route = target_seen("GET", path).await;
        assert_eq!(target_seen("HEAD", path).await, by_route, "{path}");
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        assert_eq!(decoded(&by_route), decoded(path));
    }
    assert_eq!(target_seen("GET", "/?a=%41").await, "/?a=%41");
}

#[tokio::test]
async fn what_browsers_ask_is_answered_here_and_every_answer_to_them_says_who_may_read_it() {
    let cors =
        serde_json::from_value(json!({ "AllowOrigins": ["*"], "AllowMethods": ["PUT"], "ExposeHeaders": ["etag"] }));
    let routes = vec![Route {
        function: "f".to_owned(),
        pattern: RoutePattern::parse("GET", "/api/v1/{proxy+}").unwrap(),
        cors: Some(Arc::new(cors.unwrap())),
    }];
    let keys = KeySet::new(&IssuerKey::generate().unwrap());
    let (gateway, echo) = (Gateway::start(Door::bind(0).await.unwrap(), routes, keys), Arc::<Echo>::default());
    gateway.ready(echo.clone());
    let ask = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(Request::builder().method(method).uri(path), |r, (n, v)| r.header(*n, *v));
        gateway.answer(request.body(Body::empty()).unwrap()).await
    };
    let origin = ("origin", "https://shop.test");
    let preflight = ask("OPTIONS", "/api/v1/x", &[origin, ("access-control-request-method", "PUT")]).await;
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert_eq!(preflight.headers()["access-control-allow-methods"], "PUT");
    assert!(echo.asked.lock().unwrap().is_empty());
    for (path, status) in [("/api/v1/x", StatusCode::OK), ("/none", StatusCode::NOT_FOUND)] {
        let answer = ask("GET", path, &[origin]).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        assert_eq!(answer.headers()["access-control-expose-headers"], "etag");
    }
    assert!(!ask("GET", "/api/v1/x", &[]).await.headers().contains_key("access-control-allow-origin"));
    assert_eq!(ask("OPTIONS", "/api/v1/x", &[]).await.status(), StatusCode::NOT_FOUND, "no preflight, and no route");
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
    assert!(response.headers().contains_key("apigw-requestid"), "what to look for in the log");
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
