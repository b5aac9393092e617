use serde_json::{Value, json};

use super::issuer::token;
use super::world::{World, product, request};

const PRODUCTS: &str = "/api/v1/products";

#[tokio::test]
async fn a_create_answers_201_with_the_entity_its_address_and_its_tag() {
    let world = World::new();
    let answer = world.create("ring 7#a", "12.50").await;
    assert_eq!(answer.header("location"), "/api/v1/products/ring%207%23a");
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-request-id"), "request-1");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(
        answer.json["data"],
        json!({
            "id": "PRODUCT#acme#ring 7%23a", "pk": "PRODUCT#acme", "sk": "ring 7#a", "type": "PRODUCT",
            "tenantCode": "acme", "code": "C-ring 7#a", "name": "Product ring 7#a", "version": 1, "isDeleted": false,
            "attributes": {"category": "Ideal", "price": "12.50"},
            "createdAt": "2026-11-20T12:00:00.000000Z", "createdBy": "user-1",
            "updatedAt": "2026-11-20T12:00:00.000000Z", "updatedBy": "user-1",
        })
    );
    let meta = &answer.json["meta"];
    assert_eq!((&meta["requestId"], &meta["changed"]), (&json!("request-1"), &json!(true)));
    assert!(meta["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_version_keeps_where_it_came_from() {
    let world = World::new();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body = product("p", "1").to_string();
    world.ask("POST", PRODUCTS, &[("traceparent", trace)], &body).await;
    let [item] = world.stored().try_into().unwrap();
    assert_eq!((item.request_id.as_str(), item.source.as_str()), ("request-1", "command-api"));
    assert_eq!((item.created.by.as_str(), item.created.ip.as_str()), ("user-1", "192.0.2.1"));
    assert_eq!(item.traceparent.as_deref(), Some(trace));
}

#[tokio::test]
async fn a_malformed_traceparent_is_dropped() {
    let world = World::new();
    world.ask("POST", PRODUCTS, &[("traceparent", "00-nonsense")], &product("p", "1").to_string()).await;
    assert_eq!(world.stored()[0].traceparent, None);
}

#[tokio::test]
async fn a_create_without_sk_gets_one() {
    let world = World::new();
    let answer = world.ask("POST", PRODUCTS, &[], r#"{"code": "c", "name": "n"}"#).await;
    assert_eq!(answer.status.as_u16(), 201);
    let sk = answer.json["data"]["sk"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("{PRODUCTS}/{sk}"));
}

#[tokio::test]
async fn every_command_on_an_entity_answers_200_with_its_next_version() {
    let world = World::new();
    world.create("p", "1").await;
    let full = json!({"code": "c2", "name": "n2", "attributes": {"price": "2"}});
    let steps = [
        ("PUT", "/p", full),
        ("PATCH", "/p", json!({"attributes": {"price": "3.10"}})),
        ("POST", "/p/commands/change-price", json!({"price": "4"})),
        ("DELETE", "/p", Value::Null),
        ("POST", "/p/restore", Value::Null),
    ];
    for (index, (method, path, body)) in steps.into_iter().enumerate() {
        let (seen, next) = (format!("\"{}\"", index + 1), format!("\"{}\"", index + 2));
        let answer = world.change(method, &format!("{PRODUCTS}{path}"), &seen, &body).await;
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, next.as_str()), "{method} {}", answer.json);
        assert_eq!(answer.json["meta"]["changed"], json!(true), "{method} {path}");
        assert_eq!(answer.json["data"]["isDeleted"], json!(method == "DELETE"), "{method} {path}");
    }
    assert_eq!(world.stored().len(), 6);
}

#[tokio::test]
async fn a_command_that_changes_nothing_says_so_and_writes_nothing() {
    let world = World::new();
    world.create("p", "1").await;
    let answer =
        world.change("POST", "/api/v1/products/p/commands/change-price", "\"1\"", &json!({"price": "1"})).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"1\""));
    assert_eq!(answer.json["meta"]["changed"], json!(false));
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn a_patch_may_be_called_a_merge_patch() {
    let world = World::new();
    world.create("p", "1").await;
    let headers = [("if-match", "*"), ("content-type", "application/merge-patch+json")];
    let answer = world.ask("PATCH", "/api/v1/products/p", &headers, r#"{"attributes": {"price": 2.5}}"#).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.json["data"]["attributes"]["price"], json!("2.5"));
}

#[tokio::test]
async fn a_version_in_the_body_stands_for_if_match() {
    let world = World::new();
    world.create("p", "1").await;
    let path = "/api/v1/products/p/commands/change-price";
    let answer = world.ask("POST", path, &[], r#"{"price": "2", "version": 1}"#).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"2\""));
}

#[tokio::test]
async fn keys_in_paths_are_decoded_once() {
    let world = World::new();
    for sk in ["50%", "50%25", "ä ö", "a+b", "x@1#2", "&q=1", "a;b:c", "...", "💎"] {
        let created = world.create(sk, "1").await;
        let answer = world.get(created.header("location")).await;
        assert_eq!(answer.json["data"]["sk"], json!(sk));
    }
}

#[tokio::test]
async fn without_extensions_a_request_still_gets_an_id() {
    let world = World::new();
    let mut plain = request("POST", PRODUCTS, &[], &product("p", "1").to_string(), &token("acme", "editor"));
    plain.extensions_mut().clear();
    let answer = world.send(plain).await;
    assert_eq!(answer.header("x-request-id").len(), 26);
    assert_eq!(answer.json["meta"]["requestId"], json!(answer.header("x-request-id")));
    assert_eq!(world.stored()[0].created.ip, "");
}

#[tokio::test]
async fn one_command_may_change_two_entities() {
    let world = World::new();
    world.create("p", "1").await;
    world.ask("POST", PRODUCTS, &[], r#"{"sk": "q", "code": "C-q", "name": "q"}"#).await;
    let path = "/api/v1/products/p/commands/merge-into";
    let answer = world.change("POST", path, "\"1\"", &json!({"target": "q"})).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"2\""), "{}", answer.json);
    assert_eq!((&answer.json["data"]["sk"], &answer.json["data"]["isDeleted"]), (&json!("p"), &json!(true)));
    let [_, merged, _, target] = world.stored().try_into().unwrap();
    assert_eq!((target.key.sk.as_str(), &target.state["attributes"]["price"]), ("q", &json!("1")));
    assert_eq!(merged.command_id, target.command_id);
    assert_eq!(world.ledger.commits(), 3, "two creates and one transaction");
    world.change("POST", path, "*", &json!({"target": "nobody"})).await.expect(404, "NOT_FOUND");
    let itself = world.change("POST", path, "*", &json!({"target": "p"})).await.expect(400, "VALIDATION_ERROR");
    assert_eq!(
        itself.json["errors"],
        json!([{"path": "target", "code": "REPEATED", "message": "must name another entity"}])
    );
}

#[tokio::test]
async fn a_value_that_must_be_unique_and_is_taken_is_409_and_names_the_field() {
    let world = World::new();
    world.create("p", "1").await;
    let taken = world.ask("POST", PRODUCTS, &[], r#"{"sk": "q", "code": "C-p", "name": "q"}"#).await;
    let taken = taken.expect(409, "ALREADY_EXISTS");
    assert_eq!((&taken.json["errors"][0]["path"], &taken.json["errors"][0]["code"]), (&json!("code"), &json!("TAKEN")));
    world.change("DELETE", "/api/v1/products/p", "*", &Value::Null).await;
    let freed = world.ask("POST", PRODUCTS, &[], r#"{"sk": "q", "code": "C-p", "name": "q"}"#).await;
    assert_eq!(freed.status.as_u16(), 201);
}

#[tokio::test]
async fn who_restores_what_has_lost_its_code_is_told_who_has_it_and_how_to_get_it_back() {
    let world = World::new();
    world.create("p", "1").await;
    world.change("DELETE", "/api/v1/products/p", "*", &Value::Null).await;
    world.ask("POST", PRODUCTS, &[], r#"{"sk": "q", "code": "C-p", "name": "q"}"#).await.expect(201, "");
    let restore = async || world.change("POST", "/api/v1/products/p/restore", "*", &Value::Null).await;
    let refused = restore().await.expect(409, "ALREADY_EXISTS");
    let message = "must not be another's: q has it until that is changed or deleted";
    assert_eq!(refused.json["errors"], json!([{"path": "code", "code": "TAKEN", "message": message}]));
    world.change("PATCH", "/api/v1/products/q", "*", &json!({"code": "C-q"})).await.expect(200, "");
    restore().await.expect(200, "");
}
