use axum::http::Request;
use serde_json::json;

use super::*;

fn cors(origins: &[&str]) -> Cors {
    let settings = json!({
        "AllowOrigins": origins, "AllowMethods": ["GET", "PUT"], "AllowHeaders": ["if-match", "prefer"],
        "ExposeHeaders": ["etag", "location"], "MaxAge": 600,
    });
    serde_json::from_value(settings).unwrap()
}

fn request(method: &str, headers: &[(&str, &str)]) -> request::Parts {
    let request =
        headers.iter().fold(Request::builder().method(method), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

/// The headers, sorted by name.
fn sorted(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut sorted: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    sorted.sort_unstable();
    sorted
}

#[test]
fn a_preflight_from_an_allowed_origin_learns_what_it_may_send() {
    let asked = request("OPTIONS", &[("origin", "https://shop.test"), ("access-control-request-method", "PUT")]);
    let answer = cors(&["*"]).preflight(&asked).unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let expected = [
        ("access-control-allow-headers", "if-match,prefer"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-origin", "*"),
        ("access-control-max-age", "600"),
    ];
    assert_eq!(sorted(answer.headers()), expected);
}

#[test]
fn a_preflight_from_another_origin_learns_nothing() {
    let asked = request("OPTIONS", &[("origin", "https://evil.test"), ("access-control-request-method", "PUT")]);
    let answer = cors(&["https://shop.test"]).preflight(&asked).unwrap();
    assert_eq!((answer.status(), sorted(answer.headers())), (StatusCode::NO_CONTENT, vec![]));
}

#[test]
fn only_options_with_an_origin_and_a_method_to_come_is_a_preflight() {
    let (origin, method) = (("origin", "https://shop.test"), ("access-control-request-method", "PUT"));
    for (asked, headers) in [("OPTIONS", vec![origin]), ("OPTIONS", vec![method]), ("GET", vec![origin, method])] {
        assert!(cors(&["*"]).preflight(&request(asked, &headers)).is_none(), "{asked} {headers:?}");
    }
}

#[test]
fn an_answer_names_who_may_read_it_and_what_is_exposed() {
    for (allowed, origin, named) in [
        ("*", "https://shop.test", Some("*")),
        ("https://shop.test", "https://shop.test", Some("https://shop.test")),
        ("https://*", "https://shop.test", Some("https://shop.test")),
        ("https://*", "http://shop.test", None),
        ("https://shop.test", "https://shop.test.evil.test", None),
    ] {
        let mut answer = HeaderMap::new();
        cors(&["http://first.test", allowed]).mark(&request("GET", &[("origin", origin)]).headers, &mut answer);
        let expected: Vec<_> = named
            .into_iter()
            .flat_map(|named| {
                [("access-control-allow-origin", named), ("access-control-expose-headers", "etag,location")]
            })
            .collect();
        assert_eq!(sorted(&answer), expected, "{allowed} {origin}");
    }
    let mut answer = HeaderMap::new();
    cors(&["*"]).mark(&HeaderMap::new(), &mut answer);
    assert_eq!(answer, HeaderMap::new(), "nobody asked");
}

#[test]
fn credentials_are_allowed_where_the_template_says_so() {
    let cors: Cors =
        serde_json::from_value(json!({ "AllowOrigins": ["https://a.test"], "AllowCredentials": true })).unwrap();
    let mut answer = HeaderMap::new();
    cors.mark(&request("GET", &[("origin", "https://a.test")]).headers, &mut answer);
    assert_eq!(answer[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
}
