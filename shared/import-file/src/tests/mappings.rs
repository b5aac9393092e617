use ledgerline_kernel::input::Problem;
use serde_json::{Value, json};

use super::*;

fn mapping(json: &Value) -> Mapping {
    serde_json::from_value(json.clone()).unwrap()
}

fn fields(json: &Value) -> Mapping {
    mapping(&json!({ "fields": json }))
}

fn cells(cells: &[&str]) -> RowContent {
    RowContent::Fields(texts(cells))
}

fn object(line: &str) -> RowContent {
    RowContent::Text(line.to_owned())
}

#[track_caller]
fn body(mapping: &Mapping, columns: &[&str], content: &RowContent, shape: Shape) -> String {
    mapping.over(&texts(columns)).unwrap().map(content, shape).unwrap().body
}

fn codes(problems: Vec<Problem>) -> Vec<(String, &'static str)> {
    problems.into_iter().map(|problem| (problem.path, problem.code)).collect()
}

/// What one cell becomes.
fn converted(source: &Value, cell: &str) -> Result<Value, &'static str> {
    let mapper = fields(&json!({ "attributes.x": source })).over(&texts(&["c"])).unwrap();
    match mapper.map(&cells(&[cell]), Shape::Create) {
        Ok(row) => Ok(serde_json::from_str::<Value>(&row.body).unwrap()["attributes"]["x"].clone()),
        Err(problems) => {
            assert_eq!((problems.len(), problems[0].path.as_str()), (1, "c"));
            Err(problems[0].code)
        }
    }
}

#[test]
fn without_a_mapping_a_column_is_the_field_of_its_own_name() {
    let columns = ["sk", "code", "name", "price", "specification.weight", "attributes.category"];
    let row = cells(&["ring-7", "R-7", "Ring \"7\"", "12.50", "1", "Ideal"]);
    let mapper = Mapping::identity().over(&texts(&columns)).unwrap();
    let mapped = mapper.map(&row, Shape::Create).unwrap();
    assert_eq!((mapped.sk.as_deref(), mapped.code.as_deref()), (Some("ring-7"), Some("R-7")));
    let attributes = r#"{"price":"12.50","specification":{"weight":"1"},"category":"Ideal"}"#;
    assert_eq!(mapped.body, format!(r#"{{"sk":"ring-7","code":"R-7","name":"Ring \"7\"","attributes":{attributes}}}"#));
    let patch = mapper.map(&row, Shape::Patch).unwrap();
    assert_eq!(patch.sk.as_deref(), Some("ring-7"));
    assert_eq!(patch.body, format!(r#"{{"code":"R-7","name":"Ring \"7\"","attributes":{attributes}}}"#));
}

/// As R writes it: the column of row numbers has no name.
#[test]
fn a_column_without_a_name_is_a_field_only_if_a_mapping_says_so_and_it_is_the_only_one() {
    let found = csv("\"\",\"carat\",\"cut\"\n\"1\",0.23,\"Ideal\"\n\"2\",0.21,\"Premium\"\n");
    let [Found::File { columns, .. }, rows @ ..] = found.as_slice() else { panic!("{found:?}") };
    let bodies = |mapping: &Mapping| {
        let mapper = mapping.over(columns).unwrap();
        let body = |found: &Found| match found {
            Found::Row { content, .. } => mapper.map(content, Shape::Create).unwrap().body,
            Found::File { .. } => panic!("{found:?}"),
        };
        rows.iter().map(body).collect::<Vec<_>>()
    };
    let expected =
        [r#"{"attributes":{"carat":"0.23","cut":"Ideal"}}"#, r#"{"attributes":{"carat":"0.21","cut":"Premium"}}"#];
    assert_eq!(bodies(&Mapping::identity()), expected);
    assert_eq!(bodies(&fields(&json!({"name": "cut"}))), [r#"{"name":"Ideal"}"#, r#"{"name":"Premium"}"#]);
    assert_eq!(bodies(&fields(&json!({"code": ""}))), [r#"{"code":"1"}"#, r#"{"code":"2"}"#]);
    let problems = fields(&json!({"name": ""})).check(&texts(&["", "cut", ""]));
    assert_eq!(codes(problems), [("name".to_owned(), "UNKNOWN_COLUMN")]);
}

#[test]
fn an_empty_cell_is_nothing_in_a_create_and_null_in_a_patch() {
    let (columns, row) = (["sk", "name", "price"], cells(&["", "Ring", ""]));
    let mapper = Mapping::identity().over(&texts(&columns)).unwrap();
    let created = mapper.map(&row, Shape::Create).unwrap();
    assert_eq!((created.sk, created.body.as_str()), (None, r#"{"name":"Ring"}"#));
    let patched = mapper.map(&row, Shape::Patch).unwrap();
    assert_eq!((patched.sk, patched.body.as_str()), (None, r#"{"name":"Ring","attributes":{"price":null}}"#));
}

#[test]
fn what_an_empty_cell_is_can_be_said() {
    for (empty, expected) in [("omit", "{}"), ("null", r#"{"name":null}"#), ("text", r#"{"name":""}"#)] {
        let mapping = fields(&json!({ "name": {"column": "c", "empty": empty, "trim": true} }));
        for shape in [Shape::Create, Shape::Patch] {
            assert_eq!(body(&mapping, &["c"], &cells(&[" "]), shape), expected);
        }
    }
}

#[test]
fn fields_come_from_columns_and_constants_in_the_order_of_the_mapping() {
    let mapping = fields(&json!({
        "attributes.specification.weight": "carat",
        "attributes.category": {"constant": "diamond"},
        "name": {"column": "Product name", "trim": true},
    }));
    let text = r#"{"fields": {"attributes.specification.weight": "carat", "attributes.category": {"constant": "diamond"},
                              "name": {"column": "Product name", "trim": true}}}"#;
    let written: Mapping = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&written).unwrap(), serde_json::to_value(&mapping).unwrap());
    let body = body(&written, &["Product name", "carat"], &cells(&["\u{a0}Ring ", "0.23"]), Shape::Create);
    let expected = r#"{"attributes":{"specification":{"weight":"0.23"},"category":"diamond"},"name":"Ring"}"#;
    assert_eq!(body, expected);
}

#[test]
fn localised_numbers_become_exact_decimals() {
    let german = json!({"column": "c", "decimal": ",", "thousands": "."});
    for (cell, expected) in [
        ("1.234.567,89", "1234567.89"),
        ("12,50", "12.50"),
        ("-0,10", "-0.10"),
        ("+7", "7"),
        ("007", "7"),
        (",5", "0.5"),
        ("0", "0"),
        ("0,1000000000000000055511151231257827021", "0.1000000000000000055511151231257827021"),
    ] {
        assert_eq!(converted(&german, cell), Ok(json!(expected)), "{cell}");
    }
    for cell in
        ["12.50", "1.23.456", "1234.567", "1,2,3", "1,", "-", "1e5", "12 €", "1.234,567.8", "x", ".123", "--1", "１"]
    {
        assert_eq!(converted(&german, cell), Err("INVALID_NUMBER"), "{cell}");
    }
    assert_eq!(converted(&german, &"9".repeat(39)), Err("TOO_MANY_DIGITS"));
    assert_eq!(converted(&german, &"9".repeat(100_000)), Err("TOO_MANY_DIGITS"));
    let french = json!({"column": "c", "decimal": ",", "thousands": " "});
    for cell in ["1 234,5", "1\u{a0}234,5", "1\u{202f}234,5"] {
        assert_eq!(converted(&french, cell), Ok(json!("1234.5")), "{cell}");
    }
    let swiss = json!({"column": "c", "thousands": "'", "trim": true});
    assert_eq!(converted(&swiss, " 1'234.50 "), Ok(json!("1234.50")));
    assert_eq!(converted(&german, " 1"), Err("INVALID_NUMBER"), "blanks go only where they are to be trimmed");
}

#[test]
fn dates_become_those_of_iso_8601_and_rfc_3339() {
    let date = |format: &str| json!({"column": "c", "date": format});
    assert_eq!(converted(&date("%d.%m.%Y"), "01.02.2024"), Ok(json!("2024-02-01")));
    assert_eq!(converted(&date("%d.%m.%Y %H:%M"), "29.02.2024 07:05"), Ok(json!("2024-02-29T07:05:00Z")));
    assert_eq!(converted(&date("%Y-%m-%dT%H:%M:%S%z"), "2024-02-01T07:05:09+0100"), Ok(json!("2024-02-01T06:05:09Z")));
    assert_eq!(converted(&date("%s"), "86400"), Ok(json!("1970-01-02T00:00:00Z")));
    for cell in ["31.02.2024", "2024-02-01", "1.2.2024 ", "x"] {
        assert_eq!(converted(&date("%d.%m.%Y"), cell), Err("INVALID_DATE"), "{cell}");
    }
}

#[test]
fn every_problem_of_a_row_is_reported_with_its_column() {
    let mapping = fields(&json!({
        "attributes.price": {"column": "Preis", "decimal": ","},
        "attributes.since": {"column": "Seit", "date": "%Y"},
        "name": "Name",
    }));
    let mapper = mapping.over(&texts(&["Name", "Preis", "Seit"])).unwrap();
    let problems = mapper.map(&cells(&["Ring", "x", "y"]), Shape::Create).unwrap_err();
    assert_eq!(codes(problems), [("Preis".to_owned(), "INVALID_NUMBER"), ("Seit".to_owned(), "INVALID_DATE")]);
    let problems = mapper.map(&RowContent::problem("x", "NUL_CHARACTER", "holds"), Shape::Create).unwrap_err();
    assert_eq!(codes(problems), [(String::new(), "NUL_CHARACTER")]);
}

#[test]
fn an_object_without_a_mapping_is_the_body_to_its_last_digit() {
    let line = r#" {"sk": "ring-7", "code": "R-7", "attributes": {"price": 0.1000000000000000055511151231257827021}, "n": null}"#;
    let mapper = Mapping::identity().over(&[]).unwrap();
    let created = mapper.map(&object(line), Shape::Create).unwrap();
    assert_eq!((created.sk.as_deref(), created.code.as_deref()), (Some("ring-7"), Some("R-7")));
    assert_eq!(created.body, line);
    let patched = mapper.map(&object(line), Shape::Patch).unwrap();
    let expected = r#"{"code":"R-7","attributes":{"price": 0.1000000000000000055511151231257827021},"n":null}"#;
    assert_eq!((patched.sk.as_deref(), patched.body.as_str()), (Some("ring-7"), expected));
}

#[test]
fn a_line_that_is_no_object_or_names_no_entity_has_a_problem() {
    let mapper = Mapping::identity().over(&[]).unwrap();
    let refused = |line: &str| codes(mapper.map(&object(line), Shape::Patch).unwrap_err());
    for line in ["[]", "1", "{", "{} {}", "", &"[".repeat(100_000)] {
        assert_eq!(refused(line), [(String::new(), "MALFORMED_JSON")]);
    }
    assert_eq!(refused(r#"{"sk": 1}"#), [("sk".to_owned(), "WRONG_TYPE")]);
    assert_eq!(refused(r#"{"sk": "a", "sk": "b"}"#), [("sk".to_owned(), "DUPLICATE_FIELD")]);
    assert_eq!(mapper.map(&object(r#"{"sk": null}"#), Shape::Patch).unwrap().body, "{}");
}

#[test]
fn with_a_mapping_an_objects_fields_are_columns() {
    let mapping = r#"{"fields": {"sk": "id", "name": "names.de", "attributes.price": {"column": "price", "decimal": ","},
                      "attributes.tags": "a.b", "attributes.gone": "gone", "attributes.missing": "missing"}}"#;
    let mapping: Mapping = serde_json::from_str(mapping).unwrap();
    let line = r#"{"id": "r", "names": {"de": "Ring\n"}, "price": 12.50, "a.b": [1.10], "gone": null}"#;
    let patch = body(&mapping, &[], &object(line), Shape::Patch);
    assert_eq!(patch, r#"{"name":"Ring\n","attributes":{"price":12.50,"tags":[1.10],"gone":null}}"#);
    let created = body(&mapping, &[], &object(line), Shape::Create);
    assert_eq!(created, r#"{"sk":"r","name":"Ring\n","attributes":{"price":12.50,"tags":[1.10]}}"#);
    let mapper = mapping.over(&[]).unwrap();
    let refused = |line: &str| codes(mapper.map(&object(line), Shape::Create).unwrap_err());
    assert_eq!(refused(r#"{"price": true}"#), [("price".to_owned(), "WRONG_TYPE")]);
    assert_eq!(refused(r#"{"price": "1,x"}"#), [("price".to_owned(), "INVALID_NUMBER")]);
    assert_eq!(refused(r#"{"names": {"de": 1, "de": 2}}"#), [("names.de".to_owned(), "DUPLICATE_FIELD")]);
}

#[test]
fn what_is_wrong_with_a_mapping_is_said_before_any_row() {
    let check = |json: &str| codes(serde_json::from_str::<Mapping>(json).unwrap().check(&texts(&["a", "b"])));
    let deep = format!(r#"{{"fields": {{"{}": "a"}}}}"#, ["x"; 33].join("."));
    for (json, field, code) in [
        (r#"{"fields": {"name": "c"}}"#, "name", "UNKNOWN_COLUMN"),
        (r#"{"fields": {"name": "a", "name": "b"}}"#, "name", "DUPLICATE_FIELD"),
        (r#"{"fields": {"attributes": "a", "attributes.x": "b"}}"#, "attributes.x", "FIELD_WITHIN_A_VALUE"),
        (r#"{"fields": {"attributes.x": "b", "attributes": "a"}}"#, "attributes", "FIELD_WITHIN_A_VALUE"),
        (r#"{"fields": {"name.first": "a"}}"#, "name.first", "FIELD_WITHIN_A_VALUE"),
        (r#"{"fields": {"attributes..x": "a"}}"#, "attributes..x", "INVALID_FIELD"),
        (&deep, &["x"; 33].join("."), "INVALID_FIELD"),
        (r#"{"fields": {"n": {"column": "a", "date": "%d", "decimal": ","}}}"#, "n", "INVALID_FORMAT"),
        (r#"{"fields": {"n": {"column": "a", "date": "%Q"}}}"#, "n", "INVALID_FORMAT"),
        (r#"{"fields": {"n": {"column": "a", "thousands": "."}}}"#, "n", "INVALID_FORMAT"),
        (r#"{"fields": {"n": {"column": "a", "decimal": "1"}}}"#, "n", "INVALID_FORMAT"),
        (r#"{"fields": {"n": {"constant": [{"x": 0.1}]}}}"#, "n", "INEXACT_CONSTANT"),
        (r#"{"fields": {}}"#, "", "NO_FIELDS"),
    ] {
        assert_eq!(check(json), [(field.to_owned(), code)], "{json}");
    }
    assert!(check(r#"{"fields": {"attributes.x": "a", "attributes.y": "a", "n": {"constant": 1}}}"#).is_empty());
    assert_eq!(check(r#"{"fields": {"x": "c", "y": "d"}}"#).len(), 2, "all at once");
    assert!(fields(&json!({"name": "c"})).check(&[]).is_empty(), "columns are not known yet");
}

#[test]
fn a_header_whose_names_cannot_be_fields_is_a_problem_of_the_mapping() {
    let check = |columns: &[&str]| codes(Mapping::identity().check(&texts(columns)));
    assert_eq!(check(&["price", "attributes.price"]), [("attributes.price".to_owned(), "DUPLICATE_FIELD")]);
    assert_eq!(check(&["size", "size.width"]), [("attributes.size.width".to_owned(), "FIELD_WITHIN_A_VALUE")]);
    assert_eq!(check(&["No."]), [("attributes.No.".to_owned(), "INVALID_FIELD")]);
    let deep = ["x"; 5000].join(".");
    assert_eq!(check(&[&deep])[0].1, "INVALID_FIELD");
}

#[test]
fn a_mapping_that_is_not_understood_is_refused() {
    for json in [
        r#"{"field": {}}"#,
        r#"{"fields": {"x": 1}}"#,
        r#"{"fields": {"x": {}}}"#,
        r#"{"fields": {"x": {"column": "a", "constant": 1}}}"#,
        r#"{"fields": {"x": {"constant": 1, "trim": true}}}"#,
        r#"{"fields": {"x": {"column": "a", "decimals": ","}}}"#,
        r#"{"fields": {"x": {"column": "a", "decimal": ",,"}}}"#,
        r#"{"fields": {"x": {"column": "a", "empty": "nothing"}}}"#,
    ] {
        assert!(serde_json::from_str::<Mapping>(json).is_err(), "{json}");
    }
}

#[test]
fn a_mapping_is_written_as_it_was_read() {
    for text in [
        "{}",
        r#"{"fields":{"name":"a","x":{"column":"b","decimal":",","thousands":"."},"n":{"constant":null}}}"#,
        r#"{"fields":{"d":{"column":"b","date":"%Y","trim":true,"empty":"omit"}}}"#,
    ] {
        let mapping: Mapping = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&mapping).unwrap(), text);
    }
    assert_eq!(serde_json::from_str::<Mapping>("{}").unwrap(), Mapping::identity());
}
