use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{DynamoAt, LocalDynamo};

async fn started() -> (LocalDynamo, FaultyDynamo) {
    let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
    dynamo.create_table("ledger", false).unwrap();
    let proxy = FaultyDynamo::start(dynamo.endpoint()).await.unwrap();
    (dynamo, proxy)
}

/// The whole answer to one request, empty if there is none.
async fn send(endpoint: &str, operation: &str, body: &str) -> String {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: DynamoDB_20120810.{operation}\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=0\r\nx-amz-date: 20260101T000000Z\r\n\
         connection: close\r\n\r\n{body}"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // A closed connection may also be an error, by how far the request has got.
    let _ = connection.read_to_string(&mut answer).await;
    answer
}

async fn put(proxy: &FaultyDynamo, pk: &str) -> String {
    let body = format!(r#"{{"TableName":"ledger","Item":{{"pk":{{"S":"{pk}"}},"sk":{{"S":"s"}}}}}}"#);
    send(proxy.endpoint(), "PutItem", &body).await
}

/// Asked of the backend itself.
async fn stored(dynamo: &LocalDynamo) -> usize {
    let answer = send(dynamo.endpoint(), "Scan", r#"{"TableName":"ledger"}"#).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["Items"].as_array().unwrap().len()
}

#[tokio::test]
async fn without_a_fault_it_passes_on_and_counts() {
    let (dynamo, proxy) = started().await;
    assert!(put(&proxy, "a").await.starts_with("HTTP/1.1 200"));
    assert!(put(&proxy, "b").await.starts_with("HTTP/1.1 200"));
    let scan = send(proxy.endpoint(), "Scan", r#"{"TableName":"ledger"}"#).await;
    assert!(scan.contains(r#""Count":2"#), "{scan}");
    assert_eq!(stored(&dynamo).await, 2);
    assert_eq!(proxy.calls(), BTreeMap::from([("PutItem".to_owned(), 2), ("Scan".to_owned(), 1)]));
    proxy.reset();
    assert_eq!((proxy.calls(), proxy.faults()), (BTreeMap::new(), BTreeMap::new()));
}

#[tokio::test]
async fn a_dropped_response_was_carried_out() {
    let (dynamo, proxy) = started().await;
    proxy.fail_next("PutItem", Fault::DropResponse);
    assert_eq!(put(&proxy, "a").await, "");
    assert_eq!(stored(&dynamo).await, 1);
    assert!(put(&proxy, "a").await.starts_with("HTTP/1.1 200"), "the next one is passed on");
    assert_eq!(proxy.faults(), BTreeMap::from([(Fault::DropResponse, 1)]));
}

#[tokio::test]
async fn a_server_error_was_carried_out() {
    let (dynamo, proxy) = started().await;
    proxy.fail_next("PutItem", Fault::ServerError);
    let answer = put(&proxy, "a").await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("#InternalServerError"), "{answer}");
    assert_eq!(stored(&dynamo).await, 1);
}

#[tokio::test]
async fn what_is_throttled_or_in_conflict_was_not_carried_out() {
    let (dynamo, proxy) = started().await;
    let faults = [
        (Fault::Throttle, "#ProvisionedThroughputExceededException"),
        (Fault::Conflict, "#TransactionConflictException"),
    ];
    for (fault, code) in faults {
        proxy.fail_next("PutItem", fault);
        let answer = put(&proxy, "a").await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(code), "{answer}");
    }
    proxy.fail_next("TransactWriteItems", Fault::Conflict);
    let answer = send(proxy.endpoint(), "TransactWriteItems", r#"{"TransactItems":[{},{},{}]}"#).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["__type"], "com.amazonaws.dynamodb.v20120810#TransactionCanceledException");
    let reasons = body["CancellationReasons"].as_array().unwrap();
    let codes: Vec<_> = reasons.iter().map(|reason| reason["Code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["TransactionConflict", "None", "None"]);
    assert_eq!(stored(&dynamo).await, 0);
}

#[tokio::test]
async fn a_delayed_request_is_answered_later() {
    let (_dynamo, proxy) = started().await;
    let time = Duration::from_millis(50);
    proxy.fail_next("PutItem", Fault::Delay(time));
    let start = std::time::Instant::now();
    assert!(put(&proxy, "a").await.starts_with("HTTP/1.1 200"));
    assert!(start.elapsed() >= time);
}

#[tokio::test]
async fn the_same_seed_strikes_the_same_requests_and_only_their_operation() {
    let (_dynamo, proxy) = started().await;
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        proxy.reset();
        proxy.fail_at_random(seed, "PutItem", Fault::Throttle, 0.5);
        let mut struck = Vec::new();
        for number in 0..32 {
            struck.push(put(&proxy, &number.to_string()).await.starts_with("HTTP/1.1 400"));
        }
        assert!(send(proxy.endpoint(), "Scan", r#"{"TableName":"ledger"}"#).await.starts_with("HTTP/1.1 200"));
        let count = struck.iter().filter(|struck| **struck).count();
        assert_eq!(proxy.faults(), BTreeMap::from([(Fault::Throttle, u64::try_from(count).unwrap())]));
        runs.push(struck);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn it_is_gone_when_dropped() {
    let (_dynamo, proxy) = started().await;
    let address = proxy.endpoint().strip_prefix("http://").unwrap().to_owned();
    let mut idle = TcpStream::connect(&address).await.unwrap();
    drop(proxy);
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0, "its connections close");
    while TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
