//! Bad input gets the documented status and code, never a 5xx, and writes nothing.

use axum::body::Body;
use http::Request;
use http_body_util::StreamBody;
use ledgerline_app::Registry;
use ledgerline_testkit::tome::Tome;
use serde_json::json;

use super::issuer::token;
use super::world::{World, product, request};
use crate::Api;

const PRODUCTS: &str = "/api/v1/products";
const PRODUCT: &str = "/api/v1/products/p";

async fn world_with_p() -> World {
    let world = World::new();
    world.create("p", "1").await;
    world
}

#[tokio::test]
async fn bodies_that_are_not_one_json_object_are_malformed() {
    let world = world_with_p().await;
    let before = world.stored();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["{", "nonsense", "[]", "\"text\"", "null", "1", "{} {}", "{\"code\": \"c\",}", "{'code': 1}", &deep] {
        world.ask("POST", PRODUCTS, &[], body).await.expect(400, "MALFORMED_BODY");
        world.ask("PATCH", PRODUCT, &[("if-match", "*")], body).await.expect(400, "MALFORMED_BODY");
    }
    assert_eq!(world.stored(), before);
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_malformed() {
    let world = world_with_p().await;
    let mut bad = request("POST", PRODUCTS, &[], "x", &token("acme", "admin"));
    *bad.body_mut() = Body::from(vec![b'{', 0xFF, b'}']);
    world.send(bad).await.expect(400, "MALFORMED_BODY");
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn every_problem_of_a_body_is_named_with_its_path_and_code() {
    let world = world_with_p().await;
    let before = world.stored();
    let nines = "9".repeat(39);
    let with = |attributes: &str| format!(r#"{{"sk": "q", "code": "c", "name": "n", "attributes": {attributes}}}"#);
    for (body, path, code) in [
        (r#"{"name": "n"}"#.to_owned(), "code", "REQUIRED"),
        (r#"{"code": null, "name": "n"}"#.to_owned(), "code", "REQUIRED"),
        (r#"{"code": 7, "name": "n"}"#.to_owned(), "code", "WRONG_TYPE"),
        (r#"{"code": "c", "name": "n", "colour": "red"}"#.to_owned(), "colour", "UNKNOWN_FIELD"),
        (r#"{"code": "c", "name": "n", "version": 1}"#.to_owned(), "version", "UNKNOWN_FIELD"),
        (r#"{"code": "c", "name": "n", "tenantCode": "globex"}"#.to_owned(), "tenantCode", "UNKNOWN_FIELD"),
        (r#"{"code": "c", "code": "d", "name": "n"}"#.to_owned(), "code", "DUPLICATE_FIELD"),
        (r#"{"code": "c", "name": "a\u0000b"}"#.to_owned(), "name", "NUL_CHARACTER"),
        (r#"{"sk": "", "code": "c", "name": "n"}"#.to_owned(), "sk", "INVALID_SORT_KEY"),
        (r#"{"sk": "a/b", "code": "c", "name": "n"}"#.to_owned(), "sk", "INVALID_SORT_KEY"),
        (r#"{"sk": "a?b", "code": "c", "name": "n"}"#.to_owned(), "sk", "INVALID_SORT_KEY"),
        (r#"{"sk": "..", "code": "c", "name": "n"}"#.to_owned(), "sk", "INVALID_SORT_KEY"),
        (r#"{"sk": "a\u0000b", "code": "c", "name": "n"}"#.to_owned(), "sk", "NUL_CHARACTER"),
        (with("[]"), "attributes", "WRONG_TYPE"),
        (with(r#"{"price": true}"#), "attributes.price", "WRONG_TYPE"),
        (with(r#"{"price": "twelve"}"#), "attributes.price", "WRONG_TYPE"),
        (with(&format!(r#"{{"price": {nines}}}"#)), "attributes.price", "TOO_MANY_DIGITS"),
        (with(&format!(r#"{{"price": "{nines}"}}"#)), "attributes.price", "TOO_MANY_DIGITS"),
        (with(r#"{"price": 1e999999}"#), "attributes.price", "TOO_MANY_DIGITS"),
        (with(r#"{"colour": "red"}"#), "attributes.colour", "UNKNOWN_FIELD"),
        (with(r#"{"specification": {"weight": 3}}"#), "attributes.specification.weight", "WRONG_TYPE"),
    ] {
        let answer = world.ask("POST", PRODUCTS, &[], &body).await.expect(400, "VALIDATION_ERROR");
        assert_eq!(
            (&answer.json["errors"][0]["path"], &answer.json["errors"][0]["code"]),
            (&json!(path), &json!(code)),
            "{body}"
        );
        assert!(answer.json["errors"][0]["message"].is_string());
    }
    assert_eq!(world.stored(), before);
}

#[tokio::test]
async fn a_negative_price_is_refused_by_every_way_in() {
    let world = world_with_p().await;
    let before = world.stored();
    let negative = json!({"attributes": {"price": "-0.01"}});
    world.ask("POST", PRODUCTS, &[], &product("q", "-1").to_string()).await.expect(400, "VALIDATION_ERROR");
    world
        .change("PUT", PRODUCT, "*", &json!({"code": "c", "name": "n", "attributes": {"price": -1}}))
        .await
        .expect(400, "VALIDATION_ERROR");
    world.change("PATCH", PRODUCT, "*", &negative).await.expect(400, "VALIDATION_ERROR");
    world
        .change("POST", "/api/v1/products/p/commands/change-price", "*", &json!({"price": "-0.01"}))
        .await
        .expect(400, "VALIDATION_ERROR");
    assert_eq!(world.stored(), before);
}

#[tokio::test]
async fn a_change_without_an_expected_version_is_428() {
    let world = world_with_p().await;
    let full = product("p", "2");
    let full = json!({"code": full["code"], "name": full["name"]}).to_string();
    for (method, path, body) in [
        ("PUT", PRODUCT, full.as_str()),
        ("PATCH", PRODUCT, "{}"),
        ("DELETE", PRODUCT, ""),
        ("POST", "/api/v1/products/p/restore", ""),
        ("POST", "/api/v1/products/p/commands/change-price", r#"{"price": "2"}"#),
    ] {
        world.ask(method, path, &[], body).await.expect(428, "PRECONDITION_REQUIRED");
    }
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn an_expected_version_that_makes_no_sense_is_400() {
    let world = world_with_p().await;
    for tag in ["1", "W/\"1\"", "\"1\", \"2\"", "\"x\"", ""] {
        let answer = world.change("DELETE", PRODUCT, tag, &json!(null)).await.expect(400, "INVALID_PARAMETER");
        assert_eq!(answer.json["errors"][0]["path"], json!("If-Match"));
    }
    let body = r#"{"name": "n", "version": 2}"#;
    world.ask("PATCH", PRODUCT, &[("if-match", "\"1\"")], body).await.expect(400, "VALIDATION_ERROR");
    world.ask("PATCH", PRODUCT, &[], r#"{"name": "n", "version": "1"}"#).await.expect(400, "VALIDATION_ERROR");
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn an_unknown_id_is_404_for_every_verb() {
    let world = world_with_p().await;
    let long = format!("{PRODUCTS}/{}", "x".repeat(129));
    // Not there; and four that cannot be: too long, NUL, not NFC, not UTF-8.
    for path in
        ["/api/v1/products/none", &long, "/api/v1/products/a%00b", "/api/v1/products/e%CC%81", "/api/v1/products/%FF"]
    {
        for method in ["GET", "PATCH", "DELETE"] {
            world.change(method, path, "*", &json!(null)).await.expect(404, "NOT_FOUND");
        }
        world.change("PUT", path, "*", &json!({"code": "c", "name": "n"})).await.expect(404, "NOT_FOUND");
        world.change("POST", &format!("{path}/restore"), "*", &json!(null)).await.expect(404, "NOT_FOUND");
        world.get(&format!("{path}/history")).await.expect(404, "NOT_FOUND");
    }
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn other_media_types_are_415_where_there_is_a_body() {
    let world = world_with_p().await;
    let body = product("q", "1").to_string();
    for media_type in
        ["text/plain", "application/xml", "application/merge-patch+json", "application/json; charset=utf-16"]
    {
        let answer = world.ask("POST", PRODUCTS, &[("content-type", media_type)], &body).await;
        answer.expect(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let mut untyped = request("POST", PRODUCTS, &[], &body, &token("acme", "admin"));
    untyped.headers_mut().remove("content-type");
    world.send(untyped).await.expect(415, "UNSUPPORTED_MEDIA_TYPE");
    let packed = [("content-encoding", "gzip")];
    world.ask("POST", PRODUCTS, &packed, &body).await.expect(415, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(world.stored().len(), 1);
    let empty = world.ask("DELETE", PRODUCT, &[("if-match", "*"), ("content-type", "text/plain")], "").await;
    assert_eq!(empty.status.as_u16(), 200, "no body, no media type to mind");
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_413_whatever_its_length_header_says() {
    let world = world_with_p().await;
    let megabytes = format!(r#"{{"code": "{}"}}"#, "x".repeat(2 * 1024 * 1024));
    world.ask("POST", PRODUCTS, &[], &megabytes).await.expect(413, "PAYLOAD_TOO_LARGE");
    for length in ["2097152", "3", "nonsense"] {
        let headers = [("content-length", length)];
        let answer = world.ask("POST", PRODUCTS, &headers, &megabytes).await.expect(413, "PAYLOAD_TOO_LARGE");
        assert_eq!(answer.json["detail"], json!("the request's body is over the limit of 1 MiB"), "{length}");
    }
    world.ask("POST", PRODUCTS, &[("content-length", "2097152")], "{}").await.expect(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn a_body_for_a_domain_with_large_states_is_413_over_five_mebibytes() {
    let tomes = |api: &mut Api| api.registry = Registry::default().with::<Tome>().unwrap();
    let world = World::new().serving(tomes);
    // Refused for what is missing in it, so it was read.
    let body = format!(r#"{{"name": "{}"}}"#, "x".repeat(5 * 1024 * 1024 - 12));
    world.ask("POST", "/api/v1/tomes", &[], &body).await.expect(400, "VALIDATION_ERROR");
    let over = world.ask("POST", "/api/v1/tomes", &[], &format!("{body} ")).await.expect(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(over.json["detail"], json!("the request's body is over the limit of 5 MiB"));
    let bulk = format!("[{}]", body.replacen('x', "", 2));
    world.ask("POST", "/api/v1/tomes/bulk", &[], &bulk).await.expect(200, "");
    world.ask("POST", "/api/v1/tomes/bulk", &[], &format!("{bulk} ")).await.expect(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_malformed() {
    let world = world_with_p().await;
    let chunks = [
        Ok(http_body::Frame::data(axum::body::Bytes::from_static(b"{\"code\": "))),
        Err(std::io::Error::other("the connection broke")),
    ];
    let body = Body::new(StreamBody::new(futures::stream::iter(chunks)));
    let broken: Request<Body> = request("POST", PRODUCTS, &[], "x", &token("acme", "admin")).map(|_| body);
    world.send(broken).await.expect(400, "MALFORMED_BODY");
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn parameters_that_a_command_does_not_have_are_400() {
    let world = world_with_p().await;
    let body = product("q", "1").to_string();
    world.ask("POST", "/api/v1/products?atomic=true", &[], &body).await.expect(400, "INVALID_PARAMETER");
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn unknown_paths_and_commands_are_404_and_other_methods_405() {
    let world = world_with_p().await;
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v2/products",
        "/api/v1/chairs",
        "/api/v1/products/",
        "/api/v1//products",
        "/api/v1/products/p/",
        "/api/v1/products/p/nonsense",
        "/api/v1/products/p/commands/explode",
        "/%FF",
    ] {
        world.ask("POST", path, &[], "").await.expect(404, "NOT_FOUND");
    }
    for (method, path, allow) in [
        ("DELETE", "/api/v1/products", "GET, HEAD, POST"),
        ("POST", "/api/v1/products/p", "DELETE, GET, HEAD, PATCH, PUT"),
        ("GET", "/api/v1/products/p/restore", "POST"),
        ("GET", "/api/v1/products/p/commands/change-price", "POST"),
        ("POST", "/api/v1/products/p/history", "GET, HEAD"),
        ("TRACE", "/api/v1/products/bulk", "DELETE, GET, HEAD, PATCH, POST, PUT"),
        ("POST", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/api/v1/healthz", "GET, HEAD"),
        ("BREW", "/api/v1/products", "GET, HEAD, POST"),
    ] {
        let answer = world.ask(method, path, &[], "").await.expect(405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn a_problem_has_every_documented_member() {
    let world = World::new();
    let answer = world.get("/api/v1/products/none").await;
    assert_eq!(
        answer.json,
        json!({
            "type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no such entity",
            "code": "NOT_FOUND", "requestId": "request-1",
        })
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("x-request-id"), "request-1");
}
