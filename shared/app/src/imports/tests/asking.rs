//! What callers ask for, and what they learn.

use ledgerline_kernel::input::InputError;
use ledgerline_kernel::ports::ImportJobs;
use serde_json::json;

use super::*;

fn read_error(body: &Value) -> Vec<(String, &'static str)> {
    match ImportRequest::read(&body.to_string()) {
        Err(InputError::Invalid(problems)) => {
            problems.into_iter().map(|problem| (problem.path, problem.code)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_says_what_from_where_and_how() {
    let read = |body: Value| ImportRequest::read(&body.to_string()).unwrap();
    let upload = read(json!({"resource": "products", "format": "csv", "mode": "create", "source": {"upload": true}}));
    assert_eq!((upload.mode, upload.source, upload.mapping), (ImportMode::Create, ImportSource::Upload, Value::Null));
    let object = read(json!({"resource": "products", "format": "jsonl", "source": {"s3": {"key": "imports/acme/x"}}}));
    assert_eq!((object.mode, object.source), (ImportMode::Upsert, ImportSource::Object("imports/acme/x".to_owned())));
    let rows = "{\"resource\": \"products\", \"source\": {\"rows\": [{\"code\":\r\n \"R\\n\"}, {\"price\": 1.50}]}}";
    let rows = ImportRequest::read(rows).unwrap();
    let lines = ["{\"code\":   \"R\\n\"}", "{\"price\": 1.50}"].map(str::to_owned).to_vec();
    assert_eq!((rows.format, rows.source), (ImportFormat::Jsonl, ImportSource::Rows(lines)));
    let mapping = json!({"fields": {"name": "Name", "attributes.price": {"column": "p", "decimal": ","}}});
    let mapped = read(json!({"resource": "p", "format": "csv", "source": {"upload": true}, "mapping": mapping}));
    assert_eq!(mapped.mapping["fields"]["attributes.price"]["decimal"], ",");
}

#[test]
fn everything_that_is_wrong_with_a_request_is_told_at_once() {
    let all = json!({"format": "xlsx", "mode": "merge", "mapping": 7, "source": {}, "colour": "red"});
    let problems = read_error(&all);
    for expected in [
        ("resource", "REQUIRED"),
        ("format", "OUT_OF_RANGE"),
        ("mode", "OUT_OF_RANGE"),
        ("mapping", "INVALID_MAPPING"),
        ("source", "OUT_OF_RANGE"),
        ("colour", "UNKNOWN_FIELD"),
    ] {
        assert!(problems.contains(&(expected.0.to_owned(), expected.1)), "{expected:?} in {problems:?}");
    }
    let with = |source: Value| json!({"resource": "products", "format": "csv", "source": source});
    let sources = [
        (with(json!(null)), "source", "REQUIRED"),
        (with(json!({"upload": false})), "source", "OUT_OF_RANGE"),
        (with(json!({"upload": true, "rows": [{}]})), "source", "OUT_OF_RANGE"),
        (with(json!({"rows": [{}]})), "format", "OUT_OF_RANGE"),
        (with(json!({"rows": []})), "source.rows", "WRONG_TYPE"),
        (with(json!({"rows": [1]})), "source.rows", "WRONG_TYPE"),
        (with(json!({"s3": {}})), "source.s3.key", "REQUIRED"),
        (json!({"resource": "products", "source": {"upload": true}}), "format", "REQUIRED"),
    ];
    for (body, path, code) in sources {
        assert!(read_error(&body).contains(&(path.to_owned(), code)), "{body}: {:?}", read_error(&body));
    }
    let mapping = json!({"fields": {"a..b": "x"}});
    let body = json!({"resource": "p", "format": "csv", "source": {"upload": true}, "mapping": mapping});
    assert_eq!(read_error(&body), [("mapping.fields.a..b".to_owned(), "INVALID_FIELD")]);
}

fn request(source: ImportSource) -> ImportRequest {
    ImportRequest {
        resource: "products".to_owned(),
        format: ImportFormat::Jsonl,
        mode: ImportMode::Upsert,
        mapping: Value::Null,
        source,
    }
}

#[tokio::test]
async fn an_upload_has_a_url_and_everything_else_is_put_where_the_splitter_finds_it() {
    let world = World::default();
    let uploaded = world.imports().ask(&ann(), request(ImportSource::Upload)).await.unwrap();
    let (url, until) = uploaded.upload.unwrap();
    let key = source_key(&uploaded.job.key);
    assert!(url.contains(&key) && url.ends_with("=3600"), "{url}");
    assert_eq!(until.to_string(), "2026-11-20T09:00:00.000000Z");
    assert_eq!(import_of(&key), Some(uploaded.job.key));
    let rows = ImportSource::Rows(vec!["{}".to_owned(), "{\"a\":1}".to_owned()]);
    let given = world.imports().ask(&ann(), request(rows)).await.unwrap().job;
    let copied = ImportSource::Object(source_key(&given.key));
    let copied = world.imports().ask(&ann(), request(copied)).await.unwrap().job;
    assert_eq!(world.objects.created(), [source_key(&given.key), source_key(&copied.key)]);
    let listed = world.imports().list(&ann().tenant, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|job| &job.key).next(), Some(&copied.key), "newest first");
}

#[tokio::test]
async fn an_import_into_nothing_or_from_another_tenants_objects_is_refused() {
    let world = World::default();
    let nothing = ImportRequest { resource: "colours".to_owned(), ..request(ImportSource::Upload) };
    let refused = world.imports().ask(&ann(), nothing).await;
    assert!(matches!(refused, Err(ImportError::Input(_))), "{refused:?}");
    let long = format!("imports/acme/{}", "x".repeat(1024));
    let keys = ["imports/acme-2/x", "imports/acme", "imports/acme/", "x", "", &long];
    let paths =
        ["imports/acme/../globex/x", "imports/acme/./../globex/x", "imports/acme//x", "imports/acme/..\\globex"];
    for key in keys.into_iter().chain(paths) {
        let refused = world.imports().ask(&ann(), request(ImportSource::Object(key.to_owned()))).await;
        assert!(matches!(refused, Err(ImportError::Input(_))), "{key}: {refused:?}");
    }
    let long = json!({"fields": {"name": {"constant": "x".repeat(101 * 1024)}}});
    let refused = world.imports().ask(&ann(), ImportRequest { mapping: long, ..request(ImportSource::Upload) }).await;
    assert!(matches!(refused, Err(ImportError::Input(_))), "{refused:?}");
    let missing = world.imports().ask(&ann(), request(ImportSource::Object("imports/acme/none".to_owned()))).await;
    assert!(matches!(missing, Err(ImportError::NoSource)), "{missing:?}");
    assert_eq!(world.imports().list(&ann().tenant, None, 10).await, Ok(vec![]), "nothing is left behind");
}

#[test]
fn only_an_imports_own_object_is_one() {
    let id = "01KAGZ6Q3V8X4T5N7M9P000001";
    for key in ["", "imports/acme", "imports/acme/x/source", "imports/acme/y"] {
        assert_eq!(import_of(key), None, "{key}");
    }
    for key in [format!("imports/acme/{id}"), format!("imports/acme/{id}/source/x"), format!("imports/A/{id}/source")] {
        assert_eq!(import_of(&key), None, "{key}");
    }
}

#[tokio::test]
async fn progress_and_rate_are_those_of_the_rows_that_have_an_outcome() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    let status = world.status(&job.key).await;
    assert_eq!((status.progress, status.rows_per_second), (None, None));
    world.environment.seconds.store(5, Ordering::Relaxed);
    world.split(&job, &csv(0..100, |number| number), 25).await;
    let chunks = world.messages();
    world.work(&chunks[0]).await;
    world.environment.seconds.store(15, Ordering::Relaxed);
    let status = world.status(&job.key).await;
    assert_eq!((status.progress, status.rows_per_second), (Some(0.25), Some(2.5)));
    for chunk in &chunks {
        world.work(chunk).await;
    }
    world.environment.seconds.store(1000, Ordering::Relaxed);
    let status = world.status(&job.key).await;
    assert_eq!((status.job.state, status.progress), (ImportState::Completed, Some(1.0)));
    assert_eq!(status.rows_per_second, Some(10.0), "until it ended");
}

#[tokio::test]
async fn a_straggler_that_had_to_come_again_completes_the_import() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    world.split(&job, &csv(0..40, |number| number), 1).await;
    let mut chunks = world.messages();
    let straggler = chunks.remove(3);
    let ports = Arc::new(Frail::over(&world).meets(5, frail::Fate::DiesAfter));
    assert!(ports.survive(world.worker_on(&ports).work(&straggler, &|| true)).await.is_none());
    assert_eq!(world.ledger.outcomes_of_all().len(), 1, "it had got so far");
    for chunk in chunks.iter().chain([&straggler]) {
        world.work(chunk).await;
    }
    let job = ImportJobs::get(&world.ledger, &job.key).await.unwrap().unwrap();
    assert_eq!((job.state, job.counts), (ImportState::Completed, Some(counts(40, 0, 0, 0))));
}

/// Not every worker adds everything up: one in the middle of a long file does not.
#[tokio::test]
async fn whoever_asks_completes_what_nobody_noticed() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    world.split(&job, &csv(0..100, |number| number), 1).await;
    let mut chunks = world.messages();
    let straggler = chunks.remove(3);
    for chunk in chunks.iter().chain([&straggler]) {
        world.work(chunk).await;
    }
    let state = async || ImportJobs::get(&world.ledger, &job.key).await.unwrap().unwrap().state;
    assert_eq!(state().await, ImportState::Running);
    assert_eq!(world.status(&job.key).await.job.state, ImportState::Completed);
    assert_eq!(state().await, ImportState::Completed);
}

#[tokio::test]
async fn an_import_is_cancelled_from_any_state_but_its_end() {
    let world = World::default();
    let cancel = async |key: &ImportKey| world.imports().cancel(key).await.map(|job| job.state);
    let awaiting = world.ask(ImportMode::Upsert).await;
    assert_eq!(cancel(&awaiting.key).await.unwrap(), ImportState::Cancelled);
    assert_eq!(cancel(&awaiting.key).await.unwrap(), ImportState::Cancelled, "again");
    let splitting = world.ask(ImportMode::Upsert).await;
    world.splitter_on(&world.ports()).begin(&splitting.key, "an etag").await.unwrap();
    assert_eq!(cancel(&splitting.key).await.unwrap(), ImportState::Cancelled);
    let running = world.ask(ImportMode::Upsert).await;
    world.split(&running, &csv(0..10, |number| number), 10).await;
    assert_eq!(cancel(&running.key).await.unwrap(), ImportState::Cancelled);
    assert_eq!(world.messages().len(), 1);
    let failed = world.ask(ImportMode::Upsert).await;
    world.split(&failed, "", 10).await;
    assert!(matches!(cancel(&failed.key).await, Err(ImportError::Ended(ImportState::Failed))));
    let completed = world.import(ImportMode::Upsert, &csv(0..10, |number| number)).await.job;
    assert!(matches!(cancel(&completed.key).await, Err(ImportError::Ended(ImportState::Completed))));
    let other = ImportKey { tenant: "other".parse().unwrap(), ..completed.key };
    assert!(matches!(cancel(&other).await, Err(ImportError::NotFound(_))));
}

#[tokio::test]
async fn an_import_that_stopped_is_set_going_by_its_own_file() {
    let world = World::default();
    let job = world.ask(ImportMode::Upsert).await;
    assert!(matches!(world.imports().resume(&job.key).await, Err(ImportError::NoSource)));
    let rows = request(ImportSource::Rows(vec!["{}".to_owned()]));
    let given = world.imports().ask(&ann(), rows).await.unwrap().job;
    assert_eq!(world.objects.created().len(), 1);
    assert_eq!(world.imports().resume(&given.key).await.unwrap(), given);
    assert_eq!(world.objects.created(), [source_key(&given.key)]);
    world.imports().cancel(&given.key).await.unwrap();
    assert!(matches!(world.imports().resume(&given.key).await, Err(ImportError::Ended(ImportState::Cancelled))));
}

#[tokio::test]
async fn errors_are_read_page_by_page_in_the_order_of_the_file() {
    let world = World::default();
    let file_text = csv(0..400, |number| number).replace("7,", "7\u{7f},").replace("Ring 1", "\u{7f}Ring 1");
    let job = world.ask(ImportMode::Upsert).await;
    world.split(&job, &file_text, 20).await;
    for chunk in world.messages().iter().rev() {
        world.work(chunk).await;
    }
    let status = world.status(&job.key).await;
    let failed = world.failed(&job.key).await;
    assert!(failed.len() > 100 && failed.len() as u64 == status.counts.failed, "{:?}", status.counts);
    assert!(failed.is_sorted_by(|one, other| one.0 < other.0));
    let other = ImportKey { tenant: "other".parse().unwrap(), ..job.key };
    assert!(matches!(world.imports().errors(&other, None).await, Err(ImportError::NotFound(_))));
}
