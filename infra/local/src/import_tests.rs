use std::io::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use clap::Parser as _;

use super::*;
use crate::host_fixture::{run, start};

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    import: Import,
}

/// An import of products from the file at `path`.
fn import_of(path: &Path, more: &[&str]) -> Import {
    Line::parse_from(["import", "products", path.to_str().unwrap()].iter().chain(more)).import
}

/// An archive of files that are not packed.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
    for (name, content) in files {
        let (mut entry, config) = archive.new_file(*name).start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(content.as_bytes()).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap()
}

async fn attributes(host: &Host, sk: &str) -> Value {
    let request =
        Request::get(format!("/api/v1/products/{sk}")).header("authorization", format!("Bearer {}", host.token()));
    let answer = host.answer(request.body(Body::empty()).unwrap()).await;
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice::<Value>(&body).unwrap()["data"]["attributes"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_accepted_of_an_archive_is_mended_table_by_table_and_takes_nothing_from_an_entity() {
    let root = tempfile::tempdir().unwrap();
    let (dir, path) = (root.path().join("state"), |name: &str| root.path().join(name));
    let host = start(&dir).await;
    let import = async |name: &str| run(&dir, &["import", "products", path(name).to_str().unwrap(), "--json"]).await;
    std::fs::write(path("first.csv"), "sk,code,name,description\na,A,Ring,kept\nb,B,Ring,kept\n").unwrap();
    assert_eq!(import("first.csv").await, Ok(()));

    let files = [("names.csv", "sk,code,name\na,A,\nc,C,Ring\n"), ("prices.csv", "code,price\nB,x\n")];
    std::fs::write(path("stock.zip"), archive(&files)).unwrap();
    assert_eq!(import("stock.zip").await, Err("2 rows were not accepted".to_owned()));
    for (name, wrong, mended) in
        [("stock.zip.errors.csv", "a,A,,", "a,A,Solitaire,"), ("stock.zip.errors-2.csv", "B,x,", "B,7.50,")]
    {
        let errors = std::fs::read_to_string(path(name)).unwrap();
        assert_eq!((errors.matches("import_row").count(), errors.matches(wrong).count()), (1, 1), "{errors}");
        std::fs::write(path(name), errors.replace(wrong, mended)).unwrap();
        assert_eq!(import(name).await, Ok(()), "{name}");
    }
    assert_eq!(attributes(&host, "a").await, json!({"description": "kept"}));
    assert_eq!(attributes(&host, "b").await, json!({"description": "kept", "price": "7.50"}));
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_list_as_people_write_it_is_imported_by_a_mapping_in_yaml() {
    let root = tempfile::tempdir().unwrap();
    let (dir, path) = (root.path().join("state"), |name: &str| root.path().join(name));
    let host = start(&dir).await;
    let mapping = "
fields:
  sk: Nr
  code: Nr
  name: Name
  attributes.category: { constant: rings }
  attributes.price: { column: Preis, decimal: ',', thousands: . }
  attributes.description: { column: Seit, date: '%d.%m.%Y' }
";
    std::fs::write(path("map.yaml"), mapping).unwrap();
    std::fs::write(path("list.csv"), "Nr,Name,Preis,Seit\n007,Ring,\"1.234,50\",01.02.2024\n8,Kette,x,1\n").unwrap();
    let (list, map) = (path("list.csv"), path("map.yaml"));
    let import = ["import", "products", list.to_str().unwrap(), "--map", map.to_str().unwrap()];
    assert_eq!(run(&dir, &import).await, Err("1 row was not accepted".to_owned()));
    let expected = json!({"category": "rings", "price": "1234.50", "description": "2024-02-01"});
    assert_eq!(attributes(&host, "007").await, expected);

    let errors = std::fs::read_to_string(path("list.csv.errors.csv")).unwrap();
    std::fs::write(path("mended.csv"), errors.replace(",x,1,", ",\"2,10\",29.02.2024,")).unwrap();
    let mended = path("mended.csv");
    let again = ["import", "products", mended.to_str().unwrap(), "--map", map.to_str().unwrap()];
    assert_eq!(run(&dir, &again).await, Ok(()));
    assert_eq!(attributes(&host, "8").await["price"], "2.10");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_ended_while_nobody_looked_is_told_once_and_not_begun_anew() {
    let root = tempfile::tempdir().unwrap();
    let (dir, path) = (root.path().join("state"), root.path().join("list.csv"));
    let host = start(&dir).await;
    std::fs::write(&path, "sk,code,name\na,A,Ring\nb,B,\n").unwrap();
    let import = import_of(&path, &["--mode", "create"]);
    let api = Api::new(&host.url(), &token(&import, &dir).unwrap()).unwrap();
    let memo = Memo::of(&import, &import.request().unwrap(), &dir).unwrap();
    let ended = follow(&import, &api, &dir).await.unwrap();
    assert_eq!((ended.view.counts.created, ended.view.counts.failed, memo.read()), (1, 1, None));

    // As if the command had been left before the end.
    memo.write(&ended.view.id).unwrap();
    std::fs::remove_file(import.errors_file()).unwrap();
    let told = follow(&import, &api, &dir).await.unwrap();
    assert_eq!((&told.view.id, told.view.counts.created, told.view.counts.failed), (&ended.view.id, 1, 1));
    assert!(std::fs::read_to_string(import.errors_file()).unwrap().contains("\nb,B,,3,"), "its errors are written");
    assert_eq!((memo.read(), told.took), (None, None));
    let text = text(&Done::Imported(Box::new(told)));
    assert!(text.contains(" completed\nwhat was not accepted"), "without a time that it did not take: {text}");

    for memorised in [None, Some("00000000000000000000000000")] {
        memorised.map_or(Ok(()), |id| memo.write(id)).unwrap();
        let anew = follow(&import, &api, &dir).await.unwrap();
        assert_eq!((anew.view.id == ended.view.id, anew.view.counts.failed), (false, 2), "{memorised:?}");
    }
    host.stop().await.unwrap();
}

/// The API of something that gives these answers, one after the other, and has no more.
async fn answering(answers: Vec<(StatusCode, String)>) -> Api {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let answer = move || {
        let next = answers.lock().unwrap().next();
        async move { next.unwrap_or((StatusCode::GONE, "asked once more".to_owned())) }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    Api::new(&url, "token").unwrap()
}

fn shown(state: &str) -> Value {
    json!({"id": "one", "resource": "products", "state": state, "progress": {"rows": 1, "whole": true}})
}

fn under_way() -> ImportView {
    serde_json::from_value(shown("running")).unwrap()
}

#[test]
fn a_single_row_is_told_in_the_singular() {
    let verdict_on = |failed: u64| {
        let mut view = under_way();
        (view.state, view.counts.failed) = ("completed".to_owned(), failed);
        let imported = Imported { view, errors: Vec::new(), map: None, took: None };
        verdict(&Done::Imported(Box::new(imported))).map_err(|error| error.to_string())
    };
    assert_eq!(verdict_on(0), Ok(()));
    assert_eq!(verdict_on(1), Err("1 row was not accepted".to_owned()));
    assert_eq!(verdict_on(2), Err("2 rows were not accepted".to_owned()));
    let looked = |wrong| verdict(&Done::Looked(String::new(), wrong)).unwrap_err().to_string();
    assert_eq!((looked(1), looked(2)), ("1 row would not be accepted".into(), "2 rows would not be accepted".into()));
}

/// A terminal of which everything is kept that was ever written to it.
#[derive(Debug, Clone, Default)]
struct Paper(Arc<Mutex<String>>);

impl indicatif::TermLike for Paper {
    fn width(&self) -> u16 {
        200
    }
    fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> std::io::Result<()> {
        self.write_str(text)
    }
    fn write_str(&self, text: &str) -> std::io::Result<()> {
        self.0.lock().unwrap().push_str(text);
        Ok(())
    }
    fn clear_line(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_rate_is_drawn_in_whole_rows_per_second() {
    let paper = Paper::default();
    let target = indicatif::ProgressDrawTarget::term_like(Box::new(paper.clone()));
    let bar = ProgressBar::with_draw_target(Some(1_000), target).with_style(of_known().unwrap());
    bar.set_position(7);
    bar.force_draw();
    let drawn = paper.0.lock().unwrap().clone();
    let rates = drawn.split("/1000 rows, ").skip(1).filter_map(|rest| rest.split(" rows/s, ").next());
    let rates: Vec<_> = rates.map(str::parse::<u64>).collect();
    assert!(!rates.is_empty() && rates.iter().all(Result::is_ok), "{drawn}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_twenty_times_in_a_row_is_waited_for() {
    let answer = |state: &str| (StatusCode::OK, json!({ "data": shown(state) }).to_string());
    let failures = || vec![(StatusCode::SERVICE_UNAVAILABLE, String::new()); 20];
    let answers = [failures(), vec![answer("running")], failures(), vec![answer("completed")]].concat();
    let (api, begun) = (answering(answers).await, tokio::time::Instant::now());
    assert_eq!(watch(&api, under_way()).await.unwrap().state, "completed");
    assert!(begun.elapsed() >= POLL * 42, "with the interval between them: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_goes_on_failing_or_refuses_is_left_with_the_reason() {
    let failing = answering(vec![(StatusCode::BAD_GATEWAY, "down".to_owned()); 21]).await;
    let error = format!("{:#}", watch(&failing, under_way()).await.unwrap_err());
    let expected = "left import one; run the command again, and it goes on: the API answered 502 Bad Gateway: down";
    assert_eq!(error, expected);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = Api::new(&format!("http://{}", listener.local_addr().unwrap()), "token").unwrap();
    drop(listener);
    let begun = tokio::time::Instant::now();
    let error = format!("{:#}", watch(&gone, under_way()).await.unwrap_err());
    assert!(error.contains("cannot reach http://") && begun.elapsed() >= POLL * 21, "{error}");

    let refusing = answering(vec![(StatusCode::FORBIDDEN, r#"{"detail":"not yours"}"#.to_owned())]).await;
    let error = format!("{:#}", watch(&refusing, under_way()).await.unwrap_err());
    assert!(error.ends_with(": not yours"), "asked once only: {error}");
}

#[tokio::test]
async fn a_refusal_without_a_detail_is_told_with_its_status_and_body() {
    for (body, expected) in [
        ("", "the API answered 500 Internal Server Error: nothing"),
        ("<html>\n", "the API answered 500 Internal Server Error: <html>"),
        (r#"{"message":"x"}"#, r#"the API answered 500 Internal Server Error: {"message":"x"}"#),
        (r#"{"detail":"","code":"X"}"#, r#"the API answered 500 Internal Server Error: {"detail":"","code":"X"}"#),
        (r#"{"detail":"no","errors":[{"path":"mode","message":"is wrong"}]}"#, "no\n  mode is wrong"),
    ] {
        let api = answering(vec![(StatusCode::INTERNAL_SERVER_ERROR, body.to_owned())]).await;
        assert_eq!(api.get("one").await.unwrap_err().to_string(), expected, "{body}");
    }
}

#[test]
fn an_errors_file_that_overwrites_what_is_read_or_has_no_folder_is_refused_before_anything_is_imported() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    std::fs::write(path("list.csv"), "code,name\nA,Ring\n").unwrap();
    std::fs::write(path("map.yaml"), "fields: { code: code, name: name }").unwrap();
    std::fs::create_dir(path("inner")).unwrap();
    let map = path("map.yaml");
    let with_errors = |errors: &str| {
        let errors = path(errors);
        let more = ["--map", map.to_str().unwrap(), "--errors", errors.to_str().unwrap()];
        import_of(&path("list.csv"), &more)
    };
    for (errors, reason) in [
        ("list.csv", "is read by this import"),
        ("inner/../list.csv", "is read by this import"),
        ("map.yaml", "is read by this import"),
        ("nowhere/errors.csv", "there is no folder"),
        ("list.csv/errors.csv", "there is no folder"),
        ("inner", "is a folder"),
    ] {
        let import = with_errors(errors);
        // No host is begun for it, which would make its data directory.
        let place = crate::host_fixture::place(&path("state"));
        let refused = import_blocking(&import, &place).unwrap_err().to_string();
        assert!(refused.starts_with("--errors: ") && refused.contains(reason), "{errors}: {refused}");
        assert!(!path("state").exists(), "{errors}");
    }
    assert_eq!(std::fs::read_to_string(path("list.csv")).unwrap(), "code,name\nA,Ring\n");
    with_errors("inner/errors.csv").check_errors_file().unwrap();
    import_of(Path::new("list.csv"), &["--errors", "errors.csv"]).check_errors_file().unwrap();
}
