use axum::http::Request;
use axum::http::header::ETAG;

use super::*;

fn event_of(request: Request<&[u8]>) -> Value {
    let (parts, body) = request.into_parts();
    let arrival = Arrival {
        request: &parts,
        body,
        peer: "192.0.2.7:50000".parse().unwrap(),
        request_id: "01JD0000000000000000000000",
        time: DateTime::from_timestamp_millis(1_587_481_701_067).unwrap(),
    };
    to_event(&arrival, "POST /api/v1/{proxy+}", vec![("proxy".to_owned(), "products".to_owned())])
}

#[test]
fn a_request_becomes_the_event_that_api_gateway_sends() {
    let request = Request::post("/api/v1/products?sort=-price&price.gte=1&tag=a&tag=b%20c")
        .header("Host", "127.0.0.1:3000")
        .header("User-Agent", "curl/8")
        .header("Content-Type", "application/json")
        .header("Accept", "a/b")
        .header("Accept", "c/d")
        .header("Cookie", "one=1; two=2")
        .body(br#"{"sk":"P-1"}"#.as_slice())
        .unwrap();
    let golden = json!({
        "version": "2.0",
        "routeKey": "POST /api/v1/{proxy+}",
        "rawPath": "/api/v1/products",
        "rawQueryString": "sort=-price&price.gte=1&tag=a&tag=b%20c",
        "cookies": ["one=1", "two=2"],
        "headers": {
            "accept": "a/b,c/d",
            "content-type": "application/json",
            "host": "127.0.0.1:3000",
            "user-agent": "curl/8",
            "x-forwarded-for": "192.0.2.7",
            "x-forwarded-port": "3000",
            "x-forwarded-proto": "http"
        },
        "queryStringParameters": { "price.gte": "1", "sort": "-price", "tag": "a,b c" },
        "pathParameters": { "proxy": "products" },
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "127.0.0.1",
            "domainPrefix": "local",
            "http": {
                "method": "POST",
                "path": "/api/v1/products",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "curl/8"
            },
            "requestId": "01JD0000000000000000000000",
            "routeKey": "POST /api/v1/{proxy+}",
            "stage": "$default",
            "time": "21/Apr/2020:15:08:21 +0000",
            "timeEpoch": 1_587_481_701_067_i64
        },
        "body": "{\"sk\":\"P-1\"}",
        "isBase64Encoded": false
    });
    assert_eq!(event_of(request), golden);
}

#[test]
fn a_body_that_is_not_declared_as_text_travels_in_base64() {
    for (content_type, body) in [("application/json", b"\xff".as_slice()), ("application/merge-patch+json", b"{}")] {
        let event = event_of(Request::post("/").header(CONTENT_TYPE, content_type).body(body).unwrap());
        assert_eq!(event["isBase64Encoded"], true, "{content_type}");
        assert_eq!(event["body"], BASE64.encode(body), "{content_type}");
    }
}

#[test]
fn the_path_is_decoded_once_and_cut_at_a_question_mark() {
    let path_of = |uri: &str| event_of(Request::get(uri).body(b"".as_slice()).unwrap())["rawPath"].clone();
    assert_eq!(path_of("/a/P%20%E2%82%AC%2525"), "/a/P €%25");
    assert_eq!(path_of("/a/b%3Fc/d"), "/a/b");
}

#[test]
fn an_answer_becomes_a_response_with_its_cookies_and_bytes() {
    let answer = json!({
        "statusCode": 201,
        "headers": { "etag": "\"1\"" },
        "multiValueHeaders": {},
        "cookies": ["a=1", "b=2"],
        "body": BASE64.encode([0, 255]),
        "isBase64Encoded": true
    });
    let response = to_response(&answer.to_string()).unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()[ETAG], "\"1\"");
    assert_eq!(response.headers().get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
}

#[test]
fn an_answer_that_is_not_a_response_is_an_error() {
    assert!(to_response(r#"{"batchItemFailures":[]}"#).is_err());
}
