use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ledgerline_stores::{QueueMessage, TestDatabase};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::*;
use crate::host_fixture::options;
use crate::mappings::MappingsStatus;
use crate::notifications::NotificationStatus;

async fn call(host: &Host, method: &str, path: &str, body: Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(AUTHORIZATION, format!("Bearer {}", host.token()))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(if body.is_null() { String::new() } else { body.to_string() }))
        .unwrap();
    let response = host.gateway.answer(request).await;
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn listed(host: &Host) -> Vec<String> {
    let (status, body) = call(host, "GET", "/api/v1/products?sort=code", Value::Null).await;
    assert_eq!(status, 200, "{body}");
    body["data"].as_array().unwrap().iter().map(|entity| entity["sk"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_created_is_listed_also_after_a_restart_and_without_the_old_postgres() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let host = Host::start(options(&dir)).await.unwrap();
    let product = json!({ "sk": "P-1", "code": "P-1", "name": "One", "attributes": { "price": "12.50" } });
    let (status, body) = call(&host, "POST", "/api/v1/products", product).await;
    assert_eq!(status, 201, "{body}");
    host.mappings.caught_up().await.unwrap();
    assert_eq!(listed(&host).await, ["P-1"]);
    assert!(dir.join("host.json").exists());
    host.stop().await.unwrap();
    assert!(!dir.join("host.json").exists());

    let host = Host::start(options(&dir)).await.unwrap();
    assert_eq!(listed(&host).await, ["P-1"]);
    host.stop().await.unwrap();

    std::fs::remove_dir_all(dir.join("postgres")).unwrap();
    let host = Host::start(options(&dir)).await.unwrap();
    assert_eq!(listed(&host).await, ["P-1"]);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_made_a_moment_ago_is_good_at_once_and_a_caller_who_waits_need_not_wait_for_the_stream() {
    let root = tempfile::tempdir().unwrap();
    let host = Host::start(HostOptions { ephemeral: true, ..options(&root.path().join("state")) }).await.unwrap();
    // Each function fetches the issuer's keys now, before there is another one.
    assert_eq!(listed(&host).await, Vec::<String>::new());
    assert_eq!(call(&host, "POST", "/api/v1/products", json!({})).await.0, 400);
    let key = IssuerKey::of_data_dir(&root.path().join("state")).unwrap();
    let claims = Claims {
        tenant: TENANT.to_owned(),
        role: "admin".to_owned(),
        user: "ann".to_owned(),
        expires_in: Duration::from_secs(60),
    };
    let request = Request::post("/api/v1/products")
        .header(AUTHORIZATION, format!("Bearer {}", key.token(&claims).unwrap()))
        .header(CONTENT_TYPE, "application/json")
        .header("prefer", "wait=5")
        .body(Body::from(r#"{"sk": "P-1", "code": "P-1", "name": "One"}"#))
        .unwrap();
    let response = host.gateway.answer(request).await;
    assert_eq!(response.status().as_u16(), 201);
    assert_eq!(response.headers()["preference-applied"], "wait=5");
    assert_eq!(listed(&host).await, ["P-1"]);
    host.stop().await.unwrap();
}

/// The template, with a bucket and a queue that invoke a function which takes any event.
fn with_a_queue_and_a_bucket(folder: &Path) -> PathBuf {
    let template = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml")).unwrap();
    let (functions, rest) = template.split_once("        EveryMinute:").unwrap();
    let events = "        Rows: { Type: SQS, Properties: { Queue: !GetAtt Rows.Arn, BatchSize: 5 } }
        Uploaded:
          Type: S3
          Properties:
            Bucket: !Ref Files
            Events: [\"s3:ObjectCreated:*\"]
            Filter: { S3Key: { Rules: [{ Name: prefix, Value: imports/ }] } }
        EveryMinute:";
    let resources = "\n  Files: { Type: AWS::S3::Bucket }\n  Dead: { Type: AWS::SQS::Queue }\n  Rows:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 1800
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 5 }\n\nOutputs:";
    let path = folder.join("template.yaml");
    std::fs::write(&path, format!("{functions}{events}{}", rest.replacen("\nOutputs:", resources, 1))).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_and_a_message_invoke_their_functions_also_what_a_killed_host_left() {
    let root = tempfile::tempdir().unwrap();
    let (dir, template) = (root.path().join("state"), Some(with_a_queue_and_a_bucket(root.path())));
    let host = Host::start(HostOptions { template: template.clone(), ..options(&dir) }).await.unwrap();
    let endpoint = host.s3().to_owned();
    let config = Config::new(move |name| match name {
        "AWS_ENDPOINT_URL_S3" => Some(endpoint.clone()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        _ => None,
    });
    let client = ledgerline_lambda::s3_client(&config).await;
    for key in ["imports/acme/a", "exports/b"] {
        client.put_object().bucket("ledgerline-files").key(key).body(b"x".to_vec().into()).send().await.unwrap();
    }
    for number in 0..12 {
        let message = QueueMessage { body: number.to_string(), ..QueueMessage::default() };
        host.queues().send("ledgerline-rows", &message).await.unwrap();
    }
    host.drained().await.unwrap();
    let status = host.mappings().read().await.unwrap();
    let queue = status.queues.iter().find(|queue| queue.mapping == "Reconcile.Rows").unwrap();
    let told = delivered_to_reconcile(&status);
    assert_eq!((queue.messages, queue.dead_letters), (0, 0));
    assert!((3..=12).contains(&queue.invocations) && queue.last_error.is_none(), "{queue:?}");
    assert_eq!((told.delivered, told.waiting), (1, 0));
    host.stop().await.unwrap();

    let left = json!({
        "id": "01J", "rule": "Reconcile.Uploaded", "function": "reconcile", "event": {"Records": []},
        "created": "2026-11-20T08:00:00Z", "due": "2026-11-20T08:00:00Z", "failures": 0,
    });
    let file = dir.join("notifications/01J.json");
    std::fs::write(&file, left.to_string()).unwrap();
    let host = Host::start(HostOptions { template, ..options(&dir) }).await.unwrap();
    host.drained().await.unwrap();
    assert!(!file.exists());
    assert_eq!(delivered_to_reconcile(&host.mappings().read().await.unwrap()).delivered, 1);
    host.stop().await.unwrap();
}

fn delivered_to_reconcile(status: &MappingsStatus) -> &NotificationStatus {
    status.notifications.iter().find(|told| told.notification == "Reconcile.Uploaded").unwrap()
}

/// A database that `DATABASE_URL` could name; none where there is only an embedded Postgres, which
/// has no connection to spare for the lock.
async fn named_database() -> Option<TestDatabase> {
    Some(TestDatabase::create().await.unwrap()).filter(|database| database.max_connections() > 1)
}

async fn on(dir: &Path, database: &TestDatabase) -> anyhow::Result<Host> {
    Host::start(HostOptions { database_url: Some(database.url().to_owned()), ..options(dir) }).await
}

async fn create(host: &Host, sk: &str) {
    let (status, body) = call(host, "POST", "/api/v1/products", json!({ "sk": sk, "code": sk, "name": sk })).await;
    assert_eq!(status, 201, "{body}");
    host.mappings.caught_up().await.unwrap();
}

async fn run(database: &TestDatabase, statement: &str) {
    let pool = PgPool::connect(database.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_another_ledgers_read_models_gets_ours_instead() {
    let Some(database) = named_database().await else { return };
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    for (dir, sk) in [(&one, "one"), (&two, "two")] {
        let host = on(dir, &database).await.unwrap();
        assert_eq!(listed(&host).await, Vec::<String>::new());
        create(&host, sk).await;
        host.stop().await.unwrap();
    }
    let host = on(&one, &database).await.unwrap();
    assert_eq!(listed(&host).await, ["one"]);
    host.stop().await.unwrap();

    // As after a crash while they were made again: what is there belongs to nobody.
    run(&database, "DELETE FROM ledgerline_local.read_model").await;
    let host = on(&two, &database).await.unwrap();
    assert_eq!(listed(&host).await, ["two"]);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_cannot_share_a_database() {
    let Some(database) = named_database().await else { return };
    let root = tempfile::tempdir().unwrap();
    let host = on(&root.path().join("one"), &database).await.unwrap();
    let refused = on(&root.path().join("two"), &database).await.err().unwrap();
    assert!(format!("{refused:#}").contains("another local host"), "{refused:#}");
    create(&host, "one").await;
    assert_eq!(listed(&host).await, ["one"]);
    host.stop().await.unwrap();
    on(&root.path().join("two"), &database).await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_by_something_else_is_refused_and_left_as_it_was() {
    let Some(database) = named_database().await else { return };
    let root = tempfile::tempdir().unwrap();
    run(&database, "CREATE TABLE product AS SELECT 7 AS price").await;
    let refused = on(root.path(), &database).await.err().unwrap();
    assert!(format!("{refused:#}").contains("product"), "{refused:#}");
    let pool = PgPool::connect(database.url()).await.unwrap();
    let left: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s.%s', nspname, relname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let price: i32 = sqlx::query_scalar("SELECT price FROM product").fetch_one(&pool).await.unwrap();
    assert_eq!((left, price), (vec!["public.product".to_owned()], 7));
    pool.close().await;
}
