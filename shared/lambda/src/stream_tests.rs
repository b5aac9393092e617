use serde_dynamo::AttributeValue;
use serde_json::{Value, json};

use super::*;

fn record(number: &str) -> Value {
    json!({
        "eventID": "1", "eventName": "INSERT", "eventSource": "aws:dynamodb", "awsRegion": "eu-central-1",
        "dynamodb": {
            "Keys": {"pk": {"S": "p"}}, "NewImage": {"pk": {"S": "p"}, "n": {"N": "12345678901234567890.5"}},
            "SequenceNumber": number, "SizeBytes": 26, "StreamViewType": "NEW_IMAGE",
        },
    })
}

fn parse(event: &Value) -> StreamBatch {
    StreamBatch::parse(&RawValue::from_string(event.to_string()).unwrap()).unwrap()
}

#[test]
fn records_come_in_order_with_their_images_exact() {
    let batch = parse(&json!({"Records": [record("100"), record("200")]}));
    let numbers: Vec<_> = batch.records.iter().map(|record| record.sequence_number.as_deref()).collect();
    assert_eq!(numbers, [Some("100"), Some("200")]);
    let Ok(StreamChange::Written(image)) = &batch.records[0].change else { panic!("{:?}", batch.records) };
    assert_eq!(image.get("n"), Some(&AttributeValue::N("12345678901234567890.5".to_owned())));
}

#[test]
fn a_removal_needs_no_image() {
    let mut removed = record("1");
    removed["eventName"] = json!("REMOVE");
    removed["dynamodb"].as_object_mut().unwrap().remove("NewImage");
    assert!(matches!(parse(&json!({"Records": [removed]})).records[0].change, Ok(StreamChange::Removed)));
}

#[test]
fn a_bad_record_keeps_its_number_where_it_has_one_and_spoils_no_neighbour() {
    let with = |place: &str, value: Value| {
        let mut record = record("7");
        *record.pointer_mut(place).unwrap() = value;
        record
    };
    for (bad, number) in [
        (with("/dynamodb/NewImage", Value::Null), Some("7")),
        (with("/dynamodb/NewImage", json!("garbage")), Some("7")),
        (with("/dynamodb/NewImage", json!({"pk": {"X": "p"}})), Some("7")),
        (with("/dynamodb/NewImage", json!({"pk": "p"})), Some("7")),
        (with("/dynamodb/SequenceNumber", json!(7)), None),
        (with("/dynamodb/SequenceNumber", json!("")), None),
        (with("/dynamodb", Value::Null), None),
        (with("/dynamodb", json!([])), None),
        (json!({}), None),
        (json!(null), None),
        (json!("garbage"), None),
        (json!(7), None),
    ] {
        let batch = parse(&json!({"Records": [record("1"), bad, record("9")]}));
        let [before, at, after] = batch.records.try_into().unwrap();
        assert_eq!(at.sequence_number.as_deref(), number, "{bad}");
        assert!(at.change.is_err() || number.is_none(), "{bad}");
        assert!(before.change.is_ok() && after.change.is_ok(), "{bad}");
    }
}

#[test]
fn an_event_without_records_is_refused() {
    for text in ["{}", "[]", "null", r#"{"Records": {}}"#, r#"{"Records": null}"#] {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        assert!(StreamBatch::parse(&raw).is_err(), "{text}");
    }
}

#[test]
fn a_response_is_spelled_as_lambda_reads_it() {
    let response = BatchResponse::failed([Some("100"), Some("200")]);
    let expected = r#"{"batchItemFailures":[{"itemIdentifier":"100"},{"itemIdentifier":"200"}]}"#;
    assert_eq!(serde_json::to_string(&response).unwrap(), expected);
    assert_eq!(serde_json::to_string(&BatchResponse::default()).unwrap(), r#"{"batchItemFailures":[]}"#);
}

#[test]
fn a_record_without_a_number_asks_for_the_whole_batch() {
    let response = BatchResponse::failed([Some("100"), None]);
    assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#);
}
