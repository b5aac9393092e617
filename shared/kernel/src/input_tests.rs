use super::*;

fn problems(fields: Fields<'_>) -> Vec<(String, &'static str)> {
    fields.finish().into_iter().map(|problem| (problem.path, problem.code)).collect()
}

#[test]
fn every_problem_is_reported_at_once_with_its_path() {
    let mut fields =
        Fields::of_body(r#"{"code": 5, "attributes": {"price": "x", "colour": "red"}, "extra": 1}"#).unwrap();
    assert_eq!(fields.required::<String>("code"), None);
    assert_eq!(fields.required::<String>("name"), None);
    fields.object("attributes", |attributes| attributes.optional::<Decimal>("price"));
    let mut found = problems(fields);
    found.sort();
    let expected = [
        ("attributes.colour", "UNKNOWN_FIELD"),
        ("attributes.price", "WRONG_TYPE"),
        ("code", "WRONG_TYPE"),
        ("extra", "UNKNOWN_FIELD"),
        ("name", "REQUIRED"),
    ];
    assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code)));
}

#[test]
fn a_number_is_read_digit_by_digit_as_a_string_or_as_a_number() {
    for body in
        [r#"{"p": 0.10000000000000000000000000000000000001}"#, r#"{"p": "0.10000000000000000000000000000000000001"}"#]
    {
        let mut fields = Fields::of_body(body).unwrap();
        let read: Decimal = fields.required("p").unwrap();
        assert_eq!(read.to_string(), "0.10000000000000000000000000000000000001");
    }
}

#[test]
fn a_field_given_twice_is_refused() {
    for others in [0, 1, 40] {
        let others: String = (0..others).map(|number| format!(r#""b{number}": true, "#)).collect();
        let body = format!(r#"{{{others}"a": true, "a": false}}"#);
        let mut fields = Fields::of_body(&body).unwrap();
        for number in 0..40 {
            fields.optional::<bool>(&format!("b{number}"));
        }
        assert_eq!(fields.optional("a"), Some(true));
        assert_eq!(problems(fields), [("a".to_owned(), "DUPLICATE_FIELD")]);
    }
}

#[test]
fn nul_and_lone_surrogates_are_refused_in_text() {
    let mut fields = Fields::of_body(r#"{"a": "x\u0000", "b": "\ud800"}"#).unwrap();
    assert_eq!((fields.required::<String>("a"), fields.required::<String>("b")), (None, None));
    assert_eq!(problems(fields), [("a".to_owned(), "NUL_CHARACTER"), ("b".to_owned(), "WRONG_TYPE")]);
}

#[test]
fn a_body_that_is_not_one_json_object_is_malformed() {
    for body in ["{", "[]", "1", "null", "{} {}", "{\"a\": }", "{'a': 1}"] {
        assert!(matches!(Fields::of_body(body), Err(InputError::Malformed(_))), "{body}");
    }
    assert!(Fields::of_body("  \n").unwrap().finish().is_empty());
}

#[test]
fn what_is_wrong_with_a_body_is_said_in_words_of_our_own() {
    let said = |body: &str| Fields::of_body(body).unwrap_err().to_string();
    for (body, words) in [
        ("{\"a\": }", "the body is not JSON: look at line 1, column 7"),
        ("{\n \"a\": 1,}", "the body is not JSON: look at line 2, column 9"),
        ("{} {}", "the body is not JSON: look at line 1, column 4"),
        ("{\"a\": [1", "the body ends before its JSON is complete"),
        ("[]", "the body must be a JSON object"),
        ("null", "the body must be a JSON object"),
    ] {
        assert_eq!(said(body), words, "{body}");
    }
    let array = |body| read_body::<Vec<&RawValue>>(body, "a JSON array").map_err(|error| error.to_string());
    assert_eq!(array("[1, {}]").unwrap().len(), 2);
    for (body, words) in [
        ("", "the body must be a JSON array"),
        ("{}", "the body must be a JSON array"),
        ("7", "the body must be a JSON array"),
        ("[1, 2", "the body ends before its JSON is complete"),
        ("[1,]", "the body is not JSON: look at line 1, column 4"),
    ] {
        assert_eq!(array(body).unwrap_err(), words, "{body}");
    }
}

#[test]
fn of_a_long_name_only_the_beginning_is_repeated() {
    let (known, long) = ("é".repeat(64), "é".repeat(65));
    let text = format!(r#"{{"{known}": 1, "a": {{"{long}": 1}}, "{long}": 1, "{long}": 2}}"#);
    let mut fields = Fields::of_body(&text).unwrap();
    fields.object("a", |_| ());
    let mut found = problems(fields);
    found.sort();
    let cut = format!("{known}…");
    let expected = [
        (format!("a.{cut}"), "UNKNOWN_FIELD"),
        (known, "UNKNOWN_FIELD"),
        (cut.clone(), "DUPLICATE_FIELD"),
        (cut, "UNKNOWN_FIELD"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_patch_tells_keep_remove_and_set_apart() {
    let mut fields = Fields::of_body(r#"{"gone": null, "new": "x"}"#).unwrap();
    assert_eq!(fields.patch::<String>("kept"), Patch::Keep);
    assert_eq!(fields.patch::<String>("gone"), Patch::Remove);
    assert_eq!(fields.patch::<String>("new"), Patch::Set("x".to_owned()));
    assert!(fields.finish().is_empty());
}

#[test]
fn a_version_is_a_plain_whole_number() {
    for body in [r#"{"version": "3"}"#, r#"{"version": 3.0}"#, r#"{"version": 0}"#, r#"{"version": -1}"#] {
        let mut fields = Fields::of_body(body).unwrap();
        assert_eq!(fields.optional::<Version>("version"), None);
        assert_eq!(problems(fields), [("version".to_owned(), "WRONG_TYPE")], "{body}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let _ = Fields::of_body(&deep);
}

#[test]
fn a_sort_key_that_no_url_path_can_name_is_refused() {
    for sk in ["a/b", "/", "a?b", ".", "..", "", "e\u{301}"] {
        let body = serde_json::json!({ "sk": sk }).to_string();
        let mut fields = Fields::of_body(&body).unwrap();
        assert_eq!(fields.optional::<SortKey>("sk"), None, "{sk}");
        assert_eq!(problems(fields), [("sk".to_owned(), "INVALID_SORT_KEY")]);
    }
    for sk in ["a@1", "50%", "%41", "a#b", "a b", "...", "指輪", "a\\b"] {
        let body = serde_json::json!({ "sk": sk }).to_string();
        let mut fields = Fields::of_body(&body).unwrap();
        assert_eq!(fields.optional::<SortKey>("sk").unwrap().as_str(), sk);
    }
}

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_batch_entry_with_a_version_is_an_update_whose_sk_is_taken_out_and_nothing_else_touched() {
    let text = r#"{"n\"1": 0.10, "sk": "p", "version": 3, "a": {"sk": 1.50}, "a": null}"#;
    let entry = BatchEntry::read(raw(text)).unwrap();
    assert_eq!(entry.sk, Some("p".parse().unwrap()));
    assert_eq!(entry.body, r#"{"n\"1":0.10,"version":3,"a":{"sk": 1.50},"a":null}"#);
}

#[test]
fn any_other_batch_entry_is_a_create_as_it_is() {
    for text in [r#"{"sk": "p", "code": 1.0}"#, r#"{"version": null}"#, "{}", "[]", "7", r#"{"a": {"version": 1}}"#] {
        assert_eq!(BatchEntry::read(raw(text)), Ok(BatchEntry { sk: None, body: text.into() }));
    }
}

#[test]
fn a_batch_update_names_one_entity() {
    for (text, expected) in [
        (r#"{"version": 1}"#, "REQUIRED"),
        (r#"{"version": 1, "sk": null}"#, "WRONG_TYPE"),
        (r#"{"version": 1, "sk": "a", "sk": "a"}"#, "DUPLICATE_FIELD"),
        (r#"{"version": 1, "sk": "a/b"}"#, "INVALID_SORT_KEY"),
    ] {
        let Err(InputError::Invalid(problems)) = BatchEntry::read(raw(text)) else { panic!("{text} was accepted") };
        assert_eq!(
            problems.iter().map(|p| (p.path.as_str(), p.code)).collect::<Vec<_>>(),
            [("sk", expected)],
            "{text}"
        );
    }
}

#[test]
fn a_hundred_thousand_unknown_fields_are_read_in_one_go_and_twenty_reported() {
    let body: Vec<_> = (0..100_000).map(|number| format!("\"{number}\":0")).collect();
    let body = format!("{{{}}}", body.join(","));
    assert_eq!(Fields::of_body(&body).unwrap().finish().len(), MAX_PROBLEMS);
}
