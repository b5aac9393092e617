use std::io::Write as _;

use serde_json::json;

use super::*;

fn file_of(text: &str) -> anyhow::Result<MappingFile> {
    let mut file = tempfile::Builder::new().prefix("map").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    MappingFile::read(file.path())
}

fn read(text: &str) -> Value {
    serde_json::to_value(file_of(text).unwrap().mapping).unwrap()
}

/// What is wrong with it, behind the file's name.
fn refused(text: &str) -> String {
    let error = format!("{:#}", file_of(text).unwrap_err());
    assert!(error.contains("/map"), "names the file: {error}");
    error.split_once(' ').unwrap().1.to_owned()
}

#[test]
fn a_mapping_says_the_same_in_yaml_and_in_json() {
    let yaml = "
# What our shop calls things.
fields:
  code: No.
  name: { column: Product name, trim: true }
  attributes.price: { column: price, decimal: ',', thousands: . }
  attributes.description:
    column: since
    date: '%d.%m.%Y'
    empty: omit
  attributes.category: { constant: diamond }
";
    let fields = json!({
        "code": "No.",
        "name": {"column": "Product name", "trim": true},
        "attributes.price": {"column": "price", "decimal": ",", "thousands": "."},
        "attributes.description": {"column": "since", "date": "%d.%m.%Y", "empty": "omit"},
        "attributes.category": {"constant": "diamond"},
    });
    let expected = json!({ "fields": fields });
    assert_eq!(read(yaml), expected);
    assert_eq!(read(&serde_json::to_string_pretty(&expected).unwrap().replace("  ", "\t")), expected);
}

#[test]
fn the_example_in_the_readme_is_a_mapping() {
    let readme = include_str!("../../README.md");
    let (_, behind) = readme.split_once("```yaml\n").unwrap();
    let (example, _) = behind.split_once("```").unwrap();
    let fields = read(example)["fields"].clone();
    assert_eq!(fields["attributes.price"], json!({"column": "Price", "decimal": ",", "thousands": "."}));
    assert_eq!(fields.as_object().unwrap().len(), 6);
}

#[test]
fn what_a_value_is_does_not_change_on_the_way() {
    let constant =
        |text: &str| read(&format!("fields:\n  x: {{constant: {text}}}\n"))["fields"]["x"]["constant"].clone();
    for (written, expected) in [
        ("7", json!(7)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551615", json!(u64::MAX)),
        ("'007'", json!("007")),
        ("\"1.10\"", json!("1.10")),
        ("no", json!("no")),
        ("2024-01-01", json!("2024-01-01")),
        ("1_000", json!("1_000")),
        ("true", json!(true)),
        ("null", json!(null)),
        ("[a, {b: 1}]", json!(["a", {"b": 1}])),
    ] {
        assert_eq!(constant(written), expected, "{written}");
    }
    let pair = r#"{"fields": {"x": {"constant": "\ud83d\udc8d"}}}"#;
    for text in [pair.to_owned(), format!("\u{feff}{pair}")] {
        assert_eq!(read(&text)["fields"]["x"]["constant"], "💍", "which is no YAML");
    }
    for written in ["007", "0x1F", "+5", ".5", ".inf", ".nan"] {
        let refused = refused(&format!("fields:\n  x:\n    constant: {written}\n"));
        let expected =
            format!("is no mapping: {written} is to be in quotes, or it is another number at line 3 column 15");
        assert_eq!(refused, expected);
    }
    for text in ["fields:\n  x: {constant: 1.10}\n", "{\"fields\":\n  {\"x\": {\"constant\": 1.10}}}"] {
        let refused = refused(text);
        assert!(
            refused.contains("x must be a text to keep a number with a fraction exact at line 2 column "),
            "{refused}"
        );
    }
}

#[test]
fn a_problem_of_a_mapping_names_its_place() {
    for (text, expected) in [
        ("fields:\n\tname: Name\n", "at line 2 column 2"),
        ("fields: {\"name\": \"Name\"", "at line 2 column 1"),
        ("fields:\n  name: A\n  name: B\n", "is no mapping: duplicated key in mapping at line 3 column 3"),
        (
            "{\"fields\": {\"x\": {\"column\": \"a\",\n \"decimals\": \",\"}}}",
            "unknown field `decimals`, expected one of",
        ),
        ("{\"fields\": {\"x\": {\"column\": \"a\",\n \"decimals\": \",\"}}}", " at line 2 column "),
        ("fields:\n  x:\n    column: a\n    decimals: ','\n", "\n  x: unknown field `decimals`"),
        ("fields:\n  x:\n    column: a\n    decimals: ','\n", " at line 3 column 5"),
        ("fields:\n  x: 2024\n", "x: invalid type: integer `2024`, expected a column's name"),
        ("fields:\n  x: 2024\n", " at line 2 column 6"),
        ("fields:\n  2024: x\n", "a name is to be in quotes, as it is no text at line 2 column 3"),
        ("fields:\n  x: !cell a\n", "tags are not at line 2 column"),
        ("field:\n  x: a\n", "unknown field `field`, expected `fields` at line 1 column 1"),
        ("a: b\n---\nc: d\n", "is no mapping: it has 2 documents"),
        ("", "is no mapping: it has 0 documents"),
        ("fields:\n  y: b\n  x: {column: a, decimal: '1'}\n", "makes no sense\n  x must not have a digit"),
        ("fields:\n  y: b\n  x: {column: a, decimal: '1'}\n", " at line 3 column 6"),
    ] {
        let refused = refused(text);
        assert!(refused.contains(expected), "{text}: {refused}");
    }
    let several = refused("fields:\n  x: {colum: a}\n  y: {column: a}\n  z: 7\n");
    assert!(several.contains("\n  x: ") && several.contains("\n  z: ") && !several.contains("\n  y: "), "{several}");
}
