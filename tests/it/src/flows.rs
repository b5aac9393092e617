//! From an HTTP command to the rows of the read models, over the whole host.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use ledgerline_stores::PostgresKind;
use serde_json::{Value, json};

use crate::world::{LEDGER, World};

const PRODUCTS: &str = "/api/v1/products";

fn product(sk: &str, price: &str) -> Value {
    json!({"sk": sk, "code": sk, "name": format!("Product {sk}"), "attributes": {"category": "Ideal", "price": price}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_creates_and_updates_arrives_in_every_read_model_at_its_newest_version() {
    let world = Arc::new(World::ephemeral().await);
    let writes = (0..200).map(|number| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let sk = format!("p{number:03}");
            let created = world.send(Method::POST, PRODUCTS, None, &product(&sk, "1.00")).await;
            assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
            let path = format!("{PRODUCTS}/{sk}/commands/change-price");
            let price = json!({"price": format!("{number}.50")});
            let changed = world.send(Method::POST, &path, Some("\"1\""), &price).await;
            assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    world.drain().await;
    let digest = world.agreed_digest().await;
    assert_eq!(digest.len(), 200);
    assert!(digest.values().all(|(version, _)| *version == 2));

    let listed = world.send(Method::GET, &format!("{PRODUCTS}?sort=-price&limit=3"), None, &Value::Null).await;
    let prices: Vec<_> =
        listed.body["data"].as_array().unwrap().iter().map(|item| &item["attributes"]["price"]).collect();
    assert_eq!(prices, ["199.50", "198.50", "197.50"]);
    Arc::into_inner(world).unwrap().host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_at_the_same_version_exactly_one_succeeds() {
    let world = Arc::new(World::ephemeral().await);
    world.send(Method::POST, PRODUCTS, None, &product("ring", "1")).await;
    for round in 1..=20_u64 {
        let race = (0..2).map(|writer| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let body = json!({"price": format!("{round}.{writer}1")});
                let path = format!("{PRODUCTS}/ring/commands/change-price");
                world.send(Method::POST, &path, Some(&format!("\"{round}\"")), &body).await
            })
        });
        let mut answers = Vec::new();
        for writer in race.collect::<Vec<_>>() {
            answers.push(writer.await.unwrap());
        }
        answers.sort_by_key(|answer| answer.status);
        assert_eq!(answers[0].status, StatusCode::OK);
        assert_eq!((answers[1].status, answers[1].code()), (StatusCode::PRECONDITION_FAILED, "VERSION_CONFLICT"));
        assert_eq!(answers[1].body["currentVersion"], json!(round + 1));
    }
    let body = json!({"price": "5", "version": 1});
    let by_body = world.send(Method::POST, &format!("{PRODUCTS}/ring/commands/change-price"), None, &body).await;
    assert_eq!((by_body.status, by_body.code()), (StatusCode::CONFLICT, "VERSION_CONFLICT"));
    Arc::into_inner(world).unwrap().host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_lives_through_every_command_and_reads_back_after_each() {
    let world = World::ephemeral().await;
    // Everything that a key, a URL or a decoding too many could trip over.
    let sk = "50% @home #1 %41 é指";
    let path = format!("{PRODUCTS}/50%25%20%40home%20%231%20%2541%20%C3%A9%E6%8C%87");
    let created = world.send(Method::POST, PRODUCTS, None, &product(sk, "1250.00")).await;
    assert_eq!((created.status, created.headers["etag"].to_str().unwrap()), (StatusCode::CREATED, "\"1\""));
    let location = created.headers["location"].to_str().unwrap().to_owned();
    let located = world.send(Method::GET, &location, None, &Value::Null).await;
    assert_eq!((located.status, &located.body["data"]["sk"]), (StatusCode::OK, &json!(sk)));

    let replaced = json!({"code": "R-8", "name": "Ring", "attributes": {"price": "1"}});
    let patched = json!({"attributes": {"description": "指輪 „Émile“", "price": null}});
    let steps = [
        (Method::PUT, path.clone(), replaced),
        (Method::PATCH, path.clone(), patched),
        (Method::POST, format!("{path}/commands/change-price"), json!({"price": "0.10"})),
        (Method::DELETE, path.clone(), Value::Null),
        (Method::POST, format!("{path}/restore"), Value::Null),
    ];
    for (number, (method, path, body)) in steps.into_iter().enumerate() {
        let seen = format!("\"{}\"", number + 1);
        let answer = world.send(method, &path, Some(&seen), &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        assert_eq!(
            (&answer.body["data"]["version"], &answer.body["meta"]["changed"]),
            (&json!(number + 2), &json!(true))
        );
    }

    let read = world.send(Method::GET, &format!("{path}?minVersion=6"), None, &Value::Null).await;
    let attributes = json!({"description": "指輪 „Émile“", "price": "0.10"});
    assert_eq!((&read.body["data"]["attributes"], &read.body["data"]["sk"]), (&attributes, &json!(sk)));
    let history = world.send(Method::GET, &format!("{path}/history"), None, &Value::Null).await;
    let events: Vec<_> =
        history.body["data"].as_array().unwrap().iter().map(|entry| &entry["events"][0]["type"]).collect();
    assert_eq!(
        events,
        ["ProductRestored", "ProductDeleted", "PriceChanged", "DetailsChanged", "DetailsChanged", "ProductCreated"]
    );
    world.drain().await;
    assert_eq!(world.agreed_digest().await.len(), 1);
    world.host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_gets_its_status_and_code_and_writes_nothing() {
    let world = World::ephemeral().await;
    world.send(Method::POST, PRODUCTS, None, &product("ring", "1")).await;
    let before = world.ledger_digest().await;
    let ring = format!("{PRODUCTS}/ring");
    let price = format!("{ring}/commands/change-price");
    let (create, change) = ((Method::POST, PRODUCTS, None), (Method::POST, price.as_str(), Some("\"1\"")));
    let named = |attributes: Value| json!({"sk": "x", "code": "x", "name": "x", "attributes": attributes}).to_string();
    let cases = [
        ("malformed JSON", create.clone(), "{\"code\": ".to_owned(), 400, "MALFORMED_BODY"),
        ("not an object", create.clone(), "[]".to_owned(), 400, "MALFORMED_BODY"),
        ("an unknown field", create.clone(), named(json!({"colour": "E"})), 400, "VALIDATION_ERROR"),
        ("a wrong type", create.clone(), named(json!({"category": 7})), 400, "VALIDATION_ERROR"),
        ("a negative price", create.clone(), named(json!({"price": "-0.01"})), 400, "VALIDATION_ERROR"),
        ("a 39-digit price", create.clone(), named(json!({"price": "1".repeat(39)})), 400, "VALIDATION_ERROR"),
        ("NUL in text", create.clone(), named(json!({"description": "a\u{0}b"})), 400, "VALIDATION_ERROR"),
        (
            "a server-owned field",
            create.clone(),
            r#"{"code":"x","name":"x","tenantCode":"y"}"#.to_owned(),
            400,
            "VALIDATION_ERROR",
        ),
        ("an existing sk", create, product("ring", "2").to_string(), 409, "ALREADY_EXISTS"),
        ("a wrong price", change.clone(), r#"{"price": []}"#.to_owned(), 400, "VALIDATION_ERROR"),
        ("no If-Match", (Method::POST, &price, None), r#"{"price": "2"}"#.to_owned(), 428, "PRECONDITION_REQUIRED"),
        (
            "a weak If-Match",
            (Method::POST, &price, Some("W/\"1\"")),
            r#"{"price": "2"}"#.to_owned(),
            400,
            "INVALID_PARAMETER",
        ),
        ("an old If-Match", (Method::DELETE, &ring, Some("\"7\"")), String::new(), 412, "VERSION_CONFLICT"),
        ("an unknown id", (Method::DELETE, "/api/v1/products/none", Some("*")), String::new(), 404, "NOT_FOUND"),
        (
            "an unknown command",
            (Method::POST, "/api/v1/products/ring/commands/melt", Some("*")),
            "{}".to_owned(),
            404,
            "NOT_FOUND",
        ),
        ("an unknown resource", (Method::POST, "/api/v1/pebbles", None), "{}".to_owned(), 404, "NOT_FOUND"),
        (
            "a 2 MB body",
            (Method::POST, PRODUCTS, None),
            named(json!({"description": "x".repeat(2_000_000)})),
            413,
            "PAYLOAD_TOO_LARGE",
        ),
    ];
    for (what, (method, path, if_match), body, status, code) in cases {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        request = request.header("authorization", format!("Bearer {}", world.host.token()));
        if let Some(version) = if_match {
            request = request.header("if-match", version);
        }
        let answer = world.answer(request.body(Body::from(body)).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{what}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    }

    let bodies = [("text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE")];
    for (media_type, status, code) in bodies {
        let request = Request::builder().method(Method::POST).uri(PRODUCTS).header("content-type", media_type);
        let request = request.header("authorization", format!("Bearer {}", world.host.token()));
        let answer = world.answer(request.body(Body::from(product("x", "1").to_string())).unwrap()).await;
        assert_eq!((answer.status, answer.code()), (status, code));
    }

    let forged = format!("{}x", world.host.token());
    for token in [None, Some("Bearer "), Some("Basic dTpw"), Some("Bearer a.b.c"), Some(&*format!("Bearer {forged}"))] {
        let mut request =
            Request::builder().method(Method::POST).uri(PRODUCTS).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let answer = world.answer(request.body(Body::from(product("x", "1").to_string())).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (401, "UNAUTHORIZED"), "{token:?}");
    }

    world.drain().await;
    assert_eq!(world.agreed_digest().await, before);
    world.host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_stream_record_does_not_stop_its_neighbours() {
    let world = World::ephemeral().await;
    let client = world.dynamodb();
    for number in 0..10 {
        let sk = format!("good{number}");
        let created = world.send(Method::POST, PRODUCTS, None, &product(&sk, "1")).await;
        assert_eq!(created.status, StatusCode::CREATED);
        // What no command of ours would write: garbage that claims to be a version.
        let garbage = client.put_item().table_name(LEDGER).item("pk", AttributeValue::S("PRODUCT#demo".into()));
        let garbage = garbage.item("sk", AttributeValue::S(format!("bad{number}@0000000001")));
        garbage.item("kind", AttributeValue::S("version".into())).send().await.unwrap();
    }
    world.drain().await;
    let rows = world.postgres_digest().await;
    assert_eq!(rows.len(), 10, "every good one and no bad one");
    let quarantined = "SELECT count(*) FROM quarantine WHERE quarantined_at IS NOT NULL AND tenant_code = 'demo'";
    let quarantined: i64 = sqlx::query_scalar(quarantined).fetch_one(world.host.pool()).await.unwrap();
    assert_eq!(quarantined, 10);
    assert_eq!(rows, world.data_table_digest().await);
    world.host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_still_there_after_a_restart_and_nothing_is_projected_twice() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let world = World::on(&data_dir).await;
    for number in 0..5 {
        world.send(Method::POST, PRODUCTS, None, &product(&format!("p{number}"), "1")).await;
    }
    world.drain().await;
    let before = world.agreed_digest().await;
    world.host.stop().await.unwrap();

    let world = World::on(&data_dir).await;
    assert_eq!(world.agreed_digest().await, before);
    let late = world.send(Method::POST, PRODUCTS, None, &product("late", "1")).await;
    assert_eq!(late.status, StatusCode::CREATED);
    world.host.stop().await.unwrap();

    // Stopped before data-sync had to have seen it: the position is where it was, and so it comes.
    let world = World::on(&data_dir).await;
    world.drain().await;
    assert_eq!(world.agreed_digest().await.len(), 6);
    world.host.stop().await.unwrap();
}

/// Ends the Postgres of this host the hard way, as soon as there is one.
async fn kill_postgres(world: &World) {
    let pid = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";
    let pid: String = loop {
        if let Ok(pid) = sqlx::query_scalar(pid).fetch_one(world.host.pool()).await {
            break pid;
        }
    };
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_under_writes_costs_no_command_and_no_row() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let world = World::on(&data_dir).await;
    if world.host.postgres() != PostgresKind::Machine {
        return world.host.stop().await.unwrap(); // there is no process to kill
    }
    for number in 0..60 {
        if number % 20 == 10 {
            kill_postgres(&world).await;
        }
        let created = world.send(Method::POST, PRODUCTS, None, &product(&format!("p{number:02}"), "1")).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    }
    world.drain().await;
    assert_eq!(world.agreed_digest().await.len(), 60);

    kill_postgres(&world).await;
    let late = world.send(Method::POST, PRODUCTS, None, &product("late", "1")).await;
    assert_eq!(late.status, StatusCode::CREATED);
    world.host.stop().await.unwrap();
    let world = World::on(&data_dir).await;
    world.drain().await;
    assert_eq!(world.agreed_digest().await.len(), 61);
    world.host.stop().await.unwrap();
}
