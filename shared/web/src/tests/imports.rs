//! Imports, as their callers see them.

use std::collections::BTreeMap;
use std::ops::Range;

use ledgerline_kernel::ports::LedgerWrite as _;
use ledgerline_kernel::{Commit, FailedRow, ImportCounts, ImportedRows, RowContent, Timestamp};
use serde_json::{Value, json};

use super::issuer::token;
use super::world::{Answer, World, request};

const IMPORTS: &str = "/api/v1/imports";

fn of_upload() -> Value {
    json!({"resource": "products", "format": "csv", "mode": "create", "source": {"upload": true}})
}

async fn ask(world: &World, body: &Value) -> Answer {
    world.ask("POST", IMPORTS, &[], &body.to_string()).await
}

/// Where the import is that an answer tells of.
fn path_of(answer: &Answer) -> String {
    answer.headers["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_import_is_taken_in_with_an_address_to_upload_to() {
    let world = World::new();
    let answer = ask(&world, &of_upload()).await;
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.json);
    let data = &answer.json["data"];
    assert_eq!(path_of(&answer), format!("{IMPORTS}/{}", data["id"].as_str().unwrap()));
    assert_eq!(
        (&data["state"], &data["mode"], &data["createdBy"]),
        (&json!("awaiting-upload"), &json!("create"), &json!("user-1"))
    );
    assert_eq!(data["upload"]["method"], "PUT");
    assert!(data["upload"]["url"].as_str().unwrap().contains(data["id"].as_str().unwrap()));
    let shown = world.get(&path_of(&answer)).await.json["data"].clone();
    assert_eq!((&shown["id"], &shown["counts"]["total"]), (&data["id"], &json!(0)));
    assert!(shown.get("upload").is_none(), "whoever sees an import need not be who uploads its file");
}

#[tokio::test]
async fn rows_in_the_request_need_no_upload() {
    let world = World::new();
    let rows = json!([{"code": "R-1", "name": "Ring"}, {"code": "R-2", "name": "指輪"}]);
    let answer = ask(&world, &json!({"resource": "products", "source": {"rows": rows}})).await;
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.json);
    let data = &answer.json["data"];
    assert_eq!((&data["format"], &data["mode"]), (&json!("jsonl"), &json!("upsert")));
    assert!(data.get("upload").is_none());
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_request_is_said_at_once_and_nothing_is_kept() {
    let world = World::new();
    for (body, paths) in [
        (json!({}), &["resource", "source"][..]),
        (json!({"resource": "products", "source": {"upload": true}}), &["format"]),
        (json!({"resource": "nothing", "format": "csv", "source": {"upload": true}}), &["resource"]),
        (
            json!({"resource": "products", "format": "xml", "mode": "maybe", "source": {"upload": true}}),
            &["format", "mode"],
        ),
        (
            json!({"resource": "products", "format": "csv", "source": {"s3": {"key": "imports/globex/f"}}}),
            &["source.s3.key"],
        ),
    ] {
        let answer = ask(&world, &body).await;
        assert_eq!(answer.status.as_u16(), 400, "{body}: {}", answer.json);
        let named: Vec<_> =
            answer.json["errors"].as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect();
        assert!(paths.iter().all(|path| named.contains(path)), "{body}: {named:?}");
    }
    assert_eq!(world.get(IMPORTS).await.json["data"], json!([]));
}

#[tokio::test]
async fn imports_are_listed_newest_first_and_page_by_page() {
    let world = World::new();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, ask(&world, &of_upload()).await.json["data"]["id"].clone());
    }
    let (mut seen, mut next) = (Vec::new(), Some(format!("{IMPORTS}?limit=2")));
    while let Some(page) = next {
        let answer = world.get(&page).await;
        seen.extend(answer.json["data"].as_array().unwrap().iter().map(|import| import["id"].clone()));
        next = answer.json["links"]["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn an_import_is_cancelled_once_and_does_not_go_on_after_that() {
    let world = World::new();
    let import = path_of(&ask(&world, &of_upload()).await);
    let missing = world.ask("POST", &format!("{import}/resume"), &[], "").await;
    assert_eq!((missing.status.as_u16(), &missing.json["code"]), (422, &json!("NO_SOURCE")));
    for _ in 0..2 {
        let cancelled = world.ask("POST", &format!("{import}/cancel"), &[], "").await;
        assert_eq!((cancelled.status.as_u16(), &cancelled.json["data"]["state"]), (200, &json!("cancelled")));
    }
    let resumed = world.ask("POST", &format!("{import}/resume"), &[], "").await;
    assert_eq!((resumed.status.as_u16(), &resumed.json["code"]), (409, &json!("IMPORT_ENDED")));
}

#[tokio::test]
async fn another_tenants_import_is_none_and_viewers_only_look() {
    let world = World::new();
    let import = path_of(&ask(&world, &of_upload()).await);
    for (tenant, role, method, path, status) in [
        ("globex", "admin", "GET", import.clone(), 404),
        ("globex", "admin", "GET", format!("{import}/errors"), 404),
        ("globex", "admin", "POST", format!("{import}/cancel"), 404),
        ("acme", "viewer", "GET", import.clone(), 200),
        ("acme", "viewer", "POST", format!("{import}/cancel"), 403),
        ("acme", "viewer", "POST", IMPORTS.to_owned(), 403),
        ("acme", "editor", "POST", format!("{import}/cancel"), 200),
        ("acme", "admin", "GET", format!("{IMPORTS}/no-id"), 404),
    ] {
        let answer = world.send(request(method, &path, &[], "", &token(tenant, role))).await;
        assert_eq!(answer.status.as_u16(), status, "{tenant} {role} {method} {path}: {}", answer.body);
    }
}

/// Outcomes of these chunks, in each of which one row failed, whose cell is so long.
async fn failures(world: &World, import: &str, (chunks, second): (Range<u32>, &str), bytes: usize) {
    let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    for chunk in chunks {
        let failed = FailedRow {
            row: u64::from(chunk) + 2,
            content: RowContent::Fields(vec![format!("R-{chunk}"), "=1+1,".repeat(bytes / 5)]),
            code: "VALIDATION_ERROR".to_owned(),
            message: "must be given".to_owned(),
            path: Some("name".to_owned()),
        };
        let id = import.rsplit('/').next().unwrap();
        let imported = ImportedRows {
            import: ledgerline_kernel::ImportKey { tenant: "acme".parse().unwrap(), id: id.parse().unwrap() },
            chunk,
            first: 0,
            rows: 1,
            counts: ImportCounts { failed: 1, ..ImportCounts::default() },
            file: None,
            columns: vec!["code".to_owned(), second.to_owned()],
            failures: vec![failed],
            written: Vec::new(),
            shown: true,
            command_id: "c".to_owned(),
            at: now,
            expires_at: now,
        };
        world.ledger.commit(&Commit { imported: Some(imported), ..Commit::default() }, now).await.unwrap();
    }
}

/// A page, the name of the file that it is of, and where the next one is.
async fn csv(world: &World, path: &str) -> (String, String, Option<String>) {
    let answer = world.send_for_text(request("GET", path, &[], "", &token("acme", "admin"))).await;
    let header = if answer.body.contains("import_row") { "present" } else { "absent" };
    assert_eq!(answer.headers["content-type"], format!("text/csv; charset=utf-8; header={header}"));
    let link = answer.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
    let next = link.map(|link| link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned());
    let disposition = answer.headers["content-disposition"].to_str().unwrap();
    let name = disposition.strip_prefix("attachment; filename=\"").unwrap().trim_end_matches('"');
    (answer.body, name.to_owned(), next)
}

#[tokio::test]
async fn rows_that_failed_are_a_table_that_can_be_mended_and_imported_again() {
    let world = World::new();
    let import = path_of(&ask(&world, &of_upload()).await);
    failures(&world, &import, (0..2, "name"), 5).await;
    let (text, name, next) = csv(&world, &format!("{import}/errors")).await;
    assert_eq!(next, None);
    assert_eq!(name, format!("{}.errors.csv", import.rsplit('/').next().unwrap()));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "code,name,import_row,import_code,import_message,import_text");
    assert_eq!(lines[1], "R-0,\"=1+1,\",2,VALIDATION_ERROR,name must be given,");
    assert_eq!(lines.len(), 3);
}

#[tokio::test]
async fn pages_of_failed_rows_put_together_are_one_file() {
    let world = World::new();
    let import = path_of(&ask(&world, &of_upload()).await);
    failures(&world, &import, (0..40, "name"), 200_000).await;
    failures(&world, &import, (40..43, "price"), 200_000).await;
    failures(&world, &import, (43..60, "name"), 200_000).await;
    let (mut files, mut pages, mut next) = (BTreeMap::<_, String>::new(), 0, Some(format!("{import}/errors")));
    while let Some(page) = next {
        let (part, name, following) = csv(&world, &page).await;
        assert!(part.len() < 2_500_000, "{} bytes", part.len());
        files.entry(name).or_default().push_str(&part);
        (pages, next) = (pages + 1, following);
    }
    assert!(pages > 6, "{pages} pages for 12 MB");
    let id = import.rsplit('/').next().unwrap();
    for (name, column, rows) in [("", "name", 40), ("-2", "price", 3), ("-3", "name", 17)] {
        let text = &files[&format!("{id}.errors{name}.csv")];
        assert!(text.starts_with(&format!("code,{column},import_row,")), "{name}");
        assert_eq!((text.matches("import_row").count(), text.lines().count()), (1, rows + 1), "{name}");
    }
    assert_eq!(files.len(), 3);
}

#[tokio::test]
async fn an_idempotency_key_stands_for_one_import() {
    let world = World::new();
    let key = [("idempotency-key", "import of today")];
    let first = world.ask("POST", IMPORTS, &key, &of_upload().to_string()).await;
    let again = world.ask("POST", IMPORTS, &key, &of_upload().to_string()).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (202, 202), "{}", again.json);
    assert_eq!(path_of(&again), path_of(&first));
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = world.ask("POST", IMPORTS, &key, &of_upload().to_string().replace("create", "upsert")).await;
    assert_eq!((other.status.as_u16(), &other.json["code"]), (422, &json!("IDEMPOTENCY_KEY_REUSED")));
    let no_key = world.ask("POST", IMPORTS, &[("idempotency-key", "")], &of_upload().to_string()).await;
    assert_eq!((no_key.status.as_u16(), &no_key.json["errors"][0]["path"]), (400, &json!("Idempotency-Key")));
    assert_eq!(world.get(IMPORTS).await.json["data"].as_array().unwrap().len(), 1);
}
