//! Looking many keys up at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use ledgerline_kernel::ports::LedgerLookup;

use super::writes::code;
use super::*;

#[tokio::test]
async fn a_hundred_keys_are_one_consistent_request_and_no_key_is_asked_for_twice() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let mut keys: Vec<_> = (0..200).map(|number| note_key(&format!("n-{number}"))).collect();
    keys.extend_from_within(..50);
    assert!(ledger.existing(&keys).await.unwrap().is_empty());
    assert_eq!(requests.take(), ["BatchGetItem"; 2]);
    assert_eq!(requests.last_body()["RequestItems"][TABLE]["ConsistentRead"], true);
    ledger.existing(&[]).await.unwrap();
    ledger.holders(&[]).await.unwrap();
    assert_eq!(requests.take(), [""; 0]);
}

/// DynamoDB leaves out what was too much for it at the moment.
#[tokio::test]
async fn what_was_left_unprocessed_is_asked_for_again() {
    let claims = ["a", "b", "c"].map(code);
    let key = |value: &str| json!({"pk": {"S": code(value).pk()}, "sk": {"S": "claim"}});
    let item = |value: &str| {
        let mut item = key(value);
        item["holderId"] = json!({"S": format!("NOTE#acme#{value}")});
        item
    };
    let left = |values: &[&str]| {
        let keys: Vec<_> = values.iter().map(|value| key(value)).collect();
        json!({TABLE: {"Keys": keys}})
    };
    let answers = vec![
        json!({"Responses": {TABLE: [item("b")]}, "UnprocessedKeys": left(&["a", "c"])}),
        json!({"Responses": {TABLE: []}, "UnprocessedKeys": left(&["a", "c"])}),
        json!({"Responses": {TABLE: [item("c")]}, "UnprocessedKeys": left(&["a"])}),
        json!({"Responses": {TABLE: [item("a")]}, "UnprocessedKeys": {}}),
    ];
    let ledger = DynamoLedger::new(Client::from_conf(settings(&answering_in_turn(answers).await).build()), TABLE);
    let holders: Vec<_> = ledger.holders(&claims).await.unwrap().into_values().collect();
    assert_eq!(holders, ["a", "b", "c"].map(note_key));
    let never = vec![json!({"Responses": {}, "UnprocessedKeys": left(&["a"])})];
    let ledger = DynamoLedger::new(Client::from_conf(settings(&answering_in_turn(never).await).build()), TABLE);
    let holders = ledger.holders(&claims).await;
    assert!(matches!(holders, Err(StoreError::Unavailable { .. })), "{holders:?}");
}

/// A server that gives these answers one after the other, and the last one for ever.
async fn answering_in_turn(answers: Vec<Value>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let turn = AtomicUsize::new(0);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 16_384];
            let _ = connection.read(&mut request).await;
            let turn = turn.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
            let body = answers[turn].to_string();
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    endpoint
}
