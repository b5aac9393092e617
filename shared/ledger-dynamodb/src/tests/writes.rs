//! What is sent to DynamoDB, and what is not.

use ledgerline_kernel::ports::{CommitError, LedgerScan, LedgerWrite};
use ledgerline_kernel::{Claim, ClaimChange, Commit, Expiry, Hash, IdempotencyRecord, Produced, VersionItem};
use ledgerline_testkit::{large_version_items, noon, note_key, version_items};
use serde_dynamo::Item;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;

use super::*;
use crate::item_size::item_size;
use crate::records::{claim_item, idempotency_item};

/// A version, a value, a request's key and an expiry: one of each, and a first version for the last.
pub(super) fn everything(sk: &str) -> (VersionItem, Commit) {
    let [one, two] = version_items(&note_key(sk), 2).try_into().unwrap();
    let expiry = Expiry { key: one.key.clone(), version: one.version, at: noon() };
    let commit = Commit {
        claims: vec![ClaimChange::Take(code(&format!("code of {sk}")), two.key.clone())],
        idempotency: Some(remembering(&format!("key of {sk}"), &two)),
        expiries: vec![expiry],
        ..Commit::of(two)
    };
    (one, commit)
}

pub(super) fn code(value: &str) -> Claim {
    let partition = note_key("n").partition;
    let (field, value) = ("code".to_owned(), value.to_owned());
    Claim { tenant: partition.tenant, entity_type: partition.entity_type, field, value }
}

pub(super) fn remembering(key: &str, item: &VersionItem) -> IdempotencyRecord {
    IdempotencyRecord {
        tenant: item.key.partition.tenant.clone(),
        key: key.to_owned(),
        payload_hash: Hash::of(key),
        produced: vec![Produced { id: item.key.clone(), version: item.version, changed: true }],
        expires_at: "2026-01-02T12:00:00.25Z".parse().unwrap(),
    }
}

#[tokio::test]
async fn several_items_are_one_transaction_and_a_lone_one_is_one_put() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let (one, commit) = everything("n");
    append(&ledger, &one).await.unwrap();
    assert_eq!(requests.take(), ["PutItem"]);
    ledger.commit(&commit, noon()).await.unwrap();
    assert_eq!(requests.take(), ["TransactWriteItems"]);
    let record = remembering("alone", &one);
    ledger.commit(&Commit { idempotency: Some(record), ..Commit::default() }, noon()).await.unwrap();
    assert_eq!(requests.take(), ["PutItem"]);
    ledger.commit(&Commit::default(), noon()).await.unwrap();
    assert_eq!(requests.take(), [""; 0]);
}

#[tokio::test]
async fn looking_for_a_remembered_request_is_one_strongly_consistent_get() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    ledger.remembered(&note_key("n").partition.tenant, "k", noon()).await.unwrap();
    assert_eq!((requests.take(), &requests.last_body()["ConsistentRead"]), (vec!["GetItem".to_owned()], &json!(true)));
}

#[tokio::test]
async fn what_cannot_be_stored_is_never_sent() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let (one, sound) = everything("n");
    let take = |number: usize| ClaimChange::Take(code(&number.to_string()), one.key.clone());
    let large = |number: usize| large_version_items(&note_key(&number.to_string()), 1, 180_000);
    let too_many = Commit { claims: (0..101).map(take).collect(), ..Commit::default() };
    let [too_large] = large_version_items(&note_key("large"), 1, 205_000).try_into().unwrap();
    let one_too_large = Commit { versions: vec![one.clone(), too_large], ..Commit::default() };
    let all_too_large = Commit { versions: (0..12).flat_map(large).collect(), ..Commit::default() };
    let long_value =
        Commit { claims: vec![ClaimChange::Take(code(&"x".repeat(2048)), one.key.clone())], ..sound.clone() };
    let long_key = Commit { idempotency: Some(remembering(&"x".repeat(2048), &one)), ..sound.clone() };
    let twice = Commit { versions: vec![one.clone(), one.clone()], ..sound };
    for commit in [too_many, one_too_large, all_too_large, long_value, long_key, twice] {
        ledger.commit(&commit, noon()).await.unwrap_err();
        assert_eq!(requests.take(), [""; 0]);
    }
}

/// The limits themselves are the contract's; here, that no item is left out of the sum.
#[tokio::test]
async fn a_transactions_size_is_that_of_all_its_items() {
    let (_dynamo, client, _) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let (_, everything) = everything("n");
    let large = (0..12).flat_map(|number| large_version_items(&note_key(&number.to_string()), 1, 180_000));
    let commit = Commit { versions: large.collect(), ..everything };
    let versions = commit.versions.iter().map(|item| item_size(&to_item(item).unwrap())).sum::<usize>();
    let record = item_size(&idempotency_item(commit.idempotency.as_ref().unwrap()).unwrap());
    let claim = item_size(&claim_item(commit.claims[0].claim(), &note_key("n")));
    // The keys of the version, and the number that is set.
    let expiry = "pk".len() + "NOTE#acme".len() + "sk".len() + "n@0000000001".len();
    let number = ":ttl".len() + "1767268800".len() / 2 + 2;
    let refused = CommitError::TooLarge { bytes: versions + record + claim + expiry + number, limit: 4_194_304 };
    assert_eq!(ledger.commit(&commit, noon()).await, Err(refused));
}

/// DynamoDB takes a partition key of 2048 bytes.
#[tokio::test]
async fn a_value_as_long_as_a_key_can_be_is_stored() {
    let (_dynamo, client, _) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let room = 2048 - code("").pk().len();
    let take = |length| Commit {
        claims: vec![ClaimChange::Take(code(&"x".repeat(length)), note_key("n"))],
        ..Commit::default()
    };
    assert_eq!(ledger.commit(&take(room), noon()).await, Ok(()));
    let refused = CommitError::TooLarge { bytes: 2049, limit: 2048 };
    assert_eq!(ledger.commit(&take(room + 1), noon()).await, Err(refused));
}

/// The token lets DynamoDB itself recognise what it has carried out: the same content has the same
/// one, and no other content has.
#[tokio::test]
async fn the_request_token_is_that_of_the_content() {
    let (_dynamo, client, requests) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let (one, commit) = everything("n");
    append(&ledger, &one).await.unwrap();
    let claiming = |claims: Vec<ClaimChange>| Commit { claims, ..commit.clone() };
    let (a, b) = (|| code("a"), || note_key("b"));
    let other_claims = [
        vec![],
        vec![ClaimChange::Take(a(), b())],
        vec![ClaimChange::Take(a(), note_key("c"))],
        vec![ClaimChange::Take(code("a\n"), b())],
        vec![ClaimChange::Take(a(), b()), ClaimChange::Take(code("b"), b())],
        vec![ClaimChange::Release(a(), b())],
        vec![ClaimChange::Transfer { claim: a(), from: note_key("c"), to: b() }],
        vec![ClaimChange::Transfer { claim: a(), from: note_key("d"), to: b() }],
    ]
    .map(claiming);
    let later = "2026-01-01T12:00:01Z".parse().unwrap();
    let mut tokens = Vec::new();
    let mut decided_again = commit.clone();
    decided_again.versions[0].hash = Hash::of("another state, of the same command");
    let others = other_claims.iter().map(|commit| (commit, noon()));
    let again = others.chain([(&commit, later), (&decided_again, noon())]);
    for (commit, now) in [(&commit, noon()), (&commit, noon())].into_iter().chain(again) {
        let _ = ledger.commit(commit, now).await;
        let token = requests.last_body()["ClientRequestToken"].as_str().unwrap().to_owned();
        assert_eq!(token.len(), 36);
        tokens.push(token);
    }
    assert_eq!(tokens[0], tokens[1]);
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 1 + other_claims.len() + 2, "every other content has its own");
}

/// The stored forms are a contract with whoever else reads the table.
#[tokio::test]
async fn claims_and_remembered_requests_are_stored_as_documented() {
    let (_dynamo, client, _) = table().await;
    let ledger = DynamoLedger::new(client.clone(), TABLE);
    let (one, mut commit) = everything("a@b");
    append(&ledger, &one).await.unwrap();
    commit.claims = vec![ClaimChange::Take(code("R#7"), one.key.clone())];
    ledger.commit(&commit, noon()).await.unwrap();
    let stored = async |pk: &str, sk: &str| {
        let key = |text: &str| AttributeValue::S(text.to_owned());
        let get = client.get_item().table_name(TABLE).key("pk", key(pk)).key("sk", key(sk)).send().await.unwrap();
        let item: Item = get.item.unwrap().into();
        serde_json::to_value(item).unwrap()
    };
    assert_eq!(
        stored("UNIQUE#acme#NOTE#code#R%237", "claim").await,
        json!({
            "pk": {"S": "UNIQUE#acme#NOTE#code#R%237"}, "sk": {"S": "claim"}, "kind": {"S": "claim"},
            "tenantCode": {"S": "acme"}, "type": {"S": "NOTE"}, "field": {"S": "code"}, "value": {"S": "R#7"},
            "holder": {"S": "a@b"}, "holderId": {"S": "NOTE#acme#a%40b"},
        })
    );
    assert_eq!(
        stored("IDEMPOTENCY#acme#key of a%40b", "idempotency").await,
        json!({
            "pk": {"S": "IDEMPOTENCY#acme#key of a%40b"}, "sk": {"S": "idempotency"}, "kind": {"S": "idempotency"},
            "payloadHash": {"S": Hash::of("key of a@b").as_str()},
            "produced": {"L": [{"M": {
                "id": {"S": "NOTE#acme#a%40b"}, "version": {"N": "2"}, "changed": {"BOOL": true},
            }}]},
            "expiresAt": {"S": "2026-01-02T12:00:00.250000Z"},
            // In whole seconds, and never before its time.
            "ttl": {"N": "1767355201"},
        })
    );
}

#[tokio::test]
async fn a_scan_leaves_out_claims_and_remembered_requests() {
    let (_dynamo, client, _) = table().await;
    let ledger = DynamoLedger::new(client, TABLE);
    let (one, commit) = everything("n");
    append(&ledger, &one).await.unwrap();
    ledger.commit(&commit, noon()).await.unwrap();
    let (items, next) = ledger.scan(None).await.unwrap();
    assert_eq!((items.len(), next), (2, None));
}
