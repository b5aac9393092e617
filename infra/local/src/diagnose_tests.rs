use aws_sdk_dynamodb::types::AttributeValue;
use ledgerline_lambda::dynamodb_client;
use serde_json::json;

use super::*;
use crate::host::Host;
use crate::host_fixture::{create, place, run, start};
use crate::operate::operate;
use crate::quarantine::Held;
use crate::reconcile::{Reconcile, Resync};

async fn diagnosed(data_dir: &std::path::Path) -> Diagnosis {
    let diagnose = Diagnose { tenant: None, template: None };
    operate(&diagnose, &place(data_dir), &Progress::silent()).await.unwrap()
}

/// Loses a product from the data table, where the host does not look.
async fn lose(host: &Host, sk: &str) {
    let endpoint = host.dynamodb().to_owned();
    let config = ledgerline_lambda::Config::new(move |name| match name {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(endpoint.clone()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        _ => None,
    });
    let delete = dynamodb_client(&config)
        .await
        .delete_item()
        .table_name("ledgerline-data")
        .key("pk", AttributeValue::S("PRODUCT#demo".to_owned()))
        .key("sk", AttributeValue::S(sk.to_owned()));
    delete.send().await.unwrap();
}

fn missing(diagnosis: &Diagnosis) -> Vec<(&str, u64)> {
    diagnosis.read_models.iter().map(|model| (model.read_model.as_str(), model.counts.missing)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_read_model_lacks_is_diagnosed_and_repaired_beside_its_host_and_after_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let host = start(&dir).await;
    for sk in ["P-1", "P-2", "P-3"] {
        create(&host, sk).await;
    }
    host.caught_up().await.unwrap();
    let well = diagnosed(&dir).await;
    assert!(well.healthy, "{:?}", well.advice);
    assert!(text(&well).ends_with("all is well") && well.mappings.is_some(), "{}", text(&well));
    assert!(well.read_models.len() > 1 && missing(&well).iter().all(|(_, count)| *count == 0));

    lose(&host, "P-2").await;
    let ill = diagnosed(&dir).await;
    assert!(missing(&ill).contains(&("data-table", 1)) && missing(&ill).contains(&("postgres", 0)), "{ill:?}");
    assert!(ill.advice[0].contains("ledgerline reconcile"), "{:?}", ill.advice);
    assert_eq!(run(&dir, &["diagnose", "--json"]).await, Err("not all is well".to_owned()));
    let dry = run(&dir, &["reconcile", "--dry-run", "--settle", "0"]).await;
    assert_eq!(dry, Err("not every read model says what the ledger says".to_owned()));
    assert_eq!(run(&dir, &["reconcile", "--tenant", "demo", "--settle", "0"]).await, Ok(()));
    assert!(diagnosed(&dir).await.healthy);

    lose(&host, "P-3").await;
    assert_eq!(run(&dir, &["resync", "products", "--tenant", "demo", "--sk", "P-3"]).await, Ok(()));
    assert!(diagnosed(&dir).await.healthy);
    assert!(run(&dir, &["resync", "products", "--tenant", "demo", "--sk", "nobody"]).await.is_err());
    assert_eq!(run(&dir, &["quarantine", "list"]).await, Ok(()));
    assert_eq!(run(&dir, &["quarantine", "redrive", "--json"]).await, Ok(()));
    lose(&host, "P-1").await;
    host.stop().await.unwrap();

    let resync = Resync { resource: "products".to_owned(), tenant: None, sk: None, template: None };
    let report = operate(&resync, &place(&dir), &Progress::silent()).await;
    let counts = report.unwrap().counts;
    assert_eq!((counts.missing, counts.repaired), (1, 1));
    let reconcile = Reconcile { tenant: None, dry_run: true, settle: 0, template: None };
    let report = operate(&reconcile, &place(&dir), &Progress::silent()).await.unwrap();
    assert!(report.is_good(), "{report:?}");
    let alone = diagnosed(&dir).await;
    assert!(alone.healthy && alone.mappings.is_none());
}

#[test]
fn every_kind_of_trouble_has_its_advice() {
    let at: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
    let counts = Counts { missing: 2, forks: 1, extra: 3, unequal: 1, ..Counts::default() };
    let comparison = json!({
        "startedAt": at, "millis": 0, "dry": true, "partitions": 1, "entities": 9, "counts": counts, "readModels": [],
    });
    let held = Held {
        projection: "postgres".to_owned(),
        id: "PRODUCT#acme#a".parse().ok(),
        record: "PRODUCT#acme#a".to_owned(),
        version: "3".parse().ok(),
        error: "it does not fit".to_owned(),
        attempts: 3,
        since: at,
    };
    let mut diagnosis = Diagnosis {
        healthy: false,
        read_models: Vec::new(),
        comparison: serde_json::from_value(comparison).unwrap(),
        quarantine: Listed { quarantined: vec![held], has_more: false },
        rebuilds: Vec::new(),
        mappings: None,
        last_round_at: None,
        advice: Vec::new(),
    };
    diagnosis.advice = advice(&diagnosis);
    let commands = ["reconcile", "verify", "rebuild", "quarantine redrive"].map(|name| format!("`ledgerline {name}`"));
    for (advice, command) in diagnosis.advice.iter().zip(&commands) {
        assert!(advice.contains(command), "{advice} should name {command}");
    }
    assert_eq!(diagnosis.advice.len(), commands.len());
    let shown = text(&diagnosis);
    assert!(shown.contains("PRODUCT#acme#a version 3 postgres: it does not fit (3 attempts"), "{shown}");

    let lacks = json!([{
        "tenant": "acme", "resource": "products", "readModel": "postgres", "counts": counts, "verdict": "unequal",
        "ledger": {"entities": 9, "sum": "0"}, "held": {"entities": 7, "sum": "0"},
        "drift": [{"id": "PRODUCT#acme#a", "kind": "behind", "repaired": false}],
    }]);
    diagnosis.comparison.read_models = serde_json::from_value(lacks).unwrap();
    let of_lacking = &advice(&diagnosis)[0];
    assert!(of_lacking.starts_with("1 times") && of_lacking.contains("no host runs"), "{of_lacking}");

    let (counts, unreadable) = (Counts { wrong_sums: 2, unequal: 1, ..Counts::default() }, 4);
    diagnosis.comparison = ReconcileReport { counts, unreadable, ..diagnosis.comparison };
    diagnosis.quarantine = Listed::default();
    let advice = advice(&diagnosis);
    for (advice, says) in advice.iter().zip(["2 rows of sums", "4 rows of the ledger"]) {
        assert!(advice.contains(says), "{advice} should say {says}");
    }
    assert_eq!(advice.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_nobody_finished_is_diagnosed_with_how_far_it_is_and_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let host = start(&dir).await;
    create(&host, "P-1").await;
    host.caught_up().await.unwrap();
    let registry = ledgerline_app::Registry::shipped().unwrap();
    let domain = registry.by_resource("products").unwrap();
    let views = ledgerline_views_postgres::PostgresViews::new(host.pool().clone());
    let begun = views.rebuild(domain.as_ref(), 3).await.unwrap();
    // As if an hour had passed since.
    let long_ago = "UPDATE rebuild SET started_at = now() - interval '2 hours', updated_at = now() - interval '1 hour'";
    sqlx::raw_sql(long_ago).execute(host.pool()).await.unwrap();
    if host.pool().options().get_max_connections() > 1 {
        let well = diagnosed(&dir).await;
        assert!(well.healthy && well.rebuilds[0].is_running, "somebody is at it: {well:?}");
        assert!(text(&well).contains("the rebuild of products is running"), "{}", text(&well));
    }
    drop(begun);
    // The server notices a moment later that its connection is gone.
    let mut patience = 100;
    while patience > 0 && diagnosed(&dir).await.rebuilds[0].is_running {
        patience -= 1;
    }

    let ill = diagnosed(&dir).await;
    let [rebuild] = ill.rebuilds.as_slice() else { panic!("{ill:?}") };
    assert_eq!((rebuild.resource.as_str(), rebuild.segments, rebuild.segments_done), ("products", 3, 0));
    assert!(!rebuild.is_running && rebuild.started_at < rebuild.moved_at, "{rebuild:?}");
    let [advice] = ill.advice.as_slice() else { panic!("{:?}", ill.advice) };
    for says in ["0 of 3", "`ledgerline rebuild products`", "`ledgerline rebuild products --abort`"] {
        assert!(advice.contains(says) && text(&ill).contains(says), "{advice} should say {says}");
    }
    assert!(advice.contains(&rebuild.started_at.to_string()), "{advice}");

    assert_eq!(run(&dir, &["rebuild", "products", "--abort"]).await, Ok(()));
    assert!(diagnosed(&dir).await.healthy);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_there_is_not_is_not_well() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let host = start(&dir).await;
    create(&host, "P-1").await;
    host.caught_up().await.unwrap();
    let nothing = Err("the ledger has nothing of the tenant dem0; it has demo".to_owned());
    let commands = [
        &["diagnose"][..],
        &["reconcile"],
        &["reconcile", "--dry-run"],
        &["resync", "products"],
        &["quarantine", "list"],
        &["quarantine", "redrive"],
        &["verify"],
    ];
    for command in commands {
        assert_eq!(run(&dir, &[command, &["--tenant", "dem0"]].concat()).await, nothing, "{command:?}");
        assert_eq!(run(&dir, &[command, &["--tenant", "demo"]].concat()).await, Ok(()), "{command:?}");
    }
    host.stop().await.unwrap();
}

#[test]
fn a_line_of_the_quarantine_begins_with_what_its_option_takes() {
    let held = Held {
        projection: "stream".to_owned(),
        id: "PRODUCT#acme#ring 7".parse().ok(),
        record: "4711".to_owned(),
        version: "3".parse().ok(),
        error: "no".to_owned(),
        attempts: 3,
        since: "2026-11-20T08:00:00Z".parse().unwrap(),
    };
    let line = quarantine::line(&held);
    assert!(line.starts_with("PRODUCT#acme#ring 7 (record 4711) version 3 stream: no"), "{line}");
    let of_nobody = quarantine::line(&Held { id: None, version: None, ..held });
    assert!(of_nobody.starts_with("record 4711, of no entity that can be told, stream: no"), "{of_nobody}");
}
