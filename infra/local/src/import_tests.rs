use std::io::Write as _;

use axum::body::{Body, to_bytes};
use axum::http::Request;

use super::*;
use crate::host_fixture::{run, start};

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
    assert_eq!(run(&dir, &import).await, Err("1 rows were not accepted".to_owned()));
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
