//! `POST /{resource}/bulk`, each entry by itself and all or nothing.

use serde_json::{Value, json};

use super::world::{Answer, World, product};

const BULK: &str = "/api/v1/products/bulk";
const ATOMIC: &str = "/api/v1/products/bulk?atomic=true";

async fn world_with(sks: &[&str]) -> World {
    let world = World::new();
    for sk in sks {
        world.create(sk, "1").await;
    }
    world
}

async fn post(world: &World, path: &str, entries: &Value) -> Answer {
    world.ask("POST", path, &[], &entries.to_string()).await
}

fn statuses(answer: &Answer) -> Vec<(u64, u64)> {
    let results = answer.json["data"].as_array().unwrap();
    results.iter().map(|result| (result["index"].as_u64().unwrap(), result["status"].as_u64().unwrap())).collect()
}

fn in_order(statuses: &[u64]) -> Vec<(u64, u64)> {
    (0..).zip(statuses.iter().copied()).collect()
}

#[tokio::test]
async fn each_entry_has_its_own_outcome_in_the_order_of_the_request() {
    let world = world_with(&["p", "q"]).await;
    world.change("PATCH", "/api/v1/products/q", "*", &json!({"name": "q2"})).await;
    let entries = json!([
        product("a", "2"),
        {"sk": "p", "version": 1, "attributes": {"price": "3", "category": null}},
        {"sk": "q", "version": 1, "name": "late"},
        {"sk": "nobody", "version": 1, "name": "n"},
        [],
        {"code": 7, "name": "n"},
        product("q", "2"),
        {"sk": "b", "code": "C-q", "name": "another C-q"},
        {"version": 1, "name": "whose?"},
        {"sk": "q", "version": 2, "name": "q2"},
        {"code": "no sk", "name": "n"},
    ]);
    let answer = post(&world, BULK, &entries).await;
    assert_eq!((answer.status.as_u16(), &answer.json["meta"]["count"]), (200, &json!(11)), "{}", answer.json);
    assert_eq!(statuses(&answer), in_order(&[201, 200, 409, 404, 400, 400, 409, 409, 400, 200, 201]));
    let data = &answer.json["data"];
    assert_eq!((&data[0]["data"]["sk"], &data[0]["data"]["version"]), (&json!("a"), &json!(1)));
    assert_eq!(data[0].get("error"), None);
    assert_eq!((&data[1]["data"]["version"], &data[1]["data"]["attributes"]), (&json!(2), &json!({"price": "3"})));
    let error = |index: usize| (data[index]["error"]["code"].as_str().unwrap(), &data[index]["error"]);
    assert_eq!((error(2).0, &error(2).1["currentVersion"]), ("VERSION_CONFLICT", &json!(2)));
    assert_eq!(data[2].get("data"), None);
    assert_eq!((error(3).0, error(4).0), ("NOT_FOUND", "MALFORMED_BODY"));
    assert_eq!((error(5).0, &error(5).1["errors"][0]["path"]), ("VALIDATION_ERROR", &json!("code")));
    assert_eq!((error(6).0, error(6).1.get("errors")), ("ALREADY_EXISTS", None));
    assert_eq!((error(7).0, &error(7).1["errors"][0]["path"]), ("ALREADY_EXISTS", &json!("code")));
    assert_eq!((error(8).0, &error(8).1["errors"][0]["path"]), ("VALIDATION_ERROR", &json!("sk")));
    assert_eq!(data[9]["data"]["version"], json!(2), "it was so already");
    let changed: Vec<_> = data.as_array().unwrap().iter().map(|result| &result["meta"]["changed"]).collect();
    assert_eq!([changed[0], changed[1], changed[9], changed[10]], [true, true, false, true]);
    assert_eq!(data[2].get("meta"), None);
    assert_eq!(world.stored().len(), 3 + 3);
}

#[tokio::test]
async fn an_entrys_error_is_what_the_single_request_would_get() {
    let world = world_with(&["p"]).await;
    for (entry, single) in [
        (product("p", "1"), world.ask("POST", "/api/v1/products", &[], &product("p", "1").to_string()).await),
        (
            json!({"sk": "p", "version": 7, "name": "n"}),
            world.ask("PATCH", "/api/v1/products/p", &[], r#"{"version": 7, "name": "n"}"#).await,
        ),
    ] {
        let answer = post(&world, BULK, &json!([entry])).await;
        assert_eq!(answer.json["data"][0]["error"], single.json);
    }
}

#[tokio::test]
async fn numbers_are_exact() {
    let world = world_with(&["p"]).await;
    let body = r#"[{"sk": "p", "version": 1, "attributes": {"price": 0.10000000000000000000000000000000000001}},
        {"sk": "q", "code": "c", "name": "n", "attributes": {"price": 12345678901234567890.5}}]"#;
    let answer = world.ask("POST", BULK, &[], body).await;
    let price = |index: usize| answer.json["data"][index]["data"]["attributes"]["price"].clone();
    assert_eq!(price(0), json!("0.10000000000000000000000000000000000001"));
    assert_eq!(price(1), json!("12345678901234567890.5"));
}

#[tokio::test]
async fn what_the_server_owns_is_refused_in_every_entry() {
    let world = world_with(&["p"]).await;
    for field in ["id", "pk", "type", "tenantCode", "isDeleted", "createdAt", "createdBy", "updatedAt", "updatedBy"] {
        let (mut create, mut update) = (product("q", "1"), json!({"sk": "p", "version": 1, "name": "n"}));
        create[field] = json!("x");
        update[field] = json!("x");
        let answer = post(&world, BULK, &json!([create, update])).await;
        assert_eq!(statuses(&answer), in_order(&[400, 400]), "{field}");
        for result in answer.json["data"].as_array().unwrap() {
            let problem = &result["error"]["errors"][0];
            assert_eq!((&problem["path"], &problem["code"]), (&json!(field), &json!("UNKNOWN_FIELD")));
        }
        post(&world, ATOMIC, &json!([update])).await.expect(400, "VALIDATION_ERROR");
    }
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn a_batch_is_a_json_array_of_1_to_100_entries() {
    let world = World::new();
    let many = |count: usize| Value::from_iter((0..count).map(|index| product(&format!("p{index}"), "1")));
    for path in [BULK, ATOMIC] {
        for (body, words) in [
            ("", "the body must be a JSON array"),
            ("{}", "the body must be a JSON array"),
            ("null", "the body must be a JSON array"),
            ("\"x\"", "the body must be a JSON array"),
            ("[1,]", "the body is not JSON: look at line 1, column 4"),
            ("[", "the body ends before its JSON is complete"),
        ] {
            let answer = world.ask("POST", path, &[], body).await.expect(400, "MALFORMED_BODY");
            assert_eq!(answer.json["detail"], json!(words), "{body}");
        }
        for count in [0, 101] {
            post(&world, path, &many(count)).await.expect(400, "VALIDATION_ERROR");
        }
    }
    assert_eq!((world.stored(), world.ledger.reads()), (vec![], 0));
    let answer = post(&world, BULK, &many(100)).await;
    assert_eq!(statuses(&answer), in_order(&[201; 100]));
    assert_eq!(world.stored().len(), 100);
}

#[tokio::test]
async fn a_batch_takes_no_other_parameters_and_only_json() {
    let world = World::new();
    world.ask("POST", "/api/v1/products/bulk?atomic=yes", &[], "[]").await.expect(400, "INVALID_PARAMETER");
    world.ask("POST", "/api/v1/products/bulk?limit=1", &[], "[]").await.expect(400, "INVALID_PARAMETER");
    let patch = [("content-type", "application/merge-patch+json")];
    world.ask("POST", BULK, &patch, "[]").await.expect(415, "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn the_entity_called_bulk_can_be_used_as_any_other() {
    let world = world_with(&["bulk"]).await;
    world.project().await;
    assert_eq!(world.get(BULK).await.json["data"]["sk"], json!("bulk"));
    assert_eq!(world.get("/api/v1/products/bulk/history").await.status.as_u16(), 200);
    assert_eq!(world.change("PATCH", BULK, "*", &json!({"name": "n"})).await.status.as_u16(), 200);
    assert_eq!(world.change("DELETE", BULK, "*", &Value::Null).await.status.as_u16(), 200);
    assert_eq!(world.change("POST", "/api/v1/products/bulk/restore", "*", &Value::Null).await.status.as_u16(), 200);
}

#[tokio::test]
async fn an_atomic_batch_is_written_whole() {
    let world = world_with(&["p"]).await;
    // The code that one entry gives up, another takes.
    let entries = json!([
        {"sk": "q", "code": "C-p", "name": "n"},
        {"sk": "p", "version": 1, "code": "new"},
        {"code": "third", "name": "n"},
    ]);
    let answer = post(&world, ATOMIC, &entries).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.json);
    assert_eq!(statuses(&answer), in_order(&[201, 200, 201]));
    assert_eq!(answer.json["data"][1]["data"]["code"], json!("new"));
    assert_eq!(world.ledger.commits(), 2, "the one that made p, and one for all of them");
}

#[tokio::test]
async fn of_an_atomic_batch_that_fails_the_entry_is_named_and_nothing_written() {
    let world = world_with(&["p", "q"]).await;
    let good = product("new", "1");
    let before = world.stored();
    for (bad, status, code) in [
        (json!({"sk": "p", "version": 2, "name": "n"}), 409, "VERSION_CONFLICT"),
        (product("q", "1"), 409, "ALREADY_EXISTS"),
        (json!({"sk": "r", "code": "C-q", "name": "n"}), 409, "ALREADY_EXISTS"),
        (json!({"sk": "nobody", "version": 1, "name": "n"}), 404, "NOT_FOUND"),
        (json!({"sk": "r", "code": "c"}), 400, "VALIDATION_ERROR"),
        (json!({"version": 1, "name": "n"}), 400, "VALIDATION_ERROR"),
        (product("new", "2"), 400, "VALIDATION_ERROR"),
        (json!([]), 400, "MALFORMED_BODY"),
    ] {
        let entries = json!([good, {"sk": "p", "version": 1, "name": "fine"}, bad]);
        // An entity cannot be in it twice, so the second entry leaves room for the third.
        let entries = if bad["sk"] == "p" { json!([good, product("other", "1"), bad]) } else { entries };
        let answer = post(&world, ATOMIC, &entries).await.expect(status, code);
        assert_eq!(answer.json["index"], json!(2), "{}", answer.json);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert_eq!(world.stored(), before);
}

#[tokio::test]
async fn of_two_entries_of_an_atomic_batch_with_one_key_or_code_the_field_and_both_are_named() {
    let world = world_with(&["p"]).await;
    let (first, second) = (product("x", "1"), product("y", "1"));
    for (third, field) in [
        (json!({"sk": "y", "code": "c", "name": "n"}), "sk"),
        (json!({"sk": "z", "code": "C-y", "name": "n"}), "code"),
        (json!({"sk": "p", "version": 1, "code": "C-y"}), "code"),
    ] {
        let answer = post(&world, ATOMIC, &json!([first, second, third])).await.expect(400, "VALIDATION_ERROR");
        let message = "must not be that of entry 1 as well";
        assert_eq!(answer.json["index"], json!(2));
        assert_eq!(answer.json["errors"], json!([{"path": field, "code": "REPEATED", "message": message}]));
    }
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn a_repeated_batch_gets_the_first_answer_to_the_byte_and_has_no_second_effect() {
    for path in [BULK, ATOMIC] {
        let world = world_with(&["p", "q"]).await;
        let entries = json!([
            product("a", "1"),
            {"sk": "p", "version": 1, "name": "changed"},
            {"sk": "q", "version": 1, "attributes": {"price": "1"}},
            {"code": "generated", "name": "n"},
        ])
        .to_string();
        let key = [("idempotency-key", "k")];
        let first = world.ask("POST", path, &key, &entries).await;
        assert_eq!(statuses(&first), in_order(&[201, 200, 200, 201]), "{path}");
        assert_eq!(first.json["data"][2]["meta"], json!({"changed": false}), "{path}: it cost that already");
        world.change("PATCH", "/api/v1/products/p", "*", &json!({"name": "changed again"})).await;
        let again = world.ask("POST", path, &key, &entries).await;
        assert_eq!(again.replayable(), first.replayable(), "{path}");
        assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
        assert_eq!(world.stored().len(), 2 + 3 + 1, "{path}");
    }
}

#[tokio::test]
async fn a_batch_that_was_interrupted_is_completed_by_its_repetition() {
    let world = World::new();
    let key = [("idempotency-key", "k")];
    let entries = json!([product("a", "1"), product("b", "1"), product("c", "1")]);
    // As if the first attempt had ended after its second entry.
    for (index, entry) in [&entries[0], &entries[1]].into_iter().enumerate() {
        let own = format!("k#{index}");
        world.ask("POST", "/api/v1/products", &[("idempotency-key", &*own)], &entry.to_string()).await;
    }
    let answer = world.ask("POST", BULK, &key, &entries.to_string()).await;
    assert_eq!(statuses(&answer), in_order(&[201, 201, 201]));
    assert_eq!(answer.header("idempotent-replayed"), "", "not all of it was done before");
    assert_eq!(world.stored().len(), 3);
}

#[tokio::test]
async fn another_request_under_a_batchs_key_is_422_and_has_no_effect() {
    let others = [
        json!([product("b", "1"), product("c", "1")]),
        json!([product("a", "1"), product("c", "1")]),
        json!([product("c", "1"), product("a", "1")]),
    ];
    let key = [("idempotency-key", "k")];
    for path in [BULK, ATOMIC] {
        let world = World::new();
        world.ask("POST", path, &key, &json!([product("a", "1")]).to_string()).await;
        for other in &others {
            let answer = world.ask("POST", path, &key, &other.to_string()).await;
            let answer = answer.expect(422, "IDEMPOTENCY_KEY_REUSED");
            assert_eq!(answer.json.get("index"), None, "it is the batch that is refused");
        }
        let single = product("d", "1").to_string();
        world.ask("POST", "/api/v1/products", &key, &single).await.expect(422, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(world.stored().len(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_batch_under_a_single_commands_key_is_422_and_has_no_effect() {
    let world = World::new();
    let key = [("idempotency-key", "k")];
    world.ask("POST", "/api/v1/products", &key, &product("a", "1").to_string()).await;
    for path in [BULK, ATOMIC] {
        let batch = json!([product("a", "1")]).to_string();
        world.ask("POST", path, &key, &batch).await.expect(422, "IDEMPOTENCY_KEY_REUSED");
    }
    let long = "k".repeat(253);
    let batch = json!([product("b", "1")]).to_string();
    world.ask("POST", BULK, &[("idempotency-key", &long)], &batch).await.expect(400, "INVALID_PARAMETER");
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn an_entry_that_was_refused_is_executed_when_its_batch_is_repeated() {
    let world = world_with(&["p"]).await;
    let batch = json!([product("a", "1"), product("p", "1")]).to_string();
    let key = [("idempotency-key", "k")];
    assert_eq!(statuses(&world.ask("POST", BULK, &key, &batch).await), in_order(&[201, 409]));
    assert_eq!(statuses(&world.ask("POST", BULK, &key, &batch).await), in_order(&[201, 409]));
    assert_eq!(world.stored().len(), 2);
}
