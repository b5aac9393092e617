use std::io::Write as _;

use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    import: Import,
}

/// What is said of a file, under an optional mapping.
fn looked(csv: &str, mapping: Option<&str>, more: &[&str]) -> (String, usize) {
    let (mut file, mut map) = (named(".csv"), named(".yaml"));
    file.write_all(csv.as_bytes()).unwrap();
    map.write_all(mapping.unwrap_or_default().as_bytes()).unwrap();
    let mut line = vec!["import", "products", file.path().to_str().unwrap(), "--dry-run"];
    if mapping.is_some() {
        line.extend(["--map", map.path().to_str().unwrap()]);
    }
    look(&Line::parse_from(line.iter().chain(more)).import).unwrap()
}

fn named(suffix: &str) -> tempfile::NamedTempFile {
    tempfile::Builder::new().suffix(suffix).tempfile().unwrap()
}

#[test]
fn all_that_is_wrong_with_the_first_thousand_rows_is_said_and_nothing_of_the_rest() {
    let price = |number: usize| if [600, 1_001, 1_002, 1_100].contains(&number) { "x" } else { "1.50" };
    let rows = (2..1_200).map(|number| match number {
        7 => ",,x\n".to_owned(),
        8 => "R-8,Ring\n".to_owned(),
        number => format!("R-{number},Ring,{}\n", price(number)),
    });
    let csv = rows.fold("code,name,price\n".to_owned(), |csv, row| csv + &row);
    let (text, wrong) = looked(&csv, None, &[]);
    let problems: Vec<_> = text.lines().filter(|line| line.starts_with("row ")).collect();
    assert_eq!(wrong, 4, "{text}");
    let [seven, eight, six_hundred, last] = problems.as_slice() else { panic!("{problems:?}") };
    let told = ["row 7: code ", "; name ", "; attributes.price "];
    assert!(told.iter().all(|problem| seven.contains(problem)), "all three: {seven}");
    assert_eq!(*eight, "row 8: has 2 fields, where the header has 3");
    assert!(six_hundred.starts_with("row 600: attributes.price ") && last.starts_with("row 1001: "), "{problems:?}");
    assert!(text.ends_with("looked at the first 1000 rows: 4 would not be accepted; nothing was imported"), "{text}");
}

#[test]
fn the_first_rows_are_shown_as_they_would_be_stored() {
    let csv = "No;Artikel,Name,Preis,Seit\n7,Ring ,\"1.234,50\",01.02.2024\n8,Kette,\"2,10\",29.02.2024\n";
    let mapping = "
fields:
  sk: No;Artikel
  code: { column: No;Artikel }
  name: { column: Name, trim: true }
  attributes.category: { constant: rings }
  attributes.price: { column: Preis, decimal: ',', thousands: . }
  attributes.description: { column: Seit, date: '%d.%m.%Y' }
";
    let (text, wrong) = looked(csv, Some(mapping), &[]);
    assert_eq!(wrong, 0, "{text}");
    let end = text.rfind("looked at 2 rows").unwrap();
    let mut shown = serde_json::Deserializer::from_str(&text[..end]).into_iter::<Value>();
    let attributes = json!({"category": "rings", "price": "1234.50", "description": "2024-02-01"});
    let stored = json!({"sk": "7", "code": "7", "name": "Ring", "isDeleted": false, "attributes": attributes});
    assert_eq!(shown.next().unwrap().unwrap(), stored);
    assert_eq!(shown.next().unwrap().unwrap()["attributes"]["description"], "2024-02-29");
    let many = (0..9).map(|number| format!("{number},Ring,1,01.01.2024\n"));
    let many = many.fold("No;Artikel,Name,Preis,Seit\n".to_owned(), |csv, row| csv + &row);
    assert_eq!(looked(&many, Some(mapping), &[]).0.matches("\"isDeleted\"").count(), SHOWN);
}

#[test]
fn a_column_without_a_name_is_left_out_with_a_mapping_and_without() {
    let csv = "\"\",\"code\",\"name\"\n\"1\",R-1,Ring\n\"2\",R-2,Kette\n";
    for mapping in [None, Some("fields: { code: code, name: name }")] {
        let (text, wrong) = looked(csv, mapping, &[]);
        let mut shown = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let first = shown.next().unwrap().unwrap();
        assert_eq!((wrong, &first["code"], &first["attributes"]), (0, &json!("R-1"), &json!({})), "{text}");
    }
}

#[test]
fn rows_that_only_change_what_exists_are_right_in_an_upsert_and_wrong_in_a_create() {
    let csv = "code,price\nR-1,5\nR-2,x\n";
    let (text, wrong) = looked(csv, None, &[]);
    assert_eq!(wrong, 1, "{text}");
    assert!(text.contains("row 3: ") && text.contains("\n1 of the rows can only change what exists"), "{text}");
    let (text, wrong) = looked(csv, None, &["--mode", "create"]);
    assert_eq!(wrong, 2, "{text}");
}

#[test]
fn a_mapping_that_does_not_fit_the_file_is_refused_with_its_place() {
    let mapping = "fields:\n  name: Name\n  attributes.price:\n    column: Preis\n";
    let mut map = named(".yaml");
    map.write_all(mapping.as_bytes()).unwrap();
    let mut file = named(".csv");
    file.write_all(b"Name\nRing\n").unwrap();
    let line =
        ["import", "products", file.path().to_str().unwrap(), "--dry-run", "--map", map.path().to_str().unwrap()];
    let refused = look(&Line::parse_from(line).import).unwrap_err().to_string();
    let expected = "does not fit the file\n  attributes.price must be of a column of the file; it has no \"Preis\" at line 4 column 5";
    assert!(refused.ends_with(expected) && refused.starts_with(map.path().to_str().unwrap()), "{refused}");
}
