use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::{Client, Config};
use ledgerline_kernel::ports::{
    CommitError, EntityRead, LedgerAudit, LedgerRead, LedgerRow, LedgerScan, LedgerSegments, Segment, StateSink,
    StoreError,
};
use ledgerline_kernel::{Version, erase};
use ledgerline_stores::{DynamoAt, LocalDynamo};
use ledgerline_testkit::note::Note;
use ledgerline_testkit::{append, fork_of, note_key, version_items};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{DynamoDataTable, DynamoLedger};

mod damage;
mod faults;
mod lookups;
mod writes;

const TABLE: &str = "ledger";

mod the_ledger_keeps_the_contract {
    async fn open() -> (crate::DynamoLedger, super::LocalDynamo) {
        let (dynamo, client, _) = super::table().await;
        (crate::DynamoLedger::new(client, super::TABLE), dynamo)
    }
    ledgerline_testkit::ledger_contract!(open);
    ledgerline_testkit::index_contract!(open);
    ledgerline_testkit::imports_contract!(open);
}

mod the_data_table_keeps_the_contract {
    async fn open() -> (crate::DynamoDataTable, super::LocalDynamo) {
        let (dynamo, client, _) = super::table().await;
        (crate::DynamoDataTable::new(client, super::TABLE), dynamo)
    }
    ledgerline_testkit::entities_contract!(open);
    ledgerline_testkit::ranges_contract!(open);
    ledgerline_testkit::audit_contract!(open);
}

#[tokio::test]
async fn loading_the_newest_version_is_one_query_however_many_there_are() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    for item in version_items(&note_key("n"), 30) {
        append(&ledger, &item).await.unwrap();
    }
    requests.take();
    ledger.newest(&note_key("n")).await.unwrap();
    assert_eq!(requests.take(), ["Query"]);
    // The emulator is always consistent: only the request can show that we ask for it.
    let query = requests.last_body();
    let asked = ["ConsistentRead", "ScanIndexForward", "Limit"].map(|name| query[name].clone());
    assert_eq!(asked, [json!(true), json!(false), json!(1)]);
}

#[tokio::test]
async fn every_read_of_the_ledger_asks_for_strong_consistency() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    ledger.at(&note_key("n"), Version::FIRST).await.unwrap();
    assert_eq!(requests.last_body()["ConsistentRead"], true);
    ledger.history(&note_key("n"), None, 20).await.unwrap();
    assert_eq!(requests.last_body()["ConsistentRead"], true);
    ledger.scan(None).await.unwrap();
    assert_eq!(requests.last_body()["ConsistentRead"], true);
}

#[tokio::test]
async fn a_read_of_the_data_table_asks_for_strong_consistency() {
    let (_dynamo, client, requests) = table().await;
    DynamoDataTable::new(client, TABLE).get(&note_key("n")).await.unwrap();
    assert_eq!(requests.take(), ["GetItem"]);
    assert_eq!(requests.last_body()["ConsistentRead"], true);
}

#[tokio::test]
async fn an_append_is_one_put_whether_it_wins_or_loses() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let [one] = version_items(&note_key("n"), 1).try_into().unwrap();
    append(&ledger, &one).await.unwrap();
    assert_eq!(requests.take(), ["PutItem"]);
    append(&ledger, &fork_of(&one)).await.unwrap_err();
    assert_eq!(requests.take(), ["PutItem"]);
}

#[tokio::test]
async fn an_item_that_is_too_large_is_never_sent() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let [mut large] = version_items(&note_key("n"), 1).try_into().unwrap();
    large.name = "x".repeat(409_600);
    append(&ledger, &large).await.unwrap_err();
    assert_eq!(requests.take(), [""; 0]);
}

/// Our count must neither refuse what fits nor send what does not: the emulator counts as well.
#[tokio::test]
async fn the_largest_item_that_passes_our_count_is_stored() {
    let (_dynamo, client, _) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let [mut item] = version_items(&note_key("n"), 1).try_into().unwrap();
    item.name = "x".repeat(409_600);
    let Err(CommitError::TooLarge { bytes, limit }) = append(&ledger, &item).await else { panic!("too large") };
    item.name.truncate(409_600 - (bytes - limit));
    assert!(append(&ledger, &item).await.is_ok());
}

#[tokio::test]
async fn reading_one_version_is_one_get_and_a_short_history_one_query() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    ledger.at(&note_key("n"), Version::FIRST).await.unwrap();
    ledger.history(&note_key("n"), None, 20).await.unwrap();
    assert_eq!(requests.take(), ["GetItem", "Query"]);
    ledger.history(&note_key("n"), Some(Version::FIRST), 20).await.unwrap();
    assert_eq!(requests.take(), [""; 0], "nothing comes before the first version");
}

#[tokio::test]
async fn projecting_is_one_put_for_each_entity() {
    let (_dynamo, client, requests) = table().await;
    let items: Vec<_> = (0..40).flat_map(|number| version_items(&note_key(&format!("n-{number}")), 1)).collect();
    let items: Vec<_> = items.iter().collect();
    let domain = erase::<Note>().unwrap();
    DynamoDataTable::new(client, TABLE).apply(domain.as_ref(), &items).await.unwrap();
    assert_eq!(requests.take(), ["PutItem"; 40]);
}

#[tokio::test]
async fn a_scan_leaves_out_other_kinds_and_damaged_items() {
    let (_dynamo, client, _) = table().await;
    let ledger = DynamoLedger::new(client.clone(), TABLE);
    let [one] = version_items(&note_key("n"), 1).try_into().unwrap();
    append(&ledger, &one).await.unwrap();
    for (sk, kind) in [("claim", "claim"), ("broken@0000000001", "version")] {
        let put = client.put_item().table_name(TABLE).item("pk", AttributeValue::S("NOTE#acme".into()));
        let put = put.item("sk", AttributeValue::S(sk.into())).item("kind", AttributeValue::S(kind.into()));
        put.send().await.unwrap();
    }
    assert_eq!(ledger.scan(None).await, Ok((vec![one], None)));
}

#[tokio::test]
async fn segments_meet_every_version_once_over_all_their_pages() {
    let (_dynamo, client, _) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let mut items = Vec::new();
    for (tenant, sk, count) in [("acme", "a", 9), ("acme", "b", 2), ("globex", "a", 5), ("initech", "a", 1)] {
        let mut key = note_key(sk);
        key.partition.tenant = tenant.parse().unwrap();
        items.extend(version_items(&key, count));
    }
    for item in &items {
        append(&ledger, item).await.unwrap();
    }
    let entity_type = note_key("a").partition.entity_type;
    let (mut met, mut pages) = (Vec::new(), 0);
    for number in 0..3 {
        let mut from = None;
        loop {
            let page = ledger.segment(&entity_type, Segment { number, of: 3 }, from, 2).await.unwrap();
            assert!(page.items.len() <= 2 && page.unreadable.is_empty());
            met.extend(page.items);
            pages += 1;
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
    met.sort_by(|one, other| (&one.key, one.version).cmp(&(&other.key, other.version)));
    assert_eq!(met, items);
    assert!(pages > 3, "the versions do not fit on one page of each segment");
}

#[tokio::test]
async fn an_audit_meets_what_a_scan_leaves_out() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client.clone(), TABLE);
    let rows = [
        ("NOTE#acme", "hollow@0000000001", "version"),
        ("NOTE#acme", "n@1", "version"),
        ("NOTE#acme", "hidden@0000000001", "idempotency"),
        ("NOTE#acme", "x@0000000001", "note"),
        ("UNIQUE#acme#NOTE#code#x", "claim", "claim"),
        ("IDEMPOTENCY#acme#k", "idempotency", "idempotency"),
        ("NOTE#acme", "concealed@0000000001", "import"),
        ("IMPORT#acme", "01KAGZ6Q3V8X4T5N7M9P0R2S1W", "import"),
        ("IMPORT#acme#01KAGZ6Q3V8X4T5N7M9P0R2S1W", "0000000000.0000000045", "import"),
    ];
    for (pk, sk, kind) in rows {
        let put = client.put_item().table_name(TABLE).item("pk", AttributeValue::S(pk.into()));
        let put = put.item("sk", AttributeValue::S(sk.into())).item("kind", AttributeValue::S(kind.into()));
        put.send().await.unwrap();
    }
    requests.take();
    let (met, next) = ledger.rows(None).await.unwrap();
    assert_eq!((requests.take(), next), (vec!["Scan".to_owned()], None));
    assert_eq!(requests.last_body()["ConsistentRead"], true);
    let mut met: Vec<_> = met
        .into_iter()
        .map(|row| match row {
            LedgerRow::Unreadable { sk, .. } => sk,
            LedgerRow::Version(key, version) => format!("{key} {version}"),
            LedgerRow::Claim(claim, _) => panic!("{claim} has no holder"),
        })
        .collect();
    met.sort();
    assert_eq!(
        met,
        ["NOTE#acme#hollow 1", "claim", "concealed@0000000001", "hidden@0000000001", "n@1", "x@0000000001"]
    );
}

#[tokio::test]
async fn a_cursor_of_something_else_is_rejected() {
    let (_dynamo, client, _) = table().await;
    let scanned = DynamoLedger::new(client, TABLE).scan(Some("nonsense".into())).await;
    assert!(matches!(scanned, Err(StoreError::Rejected { .. })), "{scanned:?}");
}

#[tokio::test]
async fn a_damaged_newest_version_is_rejected() {
    let (_dynamo, client, _) = table().await;
    let put = client.put_item().table_name(TABLE).item("pk", AttributeValue::S("NOTE#acme".into()));
    put.item("sk", AttributeValue::S("n@0000000001".into())).send().await.unwrap();
    let newest = DynamoLedger::new(client, TABLE).newest(&note_key("n")).await;
    assert!(matches!(newest, Err(StoreError::Rejected { .. })), "{newest:?}");
}

#[tokio::test]
async fn a_table_that_does_not_exist_is_rejected() {
    let (_dynamo, client, _) = table().await;
    let newest = DynamoLedger::new(client, "missing").newest(&note_key("n")).await;
    assert!(matches!(newest, Err(StoreError::Rejected { .. })), "{newest:?}");
}

#[tokio::test]
async fn throttling_a_server_error_silence_and_nobody_there_are_unavailable() {
    let throttled = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow down"}"#;
    let answers = [
        ("400 Bad Request", throttled),
        ("400 Bad Request", r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException"}"#),
        ("500 Internal Server Error", r#"{"__type":"InternalServerError"}"#),
        ("503 Service Unavailable", "<html>not JSON</html>"),
        ("200 OK", "not JSON"),
        ("silence", ""),
    ];
    for (status, body) in answers {
        let newest = newest_from(&answering(status, body).await).await;
        let unavailable = matches!(newest, Err(StoreError::Unavailable { .. }));
        assert!(unavailable, "{status} {body}: {newest:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let newest = newest_from(&endpoint).await;
    assert!(matches!(newest, Err(StoreError::Unavailable { .. })), "{newest:?}");
}

#[tokio::test]
async fn a_request_that_dynamodb_finds_wrong_is_rejected_with_its_words_in_the_reason() {
    let refused = r#"{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException","message":"no such right"}"#;
    match newest_from(&answering("400 Bad Request", refused).await).await {
        Err(StoreError::Rejected { reason, .. }) => assert!(reason.contains("no such right"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

async fn newest_from(endpoint: &str) -> Result<Option<ledgerline_kernel::VersionItem>, StoreError> {
    let impatient = TimeoutConfig::builder().operation_timeout(Duration::from_secs(2)).build();
    let config = settings(endpoint).retry_config(RetryConfig::disabled()).timeout_config(impatient).build();
    DynamoLedger::new(Client::from_conf(config), TABLE).newest(&note_key("n")).await
}

/// A server on a port of its own that gives every request the same answer.
async fn answering(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            if status == "silence" {
                std::future::pending::<()>().await;
            }
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    endpoint
}

/// An empty table in a DynamoDB of its own, and a record of the requests that are sent to it.
async fn table() -> (LocalDynamo, Client, Requests) {
    let dynamo = LocalDynamo::start(DynamoAt::Memory).await.unwrap();
    dynamo.create_table(TABLE, false).unwrap();
    let requests = Requests::default();
    let config = settings(dynamo.endpoint()).interceptor(requests.clone()).build();
    (dynamo, Client::from_conf(config), requests)
}

fn settings(endpoint: &str) -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url(endpoint)
}

/// The operations that the SDK sent, retries included, and the body of the last one.
#[derive(Debug, Clone, Default)]
struct Requests {
    operations: Arc<Mutex<Vec<String>>>,
    body: Arc<Mutex<Value>>,
}

impl Requests {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.operations.lock().unwrap())
    }

    fn last_body(&self) -> Value {
        self.body.lock().unwrap().clone()
    }
}

impl Intercept for Requests {
    fn name(&self) -> &'static str {
        "Requests"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        self.operations.lock().unwrap().push(operation.to_owned());
        *self.body.lock().unwrap() = serde_json::from_slice(context.request().body().bytes().unwrap()).unwrap();
        Ok(())
    }
}
