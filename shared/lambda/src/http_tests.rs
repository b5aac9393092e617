use axum::extract::Request as AxumRequest;
use lambda_http::Context;
use serde_json::{Value, json};

use super::*;

/// An event as an HTTP API sends it that has no route for the request but `$default`.
fn event(path: &str, query: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "api.example.com", "x-forwarded-proto": "https", "content-type": "application/json"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.example.com",
            "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
            "requestId": "gateway-1",
            "stage": "$default"
        },
        "body": "{}",
        "isBase64Encoded": false
    })
}

/// Answers with what it was asked.
fn mirror() -> Router {
    Router::new().fallback(async |request: AxumRequest| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let seen = json!({
            "method": parts.method.as_str(),
            "uri": parts.uri.to_string(),
            "id": parts.extensions.get::<RequestId>().unwrap().0,
            "ip": parts.extensions.get::<SourceIp>().map(|ip| ip.0.clone()),
            "contentType": parts.headers.get("content-type").and_then(|value| value.to_str().ok()),
            "body": String::from_utf8_lossy(&body),
        });
        ([("content-type", "application/json"), ("x-seen", "yes")], seen.to_string())
    })
}

/// The whole answer, as API Gateway gets it.
async fn answer(event: &Value) -> Value {
    let request: LambdaRequest = serde_json::from_value(event.clone()).unwrap();
    let mut context = Context::default();
    context.request_id = "invocation-1".to_owned();
    let response = service(mirror()).oneshot(LambdaEvent::new(request, context)).await.unwrap();
    serde_json::to_value(&response).unwrap()
}

/// What the router was asked.
async fn seen(event: &Value) -> Value {
    serde_json::from_str(answer(event).await["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_request_arrives_with_its_method_target_body_id_and_ip() {
    let seen = seen(&event("/api/v1/products/p", "limit=2&sort=-price")).await;
    assert_eq!(
        seen,
        json!({
            "method": "POST", "uri": "/api/v1/products/p?limit=2&sort=-price", "id": "gateway-1", "ip": "192.0.2.1",
            "contentType": "application/json", "body": "{}",
        })
    );
}

#[tokio::test]
async fn an_answer_leaves_as_text_with_its_status_and_headers() {
    let answer = answer(&event("/", "")).await;
    assert_eq!((&answer["statusCode"], &answer["isBase64Encoded"]), (&json!(200), &json!(false)));
    assert_eq!(answer["headers"]["x-seen"], json!("yes"));
}

/// The same as a function URL sends it, which `$default` does not tell apart.
fn function_url_event(path: &str) -> Value {
    let mut event = event(path, "");
    for place in ["/headers/host", "/requestContext/domainName"] {
        *event.pointer_mut(place).unwrap() = json!("abc.lambda-url.eu-central-1.on.aws");
    }
    event["requestContext"]["apiId"] = json!("abc");
    event
}

#[tokio::test]
async fn a_path_of_a_function_url_arrives_as_it_was_sent() {
    for (sent, arrives) in [
        ("/products/a%2Fb", "/products/a%2Fb"),
        ("/products/50%25", "/products/50%25"),
        ("/products/50%", "/products/50%25"),
        ("/products/a b", "/products/a%20b"),
        ("/products/é", "/products/%C3%A9"),
        ("/products/é%C3%A9", "/products/%C3%A9%C3%A9"),
        ("/products/what?now#then", "/products/what%3Fnow%23then"),
        ("/products/..", "/products/.."),
        ("/products/%2e%2e/x", "/products/%2e%2e/x"),
        ("//products", "//products"),
        ("products", "/products"),
        ("", "/"),
        ("/a%4", "/a%254"),
        ("/a%é9", "/a%25%C3%A99"),
        ("/a\u{0}b\r\n", "/a%00b%0D%0A"),
        ("/a\\b^`{|}\"<>", "/a%5Cb%5E%60%7B%7C%7D%22%3C%3E"),
        (":99999/x", "/:99999/x"),
        ("@[::/x", "/@[::/x"),
    ] {
        assert_eq!(seen(&function_url_event(sent)).await["uri"], json!(arrives), "{sent:?}");
    }
}

#[tokio::test]
async fn a_path_of_a_function_url_of_cargo_lambda_arrives_as_it_was_sent() {
    let mut event = event("/products/50%25", "");
    event["requestContext"].as_object_mut().unwrap().remove("apiId");
    event["requestContext"]["domainName"] = json!("localhost");
    assert_eq!(seen(&event).await["uri"], json!("/products/50%25"));
}

#[tokio::test]
async fn a_path_of_an_http_api_was_decoded_and_is_encoded_as_a_whole_whatever_its_route() {
    for (decoded, arrives) in [
        ("/products/%41", "/products/%2541"),
        ("/products/50%25", "/products/50%2525"),
        ("/products/50% @home #1", "/products/50%25%20@home%20%231"),
        ("/products/é", "/products/%C3%A9"),
    ] {
        for route in ["GET /api/v1/{proxy+}", "ANY /{proxy+}", "$default"] {
            let mut event = event(decoded, "");
            event["routeKey"] = json!(route);
            assert_eq!(seen(&event).await["uri"], json!(arrives), "{route} {decoded:?}");
        }
    }
}

#[tokio::test]
async fn a_stage_with_a_name_is_no_part_of_the_path() {
    for (stage, sent, arrives) in [
        ("prod", "/prod/api/v1/products", "/api/v1/products"),
        ("prod", "/api/v1/products", "/api/v1/products"),
        ("prod", "/production/x", "/production/x"),
        ("prod", "/prod", "/prod"),
        ("$default", "/$default/x", "/x"),
        ("", "//x", "//x"),
    ] {
        let mut event = event(sent, "");
        event["requestContext"]["stage"] = json!(stage);
        assert_eq!(seen(&event).await["uri"], json!(arrives), "{stage} {sent}");
    }
}

#[tokio::test]
async fn the_invocations_id_stands_in_for_a_missing_one() {
    let mut event = event("/", "");
    event["requestContext"].as_object_mut().unwrap().remove("requestId");
    event["requestContext"]["http"].as_object_mut().unwrap().remove("sourceIp");
    let seen = seen(&event).await;
    assert_eq!((&seen["id"], &seen["ip"]), (&json!("invocation-1"), &Value::Null));
}

#[tokio::test]
async fn a_base64_body_is_decoded_and_one_that_is_not_base64_stays_as_it_is() {
    for (body, arrives) in [("e30=", "{}"), ("not base64!", "not base64!"), ("e30", "e30"), ("/w==", "\u{fffd}")] {
        let mut event = event("/", "");
        event["body"] = json!(body);
        event["isBase64Encoded"] = json!(true);
        assert_eq!(seen(&event).await["body"], json!(arrives), "{body}");
    }
}

#[tokio::test]
async fn no_text_in_an_event_makes_it_panic() {
    let long = "x".repeat(100_000);
    let hostile = [
        "",
        " ",
        "%",
        "%%%",
        "\u{0}",
        "\r\n",
        "é💎",
        "::::",
        "[",
        "]",
        "[::1",
        "a:b:c",
        "@",
        "//",
        "\\",
        "..",
        "?",
        "#",
        "http://evil/",
        "localhost:99999999",
        "xn--a",
        "-",
        "{}",
        "\"",
        "<>",
        "javascript:alert(1)",
        &long,
    ];
    for text in hostile {
        for place in [
            "/rawPath",
            "/rawQueryString",
            "/requestContext/stage",
            "/requestContext/domainName",
            "/requestContext/requestId",
            "/requestContext/http/path",
            "/requestContext/http/sourceIp",
            "/body",
        ] {
            let mut event = event("/api/v1/products", "limit=1");
            *event.pointer_mut(place).unwrap() = json!(text);
            assert_eq!(answer(&event).await["statusCode"], json!(200), "{place} = {text:?}");
        }
        let mut event = event("/api/v1/products", "limit=1");
        event["body"] = json!(text);
        event["isBase64Encoded"] = json!(true);
        event["cookies"] = json!([text]);
        event["pathParameters"] = json!({text: text});
        event["stageVariables"] = json!({text: text});
        event["queryStringParameters"] = json!({text: text});
        assert_eq!(answer(&event).await["statusCode"], json!(200), "{text:?}");
        for header in ["host", "x-forwarded-proto", "x-forwarded-port", "content-type", "content-encoding"] {
            event["headers"][header] = json!(text);
            // A value that HTTP has no way of sending cannot arrive either.
            if ::http::HeaderValue::from_str(text).is_ok() {
                assert_eq!(answer(&event).await["statusCode"], json!(200), "{header} = {text:?}");
            }
            event["headers"].as_object_mut().unwrap().remove(header);
        }
    }
}
