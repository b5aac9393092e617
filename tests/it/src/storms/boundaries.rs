use std::sync::Arc;

use ledgerline_app::{CommandError, CommandRequest};
use ledgerline_kernel::input::Fields;
use ledgerline_kernel::{
    Action, Aggregate, DecisionContext, Domain, DynDomain, Refusal, StoredEvent, TableSpec, Version, erase,
};
use ledgerline_testkit::note::Note;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Store, Writer, announce};

const OPERATIONS: usize = 100;
const STATE: usize = 350 * 1024;
const ITEM: usize = 400 * 1024;
const TRANSACTION: usize = 4 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_takes_100_operations_and_101_are_refused_before_anything_is_sent() {
    let store = Store::start().await;
    let products = Writer::products(store.ledger());
    let notes = Writer::of(&note(), store.ledger());
    let body = |name: String| json!({"sk": name, "code": name, "name": name, "attributes": {}}).to_string();
    // A product is a version and a claim.
    let bodies: Vec<String> = (0..51).map(|number| body(format!("p-{number}"))).collect();
    let fifty: Vec<_> = bodies[..50].iter().map(|body| products.create(body)).collect();
    let mut with_key = fifty.clone();
    with_key[0].idempotency_key = Some("one too many".to_owned());
    // A note is a version.
    let texts: Vec<String> = (0..=OPERATIONS)
        .map(|number| json!({"sk": format!("n-{number}"), "code": "N", "name": "N", "body": "N"}).to_string())
        .collect();
    let hundred_and_one: Vec<_> = texts.iter().map(|body| notes.create(body)).collect();

    refused_for_operations(&products, &with_key, 101).await;
    refused_for_operations(&notes, &hundred_and_one, 101).await;
    assert_eq!(store.contents().await, super::Contents::default());
    assert_eq!(products.commands.execute_together(&fifty).await.unwrap().len(), 50);
    assert_eq!(notes.commands.execute_together(&hundred_and_one[..OPERATIONS]).await.unwrap().len(), OPERATIONS);
    let contents = store.contents().await;
    assert_eq!((contents.version_count(), contents.claims.len()), (50 + OPERATIONS, 50));

    store.dynamo.stop().await;
    refused_for_operations(&products, &with_key, 101).await;
    refused_for_operations(&notes, &hundred_and_one, 101).await;
    announce("operations", "100 accepted, 101 refused without a call, 0 partial writes");
}

async fn refused_for_operations(writer: &Writer, requests: &[CommandRequest<'_>], wanted: usize) {
    let failed = writer.commands.execute_together(requests).await.unwrap_err();
    let refused =
        matches!(failed.error, CommandError::TooManyWrites { operations, limit: OPERATIONS } if operations == wanted);
    assert!(refused, "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_350_kb_is_stored_and_one_byte_more_is_refused_before_anything_is_sent() {
    let store = Store::start().await;
    let pads = Writer::of(&erase::<Pad>().unwrap(), store.ledger());
    let body = |length: usize| json!({"sk": "pad", "length": length}).to_string();
    let around = serde_json::to_string(&Pad::of(1)).unwrap().len() - 1;

    let over = body(STATE - around + 1);
    let refused = pads.send(pads.create(&over)).await.unwrap_err();
    assert!(matches!(refused, CommandError::TooLarge { bytes, limit: STATE } if bytes == STATE + 1), "{refused}");
    assert_eq!(store.contents().await, super::Contents::default());
    let accepted = pads.send(pads.create(&body(STATE - around))).await.unwrap();
    assert_eq!(accepted.item.state.to_string().len(), STATE);
    assert_eq!(store.contents().await.version_count(), 1);

    store.dynamo.stop().await;
    let refused = pads.send(pads.create(&over)).await.unwrap_err();
    assert!(matches!(refused, CommandError::TooLarge { .. }), "{refused}");
    announce("state", "358,400 bytes accepted, 358,401 refused without a call, 0 partial writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_400_kb_is_stored_and_one_byte_more_is_refused_before_anything_is_sent() {
    let store = Store::start().await;
    let notes = Writer::of(&note(), store.ledger());
    let sized = Sized::to(ITEM, &notes, 1).await;
    assert_eq!(sized.send(&notes, 0).await, Ok(1));
    assert_eq!(sized.send(&notes, 1).await, Err((ITEM + 1, ITEM)));
    assert_eq!(store.contents().await.version_count(), 1);

    store.dynamo.stop().await;
    assert_eq!(sized.send(&notes, 1).await, Err((ITEM + 1, ITEM)));
    announce("item", "409,600 bytes accepted, 409,601 refused without a call, 0 partial writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_4_mb_is_stored_and_one_byte_more_is_refused_before_anything_is_sent() {
    const ITEMS: usize = 11;
    let store = Store::start().await;
    let notes = Writer::of(&note(), store.ledger());
    let sized = Sized::to(TRANSACTION, &notes, ITEMS).await;
    assert_eq!(sized.send(&notes, 1).await, Err((TRANSACTION + 1, TRANSACTION)));
    assert_eq!(store.contents().await, super::Contents::default());
    assert_eq!(sized.send(&notes, 0).await, Ok(ITEMS));
    assert_eq!(store.contents().await.version_count(), ITEMS);

    store.dynamo.stop().await;
    assert_eq!(sized.send(&notes, 1).await, Err((TRANSACTION + 1, TRANSACTION)));
    announce("transaction", "4,194,304 bytes accepted, 4,194,305 refused without a call, 0 partial writes");
}

/// Notes that are as large together as a limit, in bytes of DynamoDB.
struct Sized {
    bodies: Vec<String>,
    request_id: usize,
}

impl Sized {
    /// Finds them with the help of what a refusal says. A text is stored twice, in the state and in
    /// the event; a request id once, and so fills the rest up byte by byte.
    async fn to(limit: usize, notes: &Writer, count: usize) -> Self {
        let body =
            |sk: usize, length| json!({"sk": format!("n-{sk}"), "code": "N", "name": "N", "body": "x".repeat(length)});
        let bodies = |length| (0..count).map(|sk| body(sk, length).to_string()).collect();
        let length = limit / count / 2;
        let probe = Self { bodies: bodies(length), request_id: 1 };
        let (bytes, _) = probe.send(notes, 0).await.unwrap_err();
        let shorter = (bytes - limit).div_ceil(2 * count);
        let rest = limit - (bytes - 2 * count * shorter);
        Self { bodies: bodies(length - shorter), request_id: 1 + rest }
    }

    /// Answers how many were written, or the size and the limit that stood in the way.
    async fn send(&self, notes: &Writer, more: usize) -> Result<usize, (usize, usize)> {
        let mut requests: Vec<_> = self.bodies.iter().map(|body| notes.create(body)).collect();
        for request in &mut requests {
            request.origin.request_id = "r".to_owned();
        }
        requests[0].origin.request_id = "r".repeat(self.request_id + more);
        match notes.commands.execute_together(&requests).await.map_err(|failed| failed.error) {
            Ok(accepted) => Ok(accepted.len()),
            Err(CommandError::TooLarge { bytes, limit }) => Err((bytes, limit)),
            Err(error) => panic!("{error}"),
        }
    }
}

fn note() -> Arc<dyn DynDomain> {
    erase::<Note>().unwrap()
}

/// A small event that makes a large state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pad {
    code: String,
    attributes: Padding,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Padding {
    text: String,
}

impl Pad {
    fn of(length: u64) -> Self {
        let text = "x".repeat(length.try_into().unwrap());
        Self { code: "P".to_owned(), attributes: Padding { text } }
    }
}

#[derive(Debug, PartialEq)]
struct Never;

impl std::fmt::Display for Never {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a pad refuses nothing")
    }
}

impl Refusal for Never {
    fn code(&self) -> &'static str {
        "NEVER"
    }
}

impl Aggregate for Pad {
    type Command = u64;
    type Event = u64;
    type Error = Never;

    fn decide(_: Option<&Self>, length: &u64, _: &DecisionContext) -> Result<Vec<u64>, Never> {
        Ok(vec![*length])
    }

    fn evolve(_: Option<Self>, length: &u64) -> Option<Self> {
        Some(Self::of(*length))
    }

    fn code(&self) -> &str {
        &self.code
    }

    fn name(&self) -> &str {
        &self.code
    }

    fn is_deleted(&self) -> bool {
        false
    }
}

impl Domain for Pad {
    const TYPE: &'static str = "PAD";
    const RESOURCE: &'static str = "pads";
    const COMMANDS: &'static [&'static str] = &[];
    const TABLE: TableSpec = TableSpec { name: "pad", columns: &[], indexed: &[], searched: &[] };

    fn parse(_: Action<'_>, fields: &mut Fields<'_>) -> Option<u64> {
        fields.required("length").map(Version::number)
    }

    fn to_stored(length: &u64) -> StoredEvent {
        StoredEvent { name: "Padded".to_owned(), v: 1, data: json!({"length": length}) }
    }

    fn from_stored(stored: &StoredEvent) -> Option<u64> {
        stored.data["length"].as_u64()
    }
}
