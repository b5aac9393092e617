//! `Idempotency-Key`: the first answer again, and no second effect.

use std::sync::Barrier;

use ledgerline_kernel::ports::StoreError;
use serde_json::{Value, json};

use super::issuer::token;
use super::world::{Answer, World, product, request};
use crate::RequestId;

const PRODUCTS: &str = "/api/v1/products";
const PRODUCT: &str = "/api/v1/products/p";

/// Sends with a key and, unless that is empty, `If-Match`, as the request of that id.
async fn keyed(world: &World, id: &str, method: &str, path: &str, (key, tag): (&str, &str), body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("idempotency-key", key), ("if-match", tag)];
    let headers = if tag.is_empty() { &headers[..1] } else { &headers };
    let mut sent = request(method, path, headers, &body, &token("acme", "admin"));
    sent.extensions_mut().insert(RequestId(id.to_owned()));
    world.send(sent).await
}

async fn create(world: &World, id: &str, key: &str, body: &Value) -> Answer {
    keyed(world, id, "POST", PRODUCTS, (key, ""), body).await
}

#[tokio::test]
async fn a_repeated_create_gets_the_first_answer_to_the_byte() {
    let world = World::new();
    let body = json!({"code": "c", "name": "n", "attributes": {"price": "1.50"}});
    let first = create(&world, "request-a", "k", &body).await;
    let again = create(&world, "request-b", "k", &body).await;
    assert_eq!(first.status.as_u16(), 201);
    assert_eq!(again.replayable(), first.replayable());
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!((first.header("x-request-id"), again.header("x-request-id")), ("request-a", "request-b"));
    assert_eq!(again.json["meta"]["requestId"], json!("request-a"));
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn every_command_is_answered_again_as_it_was_whatever_came_after() {
    let steps = [
        ("PUT", PRODUCT.to_owned(), json!({"code": "c2", "name": "n2"})),
        ("PATCH", PRODUCT.to_owned(), json!({"name": "n3"})),
        ("POST", format!("{PRODUCT}/commands/change-price"), json!({"price": "4"})),
        ("DELETE", PRODUCT.to_owned(), Value::Null),
        ("POST", format!("{PRODUCT}/restore"), Value::Null),
    ];
    let world = World::new();
    world.create("p", "1").await;
    let mut firsts = Vec::new();
    for (index, (method, path, body)) in steps.iter().enumerate() {
        let (key, tag) = (format!("k{index}"), format!("\"{}\"", index + 1));
        let first = keyed(&world, &format!("first-{index}"), method, path, (&key, &tag), body).await;
        assert_eq!(first.status.as_u16(), 200, "{}", first.json);
        firsts.push((key, tag, first));
    }
    for ((method, path, body), (key, tag, first)) in steps.iter().zip(&firsts) {
        let again = keyed(&world, "later", method, path, (key, tag), body).await;
        assert_eq!(again.replayable(), first.replayable(), "{method} {path}");
        assert_eq!(again.header("idempotent-replayed"), "true", "{method} {path}");
    }
    assert_eq!(world.stored().len(), 6);
}

#[tokio::test]
async fn a_request_that_found_nothing_to_do_is_answered_so_again_after_something_happened() {
    let world = World::new();
    world.create("p", "1").await;
    let (path, same) = (format!("{PRODUCT}/commands/change-price"), json!({"price": "1"}));
    let first = keyed(&world, "request-a", "POST", &path, ("k", "*"), &same).await;
    assert_eq!((&first.json["meta"]["changed"], first.header("etag")), (&json!(false), "\"1\""));
    world.change("PATCH", PRODUCT, "*", &json!({"attributes": {"price": "2"}})).await;
    let again = keyed(&world, "request-b", "POST", &path, ("k", "*"), &same).await;
    assert_eq!(again.replayable(), first.replayable());
    assert_eq!(world.stored().len(), 2);
}

#[tokio::test]
async fn a_key_used_for_another_request_is_422_and_without_effect() {
    let world = World::new();
    create(&world, "r", "k", &product("p", "1")).await;
    create(&world, "r", "k", &product("p", "2")).await.expect(422, "IDEMPOTENCY_KEY_REUSED");
    create(&world, "r", "k", &product("q", "1")).await.expect(422, "IDEMPOTENCY_KEY_REUSED");
    let other = keyed(&world, "r", "PATCH", PRODUCT, ("k", "*"), &json!({"name": "n"})).await;
    other.expect(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn another_tenants_same_key_is_another_key() {
    let world = World::new();
    create(&world, "r", "k", &product("p", "1")).await;
    let headers = [("idempotency-key", "k")];
    let sent = request("POST", PRODUCTS, &headers, &product("p", "2").to_string(), &token("globex", "admin"));
    let theirs = world.send(sent).await;
    assert_eq!((theirs.status.as_u16(), theirs.header("idempotent-replayed")), (201, ""));
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let world = World::new();
    create(&world, "r", "k", &json!({"code": 7})).await.expect(400, "VALIDATION_ERROR");
    let missing = keyed(&world, "r", "PATCH", PRODUCT, ("k", "*"), &json!({"name": "n"})).await;
    missing.expect(404, "NOT_FOUND");
    world.ledger.fail_next_commit(StoreError::Unavailable { store: "ledger", reason: String::new() }.into());
    create(&world, "r", "k", &product("p", "1")).await.expect(503, "UNAVAILABLE");
    assert_eq!(world.ledger.records(), []);
    assert_eq!(create(&world, "r", "k", &product("p", "2")).await.status.as_u16(), 201);
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_400() {
    let world = World::new();
    let body = product("p", "1").to_string();
    for headers in [
        vec![("idempotency-key", "")],
        vec![("idempotency-key", "a"), ("idempotency-key", "a")],
        vec![("idempotency-key", "a\tb")],
        vec![("idempotency-key", "ä")],
        vec![("idempotency-key", &*"k".repeat(256))],
    ] {
        let answer = world.ask("POST", PRODUCTS, &headers, &body).await.expect(400, "INVALID_PARAMETER");
        assert_eq!(answer.json["errors"][0]["path"], json!("Idempotency-Key"));
    }
    assert_eq!(world.stored(), []);
    assert_eq!(create(&world, "r", &"k".repeat(255), &product("p", "1")).await.status.as_u16(), 201);
}

#[test]
fn duplicates_at_the_same_time_have_one_effect() {
    const TWINS: usize = 8;
    for round in 0..20 {
        let (world, barrier) = (World::new(), Barrier::new(TWINS));
        let body = json!({"code": "c", "name": "n"});
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let twins: Vec<_> = (0..TWINS)
                .map(|twin| {
                    let (world, barrier, body) = (&world, &barrier, &body);
                    scope.spawn(move || {
                        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                        barrier.wait();
                        runtime.block_on(create(world, &format!("request-{twin}"), "k", body))
                    })
                })
                .collect();
            twins.into_iter().map(|twin| twin.join().unwrap()).collect()
        });
        let [item] = world.stored().try_into().unwrap();
        let accepted: Vec<_> = answers.iter().filter(|answer| answer.status.as_u16() == 201).collect();
        assert_eq!(accepted.iter().filter(|answer| answer.header("idempotent-replayed").is_empty()).count(), 1);
        for answer in &answers {
            match answer.status.as_u16() {
                201 => assert_eq!(answer.replayable(), accepted[0].replayable(), "round {round}"),
                _ => assert_eq!((answer.status.as_u16(), answer.code()), (409, "IN_FLIGHT"), "round {round}"),
            }
        }
        assert_eq!(accepted[0].json["data"]["sk"], json!(item.key.sk.as_str()));
    }
}
