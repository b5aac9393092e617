use ledgerline_kernel::input::{InputError, Patch};
use ledgerline_kernel::{Action, erase};
use serde_json::{Value, json};

use super::super::{AttributesPatch, Command, Product, SpecificationPatch, input};
use super::{ring, value};

/// What a body says, and what is wrong with it.
fn read(action: Action<'_>, body: &Value) -> (Option<Command>, Vec<(String, &'static str)>) {
    let text = body.to_string();
    let mut fields = ledgerline_kernel::input::Fields::of_body(&text).unwrap();
    let command = input::parse(action, &mut fields);
    let problems = fields.finish();
    (command, problems.into_iter().map(|problem| (problem.path, problem.code)).collect())
}

fn problems(action: Action<'_>, body: &Value) -> Vec<(String, &'static str)> {
    read(action, body).1
}

fn ring_body() -> Value {
    json!({
        "code": "R-7", "name": "Ring",
        "attributes": {
            "category": "Ideal", "price": "12.50", "description": "Colour E", "specification": {"weight": "0.71 ct"}
        }
    })
}

#[test]
fn a_create_and_a_replacement_read_the_same_details() {
    assert_eq!(read(Action::Create, &ring_body()), (Some(Command::Create(ring())), vec![]));
    assert_eq!(read(Action::Replace, &ring_body()), (Some(Command::Replace(ring())), vec![]));
}

#[test]
fn a_price_is_also_read_from_a_json_number() {
    let body: Value = json!({"price": 12});
    assert_eq!(read(Action::Named("change-price"), &body), (Some(Command::ChangePrice(value("12"))), vec![]));
}

#[test]
fn code_and_name_are_required_of_a_create() {
    let expected = [("code".to_owned(), "REQUIRED"), ("name".to_owned(), "REQUIRED")];
    assert_eq!(problems(Action::Create, &json!({"name": null})), expected);
}

#[test]
fn every_rule_on_a_value_has_its_own_code() {
    let cases = [
        (json!({"code": " "}), "code", "BLANK"),
        (json!({"code": "a\nb"}), "code", "CONTROL_CHARACTER"),
        (json!({"code": "x".repeat(65)}), "code", "TOO_LONG"),
        (json!({"code": 7}), "code", "WRONG_TYPE"),
        (json!({"name": "x".repeat(201)}), "name", "TOO_LONG"),
        (json!({"name": "a\u{0}b"}), "name", "NUL_CHARACTER"),
        (json!({"name": null}), "name", "REQUIRED"),
        (json!({"attributes": []}), "attributes", "WRONG_TYPE"),
        (json!({"attributes": {"colour": "E"}}), "attributes.colour", "UNKNOWN_FIELD"),
        (json!({"attributes": {"price": "-0.01"}}), "attributes.price", "OUT_OF_RANGE"),
        (json!({"attributes": {"price": "1".repeat(39)}}), "attributes.price", "TOO_MANY_DIGITS"),
        (json!({"attributes": {"price": "cheap"}}), "attributes.price", "WRONG_TYPE"),
        (json!({"attributes": {"price": true}}), "attributes.price", "WRONG_TYPE"),
        (json!({"attributes": {"category": "x".repeat(101)}}), "attributes.category", "TOO_LONG"),
        (json!({"attributes": {"description": "x".repeat(4001)}}), "attributes.description", "TOO_LONG"),
        (json!({"attributes": {"specification": {"weight": ""}}}), "attributes.specification.weight", "BLANK"),
        (json!({"attributes": {"specification": {"size": "L"}}}), "attributes.specification.size", "UNKNOWN_FIELD"),
    ];
    for (body, path, code) in cases {
        assert_eq!(problems(Action::Update, &body), [(path.to_owned(), code)], "{body}");
    }
}

#[test]
fn lengths_count_characters_and_not_bytes() {
    assert_eq!(problems(Action::Update, &json!({"code": "é".repeat(64)})), []);
}

#[test]
fn server_owned_fields_cannot_be_set_from_outside() {
    for field in ["id", "pk", "type", "tenantCode", "isDeleted", "createdAt", "createdBy", "updatedAt", "hash", "state"]
    {
        let mut body = ring_body();
        body[field] = json!("x");
        for action in [Action::Create, Action::Replace, Action::Update] {
            assert_eq!(problems(action, &body), [(field.to_owned(), "UNKNOWN_FIELD")], "{action:?} {field}");
        }
    }
}

#[test]
fn a_patch_tells_left_out_from_null() {
    let body = json!({"attributes": {"category": null, "specification": {"weight": null}}});
    let specification = SpecificationPatch { weight: Patch::Remove, dimensions: Patch::Keep };
    let attributes = AttributesPatch {
        category: Patch::Remove,
        specification: Patch::Set(specification),
        ..AttributesPatch::default()
    };
    assert_eq!(read(Action::Update, &body), (Some(Command::Update { code: None, name: None, attributes }), vec![]));
}

#[test]
fn a_patch_that_nulls_the_attributes_removes_each_of_them() {
    let (command, problems) = read(Action::Update, &json!({"attributes": null}));
    let Some(Command::Update { attributes, .. }) = command else { panic!("{problems:?}") };
    assert_eq!((attributes.category, attributes.price), (Patch::Remove, Patch::Remove));
}

#[test]
fn deleting_and_restoring_take_no_fields() {
    for action in [Action::Delete, Action::Restore] {
        assert_eq!(problems(action, &json!({"reason": "x"})), [("reason".to_owned(), "UNKNOWN_FIELD")]);
    }
}

#[test]
fn the_envelope_fields_are_read_before_the_domain_sees_the_body() {
    let domain = erase::<Product>().unwrap();
    let prepared = domain.prepare(Action::Create, r#"{"sk": "ring#7", "code": "R", "name": "Ring"}"#).unwrap();
    assert_eq!(prepared.sk.unwrap().as_str(), "ring#7");
    let prepared = domain.prepare(Action::Delete, r#"{"version": 3}"#).unwrap();
    assert_eq!(prepared.version.unwrap().number(), 3);
    assert!(domain.prepare(Action::Restore, "").is_ok());
    let refused = domain.prepare(Action::Create, r#"{"version": 3, "code": "R", "name": "Ring"}"#);
    assert!(matches!(refused, Err(InputError::Invalid(problems)) if problems[0].path == "version"));
}
