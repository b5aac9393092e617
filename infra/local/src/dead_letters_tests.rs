use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use ledgerline_lambda::{Config, dynamodb_client, sqs_client};
use ledgerline_stores::QueueMessage;
use serde_json::{Value, json};

use super::*;
use crate::diagnose::Diagnose;
use crate::host::Host;
use crate::host_fixture::{place, run, start};
use crate::operate::operate;

const QUEUE: &str = "ledgerline-importrows";

/// The host's stores, for clients that are not the host's.
fn config(host: &Host) -> Config {
    let (dynamodb, messaging) = (host.dynamodb().to_owned(), host.messaging().to_owned());
    Config::new(move |name| match name {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(dynamodb.clone()),
        "AWS_ENDPOINT_URL_SQS" => Some(messaging.clone()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        _ => None,
    })
}

/// Sets for how many seconds a message is hidden that the worker failed on.
async fn hide_for(host: &Host, seconds: &str) {
    let client = sqs_client(&config(host)).await;
    let url = client.get_queue_url().queue_name(QUEUE).send().await.unwrap().queue_url.unwrap();
    let set = client.set_queue_attributes().queue_url(url).attributes(QueueAttributeName::VisibilityTimeout, seconds);
    set.send().await.unwrap();
}

/// Says of an import, behind its back, what it imports.
async fn into_resource(host: &Host, import: &str, resource: &str) {
    let client = dynamodb_client(&config(host)).await;
    let update =
        client.update_item().table_name("ledgerline-ledger").key("pk", AttributeValue::S("IMPORT#demo".to_owned()));
    let update = update.key("sk", AttributeValue::S(import.to_owned()));
    let update = update.update_expression("SET #r = :r").condition_expression("attribute_exists(pk)");
    let update = update.expression_attribute_names("#r", "resource");
    update.expression_attribute_values(":r", AttributeValue::S(resource.to_owned())).send().await.unwrap();
}

async fn ask(host: &Host, request: axum::http::request::Builder, body: &Value) -> (StatusCode, Value) {
    let request = request.header("authorization", format!("Bearer {}", host.token()));
    let request = request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
    let answer = host.answer(request).await;
    let (status, body) = (answer.status(), to_bytes(answer.into_body(), usize::MAX).await.unwrap());
    (status, serde_json::from_slice(&body).unwrap())
}

/// A message of an import, with one row, that its worker refuses until [`into_resource`] mends it.
async fn refused_message(host: &Host) -> (String, String) {
    let request = json!({"resource": "products", "format": "csv", "source": {"upload": true}});
    let (status, asked) = ask(host, Request::post("/api/v1/imports"), &request).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked}");
    let import = asked["data"]["id"].as_str().unwrap().to_owned();
    into_resource(host, &import, "prodacts").await;
    let rows = json!([{"row": 7, "fields": ["ring-1", "R-1", "Ring"]}]);
    let chunk =
        json!({"tenant": "demo", "import": import, "chunk": 3, "columns": ["sk", "code", "name"], "rows": rows});
    (import, chunk.to_string())
}

async fn listed(dir: &std::path::Path) -> Listed {
    operate(&List { which: Which::default() }, &place(dir), &Progress::silent()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_refuses_too_often_is_listed_redriven_and_worked_on() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let host = start(&dir).await;
    let none = listed(&dir).await;
    assert_eq!(none.queues.iter().map(|queue| queue.queue.as_str()).collect::<Vec<_>>(), ["ImportRowsFailures"]);
    assert_eq!(list_text(&none), "there are no dead letters");
    assert_eq!(run(&dir, &["dead-letters", "redrive"]).await, Ok(()), "nothing is left of nothing");

    hide_for(&host, "0").await;
    let (import, body) = refused_message(&host).await;
    host.queues().send(QUEUE, &QueueMessage { body: body.clone(), ..QueueMessage::default() }).await.unwrap();
    host.drained().await.unwrap();
    let dead = listed(&dir).await;
    let [queue] = dead.queues.as_slice() else { panic!("{dead:?}") };
    let source = Source { queue: "ImportRows".to_owned(), mapping: "ImportWorker.Rows".to_owned() };
    assert_eq!((queue.count, &queue.sources), (1, &vec![source]));
    let [letter] = queue.messages.as_slice() else { panic!("{dead:?}") };
    assert_eq!((letter.receive_count, body.starts_with(&letter.body)), (5, true), "{letter:?}");
    let rows = letter.rows.as_ref().unwrap();
    assert_eq!((&rows.import, rows.chunk, rows.first, rows.last, rows.count), (&import, 3, 7, 7, 1));
    let text = list_text(&dead);
    let says = format!("row 7 of import {import} of demo, chunk 3, received 5 times, ");
    assert!(text.contains(&says) && text.ends_with("then `ledgerline dead-letters redrive`"), "{text}");

    let diagnosis =
        operate(&Diagnose { tenant: None, template: None }, &place(&dir), &Progress::silent()).await.unwrap();
    let advice = diagnosis.advice.join("\n");
    assert!(advice.contains("in ledgerline-importrowsfailures: `ledgerline dead-letters list`"), "{advice}");
    assert!(advice.ends_with("`ledgerline dead-letters redrive`"), "{advice}");

    into_resource(&host, &import, "products").await;
    hide_for(&host, "360").await;
    let unknown = run(&dir, &["dead-letters", "redrive", "--queue", "ImportRows"]).await.unwrap_err();
    assert!(unknown.ends_with("there is: ImportRowsFailures"), "{unknown}");
    let redrive = Redrive { which: Which { queue: Some("ImportRowsFailures".to_owned()), template: None } };
    let redriven = operate(&redrive, &place(&dir), &Progress::silent()).await.unwrap();
    assert_eq!((redriven.queues[0].moved, redriven.queues[0].left), (1, 0));
    let text = redrive_text(&redriven);
    assert!(
        text.starts_with("ImportRowsFailures: 1 message brought back to ImportRows, which ImportWorker.Rows reads\n"),
        "{text}"
    );
    host.drained().await.unwrap();
    let (status, product) = ask(&host, Request::get("/api/v1/products/ring-1"), &Value::Null).await;
    assert_eq!((status, &product["data"]["code"]), (StatusCode::OK, &json!("R-1")), "{product}");
    assert_eq!(listed(&dir).await, none);
    host.stop().await.unwrap();

    let alone = listed(&dir).await;
    assert_eq!((alone.host_runs, alone.queues[0].count), (false, 0));
    assert!(list_text(&alone).starts_with("no host runs here"), "{}", list_text(&alone));
    assert_eq!(
        run(&dir, &["dead-letters", "redrive", "--queue", "ledgerline-importrowsfailures", "--json"]).await,
        Ok(())
    );
}

#[test]
fn a_message_that_stays_among_the_dead_is_told_of_and_fails_the_command() {
    let queue = |moved, left, problem: Option<&str>| RedrivenQueue {
        queue: "Failures".to_owned(),
        sources: vec![Source { queue: "Rows".to_owned(), mapping: "Worker.Rows".to_owned() }],
        moved,
        left,
        problem: problem.map(str::to_owned),
    };
    let redriven = |queue| Redriven { queues: vec![queue], host_runs: true };
    assert!(redrive_verdict(&redriven(queue(2, 0, None))).is_ok());
    let nothing = redriven(queue(0, 0, None));
    assert_eq!(
        (redrive_text(&nothing).as_str(), redrive_verdict(&nothing).is_ok()),
        ("there were no dead letters to redrive", true)
    );
    let some = redriven(queue(2, 1, None));
    assert!(
        redrive_text(&some).contains("2 messages brought back to Rows, which Worker.Rows reads, 1 still there\nthey")
    );
    assert!(redrive_verdict(&some).is_err());
    let refused = redriven(queue(0, 0, Some("as asked")));
    assert!(redrive_text(&refused).ends_with(" (as asked)"), "{}", redrive_text(&refused));
    assert!(redrive_verdict(&refused).is_err());
}

#[test]
fn a_listed_message_is_one_line_whatever_it_says() {
    let attributes =
        [("SentTimestamp".to_owned(), "1000".to_owned()), ("ApproximateReceiveCount".to_owned(), "3".to_owned())];
    let body = format!("a\nb\u{1b}[2J{}", "指".repeat(BODY));
    let message = Message { id: "m".to_owned(), body, attributes: attributes.into(), ..Message::default() };
    let letter = DeadLetter::of(&message, 601_000);
    assert_eq!((letter.age_seconds, letter.receive_count, letter.body.chars().count()), (600, 2, BODY));
    let listed = Listed {
        queues: vec![DeadQueue {
            queue: "Failures".to_owned(),
            name: "failures".to_owned(),
            sources: Vec::new(),
            count: 12,
            messages: vec![letter],
        }],
        host_runs: true,
    };
    let text = list_text(&listed);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[1].starts_with("  m: received 2 times, 10 min old: a b [2J指"), "{text}");
    assert_eq!(lines[2], "  the first 1 of more", "{text}");
    assert!(lines[3].starts_with("12 messages: "), "{text}");
}
